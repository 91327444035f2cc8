/**
 * What happens now: the verdict, the way of a request, the last quarter of an hour, and what there is of each.
 */

import { element } from "../../../dom.js";
import { renderFailure } from "../../../views/failure.js";
import { Charts } from "./charts.js";
import { LiveFeed } from "./feed.js";
import { span } from "./quantities.js";
import { LiveTable, callerColumns, deploymentColumns, failureColumns, reasonColumns } from "./tables.js";
import { Verdict } from "./verdict.js";

/** @typedef {import("../../../errors.js").RelayError} RelayError */

/** Milliseconds without an event after which the figures are called old; one comes every second. */
const STALE = 5000;

/** @implements {import("../../view.js").View} */
export class NowView {
  #context;
  #words;
  #feed;
  #verdict;
  #charts;
  /** The tables, each with its rows. @type {[LiveTable, (live: any) => any[]][]} */
  #tables;
  #freshness = element("p", { id: "freshness", class: "quiet" });
  #pause = element("button", { id: "pause", type: "button", class: "outline-button", onclick: () => this.#togglePause() });
  #failure = element("div", { class: "failure-slot" });
  #body;
  root;
  /** @type {any} what was last shown */
  #live = null;
  /** When the last event came, and when the relay was first asked for more since then. */
  #heard = 0;
  #asked = 0;
  /** Whether the reader was told that the figures are old. */
  #told = false;
  #entered = false;
  #paused = false;
  #why = "";
  #timer = 0;

  /** @param {import("../../view.js").Context} context */
  constructor(context) {
    const { words, announcer, api } = context;
    this.#context = context;
    this.#words = words;
    this.#feed = new LiveFeed(api, { show: (live) => this.#show(live), fail: (error) => this.#fail(error) });
    this.#verdict = new Verdict(words, announcer);
    this.#charts = new Charts(words);
    this.#tables = [
      [new LiveTable("deployments", words, deploymentColumns), ({ deployments }) => deployments],
      [new LiveTable("failures", words, reasonColumns), ({ reasons }) => of(reasons, "failed")],
      [new LiveTable("refusals", words, reasonColumns), ({ reasons }) => of(reasons, "refused")],
      [new LiveTable("callers", words, callerColumns), ({ callers, others }) => [...callers, ...(others === null ? [] : [{ ...others, others: true }])]],
      [new LiveTable("last-failures", words, failureColumns), ({ failures }) => of(failures, "failed")],
      [new LiveTable("last-refusals", words, failureColumns), ({ failures }) => of(failures, "refused")],
    ];
    this.#body = element(
      "div",
      { hidden: true },
      element("div", { class: "view-head" }, this.#freshness, this.#pause),
      this.#verdict.root,
      element("p", { class: "quiet note", "data-say": "now.note" }),
      element("h2", { "data-say": "now.charts" }),
      this.#charts.root,
      ...this.#tables.flatMap(([table]) => [element("h2", { "data-say": table.title }), table.root]),
    );
    this.root = element("section", {}, this.#failure, this.#body);
    // Nobody looks at a hidden page, so the relay need not compute for it.
    document.addEventListener("visibilitychange", () => {
      if (!this.#entered) return;
      if (document.hidden) this.#feed.stop();
      else this.#ask();
    });
    window.addEventListener("online", () => {
      if (this.#entered && !document.hidden) this.#feed.start();
    });
  }

  enter() {
    if (this.#entered) return;
    this.#entered = true;
    this.#timer = setInterval(() => this.#drawFreshness(), 1000);
    if (!document.hidden) this.#ask();
  }

  leave() {
    this.#entered = false;
    clearInterval(this.#timer);
    this.#feed.stop();
  }

  clear() {
    this.#live = null;
    this.#paused = this.#told = false;
    this.#why = "";
    this.#body.hidden = true;
    this.#freshness.textContent = "";
    this.#verdict.clear();
    this.#charts.clear();
    for (const [table] of this.#tables) table.clear();
  }

  redraw() {
    for (const [table] of this.#tables) table.clear();
    this.#draw();
    this.#drawFreshness();
  }

  /** @param {any} live */
  #show(live) {
    this.#heard = performance.now();
    this.#why = "";
    this.#failure.replaceChildren();
    this.#body.hidden = false;
    if (this.#paused) return;
    this.#live = live;
    this.#draw();
    this.#drawFreshness();
  }

  #draw() {
    const live = this.#live;
    if (live === null) return;
    this.#verdict.show(live);
    this.#charts.show(live);
    for (const [table, rows] of this.#tables) table.show(rows(live));
  }

  #ask() {
    this.#asked = performance.now();
    this.#feed.start();
    this.#drawFreshness();
  }

  #drawFreshness() {
    const words = this.#words;
    const live = this.#live;
    this.#pause.textContent = words.say(this.#paused ? "now.resume" : "now.pause");
    if (live === null) return;
    const now = performance.now();
    const age = now - this.#heard;
    const old = age > STALE;
    const time = live.at.slice(11, 19);
    const fresh = words.say("now.fresh", { time, workers: words.number(live.workers), up: span(words, live.up) });
    const text = old ? words.say("now.stale", { time, seconds: words.number(Math.floor(age / 1000)), why: this.#why }) : fresh;
    this.#body.classList.toggle("outdated", old);
    this.#freshness.textContent = this.#paused ? `${words.say("now.paused")} · ${text}` : text;
    // It counts seconds, so only the change is said aloud; and not while the first event of a new question is on its way.
    const tell = old && now - this.#asked > STALE;
    if (tell !== this.#told && tell === old) {
      this.#told = tell;
      this.#context.announcer.say(words.say(tell ? "now.lost" : "now.back", { time }));
    }
  }

  #togglePause() {
    this.#paused = !this.#paused;
    this.#drawFreshness();
  }

  /** Figures that are shown already stay, and are called old. @param {RelayError} error */
  #fail(error) {
    const words = this.#words;
    const { kind, code } = error.failure;
    if (kind === "access") this.#context.lock(error);
    else if (this.#live === null) this.#failure.replaceChildren(renderFailure(error.failure, words, this.#failure.childElementCount === 0, null));
    else this.#why = words.has(`error.${code}`) ? words.say(`error.${code}`) : words.say(`error.${kind}`);
  }
}

/** @param {any[]} rows @param {"failed" | "refused"} wanted */
function of(rows, wanted) {
  return rows.filter(({ outcome }) => outcome === wanted);
}

/**
 * The record of what administrators have changed: who, what, when, and what was there before and after.
 */

import { element } from "../../dom.js";
import { writeAddress } from "../address.js";
import { differences } from "../differences.js";
import { moment } from "../figures.js";
import { renderTable } from "../table.js";

/** @typedef {import("../api.js").Change} Change */
/** @typedef {import("../differences.js").Plain} Plain */
/** @typedef {import("../view.js").View} View */

const PAGE = 100;

/** What the subject of a change says already. */
const SAID = new Set(["subject"]);

/** @implements {View} */
export class AuditView {
  #api;
  #words;
  #announcer;
  #attempt;
  #failure = element("div", { class: "failure-slot" });
  #table = element("div", { id: "audit-table" });
  #older = element("button", { type: "button", class: "outline-button", hidden: true, "data-say": "audit.older", onclick: () => void this.#load(true) });
  root = element("section", {}, element("p", { class: "quiet", "data-say": "audit.text" }), this.#failure, this.#table, element("p", {}, this.#older));
  /** @type {Change[] | null} */
  #changes = null;
  #asking = new AbortController();

  /** @param {import("../view.js").Context} context */
  constructor({ api, words, announcer, attempt }) {
    this.#api = api;
    this.#words = words;
    this.#announcer = announcer;
    this.#attempt = attempt;
  }

  enter() {
    void this.#load(false);
  }

  leave() {
    this.#asking.abort();
  }

  clear() {
    this.#changes = null;
    this.#older.hidden = true;
    this.#table.replaceChildren();
  }

  redraw() {
    this.#draw();
  }

  /** @param {boolean} older */
  #load(older) {
    this.leave();
    this.#asking = new AbortController();
    const known = older ? (this.#changes ?? []) : [];
    const last = known.at(-1);
    const query = { limit: String(PAGE), ...(last === undefined ? {} : { before: String(last.number) }) };
    return this.#attempt(
      this.#failure,
      async () => {
        const { data, more } = await this.#api.changes(query, this.#asking.signal);
        this.#changes = [...known, ...data];
        this.#draw();
        if (older) this.#announcer.say(this.#words.say("audit.shown", { rows: this.#words.number(this.#changes.length) }));
        if (!more && document.activeElement === this.#older) this.#table.querySelector(".table-frame")?.focus();
        this.#older.hidden = !more;
      },
      () => void this.#load(older),
    );
  }

  #draw() {
    if (this.#changes === null) return;
    const words = this.#words;
    if (this.#changes.length === 0) {
      this.#table.replaceChildren(element("p", { class: "nothing" }, words.say("audit.none")));
      return;
    }
    const table = renderTable(
      words.say("view.audit"),
      [
        { head: words.say("audit.when"), name: true, cell: ({ time }) => element("time", { datetime: time }, moment(time)) },
        { head: words.say("audit.who"), class: "name", cell: (change) => this.#who(change) },
        { head: words.say("audit.what"), class: "name", cell: (change) => this.#what(change) },
        { head: words.say("audit.states"), class: "name differences", cell: (change) => this.#states(change) },
      ],
      this.#changes,
    );
    this.#table.replaceChildren(table);
  }

  /** The name, which may change, and behind it what never does. @param {Change} change */
  #who({ actor, name }) {
    if (name === null) return element("bdi", {}, this.#words.has(`audit.actor.${actor}`) ? this.#words.say(`audit.actor.${actor}`) : actor);
    return element("bdi", { title: actor }, name);
  }

  /** @param {Change} change */
  #what({ action, subject, before }) {
    const words = this.#words;
    const said = words.has(`audit.action.${action}`) ? words.say(`audit.action.${action}`) : action;
    const [kind, name] = subject.split(/:(.*)/s, 2);
    if (name === undefined || name === "") return said;
    const shown = element("bdi", {}, name);
    const address = { caller: () => writeAddress("callers", [name]), key: () => writeAddress("keys", [], { find: name }) }[kind]?.();
    const whose = kind === "key" && before !== null && element("span", { class: "below" }, element("bdi", {}, before.caller));
    return element("span", {}, `${said} `, address === undefined ? shown : element("a", { href: address }, shown), whose);
  }

  /** @param {Change} change */
  #states({ before, after }) {
    const found = differences(before, after).filter(({ path }) => !SAID.has(path[0]));
    if (found.length === 0) return "–";
    const rows = found.map(({ path, before: then, after: now }) => {
      const from = before === null ? [] : [this.#value(path, then), element("span", { "aria-label": this.#words.say("audit.becomes"), role: "img" }, " → ")];
      return element("div", {}, element("dt", {}, this.#name(path)), element("dd", {}, ...from, this.#value(path, now)));
    });
    return element("dl", { class: "changes" }, ...rows);
  }

  /** @param {string[]} path */
  #name(path) {
    const words = this.#words;
    return path.map((name) => (words.has(`audit.field.${name}`) ? words.say(`audit.field.${name}`) : name)).join(" · ");
  }

  /** @param {string[]} path @param {Plain} value */
  #value(path, value) {
    const words = this.#words;
    if (value === null) return words.say(path[0] === "limits" || path[0] === "total" || path[0] === "groups" ? "audit.configured" : "audit.nothing");
    if (typeof value === "number") return words.number(value, decimals(value));
    const text = String(value);
    return element("bdi", {}, /^\d{4}-\d\d-\d\dT/.test(text) ? moment(text) : text);
  }
}

/** All that there are, since a record is exact; two at least, as money has them. @param {number} value */
function decimals(value) {
  return Number.isInteger(value) ? 0 : Math.max(2, String(value).split(".")[1]?.length ?? 0);
}

/**
 * Who used what: totals, plots with their tables, and a table of the reader's own choice.
 */

import { byId, element } from "../dom.js";
import { RelayError } from "../errors.js";
import { drawBars } from "./bars.js";
import { PARTS, amount, compact, total } from "./figures.js";
import { MOST_DAYS, dayOf, daysBetween, shifted } from "./range.js";
import { inWords, renderLegend, renderLying, renderSums, renderTotals } from "./sums.js";

/** @typedef {import("./api.js").UsageRow & Record<string, any>} Row */
/** @typedef {import("./api.js").Usage} Usage */
/** @typedef {import("./figures.js").Measure} Measure */
/** @typedef {{days: string[], byDay: Usage, callers: Usage, models: Usage, ends: Usage}} Found */

/** How many bars lie below one another. */
const TOP = 20;

/** How many rows are fetched to find the top ones by cost, since the relay sends those with most tokens first. */
const CANDIDATES = 1000;

/** How many rows of the reader's own table are shown; the file has all. */
const MOST_ROWS = 200;

const GROUPINGS = ["caller", "group", "model", "deployment", "day", "end-reason"];

export class Report {
  #api;
  #words;
  #announcer;
  #attempt;
  #place = byId("report", HTMLElement);
  #controls = byId("controls", HTMLFormElement);
  #failure = byId("usage-failure", HTMLElement);
  #range = byId("range", HTMLSelectElement);
  #from = byId("from", HTMLInputElement);
  #to = byId("to", HTMLInputElement);
  #measure = byId("measure", HTMLSelectElement);
  #onlyKind = byId("only-kind", HTMLSelectElement);
  #onlyName = byId("only-name", HTMLInputElement);
  /** @type {Found | null} */
  #found = null;
  /** @type {Record<string, string>} what was asked, without what it is summed by */
  #asked = {};
  /** @type {Usage | null} */
  #own = null;
  #ownBy = ["caller", "model"];
  #loading = new AbortController();
  #days = element("div", { class: "plot" });
  #resized = new ResizeObserver(() => this.#drawDays());
  #ownPlace = element("div");
  #ownFailure = element("div");

  /** @param {{api: import("./api.js").AdminApi, words: import("../i18n.js").Words, announcer: import("../views/announcer.js").Announcer, attempt: (place: HTMLElement, work: () => Promise<void>, again?: (() => void) | null) => Promise<boolean>}} context */
  constructor({ api, words, announcer, attempt }) {
    this.#api = api;
    this.#words = words;
    this.#announcer = announcer;
    this.#attempt = attempt;
    this.#controls.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.load();
    });
    this.#range.addEventListener("change", () => {
      this.#showOwnRange();
      if (this.#range.value !== "own") void this.load();
    });
    this.#measure.addEventListener("change", () => this.draw());
    this.#onlyKind.addEventListener("change", () => {
      byId("only-slot", HTMLElement).hidden = this.#onlyKind.value === "";
      if (this.#onlyKind.value === "") void this.load();
      else this.#onlyName.focus();
    });
    this.#resized.observe(this.#days);
  }

  clear() {
    this.#loading.abort();
    this.#found = this.#own = null;
    this.#onlyName.value = this.#onlyKind.value = "";
    byId("only-slot", HTMLElement).hidden = true;
    this.#place.replaceChildren();
  }

  /** Asks for everything anew. */
  async load() {
    if (!this.#controls.reportValidity()) return;
    const { from, to } = this.#period();
    const kind = this.#onlyKind.value;
    const name = this.#onlyName.value.trim();
    this.#asked = { since: from, until: shifted(to, 1), ...(kind !== "" && name !== "" ? { [kind]: name } : {}) };
    this.#loading.abort();
    this.#loading = new AbortController();
    const { signal } = this.#loading;
    this.#place.setAttribute("aria-busy", "true");
    await this.#attempt(
      this.#failure,
      async () => {
        if (to < from) throw new RelayError({ kind: "http", code: "range", message: "" });
        const ask = (/** @type {string} */ by, /** @type {number} */ limit) =>
          this.#api.usage({ by, ...this.#asked, limit: String(limit) }, signal);
        const [byDay, callers, models, ends, own] = await Promise.all([
          ask("day", MOST_DAYS),
          ask("caller", CANDIDATES),
          ask("model", CANDIDATES),
          ask("end-reason", CANDIDATES),
          ask(this.#ownBy.join(","), MOST_ROWS),
        ]);
        const days = daysBetween(from, to);
        this.#found = { days, byDay, callers, models, ends };
        this.#own = own;
        this.draw();
        this.#announcer.say(this.#words.say("usage.loaded", { requests: this.#words.number(total(ends.data).requests) }));
      },
      () => void this.load(),
    );
    if (!signal.aborted) this.#place.removeAttribute("aria-busy");
  }

  draw() {
    const found = this.#found;
    this.#showOwnRange();
    if (found === null) return;
    const sum = total(found.ends.data);
    if (sum.requests === 0) {
      this.#place.replaceChildren(element("p", { class: "nothing" }, this.#words.say("usage.nothing")));
      return;
    }
    this.#place.replaceChildren(
      renderTotals(this.#words, sum),
      this.#dayFigure(found),
      element(
        "div",
        { class: "columns" },
        this.#topFigure("caller", found.callers),
        this.#topFigure("model", found.models),
      ),
      this.#endFigure(found.ends),
      this.#ownSection(),
    );
    this.#drawDays();
    this.#drawOwn();
  }

  get #shown() {
    return /** @type {Measure} */ (this.#measure.value);
  }

  #period() {
    const today = dayOf(Date.now());
    if (this.#range.value !== "own") return { from: shifted(today, 1 - Number(this.#range.value)), to: today };
    return { from: this.#from.value || shifted(today, -29), to: this.#to.value || today };
  }

  #showOwnRange() {
    const own = this.#range.value === "own";
    if (own && this.#from.value === "" && this.#to.value === "") {
      const today = dayOf(Date.now());
      this.#from.value = shifted(today, -29);
      this.#to.value = today;
    }
    for (const found of document.querySelectorAll(".own-range")) if (found instanceof HTMLElement) found.hidden = !own;
  }

  /** @param {Found} found */
  #dayFigure(found) {
    const title = this.#words.say("plot.day", { measure: this.#words.say(`usage.${this.#shown}`) });
    const rows = this.#dayRows(found);
    const cut = found.days.length >= MOST_DAYS && this.#words.say("plot.days.cut", { days: this.#words.number(MOST_DAYS) });
    return element(
      "figure",
      { class: "card", "data-plot": "day" },
      element("figcaption", {}, element("h3", {}, title)),
      renderLegend(this.#words, this.#shown),
      this.#days,
      cut && element("p", { class: "quiet" }, cut),
      element("details", {}, element("summary", {}, this.#words.say("plot.table")), renderSums(this.#words, title, ["day"], rows)),
    );
  }

  /** @param {Found} found @returns {Row[]} */
  #dayRows({ days, byDay }) {
    const known = new Map(byDay.data.map((row) => [row.day, row]));
    return days.map((day) => known.get(day) ?? { day, ...total([]) });
  }

  #drawDays() {
    if (this.#found === null || !this.#days.isConnected) return;
    const words = this.#words;
    const measure = this.#shown;
    const short = new Intl.DateTimeFormat(words.language, { month: "short", day: "numeric", timeZone: "UTC" });
    const bars = this.#dayRows(this.#found).map((row) => ({
      name: short.format(new Date(`${row.day}T00:00:00Z`)),
      title: `${row.day}: ${inWords(words, measure, row)}`,
      parts: PARTS[measure](row),
    }));
    const label = words.say("plot.day", { measure: this.#words.say(`usage.${this.#shown}`) });
    const width = Math.max(Math.floor(this.#days.clientWidth), 200);
    this.#days.replaceChildren(drawBars(bars, { width, label, format: (value) => compact(words, value) }));
  }

  /** @param {"caller" | "model"} by @param {Usage} usage */
  #topFigure(by, usage) {
    const measure = this.#shown;
    const title = this.#words.say(`plot.${by}`, { measure: this.#words.say(`usage.${this.#shown}`) });
    const rows = usage.data.toSorted((a, b) => amount(b, measure) - amount(a, measure)).slice(0, TOP);
    return renderLying(this.#words, { title, by, rows, count: usage.rows, measure });
  }

  /** @param {Usage} usage */
  #endFigure(usage) {
    const rows = usage.data.toSorted((a, b) => b.requests - a.requests).slice(0, TOP);
    return renderLying(this.#words, { title: this.#words.say("plot.end-reason"), by: "end-reason", rows, count: usage.rows, measure: "requests" });
  }

  #ownSection() {
    const words = this.#words;
    const boxes = GROUPINGS.map((by) => {
      const box = element("input", { type: "checkbox", value: by, checked: this.#ownBy.includes(by), onchange: () => void this.#group(by, box) });
      return element("label", { class: "check" }, box, words.say(`by.${by}`));
    });
    return element(
      "section",
      { class: "card", "data-plot": "own", "aria-labelledby": "own-heading" },
      element("h3", { id: "own-heading" }, words.say("own.heading")),
      element("fieldset", { class: "groupings" }, element("legend", {}, words.say("own.by")), ...boxes),
      this.#ownFailure,
      this.#ownPlace,
      element("p", {}, element("button", { type: "button", class: "outline-button", onclick: () => void this.#download() }, words.say("own.csv"))),
    );
  }

  /** @param {string} by @param {HTMLInputElement} box */
  async #group(by, box) {
    const wanted = GROUPINGS.filter((each) => (each === by ? box.checked : this.#ownBy.includes(each)));
    if (wanted.length === 0) {
      box.checked = true;
      return;
    }
    this.#ownBy = wanted;
    const query = { by: wanted.join(","), ...this.#asked, limit: String(MOST_ROWS) };
    const { signal } = this.#loading;
    await this.#attempt(this.#ownFailure, async () => {
      const found = await this.#api.usage(query, signal);
      if (this.#ownBy.join() !== wanted.join()) return; // there is a later wish
      this.#own = found;
      this.#drawOwn();
      this.#announcer.say(this.#words.say("own.loaded", { rows: this.#words.number(found.rows) }));
    });
  }

  #drawOwn() {
    const own = this.#own;
    if (own === null) return;
    const words = this.#words;
    const shown = own.data.slice(0, MOST_ROWS);
    const by = GROUPINGS.filter((each) => shown.length === 0 || each in shown[0]);
    const note = words.say(own.rows > shown.length ? "rows.cut" : "rows.all", { shown: words.number(shown.length), rows: words.number(own.rows) });
    this.#ownPlace.replaceChildren(renderSums(words, words.say("own.heading"), by, shown), element("p", { class: "quiet" }, note));
  }

  #download() {
    return this.#attempt(this.#ownFailure, async () => {
      const file = await this.#api.csv({ by: this.#ownBy.join(","), ...this.#asked });
      const url = URL.createObjectURL(file);
      const { since, until } = this.#asked;
      const link = element("a", { href: url, download: `usage-${since}-${shifted(until, -1)}.csv` });
      link.click();
      setTimeout(() => URL.revokeObjectURL(url), 60_000);
      this.#announcer.say(this.#words.say("own.saved"));
    });
  }
}

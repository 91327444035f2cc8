/**
 * Who used what: totals, plots with their tables, who was refused and why, and a table of the reader's own choice. All
 * that the reader chooses is in the address, which can be sent to somebody else.
 */

import { element } from "../../../dom.js";
import { RelayError } from "../../../errors.js";
import { writeAddress } from "../../address.js";
import { drawBars } from "../../bars.js";
import { MEASURES, PARTS, amount, compact, figure, total } from "../../figures.js";
import { choice, control, textField } from "../../form.js";
import { MOST_DAYS, SPANS, isDay, periodOf } from "../../period.js";
import { OUTCOMES, inWords, renderLegend, renderLying, renderName, renderSums, renderTotals } from "../../sums.js";
import { renderTable } from "../../table.js";
import { Detail, GROUPINGS } from "./detail.js";

/** @typedef {import("../../api.js").UsageRow & Record<string, any>} Row */
/** @typedef {import("../../api.js").Usage} Usage */
/** @typedef {import("../../view.js").View} View */
/** @typedef {import("../../figures.js").Measure} Measure */
/** @typedef {import("../../period.js").Period} Period */
/** @typedef {{period: Period, times: Usage, callers: Usage, models: Usage, ends: Usage, causes: Usage | null}} Found */

/** How many bars lie below one another. */
const TOP = 20;

/** How many rows are fetched to find the top ones by cost, since the relay sends those with most tokens first. */
const CANDIDATES = 1000;

/** How many callers with a reason each are shown. */
const MOST_CAUSES = 100;

const KINDS = ["caller", "group", "model"];

/** @implements {View} */
export class UsageView {
  /** @type {import("../../address.js").Known} */
  static parameters = {
    since: (value) => SPANS.includes(value) || isDay(value),
    to: (value, all) => isDay(value) && isDay(all.get("since") ?? ""),
    measure: (value) => MEASURES.some((measure) => measure === value),
    outcome: (value) => OUTCOMES.some((outcome) => outcome === value),
    only: (value) => KINDS.some((kind) => value.startsWith(`${kind}:`) && value.length > kind.length + 1),
    by: (value) => value.split(",").every((by) => GROUPINGS.includes(by)),
  };
  #api;
  #words;
  #announcer;
  #attempt;
  #go;
  #range = choice("range", Object.fromEntries([...SPANS, "own"].map((span) => [span, `usage.range.${span}`])), "30d");
  #from = dateField("from");
  #to = dateField("to");
  #measure = choice("measure", Object.fromEntries(MEASURES.map((measure) => [measure, `usage.${measure}`])));
  #outcome = choice("usage-outcome", { "": "usage.outcome.all", ...Object.fromEntries(OUTCOMES.map((outcome) => [outcome, `usage.outcome.${outcome}`])) });
  #onlyKind = choice("only-kind", { "": "usage.only.all", ...Object.fromEntries(KINDS.map((kind) => [kind, `usage.only.${kind}`])) });
  #onlyName = textField("only-name", { list: "only-names" });
  #onlyNames = element("datalist", { id: "only-names" });
  #ownRange = [control("usage.from", this.#from), control("usage.to", this.#to)];
  #onlySlot = control("usage.only.name", this.#onlyName, { hidden: true });
  #controls = element(
    "form",
    { class: "controls", "data-say-label": "usage.controls", onsubmit: (event) => this.#submit(event) },
    control("usage.range", this.#range),
    ...this.#ownRange,
    control("usage.measure", this.#measure),
    control("usage.outcome", this.#outcome),
    control("usage.only", this.#onlyKind),
    this.#onlySlot,
    element("button", { type: "submit", class: "outline-button", "data-say": "usage.apply" }),
    this.#onlyNames,
  );
  #failure = element("div", { class: "failure-slot" });
  #place = element("div", { id: "report", class: "report", tabindex: -1, "aria-busy": "true" });
  root = element("section", {}, this.#controls, element("p", { class: "quiet", "data-say": "usage.utc" }), this.#failure, this.#place);
  /** @type {Found | null} */
  #found = null;
  #asked = "";
  /** @type {Measure | ""} the measure that is drawn */
  #drawn = "";
  #loading = new AbortController();
  #plot = element("div", { class: "plot" });
  #resized = new ResizeObserver(() => this.#drawTimes());
  #detail;

  /** @param {import("../../view.js").Context} context */
  constructor(context) {
    this.#api = context.api;
    this.#words = context.words;
    this.#announcer = context.announcer;
    this.#attempt = context.attempt;
    this.#go = context.go;
    this.#detail = new Detail(context, (by) => this.#write({ by: by.join(",") }));
    this.#range.addEventListener("change", () => {
      this.#showFields();
      if (this.#range.value !== "own") this.#write();
    });
    for (const field of [this.#measure, this.#outcome]) field.addEventListener("change", () => this.#write());
    this.#onlyKind.addEventListener("change", () => {
      this.#showFields();
      this.#onlyName.value = "";
      if (this.#onlyKind.value === "") this.#write();
      else this.#onlyName.focus();
      void this.#offerNames();
    });
    this.#resized.observe(this.#plot);
  }

  /** @param {string[]} _ @param {URLSearchParams} parameters */
  enter(_, parameters) {
    const since = parameters.get("since") ?? "30d";
    const [kind, name] = (parameters.get("only") ?? ":").split(/:(.*)/s, 2);
    const own = isDay(since);
    this.#range.value = own ? "own" : since;
    this.#from.value = own ? since : "";
    this.#to.value = parameters.get("to") ?? "";
    this.#measure.value = parameters.get("measure") ?? "tokens";
    this.#outcome.value = parameters.get("outcome") ?? "";
    this.#onlyKind.value = kind;
    this.#onlyName.value = name;
    this.#detail.by = parameters.get("by")?.split(",") ?? [];
    this.#showFields();
    const query = this.#query();
    if (this.#found === null || JSON.stringify(query) !== this.#asked) void this.#load(query);
    else if (this.#drawn !== this.#shown) this.redraw();
    else this.#detail.redraw();
  }

  leave() {
    this.#loading.abort();
    this.#asked = "";
  }

  clear() {
    this.#found = null;
    this.#asked = "";
    this.#onlyName.value = "";
    this.#onlyNames.replaceChildren();
    this.#detail.clear();
    this.#place.replaceChildren();
  }

  redraw() {
    const found = this.#found;
    if (found === null) return;
    const words = this.#words;
    this.#drawn = this.#shown;
    const focused = this.#place.contains(document.activeElement) && !this.#detail.root.contains(document.activeElement);
    const sum = total(found.times.data);
    if (sum.requests === 0) {
      this.#place.replaceChildren(element("p", { class: "nothing" }, words.say("usage.nothing")));
    } else {
      this.#place.replaceChildren(
        renderTotals(words, sum, found.times.currency, (outcome) => this.#address({ outcome, measure: "requests" })),
        ...(found.causes === null ? [] : [this.#causesFigure(found.causes)]),
        this.#timesFigure(found),
        element("div", { class: "columns" }, this.#topFigure("caller", found.callers), this.#topFigure("model", found.models)),
        this.#endFigure(found.ends),
        this.#detail.root,
      );
      this.#drawTimes();
      this.#detail.redraw();
    }
    if (focused) this.#place.focus();
  }

  get #shown() {
    return /** @type {Measure} */ (this.#measure.value);
  }

  /** What the fields say, as the address has it. @param {Record<string, string>} [others] */
  #address(others = {}) {
    const own = this.#range.value === "own";
    const name = this.#onlyName.value.trim();
    /** @type {Record<string, string>} */
    const wanted = {
      since: own ? this.#from.value : this.#range.value,
      to: own ? this.#to.value : "",
      measure: this.#shown,
      outcome: this.#outcome.value,
      only: this.#onlyKind.value !== "" && name !== "" ? `${this.#onlyKind.value}:${name}` : "",
      by: this.#detail.by.join(","),
      ...others,
    };
    return writeAddress("usage", [], Object.fromEntries(Object.entries(wanted).filter(([, value]) => value !== "")));
  }

  /** @param {Record<string, string>} [others] */
  #write(others = {}) {
    if (this.#controls.reportValidity()) this.#go(this.#address(others));
  }

  /** @param {Event} event */
  #submit(event) {
    event.preventDefault();
    if (!this.#controls.reportValidity()) return;
    if (this.#address() === location.hash) void this.#load(this.#query());
    else this.#go(this.#address());
  }

  /** What is asked of the relay, without what it is summed by. */
  #query() {
    const name = this.#onlyName.value.trim();
    return {
      since: this.#range.value === "own" ? this.#from.value : this.#range.value,
      to: this.#to.value,
      outcome: this.#outcome.value,
      only: /** @type {[string, string] | null} */ (this.#onlyKind.value !== "" && name !== "" ? [this.#onlyKind.value, name] : null),
    };
  }

  /** Asks for everything anew. @param {ReturnType<UsageView["#query"]>} wanted */
  async #load(wanted) {
    this.#asked = JSON.stringify(wanted);
    this.#loading.abort();
    this.#loading = new AbortController();
    const { signal } = this.#loading;
    this.#place.setAttribute("aria-busy", "true");
    await this.#attempt(
      this.#failure,
      async () => {
        const period = periodOf(wanted.since, wanted.to, Date.now());
        if (period === null) throw new RelayError({ kind: "http", code: "range", message: "" });
        const { since, until } = period;
        const { outcome } = wanted;
        const query = { since, until, ...(wanted.only && { [wanted.only[0]]: wanted.only[1] }), ...(outcome !== "" && { outcome }) };
        const ask = (/** @type {string} */ by, /** @type {number} */ limit) =>
          this.#api.usage({ by, ...query, limit: String(limit) }, signal);
        const [times, callers, models, ends, causes] = await Promise.all([
          ask(period.by, CANDIDATES),
          ask("caller", CANDIDATES),
          ask("model", CANDIDATES),
          ask("end-reason", CANDIDATES),
          outcome === "" ? null : ask("caller,code", CANDIDATES),
        ]);
        this.#found = { period, times, callers, models, ends, causes };
        this.#detail.ask(query, signal);
        this.redraw();
        this.#announcer.say(this.#words.say("usage.loaded", { requests: this.#words.number(total(times.data).requests) }));
      },
      () => void this.#load(wanted),
    );
    if (!signal.aborted) this.#place.removeAttribute("aria-busy");
  }

  #showFields() {
    const own = this.#range.value === "own";
    for (const each of this.#ownRange) each.hidden = !own;
    this.#from.required = own;
    this.#onlySlot.hidden = this.#onlyKind.value === "";
  }

  /** Offers the groups of the configuration, or the callers and models that are shown. */
  async #offerNames() {
    const kind = this.#onlyKind.value;
    const shown = kind === "caller" ? this.#found?.callers.data : this.#found?.models.data;
    let names = (shown ?? []).map((row) => String(row[kind]));
    if (kind === "group") {
      await this.#attempt(this.#failure, async () => {
        const { data } = await this.#api.groups(this.#loading.signal);
        names = data.map(({ group }) => group).filter((group) => group !== "everybody"); // the ledger names no such group
      });
    }
    if (this.#onlyKind.value === kind) this.#onlyNames.replaceChildren(...names.filter(Boolean).map((value) => element("option", { value })));
  }

  /** @param {Found} found */
  #timesFigure(found) {
    const { period, times } = found;
    const title = this.#timesTitle(period);
    const rows = timeRows(found);
    const cut = period.cut && this.#words.say("plot.days.cut", { days: this.#words.number(MOST_DAYS) });
    return element(
      "figure",
      { class: "card", "data-plot": "time" },
      element("figcaption", {}, element("h2", {}, title)),
      renderLegend(this.#words, this.#shown, rows),
      this.#plot,
      cut && element("p", { class: "quiet" }, cut),
      element("details", {}, element("summary", {}, this.#words.say("plot.table")), renderSums(this.#words, title, [period.by], rows, times.currency)),
    );
  }

  /** @param {Period} period */
  #timesTitle({ by }) {
    return this.#words.say(`plot.${by}`, { measure: this.#words.say(`usage.${this.#shown}`) });
  }

  #drawTimes() {
    const found = this.#found;
    if (found === null || !this.#plot.isConnected) return;
    const words = this.#words;
    const measure = this.#shown;
    const { by } = found.period;
    const day = new Intl.DateTimeFormat(words.language, { month: "short", day: "numeric", timeZone: "UTC" });
    const hour = new Intl.DateTimeFormat(words.language, { hour: "2-digit", minute: "2-digit", hourCycle: "h23", timeZone: "UTC" });
    const bars = timeRows(found).map((row) => {
      const start = new Date(by === "day" ? `${row.day}T00:00:00Z` : row.hour);
      const name = by === "day" || start.getUTCHours() === 0 ? day.format(start) : hour.format(start);
      const when = by === "day" ? row.day : row.hour.slice(0, 16).replace("T", " ");
      return { name, title: `${when}: ${inWords(words, measure, row, found.times.currency)}`, parts: PARTS[measure](row) };
    });
    const width = Math.max(Math.floor(this.#plot.clientWidth), 200);
    this.#plot.replaceChildren(drawBars(bars, { width, label: this.#timesTitle(found.period), format: (value) => compact(words, value) }));
  }

  /** @param {"caller" | "model"} by @param {Usage} usage */
  #topFigure(by, usage) {
    const measure = this.#shown;
    const title = this.#words.say(`plot.${by}`, { measure: this.#words.say(`usage.${measure}`) });
    const rows = usage.data.toSorted((a, b) => amount(b, measure) - amount(a, measure)).slice(0, TOP);
    return renderLying(this.#words, { title, by, rows, count: usage.rows, measure, currency: usage.currency });
  }

  /** @param {Usage} usage */
  #endFigure(usage) {
    const rows = usage.data.toSorted((a, b) => b.requests - a.requests).slice(0, TOP);
    const title = this.#words.say("plot.end-reason");
    return renderLying(this.#words, { title, by: "end-reason", rows, count: usage.rows, measure: "requests", currency: usage.currency });
  }

  /** Who was refused or failed, and why. @param {Usage} causes */
  #causesFigure(causes) {
    const words = this.#words;
    const title = words.say(`causes.${this.#outcome.value}`);
    const rows = causes.data.toSorted((a, b) => b.requests - a.requests).slice(0, MOST_CAUSES);
    const more = { shown: words.number(rows.length), rows: words.number(causes.rows) };
    return element(
      "section",
      { class: "card", "data-plot": "causes", "aria-labelledby": "causes-heading" },
      element("h2", { id: "causes-heading" }, title),
      renderTable(
        title,
        [
          { head: words.say("by.caller"), name: true, class: "name", cell: (row) => renderName(words, "caller", row.caller) },
          { head: words.say("by.code"), class: "name", cell: (row) => renderName(words, "code", row.code) },
          { head: words.say("figure.requests"), number: true, cell: (row) => figure(words, "requests", row.requests, null) },
        ],
        rows,
      ),
      causes.rows > rows.length && element("p", { class: "quiet" }, words.say("rows.shown", more)),
    );
  }
}

/** Every hour or day, also those without requests. @param {Found} found @returns {Row[]} */
function timeRows({ period: { by, starts }, times }) {
  const known = new Map(times.data.map((row) => [row[by], row]));
  return starts.map((start) => known.get(start) ?? { [by]: start, ...total([]) });
}

/** @param {string} id */
function dateField(id) {
  return element("input", { id, type: "date", min: "2000-01-01", max: "9998-12-31", class: "boxed" });
}

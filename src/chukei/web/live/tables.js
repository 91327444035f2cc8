/**
 * The tables of the live page. A frame is made once; then only its rows change, so that it keeps its scroll position.
 */

import { renderTable } from "../admin/table.js";
import { byId, element } from "../dom.js";
import { duration, percent } from "./quantities.js";

/** @typedef {import("../i18n.js").Words} Words */
/** @typedef {import("../admin/table.js").Column<any>} Column */

export class LiveTable {
  #words;
  #place;
  #columns;
  #frame = /** @type {HTMLElement | null} */ (null);
  #name;

  /**
   * @param {string} id of its place, and of its words
   * @param {Words} words
   * @param {(words: Words) => Column[]} columns
   */
  constructor(id, words, columns) {
    this.#words = words;
    this.#columns = columns;
    this.#name = `live.${id}`;
    this.#place = byId(id, HTMLElement);
  }

  /** The frame's words are in the language of before. */
  clear() {
    this.#frame = null;
    this.#place.replaceChildren();
  }

  /** @param {any[]} rows */
  show(rows) {
    const words = this.#words;
    const made = renderTable(words.say(this.#name), this.#columns(words), rows);
    const [body] = made.getElementsByTagName("tbody");
    [...body.rows].forEach((row, index) => {
      if (rows[index].level !== undefined) row.className = `level-${rows[index].level}`;
    });
    if (rows.length === 0) body.append(element("tr", {}, element("td", { class: "quiet", colspan: 12 }, words.say("live.none"))));
    if (this.#frame === null) this.#place.replaceChildren((this.#frame = made));
    else this.#frame.getElementsByTagName("tbody")[0].replaceWith(body);
  }
}

/** @param {Words} words @returns {Column[]} */
export function deploymentColumns(words) {
  const time = (/** @type {any} */ quantiles, /** @type {string} */ share) => duration(words, quantiles?.[share] ?? null);
  const main = (/** @type {any} */ row) => (row.first_token.count > 0 ? row.first_token : row.answer);
  return [
    { head: words.say("by.deployment"), name: true, class: "name", cell: ({ deployment }) => text(deployment) },
    { head: words.say("deployments.status"), cell: (row) => status(words, row) },
    { head: words.say("live.open"), number: true, cell: ({ open }) => words.number(open) },
    { head: words.say("live.waiting"), number: true, cell: ({ waiting }) => words.number(waiting) },
    { head: words.say("live.asked"), number: true, cell: ({ asked }) => words.number(asked) },
    { head: words.say("live.share"), number: true, cell: ({ share }) => percent(words, share, 1) },
    { head: words.say("figure.failed"), number: true, cell: ({ failed, asked }) => percent(words, failed, asked) },
    { head: words.say("live.code"), class: "code-cell", cell: ({ codes }) => code(Object.keys(codes)[0]) },
    { head: words.say("live.p50"), number: true, cell: (row) => time(main(row), "p50") },
    { head: words.say("live.p95"), number: true, cell: (row) => time(main(row), "p95") },
    { head: words.say("live.usual"), number: true, cell: ({ usual }) => time(usual.first_token ?? usual.answer, "p95") },
    { head: words.say("live.gap"), number: true, cell: ({ gap }) => time(gap, "p50") },
    { head: words.say("live.tokens"), number: true, cell: ({ output }) => words.number(output) },
  ];
}

/** @param {Words} words @returns {Column[]} */
export function callerColumns(words) {
  const count = (/** @type {string} */ head, /** @type {string} */ field) => ({
    head: words.say(head),
    number: true,
    cell: (/** @type {any} */ row) => words.number(row[field]),
  });
  const name = (/** @type {any} */ row) =>
    row.caller === "" ? element("span", { class: "quiet" }, words.say(row.others ? "live.others" : "live.unknown")) : text(row.caller);
  return [
    { head: words.say("by.caller"), name: true, class: "name", cell: name },
    count("live.open", "open"),
    count("figure.requests", "requests"),
    count("live.refused", "refused"),
    count("figure.failed", "failed"),
    count("figure.input", "input"),
    count("figure.output", "output"),
    count("live.slow", "slow"),
  ];
}

/** @param {Words} words @returns {Column[]} */
export function reasonColumns(words) {
  return [
    { head: words.say("live.code"), name: true, class: "code-cell name", cell: (row) => why(row) },
    { head: words.say("live.outcome"), cell: ({ outcome }) => words.say(`live.outcome.${outcome}`) },
    { head: words.say("live.times"), number: true, cell: ({ count }) => words.number(count) },
    { head: words.say("live.last.caller"), class: "name", cell: ({ last }) => text(last.caller) },
    { head: words.say("by.deployment"), class: "name", cell: ({ last }) => text(last.deployment) },
    { head: words.say("live.ago"), number: true, cell: ({ last }) => duration(words, last.age) },
    { head: words.say("live.request"), class: "code-cell", cell: ({ last }) => code(last.request_id) },
  ];
}

/** @param {Words} words @returns {Column[]} */
export function failureColumns(words) {
  return [
    { head: words.say("live.request"), name: true, class: "code-cell", cell: ({ request_id: id }) => code(id) },
    { head: words.say("live.ago"), number: true, cell: ({ age }) => duration(words, age) },
    { head: words.say("live.status"), number: true, cell: ({ status: number }) => String(number ?? "–") },
    { head: words.say("live.code"), class: "code-cell name", cell: (row) => why(row) },
    { head: words.say("by.caller"), class: "name", cell: ({ caller }) => text(caller) },
    { head: words.say("by.model"), class: "name", cell: ({ model }) => text(model) },
    { head: words.say("by.deployment"), class: "name", cell: ({ deployment }) => text(deployment) },
  ];
}

/** Names come from outside and may be written in any direction. @param {string | null | undefined} value */
function text(value) {
  return value ? element("bdi", {}, value) : "–";
}

/** @param {string | null | undefined} value */
function code(value) {
  return value ? element("code", {}, element("bdi", {}, value)) : "–";
}

/** The error code, and the place in the configuration of the rule that refused. @param {any} row */
function why({ code: name, rule }) {
  return rule ? element("span", {}, code(name), " ", code(rule)) : code(name);
}

/** @param {Words} words @param {any} row */
function status(words, { status: found, seconds, away, pools }) {
  if (found === null) return "–";
  const known = words.has(`status.${found}`) ? words.say(`status.${found}`) : String(found);
  const part = away > 0 && pools > 1 ? ` ${away}/${pools}` : "";
  const rest = seconds > 0 ? ` ${duration(words, seconds)}` : "";
  return element("span", { class: "status-line" }, element("span", { class: `state status-${found}` }, known), part + rest);
}

/**
 * The tables of what happens now. A frame is made once; then only its rows change, so that it keeps its scroll position.
 */

import { element } from "../../../dom.js";
import { writeAddress } from "../../address.js";
import { renderReason } from "../../reasons.js";
import { renderTable } from "../../table.js";
import { duration, percent } from "./quantities.js";

/** @typedef {import("../../../i18n.js").Words} Words */
/** @typedef {import("../../table.js").Column<any>} Column */

export class LiveTable {
  #words;
  #columns;
  #frame = /** @type {HTMLElement | null} */ (null);
  root;
  title;

  /**
   * @param {string} name of its words
   * @param {Words} words
   * @param {(words: Words) => Column[]} columns
   */
  constructor(name, words, columns) {
    this.#words = words;
    this.#columns = columns;
    this.title = `now.${name}`;
    this.root = element("div", { "data-now": name });
  }

  /** The frame's words are in the language of before. */
  clear() {
    this.#frame = null;
    this.root.replaceChildren();
  }

  /** @param {any[]} rows */
  show(rows) {
    const words = this.#words;
    const made = renderTable(words.say(this.title), this.#columns(words), rows);
    const [body] = made.getElementsByTagName("tbody");
    [...body.rows].forEach((row, index) => {
      if (rows[index].level !== undefined) row.className = `level-${rows[index].level}`;
    });
    if (rows.length === 0) body.append(element("tr", { role: "row" }, element("td", { role: "cell", class: "quiet", colspan: 13 }, words.say("now.none"))));
    if (this.#frame === null) this.root.replaceChildren((this.#frame = made));
    else this.#frame.getElementsByTagName("tbody")[0].replaceWith(body);
  }
}

/** @param {Words} words @returns {Column[]} */
export function deploymentColumns(words) {
  const time = (/** @type {any} */ quantiles, /** @type {string} */ share) => duration(words, quantiles?.[share] ?? null);
  const main = (/** @type {any} */ row) => (row.first_token.count > 0 ? row.first_token : row.answer);
  return [
    { head: words.say("by.deployment"), name: true, class: "name", cell: (row) => deployment(words, row) },
    { head: words.say("deployments.status"), cell: (row) => status(words, row) },
    { head: words.say("now.open"), number: true, cell: ({ open }) => words.number(open) },
    { head: words.say("now.waiting"), number: true, cell: ({ waiting }) => words.number(waiting) },
    { head: words.say("now.asked"), number: true, cell: ({ asked }) => words.number(asked) },
    { head: words.say("now.share"), number: true, cell: ({ share }) => percent(words, share, 1) },
    { head: words.say("figure.failed"), number: true, cell: ({ failed, asked }) => percent(words, failed, asked) },
    { head: words.say("now.p95"), number: true, cell: (row) => time(main(row), "p95") },
    { head: words.say("now.usual"), number: true, cell: ({ usual }) => time(usual.first_token ?? usual.answer, "p95") },
    { head: words.say("now.gap"), number: true, cell: ({ gap }) => time(gap, "p50") },
    { head: words.say("now.tokens"), number: true, cell: ({ output }) => words.number(output) },
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
    row.caller === "" ? element("span", { class: "quiet" }, words.say(row.others ? "now.others" : "now.unknown")) : text(row.caller);
  return [
    { head: words.say("by.caller"), name: true, class: "name", cell: name },
    count("now.open", "open"),
    count("figure.requests", "requests"),
    count("now.refused", "refused"),
    count("figure.failed", "failed"),
    count("figure.input", "input"),
    count("figure.output", "output"),
    count("now.slow", "slow"),
  ];
}

/** @param {Words} words @returns {Column[]} */
export function reasonColumns(words) {
  return [
    { head: words.say("now.reason"), name: true, class: "name", cell: ({ code, rule }) => renderReason(words, code, rule) },
    { head: words.say("now.times"), number: true, cell: ({ count }) => words.number(count) },
    { head: words.say("now.last.caller"), class: "name", cell: ({ last }) => text(last.caller) },
    { head: words.say("by.deployment"), class: "name", cell: ({ last }) => text(last.deployment) },
    { head: words.say("now.ago"), number: true, cell: ({ last }) => duration(words, last.age) },
    { head: words.say("now.request"), class: "code-cell", cell: ({ last }) => id(last.request_id) },
  ];
}

/** @param {Words} words @returns {Column[]} */
export function failureColumns(words) {
  return [
    { head: words.say("now.request"), name: true, class: "code-cell", cell: ({ request_id }) => id(request_id) },
    { head: words.say("now.ago"), number: true, cell: ({ age }) => duration(words, age) },
    { head: words.say("now.status"), number: true, cell: ({ status: number }) => String(number ?? "–") },
    { head: words.say("now.reason"), class: "name", cell: ({ code, rule }) => renderReason(words, code, rule) },
    { head: words.say("by.caller"), class: "name", cell: ({ caller }) => text(caller) },
    { head: words.say("by.model"), class: "name", cell: ({ model }) => text(model) },
    { head: words.say("by.deployment"), class: "name", cell: ({ deployment }) => text(deployment) },
  ];
}

/** Names come from outside and may be written in any direction. @param {string | null | undefined} value */
function text(value) {
  return value ? element("bdi", {}, value) : "–";
}

/** @param {string} request */
function id(request) {
  return element("code", {}, element("bdi", {}, request));
}

/** Its name leads to its details; below it stands why most of its attempts failed. @param {Words} words @param {any} row */
function deployment(words, { deployment: name, codes }) {
  const [worst] = Object.keys(codes);
  const link = element("a", { href: writeAddress("deployments", [name]) }, element("bdi", {}, name));
  return worst === undefined ? link : element("span", {}, link, element("span", { class: "below" }, renderReason(words, worst)));
}

/** @param {Words} words @param {any} row */
function status(words, { status: found, seconds, away, pools }) {
  if (found === null) return "–";
  const known = words.has(`status.${found}`) ? words.say(`status.${found}`) : String(found);
  const part = away > 0 && pools > 1 ? ` ${away}/${pools}` : "";
  const rest = seconds > 0 ? ` ${duration(words, seconds)}` : "";
  return element("span", { class: "status-line" }, element("span", { class: `state status-${found}` }, known), part + rest);
}

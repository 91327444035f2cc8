/**
 * Sums as they are read: totals, bars beside their names and figures, and tables.
 */

import { element } from "../dom.js";
import { writeAddress } from "./address.js";
import { drawLying } from "./bars.js";
import { PARTS, amount, figure, money, percent } from "./figures.js";
import { renderReason } from "./reasons.js";
import { renderTable } from "./table.js";

/** @typedef {import("../i18n.js").Words} Words */
/** @typedef {import("./api.js").UsageRow} UsageRow */
/** @typedef {UsageRow & Record<string, any>} Row */
/** @typedef {import("./figures.js").Measure} Measure */

/** What did not end well, and can be looked into. */
export const OUTCOMES = /** @type {const} */ (["refused", "failed"]);

/**
 * @param {Words} words
 * @param {UsageRow} sum
 * @param {string | null} currency
 * @param {(outcome: string) => string} address of the requests with an outcome
 */
export function renderTotals(words, sum, currency, address) {
  const cached = { cached: words.number(sum.cached), share: percent(words, sum.cached, sum.input) };
  const badly = OUTCOMES.filter((outcome) => sum[outcome] > 0).map((outcome) => {
    const count = { count: words.number(sum[outcome]), share: percent(words, sum[outcome], sum.requests) };
    return element("a", { href: address(outcome), class: "below" }, words.say(`total.${outcome}`, count));
  });
  const list = element(
    "dl",
    { class: "totals" },
    renderTotal(words, "requests", words.number(sum.requests), ...(badly.length > 0 ? badly : [words.say("total.well")])),
    renderTotal(words, "input", words.number(sum.input), words.say("total.cached", cached)),
    renderTotal(words, "output", words.number(sum.output), words.say("total.reasoning", { reasoning: words.number(sum.reasoning) })),
    renderTotal(words, "cost", money(words, sum.cost, currency), sum.unpriced > 0 && words.say("total.unpriced", { unpriced: words.number(sum.unpriced) })),
  );
  return element(
    "div",
    {},
    list,
    sum.estimated > 0 && element("p", { class: "quiet" }, words.say("total.estimated", { estimated: words.number(sum.estimated) })),
    sum.wasted > 0 && element("p", { class: "quiet" }, words.say("total.wasted", { wasted: words.number(sum.wasted) })),
  );
}

/** @param {Words} words @param {string} name @param {string} value @param {...import("../dom.js").Child} notes */
function renderTotal(words, name, value, ...notes) {
  return element(
    "div",
    { "data-total": name },
    element("dt", {}, words.say(`total.${name}`)),
    element("dd", { class: "big" }, value),
    ...notes.filter(Boolean).map((note) => element("dd", { class: "quiet" }, note)),
  );
}

/** What the colours and outlines mean; for a measure without parts nothing. @param {Words} words @param {Measure} measure @param {Row[]} rows */
export function renderLegend(words, measure, rows) {
  const parts = rows.flatMap((row) => PARTS[measure](row));
  if (parts.length === rows.length) return null;
  const names = [...new Set(parts.filter(([, value]) => value > 0).map(([name]) => name))];
  const items = names.map((name) => element("li", {}, element("span", { class: `swatch swatch-${name}` }), words.say(`figure.${name}`)));
  return element("ul", { class: "legend", "aria-hidden": "true" }, ...items);
}

/**
 * A table of which one column is a plot.
 * @param {Words} words
 * @param {{title: string, by: string, rows: Row[], count: number, measure: Measure, currency: string | null}} figures `count` rows there are in all
 */
export function renderLying(words, { title, by, rows, count, measure, currency }) {
  const top = Math.max(0, ...rows.map((row) => amount(row, measure)));
  const table = renderTable(
    title,
    [
      { head: words.say(`by.${by}`), name: true, class: "name", cell: (row) => renderName(words, by, row[by]) },
      { head: words.say("plot.bar"), class: "bar-cell", cell: (row) => drawLying(PARTS[measure](row), top) },
      { head: words.say(`usage.${measure}`), number: true, cell: (row) => figure(words, measure, amount(row, measure), currency) },
    ],
    rows,
  );
  table.classList.add("lying-table");
  const more = words.say("rows.shown", { shown: words.number(rows.length), rows: words.number(count) });
  return element(
    "figure",
    { class: "card", "data-plot": by },
    element("figcaption", {}, element("h2", {}, title)),
    renderLegend(words, measure, rows),
    table,
    count > rows.length && element("p", { class: "quiet" }, more),
  );
}

/**
 * All figures, by whatever they were summed by.
 * @param {Words} words
 * @param {string} caption
 * @param {string[]} by
 * @param {Row[]} rows
 * @param {string | null} currency
 */
export function renderSums(words, caption, by, rows, currency) {
  const names = by.map((each, index) => ({
    head: words.say(`by.${each}`),
    name: index === 0,
    class: "name",
    cell: (/** @type {Row} */ row) => renderName(words, each, row[each]),
  }));
  const counts = /** @type {const} */ (["requests", "refused", "failed", "input", "cached", "output", "reasoning"]).map((each) => ({
    head: words.say(`figure.${each}`),
    number: true,
    cell: (/** @type {Row} */ row) => words.number(row[each]),
  }));
  const first = (/** @type {Row} */ row) => (row.first_token_ms === null ? "–" : words.number(row.first_token_ms));
  const cost = { head: words.say("figure.cost"), number: true, cell: (/** @type {Row} */ row) => money(words, row.cost, currency) };
  return renderTable(caption, [...names, ...counts, cost, { head: words.say("figure.first"), number: true, cell: first }], rows);
}

/** The parts of one bar. @param {Words} words @param {Measure} measure @param {Row} row @param {string | null} currency */
export function inWords(words, measure, row, currency) {
  const parts = PARTS[measure](row).map(([name, value]) => `${words.say(`figure.${name}`)} ${figure(words, measure, value, currency)}`);
  return parts.join(", ");
}

/**
 * What a row is about. Names come from outside and may be written in any direction.
 * @param {Words} words
 * @param {string} by
 * @param {unknown} value
 */
export function renderName(words, by, value) {
  const text = String(value ?? "");
  if (text === "") return element("span", { class: "quiet" }, words.say("by.none"));
  if (by === "caller") return element("a", { href: writeAddress("callers", [text]) }, element("bdi", {}, text));
  if (by === "code") return renderReason(words, text);
  if (by === "end-reason") return renderEnd(words, text);
  return element("bdi", {}, by === "hour" ? text.slice(0, 16).replace("T", " ") : text);
}

/** @param {Words} words @param {string} end */
function renderEnd(words, end) {
  const code = element("code", {}, element("bdi", {}, end));
  if (!words.has(`end.${end}`)) return element("span", { class: "reason" }, code);
  return element("span", { class: "reason" }, words.say(`end.${end}`), element("span", { class: "codes" }, code));
}

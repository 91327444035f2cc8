/**
 * Sums as they are read: totals, bars beside their names and figures, and tables.
 */

import { element } from "../dom.js";
import { drawLying } from "./bars.js";
import { PARTS, PART_WORDS, amount, figure, money } from "./figures.js";
import { renderTable } from "./table.js";

/** @typedef {import("../i18n.js").Words} Words */
/** @typedef {import("./api.js").UsageRow} UsageRow */
/** @typedef {UsageRow & Record<string, any>} Row */
/** @typedef {import("./figures.js").Measure} Measure */

/** @param {Words} words @param {UsageRow} sum */
export function renderTotals(words, sum) {
  const share = (/** @type {number} */ part, /** @type {number} */ whole) => (whole > 0 ? words.number((100 * part) / whole, 1) : "0");
  const failed = { failed: words.number(sum.failed), share: share(sum.failed, sum.requests) };
  const cached = { cached: words.number(sum.cached), share: share(sum.cached, sum.input) };
  const list = element(
    "dl",
    { class: "totals" },
    renderTotal(words, "requests", words.number(sum.requests), words.say("total.failed", failed)),
    renderTotal(words, "input", words.number(sum.input), words.say("total.cached", cached)),
    renderTotal(words, "output", words.number(sum.output), words.say("total.reasoning", { reasoning: words.number(sum.reasoning) })),
    renderTotal(words, "cost", money(words, sum.cost), sum.unpriced > 0 && words.say("total.unpriced", { unpriced: words.number(sum.unpriced) })),
  );
  return element(
    "div",
    {},
    list,
    sum.estimated > 0 && element("p", { class: "quiet" }, words.say("total.estimated", { estimated: words.number(sum.estimated) })),
    sum.wasted > 0 && element("p", { class: "quiet" }, words.say("total.wasted", { wasted: words.number(sum.wasted) })),
  );
}

/** @param {Words} words @param {string} name @param {string} value @param {string | false} note */
function renderTotal(words, name, value, note) {
  return element(
    "div",
    { "data-total": name },
    element("dt", {}, words.say(`total.${name}`)),
    element("dd", { class: "big" }, value),
    note !== false && element("dd", { class: "quiet" }, note),
  );
}

/** What the colours mean; where there is one only, nothing. @param {Words} words @param {Measure} measure */
export function renderLegend(words, measure) {
  const keys = PART_WORDS[measure];
  if (keys.length < 2) return null;
  const items = keys.map((key, index) => element("li", {}, element("span", { class: `swatch swatch-${index}` }), words.say(key)));
  return element("ul", { class: "legend", "aria-hidden": "true" }, ...items);
}

/**
 * A table of which one column is a plot.
 * @param {Words} words
 * @param {{title: string, by: string, rows: Row[], count: number, measure: Measure}} figures `count` rows there are in all
 */
export function renderLying(words, { title, by, rows, count, measure }) {
  const top = Math.max(0, ...rows.map((row) => amount(row, measure)));
  const table = renderTable(
    title,
    [
      { head: words.say(`by.${by}`), name: true, class: "name", cell: (row) => renderName(words, row[by]) },
      { head: words.say("plot.bar"), class: "bar-cell", cell: (row) => drawLying(PARTS[measure](row), top) },
      { head: words.say(`usage.${measure}`), number: true, cell: (row) => figure(words, measure, amount(row, measure)) },
    ],
    rows,
  );
  table.classList.add("lying-table");
  const more = words.say("rows.shown", { shown: words.number(rows.length), rows: words.number(count) });
  return element(
    "figure",
    { class: "card", "data-plot": by },
    element("figcaption", {}, element("h3", {}, title)),
    renderLegend(words, measure),
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
 */
export function renderSums(words, caption, by, rows) {
  const names = by.map((each, index) => ({
    head: words.say(`by.${each}`),
    name: index === 0,
    class: "name",
    cell: (/** @type {Row} */ row) => renderName(words, row[each]),
  }));
  const counts = /** @type {const} */ (["requests", "failed", "input", "cached", "output", "reasoning"]).map((each) => ({
    head: words.say(`figure.${each}`),
    number: true,
    cell: (/** @type {Row} */ row) => words.number(row[each]),
  }));
  const first = (/** @type {Row} */ row) => (row.first_token_ms === null ? "–" : words.number(row.first_token_ms));
  const cost = { head: words.say("figure.cost"), number: true, cell: (/** @type {Row} */ row) => money(words, row.cost) };
  return renderTable(caption, [...names, ...counts, cost, { head: words.say("figure.first"), number: true, cell: first }], rows);
}

/** The parts of one bar. @param {Words} words @param {Measure} measure @param {Row} row */
export function inWords(words, measure, row) {
  const parts = PARTS[measure](row).map((value, index) => `${words.say(PART_WORDS[measure][index])} ${figure(words, measure, value)}`);
  return parts.join(", ");
}

/** Names come from outside and may be written in any direction. @param {Words} words @param {unknown} value */
function renderName(words, value) {
  const text = String(value ?? "");
  return text === "" ? element("span", { class: "quiet" }, words.say("by.none")) : element("bdi", {}, text);
}

/**
 * What is measured, and how its figures are written.
 */

/** @typedef {import("../i18n.js").Words} Words */
/** @typedef {import("./api.js").UsageRow} UsageRow */
/** @typedef {"tokens" | "cost" | "requests"} Measure */

/**
 * The parts of a bar, from below or from the left.
 * @type {Record<Measure, (row: UsageRow) => number[]>}
 */
export const PARTS = {
  tokens: ({ input, output }) => [input, output],
  cost: ({ cost }) => [cost],
  requests: ({ requests, failed }) => [requests - failed, failed],
};

/** The words for those parts. @type {Record<Measure, string[]>} */
export const PART_WORDS = {
  tokens: ["figure.input", "figure.output"],
  cost: ["figure.cost"],
  requests: ["figure.well", "figure.failed"],
};

/** @param {UsageRow} row @param {Measure} measure */
export function amount(row, measure) {
  return PARTS[measure](row).reduce((total, part) => total + part, 0);
}

/** Money is small for a few requests, and large for many. @param {Words} words @param {number} value */
export function money(words, value) {
  return words.number(value, value !== 0 && Math.abs(value) < 1 ? 4 : 2);
}

/** @param {Words} words @param {Measure} measure @param {number} value */
export function figure(words, measure, value) {
  return measure === "cost" ? money(words, value) : words.number(value);
}

/** For an axis, where there is little room. @param {Words} words @param {number} value */
export function compact(words, value) {
  return new Intl.NumberFormat(words.language, { notation: "compact", maximumFractionDigits: 2 }).format(value);
}

/** In UTC, as everything here, and as the commands write it. @param {string | null} time ISO 8601 */
export function moment(time) {
  if (time === null) return "–";
  const date = new Date(time);
  return Number.isNaN(date.getTime()) ? time : `${date.toISOString().slice(0, 16).replace("T", " ")} UTC`;
}

/** @type {(keyof UsageRow)[]} */
const SUMMED = ["requests", "failed", "input", "cached", "output", "reasoning", "wasted", "estimated", "cost", "unpriced"];

/**
 * The sum of sums; a mean of means would be wrong, so the time to the first token is left out.
 * @param {UsageRow[]} rows
 * @returns {UsageRow}
 */
export function total(rows) {
  const entries = SUMMED.map((name) => [name, rows.reduce((found, row) => found + Number(row[name] ?? 0), 0)]);
  return { ...Object.fromEntries(entries), first_token_ms: null };
}

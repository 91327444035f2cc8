/**
 * What is measured, and how its figures are written.
 */

/** @typedef {import("../i18n.js").Words} Words */
/** @typedef {import("./api.js").UsageRow} UsageRow */
/** @typedef {"tokens" | "cost" | "requests" | "first"} Measure */
/** @typedef {"input" | "output" | "cost" | "well" | "refused" | "failed" | "first" | "left" | "little"} PartName */
/** @typedef {[name: PartName, value: number]} Part */

/**
 * The parts of a bar, from below or from the start of the line. A part's words are `figure.NAME`.
 * @type {Record<Measure, (row: UsageRow) => Part[]>}
 */
export const PARTS = {
  tokens: ({ input, output }) => [["input", input], ["output", output]],
  cost: ({ cost }) => [["cost", cost]],
  requests: ({ requests, refused, failed }) => [["well", requests - refused - failed], ["refused", refused], ["failed", failed]],
  first: ({ first_token_ms: first }) => [["first", first ?? 0]],
};

export const MEASURES = /** @type {Measure[]} */ (Object.keys(PARTS));

/** @param {UsageRow} row @param {Measure} measure */
export function amount(row, measure) {
  return PARTS[measure](row).reduce((total, [, value]) => total + value, 0);
}

/**
 * Money is small for a few requests, and large for many.
 * @param {Words} words
 * @param {number} value
 * @param {string | null} currency an ISO 4217 code; without one a plain number
 */
export function money(words, value, currency) {
  const small = value !== 0 && Math.abs(value) < 1;
  if (currency === null) return words.number(value, small ? 4 : 2);
  const digits = small ? { minimumFractionDigits: 4, maximumFractionDigits: 4 } : {};
  return words.format(value, { style: "currency", currency, ...digits });
}

/** @param {Words} words @param {Measure} measure @param {number} value @param {string | null} currency */
export function figure(words, measure, value, currency) {
  return measure === "cost" ? money(words, value, currency) : words.number(value);
}

/** For an axis, where there is little room. @param {Words} words @param {number} value */
export function compact(words, value) {
  return words.format(value, { notation: "compact", maximumFractionDigits: 2 });
}

/** @param {Words} words @param {number} part @param {number} whole */
export function percent(words, part, whole) {
  return words.format(whole > 0 ? part / whole : 0, { style: "percent", maximumFractionDigits: 1 });
}

/** In UTC, as everything here, and as the commands write it. @param {string | null} time ISO 8601 */
export function moment(time) {
  if (time === null) return "–";
  const date = new Date(time);
  return Number.isNaN(date.getTime()) ? time : `${date.toISOString().slice(0, 16).replace("T", " ")} UTC`;
}

/** @type {(keyof UsageRow)[]} */
const SUMMED = ["requests", "refused", "failed", "input", "cached", "output", "reasoning", "wasted", "estimated", "cost", "unpriced"];

/**
 * The sum of sums; a mean of means would be wrong, so the time to the first token is left out.
 * @param {UsageRow[]} rows
 * @returns {UsageRow}
 */
export function total(rows) {
  const entries = SUMMED.map((name) => [name, rows.reduce((found, row) => found + Number(row[name] ?? 0), 0)]);
  return { ...Object.fromEntries(entries), first_token_ms: null };
}

/**
 * The bounds of the settings, and how a number is read that a reader has typed.
 */

/** @typedef {{least: number, most: number, whole: boolean}} Bounds both ends included; `most` may be Infinity */

/** What the API takes for every model. @type {Bounds} */
export const TEMPERATURE = { least: 0, most: 2, whole: false };

/**
 * @param {import("./api.js").Model | null} model the chosen one; null is the relay's default, which is unknown
 * @returns {Bounds} of the output limit, in tokens
 */
export function outputBounds(model) {
  return { least: 1, most: model?.outputTokens ?? Infinity, whole: true };
}

/**
 * The output limit that is sent: what the reader wants, at most what the model can write. The wish outlives
 * a change of the model.
 * @param {number | null} wanted
 * @param {import("./api.js").Model | null} model
 */
export function outputLimit(wanted, model) {
  return wanted === null ? null : Math.min(wanted, outputBounds(model).most);
}

/**
 * Reads a number in any keyboard's digits, with a point or a comma.
 * @param {string} text
 * @param {Bounds} bounds
 * @returns {number | null | undefined} null for an empty text, undefined for what is no number within the bounds
 */
export function readNumber(text, { least, most, whole }) {
  const plain = text.normalize("NFKC").trim().replace(",", ".");
  if (plain === "") return null;
  if (!(whole ? /^\d+$/ : /^(\d+\.?\d*|\.\d+)$/).test(plain)) return undefined;
  const value = Number(plain);
  return value >= least && value <= most ? value : undefined;
}

/**
 * Quantities as they are read at a glance, with the same rounding as `chukei top`.
 */

/** @typedef {import("../../../i18n.js").Words} Words */

/** @param {Words} words @param {number | null} seconds */
export function duration(words, seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 0.9995) return `${words.number(seconds * 1000)} ms`;
  return `${words.number(seconds, seconds < 99.95 ? 1 : 0)} s`;
}

/** @param {Words} words @param {number} part @param {number} whole */
export function percent(words, part, whole) {
  return `${words.number(whole > 0 ? (100 * part) / whole : 0)} %`;
}

/** @param {Words} words @param {number} value */
export function rate(words, value) {
  return `${words.number(value, value < 10 ? 1 : 0)}/s`;
}

/** How long the relay has been up. @param {Words} words @param {number} seconds */
export function span(words, seconds) {
  const minutes = Math.floor(seconds / 60);
  if (minutes < 1) return `${words.number(Math.floor(seconds))} s`;
  if (minutes < 120) return `${words.number(minutes)} min`;
  return minutes < 2880 ? `${words.number(Math.floor(minutes / 60))} h` : `${words.number(Math.floor(minutes / 1440))} d`;
}

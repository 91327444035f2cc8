/**
 * Days of UTC, which is what the ledger counts in.
 */

const DAY = 86_400_000;

/** More days than can be told apart on a screen. */
export const MOST_DAYS = 400;

/** @param {number} time milliseconds since the epoch */
export function dayOf(time) {
  return new Date(time).toISOString().slice(0, 10);
}

/** @param {string} day @param {number} days */
export function shifted(day, days) {
  return dayOf(Date.parse(`${day}T00:00:00Z`) + days * DAY);
}

/**
 * Every day from the first to the last, also those without a row.
 * @param {string} first
 * @param {string} last
 */
export function daysBetween(first, last) {
  const days = [];
  for (let day = first; day <= last && days.length < MOST_DAYS; day = shifted(day, 1)) days.push(day);
  return days;
}

/**
 * Times that are asked about: spans before now, or days from one to another. All in UTC, which is what the ledger counts
 * in. Short ones are shown by hour, long ones by day.
 */

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

/** More days than can be told apart on a screen. */
export const MOST_DAYS = 400;

/** Days up to which a time is shown by hour. */
const HOURLY_DAYS = 3;

/** The spans that can be chosen: how many days back they begin, and how many days they have. @type {Record<string, [number, number]>} */
const DAYS = { yesterday: [1, 1], "7d": [6, 7], "30d": [29, 30], "90d": [89, 90] };

export const SPANS = ["24h", ...Object.keys(DAYS)];

/**
 * @typedef {object} Period
 * @property {string} since its beginning, as the relay takes it
 * @property {string} until its end, which is not part of it
 * @property {"hour" | "day"} by
 * @property {string[]} starts every hour or day of it, as the relay writes them
 * @property {boolean} cut whether there are more than these
 */

/**
 * @param {string} since one of the spans, or the first day; anything else is 30 days
 * @param {string} to the last day, where `since` is a day; without it today
 * @param {number} now milliseconds since the epoch
 * @returns {Period | null} null where the last day is before the first
 */
export function periodOf(since, to, now) {
  if (since === "24h") {
    const first = Math.floor(now / HOUR) * HOUR - 23 * HOUR;
    return { since: hourOf(first), until: hourOf(first + DAY), by: "hour", starts: hours(first, 24), cut: false };
  }
  const today = dayOf(now);
  if (isDay(since)) return ofDays(since, isDay(to) ? to : today);
  const [back, count] = DAYS[Object.hasOwn(DAYS, since) ? since : "30d"];
  const first = shifted(today, -back);
  return ofDays(first, shifted(first, count - 1));
}

/** @param {number} time milliseconds since the epoch */
function dayOf(time) {
  return new Date(time).toISOString().slice(0, 10);
}

/** @param {string} day @param {number} days */
function shifted(day, days) {
  return dayOf(Date.parse(`${day}T00:00:00Z`) + days * DAY);
}

/** @param {string} text from an address */
export function isDay(text) {
  const time = /^[1-9]\d{3}-\d\d-\d\d$/.test(text) ? Date.parse(`${text}T00:00:00Z`) : NaN;
  return !Number.isNaN(time) && text < "9999" && dayOf(time) === text;
}

/** @param {string} first @param {string} last @returns {Period | null} */
function ofDays(first, last) {
  if (last < first) return null;
  const start = Date.parse(`${first}T00:00:00Z`);
  const count = (Date.parse(`${last}T00:00:00Z`) - start) / DAY + 1;
  const ends = { since: first, until: shifted(last, 1) };
  if (count <= HOURLY_DAYS) return { ...ends, by: "hour", starts: hours(start, 24 * count), cut: false };
  const days = Array.from({ length: Math.min(count, MOST_DAYS) }, (_, index) => dayOf(start + index * DAY));
  return { ...ends, by: "day", starts: days, cut: count > MOST_DAYS };
}

/** @param {number} first @param {number} count */
function hours(first, count) {
  return Array.from({ length: count }, (_, index) => hourOf(first + index * HOUR));
}

/** @param {number} time milliseconds since the epoch */
function hourOf(time) {
  return `${new Date(time).toISOString().slice(0, 13)}:00:00Z`;
}

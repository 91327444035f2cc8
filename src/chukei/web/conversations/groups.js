/**
 * The list of conversations by day. No DOM here.
 */

/** @typedef {import("./shape.js").Conversation} Conversation */

const DAYS_OF_WEEK = 7;

/**
 * @param {Conversation[]} conversations newest first
 * @param {Date} now
 * @returns {[group: string, conversations: Conversation[]][]} the group is "today", "yesterday", "week" or a
 *   month such as "2026-11"
 */
export function groupByDay(conversations, now) {
  /** @type {Map<string, Conversation[]>} */
  const groups = new Map();
  for (const conversation of conversations) {
    const group = groupOf(new Date(conversation.updatedAt), now);
    const members = groups.get(group);
    if (members === undefined) groups.set(group, [conversation]);
    else members.push(conversation);
  }
  return [...groups];
}

/**
 * @param {Date} day
 * @param {Date} now
 */
function groupOf(day, now) {
  if (day >= midnight(now, 0)) return "today";
  if (day >= midnight(now, 1)) return "yesterday";
  if (day >= midnight(now, DAYS_OF_WEEK)) return "week";
  return `${day.getFullYear()}-${String(day.getMonth() + 1).padStart(2, "0")}`;
}

/**
 * The begin of the day so many days ago, in the reader's time zone; days are not always 24 hours long.
 * @param {Date} now
 * @param {number} daysAgo
 */
function midnight(now, daysAgo) {
  return new Date(now.getFullYear(), now.getMonth(), now.getDate() - daysAgo);
}

/**
 * @param {string} month such as "2026-11"
 * @param {Date} now
 * @param {string} language
 * @returns {string} the month's name, with the year unless it is this one
 */
export function nameOfMonth(month, now, language) {
  const [year, number] = month.split("-").map(Number);
  const format = new Intl.DateTimeFormat(language, {
    month: "long",
    year: year === now.getFullYear() ? undefined : "numeric",
  });
  return format.format(new Date(year, number - 1));
}

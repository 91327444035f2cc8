/**
 * The settings as lines: a name, a value, and where it comes from.
 */

/**
 * @typedef {object} Setting
 * @property {string[]} path its names, from the top
 * @property {string | null} value as text; null where it is not set
 * @property {string | null} place null where it is the default
 * @property {boolean} restart whether a new value takes effect only after a restart
 */

/**
 * @param {any} configuration as the relay sends it
 * @returns {Setting[]}
 */
export function flattened({ settings, places, restart }) {
  const known = new Map(places.map((/** @type {{path: string[], place: string}} */ each) => [JSON.stringify(each.path), each.place]));
  const held = new Set(restart);
  /** @type {Setting[]} */
  const lines = [];
  const enter = (/** @type {string[]} */ path, /** @type {any} */ value, /** @type {string | null} */ around) => {
    const place = known.get(JSON.stringify(path)) ?? around;
    if (isTable(value)) for (const [name, below] of Object.entries(value)) enter([...path, name], below, place);
    else lines.push({ path, value: written(value), place, restart: held.has(path.slice(0, 2).join(".")) });
  };
  enter([], settings, null);
  return lines;
}

/**
 * Those that have every word of a search in their name, value or place.
 * @param {Setting[]} settings
 * @param {string} search
 * @param {boolean} all also those at their default
 */
export function found(settings, search, all) {
  const words = search.toLowerCase().split(/\s+/).filter((word) => word !== "");
  return settings.filter(({ path, value, place }) => {
    if (!all && place === null) return false;
    const text = `${path.join(".")}\n${value ?? ""}\n${place ?? ""}`.toLowerCase();
    return words.every((word) => text.includes(word));
  });
}

/** @param {any} value */
function isTable(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value) && Object.keys(value).length > 0;
}

/** @param {any} value */
function written(value) {
  if (value === null) return null;
  if (Array.isArray(value)) return value.length === 0 ? null : value.map((each) => (typeof each === "string" ? each : JSON.stringify(each))).join(", ");
  if (typeof value === "object") return null; // a table without anything in it
  return String(value);
}

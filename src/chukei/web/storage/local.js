/**
 * The browser's small storages and the channel between its tabs, which may be missing or full (private windows, blocked
 * cookies).
 */

/**
 * @param {"localStorage" | "sessionStorage"} name
 * @returns {Storage | null}
 */
export function openStorage(name) {
  try {
    return window[name];
  } catch {
    return null;
  }
}

/**
 * @param {string} name
 * @returns {BroadcastChannel | null} null where there is none: Firefox refuses it together with cookies
 */
export function openChannel(name) {
  try {
    return new BroadcastChannel(name);
  } catch {
    return null;
  }
}

/**
 * @param {Storage | null} storage
 * @param {string} key
 * @returns {any} null when there is nothing that can be read
 */
export function readJson(storage, key) {
  try {
    return JSON.parse(storage?.getItem(key) ?? "null");
  } catch {
    return null;
  }
}

/**
 * Writes if there is room.
 * @param {Storage | null} storage
 * @param {string} key
 * @param {string} value
 */
export function write(storage, key, value) {
  try {
    storage?.setItem(key, value);
  } catch {
    // It then lasts as long as the page does.
  }
}

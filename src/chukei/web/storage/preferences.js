/**
 * What the reader has set, in `localStorage`.
 */

import { readJson, write } from "./local.js";

/**
 * @typedef {object} Preferences
 * @property {"auto" | "light" | "dark"} theme
 * @property {string} language empty: the browser's
 * @property {string} model empty: the relay's default
 * @property {string} system the system message of new conversations
 * @property {number | null} temperature null: the model's default
 * @property {number | null} maxOutputTokens null: the model's own limit
 * @property {boolean} keepHistory
 */

const PREFERENCES = "chukei:preferences";

/** @type {Preferences} */
const DEFAULTS = {
  theme: "auto",
  language: "",
  model: "",
  system: "",
  temperature: null,
  maxOutputTokens: null,
  keepHistory: true,
};

/** @type {{[Name in keyof Preferences]: (value: unknown) => boolean}} */
const CHECKS = {
  theme: (value) => value === "auto" || value === "light" || value === "dark",
  language: isText,
  model: isText,
  system: isText,
  temperature: isNumberOrNull,
  maxOutputTokens: isNumberOrNull,
  keepHistory: (value) => typeof value === "boolean",
};

export class PreferenceStore {
  #local;
  /** @type {Preferences} */
  current = { ...DEFAULTS };

  /** @param {Storage | null} local */
  constructor(local) {
    this.#local = local;
    this.read();
  }

  /** Takes over what is stored, as another tab may have changed it. */
  read() {
    const stored = readJson(this.#local, PREFERENCES) ?? {};
    const known = Object.entries(CHECKS).filter(([name, holds]) => Object.hasOwn(stored, name) && holds(stored[name]));
    Object.assign(this.current, Object.fromEntries(known.map(([name]) => [name, stored[name]])));
  }

  /** @param {Partial<Preferences>} change */
  set(change) {
    this.read();
    Object.assign(this.current, change);
    write(this.#local, PREFERENCES, JSON.stringify(this.current));
  }
}

/** @param {unknown} value */
function isText(value) {
  return typeof value === "string";
}

/** @param {unknown} value */
function isNumberOrNull(value) {
  return value === null || Number.isFinite(value);
}

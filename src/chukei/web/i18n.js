/**
 * Speaks the reader's language. The words themselves are in words/, beside each other in every language.
 */

/** @typedef {Record<string, readonly [english: string, japanese: string]>} Table `{name}` in a text is filled in */

/** The languages in the order of a table's columns. @type {Record<string, string>} */
export const LANGUAGES = { en: "English", ja: "日本語" };

/**
 * The first language of the reader's list that the page speaks.
 * @param {readonly string[]} wanted
 */
export function pickLanguage(wanted) {
  const known = wanted.map((tag) => tag.toLowerCase().split("-")[0]).find((tag) => tag in LANGUAGES);
  return known ?? "en";
}

/** Fires `change` when the language does. */
export class Words extends EventTarget {
  #language;
  #table;
  /** By language and options: to make one takes 0.1 ms, which a table of a thousand cells would feel. @type {Map<string, Intl.NumberFormat>} */
  #formats = new Map();

  /**
   * @param {string} language
   * @param {...Table} tables a later one precedes those before it
   */
  constructor(language, ...tables) {
    super();
    this.#language = language;
    this.#table = /** @type {Table} */ (Object.assign({}, ...tables));
  }

  get language() {
    return this.#language;
  }

  set language(language) {
    this.#language = language;
    this.dispatchEvent(new Event("change"));
  }

  /**
   * @param {string} key
   * @param {Record<string, string | number>} [values]
   * @returns {string}
   */
  say(key, values = {}) {
    const texts = this.#table[key];
    if (texts === undefined) throw new Error(`no words for "${key}"`);
    const text = texts[Object.keys(LANGUAGES).indexOf(this.#language)];
    return text.replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
  }

  /** @param {string} key */
  has(key) {
    return key in this.#table;
  }

  /**
   * @param {number} value
   * @param {number} [digits] after the point
   */
  number(value, digits = 0) {
    return this.format(value, { minimumFractionDigits: digits, maximumFractionDigits: digits });
  }

  /**
   * @param {number} value
   * @param {Intl.NumberFormatOptions} options
   */
  format(value, options) {
    const name = JSON.stringify([this.#language, options]);
    const known = this.#formats.get(name) ?? new Intl.NumberFormat(this.#language, options);
    this.#formats.set(name, known);
    return known.format(value);
  }
}

/**
 * Says the whole page in the language of now.
 * @param {Document} page
 * @param {Words} words
 */
export function sayPage(page, words) {
  page.documentElement.lang = words.language;
  page.title = words.say("page.title");
  sayAll(page, words);
}

/**
 * Fills the static parts of the page: `data-say` is an element's text, `data-say-label` its accessible
 * name and tooltip, `data-say-placeholder` its placeholder.
 * @param {ParentNode} part
 * @param {Words} words
 */
export function sayAll(part, words) {
  for (const found of part.querySelectorAll("[data-say]")) {
    found.textContent = words.say(found.getAttribute("data-say") ?? "");
  }
  for (const found of part.querySelectorAll("[data-say-label]")) {
    const label = words.say(found.getAttribute("data-say-label") ?? "");
    found.setAttribute("aria-label", label);
    if (found instanceof HTMLButtonElement) found.title = label;
  }
  for (const found of part.querySelectorAll("[data-say-placeholder]")) {
    found.setAttribute("placeholder", words.say(found.getAttribute("data-say-placeholder") ?? ""));
  }
}

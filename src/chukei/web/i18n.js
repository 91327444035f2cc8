/**
 * Speaks the reader's language. The words themselves are in words.js.
 */

import { ENGLISH, JAPANESE } from "./words.js";

/** @type {Record<string, {name: string, strings: Record<string, string>}>} */
export const LANGUAGES = {
  en: { name: "English", strings: ENGLISH },
  ja: { name: "日本語", strings: JAPANESE },
};

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
  #languages;

  /**
   * @param {string} language
   * @param {typeof LANGUAGES} [languages] with the words of a page
   */
  constructor(language, languages = LANGUAGES) {
    super();
    this.#language = language;
    this.#languages = languages;
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
    const text = this.#languages[this.#language].strings[key];
    if (text === undefined) throw new Error(`no words for "${key}" in ${this.#language}`);
    return text.replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
  }

  /** @param {string} key */
  has(key) {
    return key in this.#languages[this.#language].strings;
  }

  /**
   * @param {number} value
   * @param {number} [digits] after the point
   */
  number(value, digits = 0) {
    return value.toLocaleString(this.#language, { minimumFractionDigits: digits, maximumFractionDigits: digits });
  }
}

/**
 * Fills the static parts of the page: `data-say` is an element's text, `data-say-label` its accessible
 * name and tooltip, `data-say-placeholder` its placeholder.
 * @param {Document} page
 * @param {Words} words
 */
export function sayPage(page, words) {
  page.documentElement.lang = words.language;
  page.title = words.say("page.title");
  for (const found of page.querySelectorAll("[data-say]")) {
    found.textContent = words.say(found.getAttribute("data-say") ?? "");
  }
  for (const found of page.querySelectorAll("[data-say-label]")) {
    const label = words.say(found.getAttribute("data-say-label") ?? "");
    found.setAttribute("aria-label", label);
    if (found instanceof HTMLButtonElement) found.title = label;
  }
  for (const found of page.querySelectorAll("[data-say-placeholder]")) {
    found.setAttribute("placeholder", words.say(found.getAttribute("data-say-placeholder") ?? ""));
  }
}

/**
 * Light, dark, or as the system says. The colours themselves follow `color-scheme` in base.css.
 */

import { byId, icon } from "../dom.js";

/** @typedef {import("../storage/preferences.js").Preferences["theme"]} Theme */

const THEMES = /** @type {const} */ (["auto", "light", "dark"]);

export class ThemeButton {
  #button = byId("theme", HTMLButtonElement);
  #preferences;
  #words;

  /**
   * @param {import("../storage/preferences.js").PreferenceStore} preferences
   * @param {import("../i18n.js").Words} words
   */
  constructor(preferences, words) {
    this.#preferences = preferences;
    this.#words = words;
    this.#button.addEventListener("click", () => {
      const next = (THEMES.indexOf(preferences.current.theme) + 1) % THEMES.length;
      preferences.set({ theme: THEMES[next] });
      this.apply();
    });
    this.apply();
  }

  apply() {
    const { theme } = this.#preferences.current;
    const label = this.#words.say(`theme.${theme}`);
    document.documentElement.dataset.theme = theme;
    this.#button.replaceChildren(icon(theme));
    this.#button.setAttribute("aria-label", label);
    this.#button.title = label;
  }
}

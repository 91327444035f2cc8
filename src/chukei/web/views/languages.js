/**
 * The choice of the page's language, which is kept among the preferences.
 */

import { byId, element } from "../dom.js";
import { LANGUAGES } from "../i18n.js";

/**
 * @param {import("../storage/preferences.js").PreferenceStore} preferences
 * @param {import("../i18n.js").Words} words
 */
export function fillLanguages(preferences, words) {
  const select = byId("language", HTMLSelectElement);
  for (const [tag, name] of Object.entries(LANGUAGES)) {
    select.append(element("option", { value: tag, lang: tag }, name));
  }
  select.value = words.language;
  select.addEventListener("change", () => {
    preferences.set({ language: select.value });
    words.language = select.value;
  });
}

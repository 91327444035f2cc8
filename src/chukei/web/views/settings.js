/**
 * The settings that most readers never need, behind one button.
 */

import { byId, icon } from "../dom.js";

/** @typedef {{preferences: import("../storage.js").PreferenceStore, key: import("../storage.js").AccessKey, onKey: () => void, onKeep: (keep: boolean) => void}} SettingsContext */

export class Settings {
  #button = byId("settings-button", HTMLButtonElement);
  #panel = byId("settings", HTMLElement);
  #key = byId("settings-key", HTMLInputElement);
  #context;

  /** @param {SettingsContext} context */
  constructor(context) {
    this.#context = context;
    this.#button.append(icon("settings"));
    this.#button.addEventListener("click", () => this.#toggle(this.#panel.hidden));
    document.addEventListener("pointerdown", (event) => this.#closeOutside(event.target));
    this.#bindPreferences(context.preferences);
    this.#bindKey();
  }

  /** @returns {boolean} whether there was something to close */
  close() {
    if (this.#panel.hidden || !this.#panel.contains(document.activeElement)) return false;
    this.#toggle(false);
    this.#button.focus();
    return true;
  }

  /** @param {EventTarget | null} target */
  #closeOutside(target) {
    const inside = target instanceof Node && (this.#panel.contains(target) || this.#button.contains(target));
    if (!inside && !this.#panel.hidden) this.#toggle(false);
  }

  /** @param {boolean} open */
  #toggle(open) {
    this.#panel.hidden = !open;
    this.#button.setAttribute("aria-expanded", String(open));
    if (!open) return;
    this.#key.value = this.#context.key.value;
    byId("system", HTMLTextAreaElement).focus();
  }

  /** @param {import("../storage.js").PreferenceStore} preferences */
  #bindPreferences(preferences) {
    const system = byId("system", HTMLTextAreaElement);
    system.value = preferences.current.system;
    system.addEventListener("input", () => preferences.set({ system: system.value }));
    const temperature = byId("temperature", HTMLInputElement);
    temperature.value = preferences.current.temperature?.toString() ?? "";
    temperature.addEventListener("input", () => {
      const valid = temperature.value !== "" && temperature.validity.valid;
      preferences.set({ temperature: valid ? temperature.valueAsNumber : null });
    });
    const keep = byId("keep-history", HTMLInputElement);
    keep.checked = preferences.current.keepHistory;
    keep.addEventListener("change", () => this.#context.onKeep(keep.checked));
  }

  #bindKey() {
    const { key, onKey } = this.#context;
    this.#key.addEventListener("change", () => {
      key.value = this.#key.value.trim();
      onKey();
    });
    // Enter has fired "change" already; the form is there for password fields to be well-formed.
    byId("settings-key-form", HTMLFormElement).addEventListener("submit", (event) => event.preventDefault());
    byId("forget-key", HTMLButtonElement).addEventListener("click", () => {
      key.value = "";
      this.#key.value = "";
      this.#key.focus();
    });
  }
}

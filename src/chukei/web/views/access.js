/**
 * Asks for the access key where the reader is, when the relay has asked for one.
 */

import { byId } from "../dom.js";

/** @typedef {import("../i18n.js").Words} Words */

export class AccessForm {
  #form = byId("access", HTMLFormElement);
  #field = byId("access-key", HTMLInputElement);
  #refused = byId("access-refused", HTMLElement);
  #words;

  /**
   * @param {Words} words
   * @param {(key: string) => void} onKey
   */
  constructor(words, onKey) {
    this.#words = words;
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      const key = this.#field.value.trim();
      if (key !== "") onKey(key);
    });
  }

  /** @param {boolean} refused whether a key was tried and not accepted */
  ask(refused) {
    this.#form.hidden = false;
    this.#refused.textContent = refused ? this.#words.say("access.refused") : "";
    this.#field.focus();
    this.#field.select();
  }

  hide() {
    this.#form.hidden = true;
    this.#field.value = "";
    this.#refused.textContent = "";
  }
}

/**
 * Asks for the access key where the reader is, when the relay has asked for one.
 */

import { byId, iconButton } from "../dom.js";

/** @typedef {import("../errors.js").Failure} Failure */
/** @typedef {import("../i18n.js").Words} Words */

export class AccessForm {
  #form = byId("access", HTMLFormElement);
  #field = byId("access-key", HTMLInputElement);
  #refused = byId("access-refused", HTMLElement);
  #words;

  /**
   * @param {Words} words
   * @param {(key: string) => void} onKey
   * @param {() => void} onClose the reader goes on without another key
   */
  constructor(words, onKey, onClose) {
    this.#words = words;
    const close = iconButton("close", words.say("access.close"), () => {
      this.hide();
      onClose();
    });
    close.dataset.sayLabel = "access.close";
    this.#form.prepend(close);
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      const key = this.#field.value.trim();
      if (key !== "") onKey(key);
    });
  }

  /**
   * Shows the form; what was typed stays, so that a mistake can be corrected.
   * @param {string} refused the code of the refusal where a key was tried, else an empty string
   */
  ask(refused) {
    const isEnded = ["key_expired", "key_revoked", "token_expired"].includes(refused);
    this.#form.hidden = false;
    this.#say(refused === "" ? "" : isEnded ? "access.ended" : "access.refused");
    this.#field.focus();
    this.#field.select();
  }

  hide() {
    this.#form.hidden = true;
    this.#field.value = "";
    this.#say("");
  }

  /** @param {string} key of the words, which may change their language later, or an empty string */
  #say(key) {
    this.#refused.textContent = key === "" ? "" : this.#words.say(key);
    if (key === "") delete this.#refused.dataset.say;
    else this.#refused.dataset.say = key;
  }
}

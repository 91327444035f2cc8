/**
 * Earlier prompts by the arrow keys: up from an empty field, down back to it. A prompt that was changed, or in which the
 * caret was moved, is the reader's own again, and the arrows move the caret.
 */

import { isComposing } from "./keys.js";

export class Recall {
  #field;
  #past;
  /** The earlier prompts while they are walked through, newest first. */
  #prompts = /** @type {string[]} */ ([]);
  /** Which one is shown; -1 is the empty field. */
  #at = -1;
  /** How many steps were made while the prompts are being read; null while they are not. */
  #ahead = /** @type {number | null} */ (null);

  /**
   * @param {HTMLTextAreaElement} field
   * @param {() => Promise<string[]>} past earlier prompts, newest first
   * @param {(text: string) => void} onRecall fills the field
   */
  constructor(field, past, onRecall) {
    this.#field = field;
    this.#past = past;
    field.addEventListener("keydown", (event) => {
      const step = { ArrowUp: 1, ArrowDown: -1 }[event.key];
      if (step === undefined || isComposing(event) || event.shiftKey || event.altKey || event.ctrlKey || event.metaKey) return;
      if (field.value !== "" && !this.#isUntouched()) return;
      event.preventDefault();
      if (this.#ahead !== null) this.#ahead += step;
      else if (field.value === "") void this.#begin(step, onRecall);
      else onRecall(this.#step(step));
    });
  }

  /**
   * @param {number} step
   * @param {(text: string) => void} onRecall
   */
  async #begin(step, onRecall) {
    this.#ahead = step;
    this.#prompts = await this.#past();
    this.#at = -1;
    const ahead = this.#ahead;
    this.#ahead = null;
    if (this.#field.value === "" && ahead > 0 && this.#prompts.length > 0) onRecall(this.#step(ahead));
  }

  /** @param {number} step */
  #step(step) {
    this.#at = Math.max(-1, Math.min(this.#at + step, this.#prompts.length - 1)); // the oldest stays
    return this.#at < 0 ? "" : this.#prompts[this.#at];
  }

  #isUntouched() {
    const { value, selectionStart, selectionEnd } = this.#field;
    return value === this.#prompts[this.#at] && selectionStart === value.length && selectionEnd === value.length;
  }
}

/**
 * Where the reader writes.
 */

import { byId, icon } from "../dom.js";
import { isSendKey, isTouch } from "./keys.js";

export class Composer {
  #field = byId("prompt", HTMLTextAreaElement);
  #send = byId("send", HTMLButtonElement);
  #stop = byId("stop", HTMLButtonElement);

  /**
   * @param {(text: string) => boolean} onSend tells whether the text was taken
   * @param {() => void} onStop
   */
  constructor(onSend, onStop) {
    this.#send.append(icon("send"));
    this.#stop.append(icon("stop"));
    this.#stop.addEventListener("click", onStop);
    this.#field.addEventListener("input", () => this.#resize());
    this.#field.addEventListener("keydown", (event) => {
      if (!isSendKey(event, !isTouch())) return;
      event.preventDefault();
      this.#submit(onSend);
    });
    byId("composer", HTMLFormElement).addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit(onSend);
    });
  }

  /** On a touch screen the keyboard would cover what the reader wants to see. */
  focus() {
    if (!isTouch()) this.#field.focus();
  }

  /** @param {boolean} busy */
  setBusy(busy) {
    const hadFocus = this.#stop === document.activeElement;
    this.#send.hidden = busy;
    this.#stop.hidden = !busy;
    byId("hint-idle", HTMLElement).hidden = busy;
    byId("hint-busy", HTMLElement).hidden = !busy;
    if (!busy && hadFocus) this.focus();
  }

  /** @param {(text: string) => boolean} onSend */
  #submit(onSend) {
    if (!onSend(this.#field.value)) return;
    this.#field.value = "";
    this.#resize();
    this.focus();
  }

  /** Grows with its text where CSS cannot do it yet (`field-sizing`). */
  #resize() {
    if (CSS.supports("field-sizing", "content")) return;
    this.#field.style.height = "auto";
    this.#field.style.height = `${this.#field.scrollHeight}px`;
  }
}

/**
 * A short notice with at most one thing to do about it. It does not interrupt: it goes by itself, but not while
 * the reader is at it.
 */

import { byId, element, iconButton } from "../dom.js";

/** How long a notice stays, in milliseconds. */
const STAY_MS = 10_000;

export class Toast {
  #root = byId("toast", HTMLElement);
  #words;
  #announcer;
  #timer = 0;
  /** Where the focus goes when the notice goes. */
  #leave = () => {};

  /**
   * @param {import("../i18n.js").Words} words
   * @param {import("./announcer.js").Announcer} announcer
   */
  constructor(words, announcer) {
    this.#words = words;
    this.#announcer = announcer;
    for (const type of ["focusout", "pointerleave"]) this.#root.addEventListener(type, () => this.#wait());
    this.#root.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      this.hide();
    });
  }

  /**
   * @param {string} text
   * @param {{label: string, act: () => void, leave: () => void}} [action] takes the focus, which `leave` puts
   *   somewhere else when the notice is dismissed
   */
  show(text, action) {
    const close = iconButton("close", this.#words.say("toast.close"), () => this.hide());
    const button =
      action &&
      element("button", { type: "button", class: "text-button", onclick: () => this.#act(action.act) }, action.label);
    this.#leave = action?.leave ?? (() => {});
    this.#root.replaceChildren(...[element("p", {}, text), button, close].filter((part) => part !== undefined));
    this.#root.hidden = false;
    this.#announcer.say(text);
    button?.focus();
    this.#wait();
  }

  hide() {
    const hadFocus = this.#root.contains(document.activeElement);
    clearTimeout(this.#timer);
    this.#root.hidden = true;
    this.#root.replaceChildren();
    if (hadFocus) this.#leave();
  }

  /** @param {() => void} act */
  #act(act) {
    this.#leave = () => {};
    this.hide();
    act();
  }

  #wait() {
    clearTimeout(this.#timer);
    this.#timer = window.setTimeout(() => {
      if (!this.#root.matches(":hover, :focus-within")) this.hide();
    }, STAY_MS);
  }
}

/**
 * A menu of actions that opens at its button, as the WAI-ARIA pattern "menu button" has it.
 */

import { element, icon } from "../dom.js";

/** @typedef {{label: string, icon: import("../dom.js").IconName, act: () => void}} Item */

/** Between the menu and what is around it, in CSS pixels. */
const GAP = 4;

export class Menu {
  #root = element("div", { class: "menu", role: "menu", popover: "auto", onkeydown: (event) => this.#onKey(/** @type {KeyboardEvent} */ (event)) });
  /** @type {HTMLElement | null} */
  #button = null;

  /** @param {HTMLElement} place the landmark that the menu belongs to */
  constructor(place) {
    place.append(this.#root);
    this.#root.addEventListener("toggle", (event) => {
      if (/** @type {ToggleEvent} */ (event).newState === "closed") this.#button?.setAttribute("aria-expanded", "false");
    });
    // What the menu hangs on moves away.
    window.addEventListener("resize", () => this.#root.hidePopover());
  }

  /**
   * @param {HTMLElement} button what opens it, and gets the focus back
   * @param {string} label
   * @param {Item[]} items
   */
  open(button, label, items) {
    this.#button = button;
    this.#root.setAttribute("aria-label", label);
    this.#root.replaceChildren(...items.map((item) => this.#item(item)));
    this.#root.showPopover();
    this.#place(button.getBoundingClientRect());
    button.setAttribute("aria-expanded", "true");
    this.#focus(0);
  }

  /** @param {Item} item */
  #item({ label, icon: name, act }) {
    const onclick = () => {
      this.#close();
      act();
    };
    return element("button", { type: "button", role: "menuitem", tabindex: -1, onclick }, icon(name), label);
  }

  /** Below the button, or above it where there is more room; within the window. @param {DOMRect} button */
  #place(button) {
    const { width, height } = this.#root.getBoundingClientRect();
    const rightToLeft = getComputedStyle(this.#root).direction === "rtl";
    const left = rightToLeft ? button.left : button.right - width;
    const fits = button.bottom + GAP + height <= window.innerHeight;
    this.#root.style.left = `${Math.max(GAP, Math.min(left, window.innerWidth - width - GAP))}px`;
    this.#root.style.top = `${fits ? button.bottom + GAP : Math.max(GAP, button.top - GAP - height)}px`;
  }

  #close() {
    this.#root.hidePopover();
    this.#button?.focus();
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    const items = [...this.#root.children];
    const at = items.indexOf(/** @type {Element} */ (document.activeElement));
    /** @type {Record<string, () => void>} */
    const meanings = {
      ArrowDown: () => this.#focus(at + 1),
      ArrowUp: () => this.#focus(at - 1),
      Home: () => this.#focus(0),
      End: () => this.#focus(-1),
      Escape: () => this.#close(),
      Tab: () => this.#close(),
    };
    if (!Object.hasOwn(meanings, event.key)) return;
    event.preventDefault();
    event.stopPropagation();
    meanings[event.key]();
  }

  /** @param {number} index any number: the last is followed by the first */
  #focus(index) {
    const items = /** @type {HTMLElement[]} */ ([...this.#root.children]);
    items[(index + items.length) % items.length].focus();
  }
}

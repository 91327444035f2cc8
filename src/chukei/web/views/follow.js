/**
 * Keeps the end of the conversation in view while it grows, and lets go as soon as the reader scrolls up.
 */

/** How near to the end counts as being there, in CSS pixels. */
const NEAR = 48;

export class Follower {
  #following = true;
  #last = 0;
  #button;

  /**
   * @param {HTMLElement} content what grows
   * @param {HTMLButtonElement} button brings the reader back
   */
  constructor(content, button) {
    this.#button = button;
    button.addEventListener("click", () => this.follow());
    window.addEventListener("scroll", () => this.#onScroll(), { passive: true });
    new ResizeObserver(() => this.#onGrow()).observe(content);
  }

  /** Goes to the end and stays there. */
  follow() {
    this.#following = true;
    this.#onGrow();
  }

  #onScroll() {
    const { scrollY } = window;
    if (distanceToEnd() <= NEAR) this.#following = true;
    else if (scrollY < this.#last) this.#following = false;
    this.#last = scrollY;
    this.#showButton();
  }

  #onGrow() {
    if (this.#following) window.scrollTo({ top: document.documentElement.scrollHeight, behavior: "instant" });
    this.#showButton();
  }

  #showButton() {
    this.#button.hidden = this.#following || distanceToEnd() <= NEAR;
  }
}

function distanceToEnd() {
  return document.documentElement.scrollHeight - window.innerHeight - window.scrollY;
}

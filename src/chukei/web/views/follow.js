/**
 * Keeps the end of the conversation in view while it grows, and lets go as soon as the reader scrolls up.
 */

/** How near to the end counts as being there, in CSS pixels. */
const NEAR = 48;

export class Follower {
  #following = true;
  #last = 0;
  #content;
  #button;

  /**
   * @param {HTMLElement} content what grows
   * @param {HTMLButtonElement} button brings the reader back
   */
  constructor(content, button) {
    this.#content = content;
    this.#button = button;
    button.addEventListener("click", () => this.follow());
    content.addEventListener("click", (event) => this.#onOpen(event));
    window.addEventListener("scroll", () => this.#onScroll(), { passive: true });
    new ResizeObserver(() => this.#onGrow()).observe(content);
  }

  /** Goes to the end and stays there. */
  follow() {
    this.#following = true;
    this.#onGrow();
  }

  /** What opens grows below the reader, who wants to see its beginning. @param {Event} event */
  #onOpen(event) {
    if (event.target instanceof Element && event.target.closest("summary") !== null) this.#following = false;
  }

  #onScroll() {
    const { scrollY } = window;
    if (distanceToEnd() <= NEAR) this.#following = true;
    else if (scrollY < this.#last) this.#following = false;
    this.#last = scrollY;
    this.#showButton();
  }

  #onGrow() {
    // Without messages the page is a welcome, which is read from its beginning.
    const top = this.#isEmpty() ? 0 : document.documentElement.scrollHeight;
    if (this.#following) window.scrollTo({ top, behavior: "instant" });
    this.#last = window.scrollY; // where a page that has become shorter ends is not where the reader has scrolled to
    this.#showButton();
  }

  #showButton() {
    this.#button.hidden = this.#following || this.#isEmpty() || distanceToEnd() <= NEAR;
  }

  #isEmpty() {
    return this.#content.childElementCount === 0;
  }
}

function distanceToEnd() {
  return document.documentElement.scrollHeight - window.innerHeight - window.scrollY;
}

/**
 * The page's one polite live region. Streaming text never enters it: a screen reader is told that an
 * answer is being generated, and then the whole answer, once.
 */

export class Announcer {
  #region;

  /** @param {HTMLElement} region */
  constructor(region) {
    this.#region = region;
  }

  /** @param {string} text */
  say(text) {
    // A new node is announced even when it says the same as the one before.
    const line = document.createElement("p");
    line.textContent = text;
    this.#region.replaceChildren(line);
  }
}

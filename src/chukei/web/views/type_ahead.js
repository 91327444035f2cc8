/**
 * Finds an entry of a list by the characters that a reader types one after another.
 */

/** After a pause of so many milliseconds typing begins anew. */
const PAUSE_MS = 700;

export class TypeAhead {
  #typed = "";
  #last = -Infinity;

  /**
   * @param {string} character
   * @param {string[]} names
   * @param {number} active the entry to begin at
   * @param {number} now milliseconds of a monotonic clock
   * @returns {number} the entry that is meant, or `active` if there is none
   */
  find(character, names, active, now) {
    this.#typed = now - this.#last > PAUSE_MS ? character : this.#typed + character;
    this.#last = now;
    const letters = [...this.#typed];
    // The same letter again and again goes through the entries that begin with it.
    const isRepeated = letters.every((letter) => letter === letters[0]);
    const wanted = (isRepeated ? letters[0] : this.#typed).toLowerCase();
    const start = isRepeated ? active + 1 : active;
    const order = names.map((_, index) => (start + index) % names.length);
    const matches = (/** @type {(name: string) => boolean} */ test) => order.find((index) => test(names[index].toLowerCase()));
    return matches((name) => name.startsWith(wanted)) ?? matches((name) => name.includes(wanted)) ?? active;
  }
}

/**
 * Draws at most once per frame, and more rarely when drawing is dear: after a draw of n ms at least
 * 3 × n ms pass, so that a long answer on a slow machine never takes more than a quarter of its time.
 */

/** Below this a draw fits into a frame of 60 Hz beside everything else. */
const CHEAP_MS = 4;

export class Pacer {
  #draw;
  #pending = false;
  #cost = 0;

  /** @param {() => void} draw */
  constructor(draw) {
    this.#draw = draw;
  }

  request() {
    if (this.#pending) return;
    this.#pending = true;
    if (this.#cost <= CHEAP_MS) requestAnimationFrame(() => this.#run());
    else setTimeout(() => requestAnimationFrame(() => this.#run()), this.#cost * 3);
  }

  /** Draws now; a request that is waiting has then nothing left to do. */
  flush() {
    this.#pending = true;
    this.#run();
  }

  #run() {
    if (!this.#pending) return;
    this.#pending = false;
    const begin = performance.now();
    this.#draw();
    this.#cost = performance.now() - begin;
  }
}

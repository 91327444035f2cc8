/**
 * The relay's live view as it comes: one event a second, read from a response, since an EventSource could not send the
 * credential.
 */

import { RelayError } from "../../../errors.js";
import { EventStreamParser } from "../../../sse.js";

/** Milliseconds after which a lost stream is asked for again. */
const AGAIN = 1000;

/** Milliseconds without an event after which a stream counts as lost: a connection may die without a word. */
const SILENCE = 10_000;

/**
 * @typedef {object} Listener
 * @property {(live: any) => void} show called with each view
 * @property {(error: RelayError) => void} fail called when the stream is lost, or could not be had
 */

export class LiveFeed {
  #api;
  #listener;
  #reading = new AbortController();
  #timer = 0;
  #silence = 0;

  /** @param {import("../../api.js").AdminApi} api @param {Listener} listener */
  constructor(api, listener) {
    this.#api = api;
    this.#listener = listener;
  }

  /** Asks for the stream, instead of one that may be open, and again whenever it is lost. */
  start() {
    this.stop();
    this.#reading = new AbortController();
    this.#listen();
    void this.#read(this.#reading.signal);
  }

  /** Closes the stream. */
  stop() {
    clearTimeout(this.#timer);
    clearTimeout(this.#silence);
    this.#reading.abort();
  }

  /** Waits for the next event. */
  #listen() {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => {
      this.#listener.fail(new RelayError({ kind: "network", message: "" }));
      this.start();
    }, SILENCE);
  }

  /** @param {AbortSignal} signal */
  async #read(signal) {
    try {
      await this.#events(signal);
      throw new RelayError({ kind: "cut", message: "" });
    } catch (error) {
      if (signal.aborted) return;
      clearTimeout(this.#silence);
      const failed = error instanceof RelayError ? error : new RelayError({ kind: "network", message: "" });
      this.#timer = setTimeout(() => this.start(), (failed.failure.retryAfterSeconds ?? 0) * 1000 || AGAIN);
      this.#listener.fail(failed);
    }
  }

  /** @param {AbortSignal} signal */
  async #events(signal) {
    const response = await this.#api.live(signal);
    if (response.body === null) throw new RelayError({ kind: "format", message: "" });
    const parser = new EventStreamParser();
    const reader = response.body.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (signal.aborted || done) return;
      const latest = parser.push(value).at(-1); // those before it are out of date
      if (latest === undefined) continue;
      this.#listen();
      this.#listener.show(parsed(latest.data));
    }
  }
}

/** @param {string} data */
function parsed(data) {
  try {
    return JSON.parse(data);
  } catch {
    throw new RelayError({ kind: "format", message: "" });
  }
}

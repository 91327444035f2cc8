/**
 * The relay's live view as it comes: one event a second, read from a response, since an EventSource could not send the key.
 */

import { RelayError, failureOfResponse } from "../errors.js";
import { EventStreamParser } from "../sse.js";

/** Milliseconds after which a lost stream is asked for again. */
const AGAIN = 1000;

/** Header fields hold these characters only; a key with others cannot be sent, so it cannot be right. */
const SENDABLE = /^[\x21-\x7e]+$/;

/**
 * @typedef {object} Listener
 * @property {(live: any) => void} show called with each view
 * @property {(error: RelayError) => void} fail called when the stream is lost, or could not be had
 */

export class LiveFeed {
  /** Kept here and nowhere else. */
  #key = "";
  #listener;
  #reading = new AbortController();
  #timer = 0;

  /** @param {Listener} listener */
  constructor(listener) {
    this.#listener = listener;
  }

  get open() {
    return this.#key !== "";
  }

  /** @param {string} key */
  start(key) {
    this.#key = key;
    this.resume();
  }

  /** Forgets the key; what comes later is not for whoever sits here then. */
  forget() {
    this.#key = "";
    this.pause();
  }

  /** Closes the stream, and keeps the key. */
  pause() {
    clearTimeout(this.#timer);
    this.#reading.abort();
  }

  /** Asks for the stream, instead of one that may be open. */
  resume() {
    this.pause();
    if (this.#key === "") return;
    this.#reading = new AbortController();
    void this.#read(this.#reading.signal);
  }

  /** @param {AbortSignal} signal */
  async #read(signal) {
    try {
      await this.#events(signal);
      throw new RelayError({ kind: "cut", message: "" });
    } catch (error) {
      if (signal.aborted) return;
      const failed = error instanceof RelayError ? error : new RelayError({ kind: "network", message: "" });
      this.#timer = setTimeout(() => this.resume(), (failed.failure.retryAfterSeconds ?? 0) * 1000 || AGAIN);
      this.#listener.fail(failed);
    }
  }

  /** @param {AbortSignal} signal */
  async #events(signal) {
    if (!SENDABLE.test(this.#key)) throw new RelayError({ kind: "access", status: 401, message: "" });
    const response = await fetch("live/events", {
      cache: "no-store",
      credentials: "omit",
      redirect: "error",
      signal,
      headers: { authorization: `Bearer ${this.#key}` },
    });
    if (!response.ok) throw new RelayError(await failureOfResponse(response));
    if (response.body === null) throw new RelayError({ kind: "format", message: "" });
    const parser = new EventStreamParser();
    const reader = response.body.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (signal.aborted || done) return;
      const latest = parser.push(value).at(-1); // those before it are out of date
      if (latest !== undefined) this.#listener.show(parsed(latest.data));
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

/**
 * What the console shows the relay to be let in. It is in this page's memory only.
 */

import { RelayError } from "../errors.js";

/**
 * @typedef {object} Credential
 * @property {() => Promise<string>} token
 * @property {() => Promise<boolean>} renew after the relay refused it: whether there is a new one
 */

/** Header fields hold these characters only; a key with others cannot be sent, so it cannot be right. */
const SENDABLE = /^[\x21-\x7e]+$/;

/** Seconds before the end of a token at which it is renewed: a request may take a while, and clocks differ. */
const MARGIN_SECONDS = 120;

/** The administrators' key. @implements {Credential} */
export class KeyCredential {
  #key;

  /** @param {string} key */
  constructor(key) {
    this.#key = key;
  }

  async token() {
    if (!SENDABLE.test(this.#key)) throw new RelayError({ kind: "access", status: 401, message: "" });
    return this.#key;
  }

  async renew() {
    return false;
  }
}

/**
 * @typedef {object} Tokens
 * @property {string} access
 * @property {string | null} refresh
 * @property {number} seconds for which `access` is valid
 */

/** An access token, which is renewed while the page is open. @implements {Credential} */
export class TokenCredential {
  #tokens;
  #refresh;
  #now;
  #endsAt;
  /** @type {Promise<boolean> | null} */
  #renewal = null;

  /**
   * @param {Tokens} tokens
   * @param {(refresh: string) => Promise<Tokens>} refresh
   * @param {() => number} [now] milliseconds on a clock that nobody sets
   */
  constructor(tokens, refresh, now = () => performance.now()) {
    this.#tokens = tokens;
    this.#refresh = refresh;
    this.#now = now;
    this.#endsAt = now() + tokens.seconds * 1000;
  }

  async token() {
    if (this.#now() >= this.#endsAt - MARGIN_SECONDS * 1000) {
      await this.renew().catch((error) => {
        if (this.#now() >= this.#endsAt) throw error;
      });
    }
    return this.#tokens.access;
  }

  /** Many requests may find at once that it is time: they share one answer. */
  renew() {
    this.#renewal ??= this.#renew().finally(() => {
      this.#renewal = null;
    });
    return this.#renewal;
  }

  async #renew() {
    const { refresh } = this.#tokens;
    if (refresh === null) throw new RelayError({ kind: "access", code: "sign_in_ended", message: "" });
    const made = await this.#refresh(refresh);
    this.#tokens = { ...made, refresh: made.refresh ?? refresh };
    this.#endsAt = this.#now() + made.seconds * 1000;
    return true;
  }
}

/**
 * The access key: in `sessionStorage` only. It ends with the tab and is never written to disk by the page.
 */

import { write } from "./local.js";

const ACCESS_KEY = "chukei:access-key";

export class AccessKey {
  #session;
  #value;

  /** @param {Storage | null} session */
  constructor(session) {
    this.#session = session;
    this.#value = session?.getItem(ACCESS_KEY) ?? "";
  }

  get value() {
    return this.#value;
  }

  set value(key) {
    this.#value = key;
    if (key === "") this.#session?.removeItem(ACCESS_KEY);
    else write(this.#session, ACCESS_KEY, key);
  }
}

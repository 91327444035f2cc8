/**
 * What the administrators' page asks of the relay. Addresses are relative, so it works under any path prefix.
 */

import { RelayError, failureOfResponse } from "../errors.js";

/**
 * @typedef {object} UsageRow one sum; the names that were asked by are properties too
 * @property {number} requests
 * @property {number} failed
 * @property {number} input
 * @property {number} cached
 * @property {number} output
 * @property {number} reasoning
 * @property {number} wasted
 * @property {number} estimated
 * @property {number} cost
 * @property {number} unpriced
 * @property {number | null} first_token_ms
 */

/** @typedef {{rows: number, data: (UsageRow & Record<string, any>)[]}} Usage */

/**
 * @typedef {object} Key
 * @property {string} id
 * @property {string} caller
 * @property {string | null} group
 * @property {"active" | "expired" | "revoked"} state
 * @property {string} created
 * @property {string | null} expires
 * @property {string | null} revoked
 * @property {string | null} note
 */

/** @typedef {Key & {key: string}} MadeKey */

/** Header fields hold these characters only; a key with others cannot be sent, so it cannot be right. */
const SENDABLE = /^[\x21-\x7e]+$/;

export class AdminApi {
  /** Kept here and nowhere else. */
  key = "";
  #session = new AbortController();

  /** Forgets the key, and what was asked with it: an answer that comes later is not for whoever sits here then. */
  forget() {
    this.key = "";
    this.#session.abort();
    this.#session = new AbortController();
  }

  /**
   * @param {Record<string, string>} query
   * @param {AbortSignal} signal
   * @returns {Promise<Usage>}
   */
  async usage(query, signal) {
    const answer = await this.#json("usage", query, { signal });
    if (!Array.isArray(answer?.data)) throw new RelayError({ kind: "format", message: "" });
    return answer;
  }

  /**
   * @param {Record<string, string>} query
   * @returns {Promise<Blob>}
   */
  async csv(query) {
    const response = await this.#ask("usage", { ...query, format: "csv" });
    return response.blob();
  }

  /** @returns {Promise<Key[]>} */
  async keys() {
    return (await this.#json("keys")).data;
  }

  /**
   * @param {{caller: string, group: string | null, expires: string | null, note: string | null}} wanted
   * @returns {Promise<MadeKey>}
   */
  create(wanted) {
    return this.#post("keys", wanted);
  }

  /**
   * @param {string} id
   * @param {number} overlapSeconds
   * @returns {Promise<MadeKey>}
   */
  rotate(id, overlapSeconds) {
    return this.#post(`keys/${encodeURIComponent(id)}/rotate`, { overlap_seconds: overlapSeconds });
  }

  /** @param {string} id */
  revoke(id) {
    return this.#post(`keys/${encodeURIComponent(id)}/revoke`, {});
  }

  /** @returns {Promise<{models: Record<string, any[]>}>} */
  deployments() {
    return this.#json("deployments");
  }

  /** @returns {Promise<Record<string, any>>} */
  ledger() {
    return this.#json("ledger");
  }

  /**
   * @param {string} path
   * @param {unknown} body
   */
  #post(path, body) {
    const headers = { "content-type": "application/json" };
    return this.#json(path, {}, { method: "POST", body: JSON.stringify(body), headers });
  }

  /**
   * @param {string} path
   * @param {Record<string, string>} [query]
   * @param {RequestInit} [init]
   * @returns {Promise<any>}
   */
  async #json(path, query = {}, init = {}) {
    const response = await this.#ask(path, query, init);
    return response.json().catch((error) => {
      if (error instanceof DOMException) throw error;
      throw new RelayError({ kind: "format", message: "" });
    });
  }

  /**
   * @param {string} path
   * @param {Record<string, string>} query
   * @param {RequestInit} [init]
   */
  async #ask(path, query, init = {}) {
    if (!SENDABLE.test(this.key)) throw new RelayError({ kind: "access", status: 401, message: "" });
    const search = new URLSearchParams(query).toString();
    const signals = [this.#session.signal, ...(init.signal ? [init.signal] : [])];
    const response = await fetch(`admin/${path}${search === "" ? "" : `?${search}`}`, {
      cache: "no-store",
      credentials: "omit",
      redirect: "error",
      ...init,
      signal: AbortSignal.any(signals),
      headers: { ...init.headers, authorization: `Bearer ${this.key}` },
    }).catch((error) => {
      if (error instanceof DOMException) throw error;
      throw new RelayError({ kind: "network", message: "" });
    });
    if (!response.ok) throw new RelayError(await failureOfResponse(response));
    return response;
  }
}

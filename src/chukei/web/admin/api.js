/**
 * What the administrators' page asks of the relay. Addresses are relative, so it works under any path prefix.
 */

import { RelayError, failureOfResponse } from "../errors.js";

/**
 * @typedef {object} UsageRow one sum; the names that were asked by are properties too
 * @property {number} requests
 * @property {number} refused
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

/** @typedef {{rows: number, currency: string | null, data: (UsageRow & Record<string, any>)[]}} Usage */

/** @typedef {UsageRow & {caller: string, groups: string[], last_seen: string | null}} CallerRow */

/** @typedef {{rows: number, currency: string | null, data: CallerRow[]}} Callers */

/**
 * A limit in force. What is left is known for accounts, not for each member of a group.
 * @typedef {object} Limit
 * @property {string} limit
 * @property {string} [subject]
 * @property {number} most
 * @property {number} [remaining]
 * @property {number} [reset_seconds]
 * @property {string} source
 */

/** @typedef {{subject: string, limits: Record<string, number>, total: Record<string, number>, groups: string[] | null}} Rule what was set in the database */

/** @typedef {{groups: string[], sources: string[], limits: Limit[]}} Membership */

/** @typedef {{caller: string, last_seen: string | null, currency: string | null, memberships: Membership[], rule: Rule, keys: Key[]}} Caller */

/** @typedef {{group: string, limits: Limit[], total: Limit[], rule: Rule}} Group */

/** @typedef {{subject: string, limits?: Record<string, number | null>, total?: Record<string, number | null>, groups?: string[] | null}} RuleChange */

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

/**
 * @typedef {object} Change
 * @property {number} number
 * @property {string} time
 * @property {string} actor
 * @property {string | null} name
 * @property {string} action
 * @property {string} subject
 * @property {Record<string, any> | null} before
 * @property {Record<string, any> | null} after
 */

export class AdminApi {
  /** @type {import("./credentials.js").Credential | null} kept here and nowhere else */
  #credential = null;
  #session = new AbortController();

  /** @param {import("./credentials.js").Credential} credential for what is asked from now on */
  use(credential) {
    this.#credential = credential;
  }

  /** Forgets the credential, and what was asked with it: an answer that comes later is not for whoever sits here then. */
  forget() {
    this.#credential = null;
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

  /** How somebody can sign in; asked without a credential. @returns {Promise<{key: boolean, entra: import("./sign_in.js").Provider | null}>} */
  async signIn() {
    return json(await this.#send("sign-in", {}, {}));
  }

  /** @returns {Promise<{actor: string, name: string | null, may_change: boolean}>} */
  session() {
    return this.#json("session");
  }

  /**
   * @param {Record<string, string>} query
   * @param {AbortSignal} signal
   * @returns {Promise<Callers>}
   */
  callers(query, signal) {
    return this.#json("callers", query, { signal });
  }

  /**
   * @param {string} name
   * @param {AbortSignal} signal
   * @returns {Promise<Caller>}
   */
  caller(name, signal) {
    return this.#json(`callers/${encodeURIComponent(name)}`, {}, { signal });
  }

  /**
   * @param {AbortSignal} signal
   * @returns {Promise<{currency: string | null, data: Group[]}>}
   */
  groups(signal) {
    return this.#json("groups", {}, { signal });
  }

  /** @param {RuleChange} change @returns {Promise<Rule>} */
  changeRules(change) {
    return this.#post("rules", change);
  }

  /**
   * @param {Record<string, string>} query
   * @param {AbortSignal} signal
   * @returns {Promise<{data: Change[], more: boolean}>}
   */
  changes(query, signal) {
    return this.#json("changes", query, { signal });
  }

  /**
   * @param {Record<string, string>} query
   * @param {AbortSignal} signal
   * @returns {Promise<{data: Key[], rows: number}>}
   */
  keys(query, signal) {
    return this.#json("keys", query, { signal });
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

  /** The settings in force. @returns {Promise<Record<string, any>>} */
  configuration() {
    return this.#json("configuration");
  }

  /** Reads the configuration again. @returns {Promise<Record<string, any>>} what has changed */
  reload() {
    return this.#post("reload", {});
  }

  /**
   * The live view, an event each second.
   * @param {AbortSignal} signal
   */
  live(signal) {
    return this.#ask("live/events", {}, { signal });
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
    return json(await this.#ask(path, query, init));
  }

  /**
   * Asks with the credential, and once more where that had ended and could be renewed.
   * @param {string} path
   * @param {Record<string, string>} query
   * @param {RequestInit} [init]
   */
  async #ask(path, query, init = {}) {
    const credential = this.#credential;
    if (credential === null) throw new RelayError({ kind: "access", status: 401, message: "" });
    const signal = AbortSignal.any([this.#session.signal, ...(init.signal ? [init.signal] : [])]);
    const send = async () => this.#send(path, query, { ...init, signal, headers: { ...init.headers, authorization: `Bearer ${await credential.token()}` } });
    try {
      return await send();
    } catch (error) {
      const ended = error instanceof RelayError && error.failure.status === 401;
      if (!ended || !(await credential.renew())) throw error;
    }
    return send();
  }

  /**
   * @param {string} path
   * @param {Record<string, string>} query
   * @param {RequestInit} init
   */
  async #send(path, query, init) {
    const search = new URLSearchParams(query).toString();
    const response = await fetch(`admin/${path}${search === "" ? "" : `?${search}`}`, {
      cache: "no-store",
      credentials: "omit",
      redirect: "error",
      ...init,
    }).catch((error) => {
      if (error instanceof DOMException) throw error;
      throw new RelayError({ kind: "network", message: "" });
    });
    if (!response.ok) throw new RelayError(await failureOfResponse(response));
    return response;
  }
}

/** @param {Response} response @returns {Promise<any>} */
async function json(response) {
  return response.json().catch((error) => {
    if (error instanceof DOMException) throw error;
    throw new RelayError({ kind: "format", message: "" });
  });
}

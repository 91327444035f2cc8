/**
 * Signing in with Entra ID: the authorization code flow with PKCE (RFC 7636) in the browser. The page leaves for the
 * login service and comes back with a code in the fragment of its address, which no server sees. What is needed then is
 * in sessionStorage until it is back; tokens are in memory only.
 * See https://learn.microsoft.com/entra/identity-platform/v2-oauth2-auth-code-flow
 */

import { RelayError } from "../errors.js";

/** @typedef {import("./credentials.js").Tokens} Tokens */

/** @typedef {{authorize: string, token: string, client_id: string, scope: string}} Provider as the relay describes it */

/** @typedef {{state: string, nonce: string, verifier: string, address: string}} Asked what the page remembers of its question */

/** @typedef {{fields: URLSearchParams, asked: Asked | null}} Return with what somebody came back from the login service */

const STORED = "chukei:sign-in";

/** Errors of the login service that a reader can do something about; all others mean that the registration is wrong. */
const CODES = new Map([
  ["access_denied", "sign_in_denied"],
  ["consent_required", "sign_in_denied"],
  ["interaction_required", "sign_in_ended"],
  ["login_required", "sign_in_ended"],
  ["invalid_grant", "sign_in_ended"],
  ["server_error", "sign_in_later"],
  ["temporarily_unavailable", "sign_in_later"],
]);

/** Characters of the login service's own words that are shown. */
const MOST_WORDS = 400;

/** Whether the browser has what is needed: pages from plain HTTP, other than those of this machine, do not. */
export function canSignIn() {
  return globalThis.crypto?.subtle !== undefined;
}

/**
 * Takes what the login service has put into the address, and removes it from there.
 * @param {Storage | null} storage of the session
 * @param {Location} place
 * @param {History} history
 * @returns {Return | null} null where nobody comes back
 */
export function takeReturn(storage, place, history) {
  if (place.hash.startsWith("#/")) return null;
  const fields = new URLSearchParams(place.hash.slice(1));
  if (!fields.has("state") || !(fields.has("code") || fields.has("error"))) return null;
  const asked = readAsked(storage);
  storage?.removeItem(STORED);
  history.replaceState(null, "", asked?.address || "#/");
  return { fields, asked };
}

/** @param {Storage | null} storage @returns {Asked | null} */
function readAsked(storage) {
  try {
    return JSON.parse(storage?.getItem(STORED) ?? "null");
  } catch {
    return null;
  }
}

/** Asks the login service for access tokens. */
export class SignIn {
  #provider;
  #page;

  /**
   * @param {Provider} provider
   * @param {string} page the address of this page without query and fragment, as it is registered
   */
  constructor(provider, page) {
    this.#provider = provider;
    this.#page = page;
  }

  /**
   * Returns the address to go to, and remembers what was asked.
   * @param {Storage | null} storage of the session
   * @param {string} address where the reader is, such as `#/keys`
   * @param {boolean} choose whether the reader is asked for an account although one is signed in
   */
  async begin(storage, address, choose) {
    /** @type {Asked} */
    const asked = { state: random(), nonce: random(), verifier: random(), address };
    storage?.setItem(STORED, JSON.stringify(asked));
    const query = new URLSearchParams({
      client_id: this.#provider.client_id,
      response_type: "code",
      redirect_uri: this.#page,
      response_mode: "fragment",
      scope: this.#scope,
      state: asked.state,
      nonce: asked.nonce,
      code_challenge: await challengeOf(asked.verifier),
      code_challenge_method: "S256",
      ...(choose ? { prompt: "select_account" } : {}),
    });
    return `${this.#provider.authorize}?${query}`;
  }

  /** @param {Return} back @returns {Promise<Tokens>} */
  async finish({ fields, asked }) {
    if (asked === null || fields.get("state") !== asked.state) throw refusal("sign_in_state", "");
    const error = fields.get("error");
    if (error !== null) throw refusal(CODES.get(error) ?? "sign_in_registration", fields.get("error_description") ?? error);
    const found = await this.#redeem({
      grant_type: "authorization_code",
      code: fields.get("code") ?? "",
      redirect_uri: this.#page,
      code_verifier: asked.verifier,
    });
    // It came from the token's own endpoint over TLS, so its signature need not be checked (OpenID Connect Core §3.1.3.7).
    if (nonceOf(found.id_token) !== asked.nonce) throw refusal("sign_in_state", "");
    return tokens(found);
  }

  /** @param {string} refresh @returns {Promise<Tokens>} */
  async renew(refresh) {
    return tokens(await this.#redeem({ grant_type: "refresh_token", refresh_token: refresh }));
  }

  get #scope() {
    return `openid profile offline_access ${this.#provider.scope}`;
  }

  /** @param {Record<string, string>} fields @returns {Promise<Record<string, any>>} */
  async #redeem(fields) {
    const body = new URLSearchParams({ client_id: this.#provider.client_id, scope: this.#scope, ...fields });
    const response = await fetch(this.#provider.token, { method: "POST", body, cache: "no-store", credentials: "omit", redirect: "error" }).catch(() => {
      throw refusal("sign_in_unreachable", "");
    });
    const found = await response.json().catch(() => ({}));
    if (response.ok && typeof found.access_token === "string") return found;
    throw refusal(CODES.get(found.error) ?? (response.status >= 500 ? "sign_in_later" : "sign_in_registration"), String(found.error_description ?? found.error ?? ""));
  }
}

/** @param {Record<string, any>} found @returns {Tokens} */
function tokens(found) {
  const refresh = typeof found.refresh_token === "string" ? found.refresh_token : null;
  return { access: found.access_token, refresh, seconds: Number(found.expires_in) || 0 };
}

/** @param {string} code @param {string} description in the login service's words, of which the lines after the first are for its support */
function refusal(code, description) {
  const [message] = description.split(/\r?\n| Trace ID:/);
  return new RelayError({ kind: "access", code, message: message.slice(0, MOST_WORDS) });
}

/** @param {unknown} token @returns {unknown} */
function nonceOf(token) {
  try {
    const [, payload] = String(token).split(".");
    return JSON.parse(atob(payload.replaceAll("-", "+").replaceAll("_", "/"))).nonce;
  } catch {
    return null;
  }
}

/** What goes along with the question, so that only this page can use the answer. @param {string} verifier */
export async function challengeOf(verifier) {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier));
  return base64url(new Uint8Array(digest));
}

/** 32 random bytes in 43 characters, as RFC 7636 §4.1 recommends. */
function random() {
  return base64url(crypto.getRandomValues(new Uint8Array(32)));
}

/** @param {Uint8Array} bytes */
function base64url(bytes) {
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

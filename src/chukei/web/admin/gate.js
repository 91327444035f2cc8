/**
 * The place for signing in: with Entra ID, with the administrators' key, or either. A credential is in memory only: it
 * goes with the page, and with the button that locks it.
 */

import { byId } from "../dom.js";
import { RelayError } from "../errors.js";
import { openStorage } from "../storage/local.js";
import { renderFailure } from "../views/failure.js";
import { KeyCredential, TokenCredential } from "./credentials.js";
import { SignIn, canSignIn, takeReturn } from "./sign_in.js";

/** Milliseconds after which somebody has to sign in again. Entra ID renews the tokens of a page for as long. */
const LONGEST_SESSION = 24 * 3_600_000;

/** Milliseconds from one look at the clock to the next: a timer for all the time would stand still while a machine sleeps. */
const LOOK = 60_000;

/** @typedef {import("./credentials.js").Credential} Credential */
/** @typedef {import("./view.js").Session} Session */

export class Gate {
  #api;
  #words;
  #onOpen;
  #onLock;
  #entra = byId("entra", HTMLElement);
  #begin = byId("sign-in", HTMLButtonElement);
  #running = byId("signing-in", HTMLElement);
  #form = byId("unlock", HTMLFormElement);
  #key = byId("admin-key", HTMLInputElement);
  #failure = byId("unlock-failure", HTMLElement);
  #lock = byId("lock", HTMLButtonElement);
  #who = byId("who", HTMLElement);
  /** @type {Session | null} */
  #session = null;
  #endsAt = Infinity;
  /** @type {SignIn | null} null where Entra ID is not configured */
  #signIn = null;
  #takesKey = true;
  #signedOut = false;

  /**
   * @param {object} options
   * @param {import("./api.js").AdminApi} options.api
   * @param {import("../i18n.js").Words} options.words
   * @param {() => void} options.onOpen somebody has signed in
   * @param {() => void} options.onLock nobody is signed in any more
   */
  constructor({ api, words, onOpen, onLock }) {
    this.#api = api;
    this.#words = words;
    this.#onOpen = onOpen;
    this.#onLock = onLock;
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#unlock();
    });
    this.#begin.addEventListener("click", () => void this.#leave());
    this.#lock.addEventListener("click", () => {
      this.#signedOut = true;
      this.lock(null);
    });
    // A page that was left may come back from the browser's memory, for somebody else.
    window.addEventListener("pagehide", () => this.lock(null));
    setInterval(() => {
      if (this.#session !== null && Date.now() >= this.#endsAt) this.lock(new RelayError({ kind: "access", code: "session_ended", message: "" }));
    }, LOOK);
    void this.#start(takeReturn(openStorage("sessionStorage"), location, history));
  }

  /** Who is signed in; for views, which are shown to nobody else. */
  get session() {
    if (this.#session === null) throw new Error("nobody is signed in");
    return this.#session;
  }

  /** Forgets the credential. @param {RelayError | null} why */
  lock(why) {
    this.#api.forget();
    this.#session = null;
    this.#lock.hidden = this.#who.hidden = true;
    this.#onLock();
    this.#key.value = "";
    this.#show();
    this.#fail(why);
  }

  /** Says everything in the language of now. */
  redraw() {
    this.#lock.textContent = this.#words.say(this.#signIn !== null && this.#session?.key === false ? "sign_in.out" : "admin.lock");
  }

  /**
   * Asks how somebody can sign in, and finishes what was begun before the page was left.
   * @param {import("./sign_in.js").Return | null} back
   */
  async #start(back) {
    try {
      const { key, entra } = await this.#api.signIn();
      this.#takesKey = key;
      if (entra !== null) this.#signIn = new SignIn(entra, location.origin + location.pathname);
    } catch (error) {
      this.#show();
      this.#refuse(error);
      return;
    }
    const signIn = this.#signIn;
    if (back === null || signIn === null) {
      this.#show();
      this.#focus();
      return;
    }
    this.#running.textContent = this.#words.say("sign_in.running");
    await this.#open(async () => new TokenCredential(await signIn.finish(back), (refresh) => signIn.renew(refresh)), false);
    this.#running.textContent = "";
    if (this.#session === null) this.#show();
  }

  /** Shows the ways to sign in. They were hidden until now: a key that is entered before would be sent by the form itself. */
  #show() {
    this.#form.hidden = !this.#takesKey;
    this.#entra.hidden = this.#signIn === null;
    const open = byId("open", HTMLButtonElement); // one way is the first that offers itself
    open.classList.toggle("primary-button", this.#signIn === null);
    open.classList.toggle("outline-button", this.#signIn !== null);
    byId("entra-insecure", HTMLElement).hidden = canSignIn();
    byId("entra-text", HTMLElement).hidden = this.#begin.hidden = !canSignIn();
  }

  async #leave() {
    const address = location.hash.startsWith("#/") ? location.hash : "";
    const place = await this.#signIn?.begin(openStorage("sessionStorage"), address, this.#signedOut);
    if (place !== undefined) location.assign(place);
  }

  async #unlock() {
    const key = this.#key.value.trim();
    if (key !== "") await this.#open(async () => new KeyCredential(key), true);
  }

  /** @param {() => Promise<Credential>} credential @param {boolean} key whether it is the administrators' key */
  async #open(credential, key) {
    this.#failure.replaceChildren();
    try {
      this.#api.use(await credential());
      const { actor, name, may_change } = await this.#api.session();
      this.#session = { actor, name, mayChange: may_change, key };
      this.#endsAt = Date.now() + LONGEST_SESSION;
    } catch (error) {
      this.#refuse(error);
      return;
    }
    this.#key.value = "";
    this.#form.hidden = this.#entra.hidden = true;
    this.#lock.hidden = this.#who.hidden = false;
    byId("who-name", HTMLElement).textContent = this.#session.name ?? this.#session.actor;
    byId("who-looks", HTMLElement).hidden = this.#session.mayChange;
    this.redraw();
    this.#onOpen();
  }

  /** Where the relay could not be asked, that says nothing about the key: it stays in its field. @param {unknown} error */
  #refuse(error) {
    if (error instanceof DOMException && error.name === "AbortError") return;
    if (!(error instanceof RelayError)) throw error;
    this.#api.forget();
    if (error.failure.kind === "access") this.#key.value = "";
    this.#show();
    this.#fail(error);
  }

  /** @param {RelayError | null} why */
  #fail(why) {
    this.#failure.replaceChildren(...(why === null ? [] : [renderFailure(why.failure, this.#words, true, null)]));
    this.#focus();
  }

  #focus() {
    const first = [this.#begin, this.#key].find((element) => element.checkVisibility());
    first?.focus();
  }
}

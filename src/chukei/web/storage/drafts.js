/**
 * Drafts: messages that were begun and not sent. They are in memory, and in the browser's database while
 * "keep history" is on. A conversation has one. The new chat has one in each tab, so that a new tab begins empty; it
 * finds the draft of a tab that is closed.
 */

import { newId } from "../conversations/shape.js";
import { DraftRows, isEmpty, isSame } from "./draft_rows.js";
import { write } from "./local.js";

/** @typedef {import("./draft_rows.js").Draft} Draft */

/** What the places of new chats begin with; the rest is the tab's own. */
const NEW = "new ";

const TAB = "chukei:tab";

/** So long the other tabs have to say that they are there, in milliseconds. */
const CLAIM_MS = 300;

/** A draft is written no more often than this, in milliseconds. */
const WRITE_MS = 500;

/** @type {Draft} */
const EMPTY = { text: "", attachments: [] };

export class DraftStore {
  #opening;
  /** @type {DraftRows | null} */
  #rows = null;
  #keeps;
  #channel;
  #session;
  /** Of two tabs with one place, the younger is a copy of the other. Ids sort by time. */
  #born = newId();
  /** Whether this tab has nothing of before but what it takes from one that is closed. */
  #isNew;
  /** The place of this tab's new chat. */
  #own;
  /** The place of the tab that this one is a copy of. @type {string | null} */
  #original = null;
  /** Places of the new chats of other tabs. @type {Set<string>} */
  #claimed = new Set();
  /** Resolves when it is known what this tab finds. @type {Promise<void>} */
  #found;
  /** @type {Map<string, Draft>} */
  #drafts = new Map();
  /** Places whose draft has to be written. @type {Set<string>} */
  #dirty = new Set();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /**
   * @param {object} parts
   * @param {Promise<import("./database.js").Database | null>} parts.database
   * @param {Storage | null} parts.session remembers the tab over a reload; a tab that is duplicated has a copy of it
   * @param {import("./conversations.js").Channel | null} parts.channel to the other tabs
   * @param {() => boolean} parts.keeps whether drafts outlive the page
   */
  constructor({ database, session, channel, keeps }) {
    this.#opening = database.then((opened) => void (this.#rows = opened && new DraftRows(opened)));
    this.#keeps = keeps;
    this.#channel = channel;
    this.#session = session;
    const tab = session?.getItem(TAB);
    this.#isNew = !tab;
    this.#own = NEW + (tab || newId());
    write(session, TAB, this.#own.slice(NEW.length));
    channel?.addEventListener("message", (event) => this.#onMessage(/** @type {MessageEvent} */ (event).data));
    this.#found = tab ? this.#opening : this.#adopt();
    if (tab) channel?.postMessage({ type: "tabs" });
  }

  /**
   * Reads a draft, unless there is one in memory. What is written while it is being read goes after it.
   * @param {string | null} place id of a conversation; null is the new chat
   * @returns {Promise<Draft | undefined>}
   */
  async read(place) {
    const isRead = this.#drafts.has(place ?? this.#own) || (place === null && this.#isNew);
    await (place === null ? this.#found : this.#opening);
    const id = place ?? this.#own;
    if (!this.#keeps() || isRead) return this.#drafts.get(id);
    const from = (place === null && this.#original) || id;
    const draft = await this.#rows?.read(from);
    if (place === null && id !== this.#own) return this.read(place); // this tab turned out to be a copy
    const { text, attachments } = this.#drafts.get(id) ?? EMPTY;
    if (!draft) return this.#drafts.get(id);
    this.#drafts.set(id, { text: draft.text + text, attachments: [...draft.attachments, ...attachments] });
    if (from !== id || text !== "" || attachments.length > 0) this.#writeSoon(id);
    return this.#drafts.get(id);
  }

  /** What is in memory. @param {string | null} place */
  get(place) {
    return this.#drafts.get(place ?? this.#own);
  }

  /**
   * Keeps a draft, or removes it when it is empty. One that is not read yet cannot have been emptied.
   * @param {string | null} place
   * @param {Draft} draft
   */
  set(place, draft) {
    const id = place ?? this.#own;
    const known = this.#drafts.get(id) ?? EMPTY;
    if (isSame(known, draft)) return;
    this.#drafts.set(id, draft);
    this.#writeSoon(id);
  }

  /** Writes now what has to be written; begins before it returns. */
  async flush() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#rows === null || !this.#keeps() || this.#dirty.size === 0) return; // written with the next change
    const changed = new Map([...this.#dirty].map((id) => [id, this.#drafts.get(id) ?? EMPTY]));
    this.#dirty.clear();
    try {
      for (const id of await this.#rows.write(changed)) this.#writeSoon(id);
    } catch {
      // There is no room, or no database any more: they last as long as the page.
    }
  }

  /** Writes what is in memory into a database that was emptied. */
  rewrite() {
    this.#rows?.forget();
    for (const id of this.#drafts.keys()) this.#dirty.add(id);
    return this.flush();
  }

  /**
   * Removes drafts.
   * @param {string[]} [places] ids of conversations; without them all drafts go, those of new chats too
   * @returns {Promise<[string, Draft][]>} what `restore` takes
   */
  async delete(places) {
    const inMemory = (places ?? [...this.#drafts.keys()]).flatMap((id) => this.#forget(id));
    const kept = await this.#rows?.take(places ?? (await this.#rows.places()));
    return [...new Map([...(kept ?? []), ...inMemory])];
  }

  /** @param {[string, Draft][]} drafts those that `delete` has removed */
  restore(drafts) {
    for (const [id, draft] of drafts) if (isEmpty(this.#drafts.get(id) ?? EMPTY)) this.set(id, draft);
  }

  /**
   * Takes the draft of the new chat of a tab that is closed. A tab that sleeps answers nothing: what it had is here then.
   * Where something is written, it waits for the next new tab.
   */
  async #adopt() {
    await this.#opening;
    this.#channel?.postMessage({ type: "tabs" });
    await new Promise((resolve) => setTimeout(resolve, CLAIM_MS));
    if (!this.#keeps() || this.#drafts.has(this.#own)) return;
    const left = (await this.#rows?.places(NEW))?.findLast((place) => !this.#claimed.has(place));
    const taken = left === undefined ? [] : await this.#rows?.take([left]);
    for (const [place, draft] of taken ?? []) this.set(this.#drafts.has(this.#own) ? place : null, draft);
  }

  /** @param {any} message from another tab, which may run another version of the page */
  #onMessage(message) {
    if (message?.type === "tabs") this.#channel?.postMessage({ type: "tab", place: this.#own, born: this.#born });
    else if (message?.type === "tab") this.#onClaim(message);
  }

  /** @param {{place: string, born?: string}} claim an older page does not say when it was loaded */
  #onClaim({ place, born = "" }) {
    this.#claimed.add(place);
    if (place === this.#own && born < this.#born) this.#part();
  }

  /** This tab is a copy of another one. It has that one's draft, and from now on its own. */
  #part() {
    const draft = this.#drafts.get(this.#own);
    this.#original = this.#own;
    this.#forget(this.#own);
    this.#own = NEW + newId();
    write(this.#session, TAB, this.#own.slice(NEW.length));
    if (draft !== undefined) this.set(null, draft);
  }

  /** @param {string} id */
  #writeSoon(id) {
    this.#dirty.add(id);
    this.#timer ??= setTimeout(() => void this.flush(), WRITE_MS);
  }

  /** @param {string} id @returns {[string, Draft][]} */
  #forget(id) {
    const draft = this.#drafts.get(id);
    this.#drafts.delete(id);
    this.#dirty.delete(id);
    return draft === undefined || isEmpty(draft) ? [] : [[id, draft]];
  }
}

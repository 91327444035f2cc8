/**
 * Drafts: messages that were begun and not sent. They are in memory, and rows of the browser's database while
 * "keep history" is on. A conversation has one. The new chat has one in each tab, so that a new tab begins empty; it
 * finds the draft of a tab that is closed.
 */

import { newId, readMessage } from "../conversations/shape.js";
import { write } from "./local.js";

/** @typedef {import("../attachments/attachment.js").Attachment} Attachment */
/** @typedef {import("./database.js").Database} Database */
/** @typedef {{text: string, attachments: Attachment[]}} Draft */
/** @typedef {{id: string, role: "draft", content: string, attachments: Attachment[]}} DraftRow */

/** Rows of a draft are those of a conversation of this name and the id; no heading names it, so that no list shows it. */
const PREFIX = "draft ";

/** What the places of new chats begin with; the rest is the tab's own. */
const NEW = "new ";

const TAB = "chukei:tab";

/** So long the other tabs have to say that they are there, in milliseconds. */
const CLAIM_MS = 300;

/** A draft is written no more often than this, in milliseconds. */
const WRITE_MS = 500;

/** As many are kept; then those of the oldest conversations go, what was just written last. */
const MOST_DRAFTS = 50;

/** Attachments beyond so many characters are not kept: some photographs, or four of the longest texts. */
const MOST_CHARACTERS = 20_000_000;

export class DraftStore {
  #opening;
  /** @type {Database | null} */
  #database = null;
  #keeps;
  #channel;
  /** The place of this tab's new chat. */
  #own;
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
   * @param {Promise<Database | null>} parts.database
   * @param {Storage | null} parts.session remembers the tab over a reload
   * @param {import("./conversations.js").Channel | null} parts.channel to the other tabs
   * @param {() => boolean} parts.keeps whether drafts outlive the page
   */
  constructor({ database, session, channel, keeps }) {
    this.#opening = database.then((opened) => void (this.#database = opened));
    this.#keeps = keeps;
    this.#channel = channel;
    const tab = session?.getItem(TAB);
    this.#own = NEW + (tab || newId());
    write(session, TAB, this.#own.slice(NEW.length));
    channel?.addEventListener("message", (event) => this.#onMessage(/** @type {MessageEvent} */ (event).data));
    this.#found = tab ? this.#opening : this.#adopt();
  }

  /**
   * Reads a draft, unless there is one in memory.
   * @param {string | null} place id of a conversation; null is the new chat
   * @returns {Promise<Draft | undefined>}
   */
  async read(place) {
    const id = place ?? this.#own;
    await (place === null ? this.#found : this.#opening);
    if (!this.#keeps() || this.#drafts.has(id)) return this.#drafts.get(id);
    const rows = (await this.#database?.rows([PREFIX + id]).catch(() => [])) ?? [];
    const draft = draftOf(rows[0]);
    if (draft !== null && !this.#drafts.has(id)) this.#drafts.set(id, draft);
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
    const known = this.#drafts.get(id) ?? { text: "", attachments: [] };
    if (known.text === draft.text && isSame(known.attachments, draft.attachments)) return;
    this.#drafts.set(id, draft);
    this.#dirty.add(id);
    this.#timer ??= setTimeout(() => void this.flush(), WRITE_MS);
  }

  /** Writes now what has to be written; begins before it returns. */
  async flush() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const database = this.#database;
    if (database === null || !this.#keeps()) return; // they are written with the next change
    const changed = [...this.#dirty].map((id) => /** @type {[string, Draft]} */ ([id, this.#drafts.get(id)]));
    this.#dirty.clear();
    const rows = changed.filter(([, draft]) => !isEmpty(draft)).map(([id, draft]) => rowOf(id, draft));
    const gone = changed.filter(([, draft]) => isEmpty(draft)).map(([id]) => PREFIX + id);
    try {
      await Promise.all([rows.length > 0 && database.write({ headings: [], rows }), gone.length > 0 && database.take(gone)]);
      const written = new Set(rows.map(({ conversation }) => conversation));
      const names = written.size === 0 ? [] : await database.names(PREFIX);
      const others = names.filter((name) => !written.has(name));
      if (names.length > MOST_DRAFTS) await database.take([...others, ...written].slice(0, names.length - MOST_DRAFTS));
    } catch {
      // There is no room, or no database any more: they last as long as the page.
    }
  }

  /** Writes what is in memory. */
  rewrite() {
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
    const names = places?.map((id) => PREFIX + id) ?? (await this.#database?.names(PREFIX).catch(() => [])) ?? [];
    const rows = (names.length > 0 && (await this.#database?.take(names).catch(() => []))) || [];
    const kept = rows.flatMap((row) => {
      const draft = draftOf(row);
      return draft === null ? [] : [/** @type {[string, Draft]} */ ([row.conversation.slice(PREFIX.length), draft])];
    });
    return [...new Map([...kept, ...inMemory])];
  }

  /** @param {[string, Draft][]} drafts those that `delete` has removed */
  restore(drafts) {
    for (const [id, draft] of drafts) if (!this.#drafts.has(id)) this.set(id, draft);
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
    const names = (await this.#database?.names(PREFIX + NEW).catch(() => [])) ?? [];
    const left = names.findLast((name) => !this.#claimed.has(name.slice(PREFIX.length)));
    if (left === undefined) return;
    const rows = await this.#database?.take([left]).catch(() => []);
    const draft = draftOf(rows?.[0]);
    if (draft !== null) this.set(this.#drafts.has(this.#own) ? left.slice(PREFIX.length) : null, draft);
  }

  /** @param {any} message from another tab */
  #onMessage(message) {
    if (message?.type === "tabs") this.#channel?.postMessage({ type: "tab", place: this.#own });
    else if (message?.type === "tab") this.#claimed.add(message.place);
  }

  /** @param {string} id @returns {[string, Draft][]} */
  #forget(id) {
    const draft = this.#drafts.get(id);
    this.#drafts.delete(id);
    this.#dirty.delete(id);
    return draft === undefined || isEmpty(draft) ? [] : [[id, draft]];
  }
}

/** @param {Draft} draft */
function isEmpty({ text, attachments }) {
  return text === "" && attachments.length === 0;
}

/**
 * @param {Attachment[]} some
 * @param {Attachment[]} others
 */
function isSame(some, others) {
  return some.length === others.length && some.every((one, index) => one === others[index]);
}

/**
 * @param {string} id
 * @param {Draft} draft
 * @returns {import("./database.js").Row}
 */
function rowOf(id, { text, attachments }) {
  let room = MOST_CHARACTERS;
  const kept = attachments.filter(({ data }) => {
    const fits = data.length <= room;
    if (fits) room -= data.length;
    return fits;
  });
  return { conversation: PREFIX + id, message: { id: "draft", role: "draft", content: text, attachments: kept } };
}

/** A draft is checked as the question that it may become. @param {any} row @returns {Draft | null} */
function draftOf(row) {
  const question = readMessage({ ...row?.message, role: "user" });
  return question?.role === "user" ? { text: question.content, attachments: question.attachments ?? [] } : null;
}

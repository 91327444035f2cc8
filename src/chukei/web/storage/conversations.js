/**
 * The conversations: their headings in memory, and all of them in the browser's database while "keep history"
 * is on. The messages of one are read when it is opened. They hold no credential. Where there is no database,
 * conversations last as long as the page.
 *
 * Tabs tell each other what they write. Each message is written by the tab that makes it, and the rest
 * of a conversation is its heading; so nothing that another tab has added is overwritten.
 */

import { byAge, closeAnswers, headingOf, readConversation, readHeading, readMessage, titleOf } from "../conversations/shape.js";
import { readJson } from "./local.js";
import { addRead, byConversation, grow, outlineOf, withOpening } from "./rows.js";

/** @typedef {import("../conversations/shape.js").Conversation} Conversation */
/** @typedef {import("../conversations/shape.js").Message} Message */
/** @typedef {import("../conversations/search.js").Text} Text */
/** @typedef {import("./database.js").Batch} Batch */
/** @typedef {import("./database.js").Database} Database */
/** @typedef {Pick<BroadcastChannel, "postMessage" | "addEventListener">} Channel */

/** Where conversations were before there was a database: one entry each. */
const BEFORE = "chukei:conversation:";

/** A growing answer is written no more often than this, in milliseconds. */
const WRITE_MS = 1000;

/** As many conversations are read in one transaction: between two of them the page can do something else. */
const READ_TOGETHER = 20;

/** How often older conversations make room for one that is written; browsers may free it late. */
const ROUNDS = 3;

/**
 * Events:
 * - `change`: the list is another one
 * - `arrived`: another tab has written; `event.detail` is the conversation, and its answers that have grown
 * - `gone`: another tab has deleted; `event.detail` are the ids of the conversations
 * - `full`: there was no room; `event.detail` says how many conversations were deleted for it, and
 *   whether what was to be written is kept now
 * - `hello`: a new tab asks what is being written
 * - `keep`: whether conversations outlive the page has changed
 * - `stop`: another tab wants an answer stopped; `event.detail` is the id of its conversation
 */
export class ConversationStore extends EventTarget {
  /** Of those that are not whole, the messages are those that other tabs have written meanwhile. @type {Map<string, Conversation>} */
  #all = new Map();
  /** Ids of the conversations that have all their messages in memory. @type {Set<string>} */
  #whole = new Set();
  /** What a search reads of the others, as far as it was read. @type {Map<string, Text[]>} */
  #texts = new Map();
  #local;
  #channel;
  #keep;
  /** @type {Database | null} */
  #database = null;
  /** What has to be written: ids of messages by conversation. @type {Map<string, Set<string>>} */
  #dirty = new Map();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** Until the end of an erasure, messages are neither in the database nor in memory. @type {Promise<void>} */
  #erasing = Promise.resolve();
  /** One reading of texts follows the other, and finds what it has brought. @type {Promise<void>} */
  #readingTexts = Promise.resolve();

  /**
   * @param {object} parts
   * @param {Promise<Database | null>} parts.database
   * @param {Channel | null} parts.channel to the other tabs
   * @param {Storage | null} parts.local where conversations were before
   * @param {boolean} parts.keep whether conversations outlive the page
   */
  constructor({ database, channel, local, keep }) {
    super();
    this.#local = local;
    this.#channel = channel;
    this.#keep = keep;
    this.isReady = false;
    /** Resolves when the headings of everything that was kept are there. */
    this.ready = this.#load(database);
    channel?.addEventListener("message", (event) => this.#onMessage(/** @type {MessageEvent} */ (event).data));
  }

  /** Whether conversations outlive the page. */
  get keeps() {
    return this.#keep && (this.#database !== null || !this.isReady);
  }

  /** Newest first. */
  list() {
    return [...this.#all.values()].sort((a, b) => b.updatedAt - a.updatedAt);
  }

  /** Whether there is such a conversation, read or not. @param {string} id */
  has(id) {
    return this.#all.has(id);
  }

  /**
   * @param {string} id
   * @returns {Conversation | undefined} only if its messages were read
   */
  get(id) {
    return this.#whole.has(id) ? this.#all.get(id) : undefined;
  }

  /**
   * Reads the messages of a conversation, unless they are in memory.
   * @param {string} id
   * @returns {Promise<Conversation | undefined>} undefined when there is none, or it cannot be read
   */
  async read(id) {
    await this.ready;
    await this.#erasing;
    if (this.#all.has(id) && !this.#whole.has(id)) this.#fill([id], await this.#rowsOf([id]));
    return this.get(id);
  }

  /** What a search reads of a conversation, as far as it is in memory. @param {Conversation} conversation */
  textsOf({ id, messages }) {
    return [...(this.#texts.get(id) ?? []), ...messages];
  }

  /**
   * Reads what `textsOf` lacks, the newest conversations first.
   * @param {() => boolean} [isEnough] asked after each part
   */
  readTexts(isEnough = () => false) {
    this.#readingTexts = this.#readingTexts.then(() => this.#readMoreTexts(isEnough));
    return this.#readingTexts;
  }

  /** @param {() => boolean} isEnough */
  async #readMoreTexts(isEnough) {
    await this.ready;
    await this.#erasing;
    while (!isEnough()) {
      const unread = this.list().filter(({ id }) => !this.#whole.has(id) && !this.#texts.has(id));
      if (unread.length === 0) return;
      const ids = unread.slice(0, READ_TOGETHER).map(({ id }) => id);
      const messages = byConversation(await this.#rowsOf(ids));
      for (const id of ids) if (this.#all.has(id)) this.#texts.set(id, (messages.get(id) ?? []).map(outlineOf));
    }
  }

  /**
   * Keeps the heading of a conversation and these messages of it.
   * @param {Conversation} conversation
   * @param {Message[]} messages those that are new or have changed
   */
  save(conversation, messages) {
    this.#note(conversation, messages);
    this.flush();
  }

  /**
   * The same, for a message that grows: within a second.
   * @param {Conversation} conversation
   * @param {Message} message
   */
  saveSoon(conversation, message) {
    this.#note(conversation, [message]);
    this.#timer ??= setTimeout(() => this.flush(), WRITE_MS);
  }

  /**
   * Writes now what has to be written.
   * @returns {Promise<boolean>} whether it is kept
   */
  async flush() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (!this.isReady || this.#dirty.size === 0) return false;
    const batch = this.#takeBatch();
    if (!this.#keep) return false;
    this.#channel?.postMessage({ type: "saved", ...batch });
    return this.#write(batch);
  }

  /**
   * @param {string[]} ids
   * @returns {Promise<Conversation[]>} what was deleted, whole
   */
  async delete(ids) {
    const deleted = ids.map((id) => this.#all.get(id)).filter((one) => one !== undefined);
    for (const id of ids) this.#forget(id);
    if (!this.#keep) return deleted;
    this.#channel?.postMessage({ type: "deleted", ids });
    const messages = byConversation((await this.#attempt((database) => database.take(ids))) || []);
    for (const conversation of deleted) addRead(conversation, messages.get(conversation.id) ?? []);
    return deleted;
  }

  /** @param {boolean} keep */
  async setKeep(keep) {
    if (keep === this.#keep) return;
    this.#keep = keep;
    if (!keep) this.#erasing = this.#erase();
    await this.#erasing;
    if (this.#keep) for (const conversation of this.#all.values()) this.#note(conversation, conversation.messages);
    this.flush();
    this.#tell("keep");
  }

  /**
   * Asks the tab that writes an answer to stop.
   * @param {string} id of the conversation
   */
  stopElsewhere(id) {
    this.#channel?.postMessage({ type: "stop", id });
  }

  /** @param {Promise<Database | null>} opening */
  async #load(opening) {
    this.#database = await opening;
    if (this.#keep) await this.#readHeadings();
    else this.#erasing = this.#erase();
    const before = this.#keep ? this.#takeOver() : [];
    this.isReady = true;
    const written = this.flush();
    this.#channel?.postMessage({ type: "hello" });
    this.#tell("change");
    void this.#noteOpenings();
    if (before.length > 0 && (await written)) for (const key of before) this.#local?.removeItem(key);
  }

  async #readHeadings() {
    const headings = (await this.#attempt((database) => database.headings())) || [];
    for (const heading of headings.map(readHeading)) {
      // What another tab has said meanwhile is newer.
      if (heading !== null && !this.#all.has(heading.id)) this.#all.set(heading.id, { ...heading, messages: [] });
    }
  }

  /**
   * Headings that older pages have written do not say how the conversation opens. Each is amended for itself, so that
   * this may end at any time and goes on when the page is loaded again.
   */
  async #noteOpenings() {
    const unnamed = this.list().filter((one) => titleOf(one) === "" && !this.#whole.has(one.id));
    for (const [index, conversation] of unnamed.entries()) {
      if (!this.#keep) return; // all of it is in memory
      const note = (/** @type {any} */ heading, /** @type {any[]} */ rows) => {
        const amended = withOpening(heading, rows);
        conversation.opening = amended.opening;
        return amended;
      };
      await this.#database?.amend(conversation.id, note).catch(() => {}); // what cannot be read has no name
      if (index % READ_TOGETHER === READ_TOGETHER - 1 || conversation === unnamed.at(-1)) this.#tell("change");
    }
  }

  /** What cannot be read says nothing of the others. @param {string[]} ids @returns {Promise<any[]>} */
  async #rowsOf(ids) {
    try {
      return (await this.#database?.rows(ids)) ?? [];
    } catch {
      return ids.length === 1 ? [] : (await Promise.all(ids.map((id) => this.#rowsOf([id])))).flat();
    }
  }

  /**
   * Adds messages that were read. A conversation without any is not whole: its messages may be on their way.
   * @param {Iterable<string>} ids
   * @param {any[]} rows
   */
  #fill(ids, rows) {
    const messages = byConversation(rows);
    for (const id of ids) {
      const conversation = this.#all.get(id);
      if (conversation === undefined) continue;
      addRead(conversation, messages.get(id) ?? []);
      if (conversation.messages.length > 0) this.#markWhole(id);
    }
  }

  /** @param {string} id */
  #markWhole(id) {
    this.#whole.add(id);
    this.#texts.delete(id);
  }

  /** Takes the conversations of before there was a database. @returns {string[]} their keys */
  #takeOver() {
    const keys = this.#keysBefore();
    for (const conversation of keys.map((key) => readConversation(readJson(this.#local, key)))) {
      if (conversation === null) continue;
      const known = this.#all.get(conversation.id);
      if (known === undefined) closeAnswers(conversation.messages);
      else addRead(known, conversation.messages);
      this.#note(known ?? conversation, conversation.messages);
    }
    return keys;
  }

  /** @param {any} message from another tab, which may run another version of the page */
  #onMessage(message) {
    if (message?.type === "hello") this.#tell("hello");
    else if (message?.type === "stop") this.#tell("stop", message.id);
    else if (message?.type === "erased") this.#takeErased(listOf(message.rows));
    else if (!this.#keep) return;
    else if (message?.type === "saved") this.#takeSaved(listOf(message.headings), listOf(message.rows));
    else if (message?.type === "deleted") this.#takeDeleted(listOf(message.ids));
  }

  /**
   * @param {unknown[]} headings
   * @param {any[]} rows
   */
  #takeSaved(headings, rows) {
    for (const heading of headings.map(readHeading)) {
      if (heading === null) continue;
      const messages = rows.filter((row) => row?.conversation === heading.id).map((row) => readMessage(row.message));
      this.#merge(heading, messages.filter((message) => message !== null));
    }
    this.#tell("change");
  }

  /**
   * What the reader of this tab has chosen to see stays.
   * @param {import("../conversations/shape.js").Heading} heading
   * @param {Message[]} messages
   */
  #merge(heading, messages) {
    const conversation = this.#all.get(heading.id) ?? { ...heading, messages: [] };
    // One that is new here is new everywhere, and the other tab has told all of it.
    if (this.isReady && !this.#all.has(heading.id)) this.#markWhole(heading.id);
    const opening = heading.opening || conversation.opening; // an older page does not tell it
    Object.assign(conversation, { ...heading, opening, chosen: conversation.chosen });
    this.#all.set(heading.id, conversation);
    const known = new Map(conversation.messages.map((message) => [message.id, message]));
    const grown = messages.flatMap((message) => grow(known.get(message.id), message) ?? []);
    for (const message of messages) {
      // Questions never change, and a question that is being edited must stay the same object.
      const isOther = message.role === "assistant" && !grown.some(({ id }) => id === message.id);
      if (isOther || !known.has(message.id)) known.set(message.id, message);
    }
    conversation.messages = [...known.values()].sort(byAge);
    this.#tell("arrived", { conversation, grown });
  }

  /** Without a database to read them from, messages last as long as this page, too. @param {any[]} rows */
  #takeErased(rows) {
    this.#fill(this.#all.keys(), rows);
    this.#tell("change");
  }

  /** @param {string[]} ids */
  #takeDeleted(ids) {
    for (const id of ids) this.#forget(id);
    this.#tell("gone", ids);
    this.#tell("change");
  }

  /** @param {string} id */
  #forget(id) {
    this.#all.delete(id);
    this.#whole.delete(id);
    this.#texts.delete(id);
    this.#dirty.delete(id);
  }

  /**
   * A conversation that is not known, or not any more, is written as a whole.
   * @param {Conversation} conversation
   * @param {Message[]} messages
   */
  #note(conversation, messages) {
    const noted = this.#dirty.get(conversation.id) ?? new Set();
    const isKnown = this.#all.has(conversation.id);
    if (!isKnown) this.#markWhole(conversation.id);
    for (const { id } of isKnown ? messages : conversation.messages) noted.add(id);
    this.#all.set(conversation.id, conversation);
    this.#dirty.set(conversation.id, noted);
  }

  /** @returns {Batch} */
  #takeBatch() {
    /** @type {Batch} */
    const batch = { headings: [], rows: [] };
    for (const [id, noted] of this.#dirty) {
      const conversation = this.#all.get(id);
      if (conversation === undefined) continue;
      batch.headings.push(headingOf(conversation));
      const messages = conversation.messages.filter((message) => noted.has(message.id));
      batch.rows.push(...messages.map((message) => ({ conversation: id, message })));
    }
    this.#dirty.clear();
    return batch;
  }

  /**
   * Writes; when the space is used up, the oldest other conversations make room.
   * @param {Batch} batch
   * @returns {Promise<boolean>} whether it is kept
   */
  async #write(batch) {
    let removed = 0;
    for (let round = 0; ; round += 1) {
      const isWritten = await this.#attempt(async (database) => {
        await database.write(batch);
        return true;
      });
      const made = isWritten === false && round < ROUNDS ? await this.#makeRoom(batch) : 0;
      removed += made;
      if (made > 0) continue;
      if (isWritten === false || removed > 0) this.#tell("full", { removed, isKept: isWritten === true });
      if (removed > 0) this.#tell("change");
      return isWritten === true;
    }
  }

  /**
   * A database that fails otherwise than by being full is done with; all then lives in memory.
   * @template Result
   * @param {(database: Database) => Promise<Result>} work
   * @returns {Promise<Result | false | null>} false when there was no room, null when there is no database
   */
  async #attempt(work) {
    if (this.#database === null) return null;
    try {
      return await work(this.#database);
    } catch (error) {
      if (error instanceof Error && error.name === "QuotaExceededError") return false;
      this.#database = null;
      this.#tell("change");
      return null;
    }
  }

  /**
   * Deletes the oldest conversations that take as much room as what is to be written.
   * @param {Batch} batch
   * @returns {Promise<number>} how many
   */
  async #makeRoom(batch) {
    const busy = new Set(batch.headings.map(({ id }) => id));
    let removed = 0;
    for (let missing = JSON.stringify(batch).length; missing > 0; removed += 1) {
      const oldest = this.list().findLast(({ id }) => !busy.has(id));
      if (oldest === undefined || this.#database === null) break;
      missing -= JSON.stringify(await this.delete([oldest.id])).length;
    }
    return removed;
  }

  /** What is only in the database goes into the memory of each tab, where it lasts as long as the page. */
  async #erase() {
    for (const key of this.#keysBefore()) this.#local?.removeItem(key);
    const rows = (await this.#attempt((database) => database.clear())) || [];
    if (rows.length > 0) this.#channel?.postMessage({ type: "erased", rows });
    this.#fill(this.#all.keys(), rows);
  }

  #keysBefore() {
    return Object.keys(this.#local ?? {}).filter((key) => key.startsWith(BEFORE));
  }

  /**
   * @param {string} type
   * @param {unknown} [detail]
   */
  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** @param {unknown} value @returns {any[]} */
function listOf(value) {
  return Array.isArray(value) ? value : [];
}

/**
 * Drafts as rows of the browser's database. The text of one is a row, and each of its files: a file is written once, and
 * not with every key that is pressed.
 */

import { newId, readMessage } from "../conversations/shape.js";

/** @typedef {import("../attachments/attachment.js").Attachment} Attachment */
/** @typedef {import("./database.js").Batch} Batch */
/** @typedef {import("./database.js").Database} Database */
/** @typedef {{text: string, attachments: Attachment[]}} Draft */
/** @typedef {{id: string, role: "draft", content: string, files: string[]}} TextRow `files` are the ids of their rows */
/** @typedef {{id: string, role: "draft", file: Attachment}} FileRow */

/** Rows of a draft are those of a conversation of this name and its place; no heading names it, so that no list shows it. */
const PREFIX = "draft ";

/** The id of the text. Older pages read the first row alone, so those of files sort after it. */
const TEXT = "draft";

/** What the ids of files begin with. */
const FILE = "file ";

/** As many are kept; then those of the oldest conversations go, what was just written last. */
const MOST_DRAFTS = 50;

/** Attachments beyond so many characters are not kept: some photographs, or four of the longest texts. */
const MOST_CHARACTERS = 20_000_000;

/** The ids of the files that are in memory. @type {WeakMap<Attachment, string>} */
const fileIds = new WeakMap();

export class DraftRows {
  #database;
  /** Ids of the files in the database by place, as far as this tab knows. @type {Map<string, Set<string>>} */
  #kept = new Map();
  /** Files that there was no room for, until something is deleted. @type {WeakSet<Attachment>} */
  #unkept = new WeakSet();

  /** @param {Database} database */
  constructor(database) {
    this.#database = database;
  }

  /** The places of drafts that begin so, in order. */
  async places(beginning = "") {
    return placesOf(await this.#database.keys(PREFIX + beginning).catch(() => []));
  }

  /**
   * @param {string} place
   * @returns {Promise<Draft | null>}
   */
  async read(place) {
    const rows = await this.#database.rows([PREFIX + place]).catch(() => []);
    const draft = draftOf(rows);
    if (draft !== null && !this.#kept.has(place)) this.#kept.set(place, new Set(rows.map(({ message }) => message.id).filter(isFile)));
    return draft;
  }

  /**
   * Makes the rows of some places those of these drafts; begins before it returns.
   * @param {Map<string, Draft>} drafts by place; an empty one goes
   * @returns {Promise<string[]>} places to write again: what is there is not what was written
   */
  async write(drafts) {
    const batch = this.#batch(drafts);
    try {
      await this.#database.write(batch);
    } catch {
      // The text has room where files have none. Those that were to go do so with the next writing.
      for (const { message } of batch.rows) if ("file" in message) this.#unkept.add(message.file);
      await this.#database.write(this.#batch(drafts));
    }
    const keys = await this.#database.keys(PREFIX);
    await this.#bound(placesOf(keys), drafts);
    return [...drafts.keys()].filter((place) => this.#differs(place, keys));
  }

  /**
   * Removes drafts.
   * @param {string[]} places
   * @returns {Promise<[string, Draft][]>} what there was
   */
  async take(places) {
    this.#unkept = new WeakSet();
    for (const place of places) this.#kept.delete(place);
    const rows = places.length === 0 ? [] : await this.#database.take(places.map((place) => PREFIX + place)).catch(() => []);
    return places.flatMap((place) => {
      const draft = draftOf(rows.filter(({ conversation }) => conversation === PREFIX + place));
      return draft === null ? [] : [/** @type {[string, Draft]} */ ([place, draft])];
    });
  }

  /** The database was emptied. */
  forget() {
    this.#kept.clear();
  }

  /**
   * @param {Map<string, Draft>} drafts
   * @returns {Required<Batch>}
   */
  #batch(drafts) {
    /** @type {Required<Batch>} */
    const batch = { headings: [], rows: [], gone: [] };
    for (const [place, draft] of drafts) {
      const conversation = PREFIX + place;
      const kept = this.#kept.get(place) ?? new Set();
      const files = new Map(fitting(draft.attachments.filter((file) => !this.#unkept.has(file))).map((file) => [idOf(file), file]));
      if (isEmpty(draft)) batch.gone.push([conversation, TEXT]);
      else batch.rows.push({ conversation, message: { id: TEXT, role: "draft", content: draft.text, files: [...files.keys()] } });
      for (const [id, file] of files) if (!kept.has(id)) batch.rows.push({ conversation, message: { id, role: "draft", file } });
      for (const id of kept) if (!files.has(id)) batch.gone.push([conversation, id]);
      this.#kept.set(place, new Set(files.keys()));
    }
    return batch;
  }

  /**
   * Whether the files of a place are others than this tab has written. Another tab may have removed or added some; what was
   * written last holds.
   * @param {string} place
   * @param {import("./database.js").Key[]} keys
   */
  #differs(place, keys) {
    const there = keys.filter(([conversation, id]) => conversation === PREFIX + place && isFile(id)).map(([, id]) => id);
    const kept = this.#kept.get(place) ?? new Set();
    if (kept.size === there.length && there.every((id) => kept.has(id))) return false;
    this.#kept.set(place, new Set(there));
    return true;
  }

  /**
   * @param {string[]} places all that are kept
   * @param {Map<string, Draft>} written
   */
  async #bound(places, written) {
    if (places.length <= MOST_DRAFTS) return;
    const ordered = [...places.filter((place) => !written.has(place)), ...places.filter((place) => written.has(place))];
    await this.#database.take(ordered.slice(0, places.length - MOST_DRAFTS).map((place) => PREFIX + place));
  }
}

/** @param {Draft} draft */
export function isEmpty({ text, attachments }) {
  return text === "" && attachments.length === 0;
}

/** @param {Draft} draft @param {Draft} other */
export function isSame({ text, attachments }, other) {
  return text === other.text && attachments.length === other.attachments.length && attachments.every((file, at) => file === other.attachments[at]);
}

/** @param {string} conversation */
function placeOf(conversation) {
  return conversation.slice(PREFIX.length);
}

/** @param {import("./database.js").Key[]} keys */
function placesOf(keys) {
  return [...new Set(keys.map(([conversation]) => placeOf(conversation)))];
}

/** @param {string} id */
function isFile(id) {
  return id.startsWith(FILE);
}

/** @param {Attachment} file */
function idOf(file) {
  const id = fileIds.get(file) ?? FILE + newId();
  fileIds.set(file, id);
  return id;
}

/** Those that are kept. @param {Attachment[]} attachments */
function fitting(attachments) {
  let room = MOST_CHARACTERS;
  return attachments.filter(({ data }) => {
    const fits = data.length <= room;
    if (fits) room -= data.length;
    return fits;
  });
}

/**
 * A draft is checked as the question that it may become.
 * @param {any[]} rows its own; in those of an older page, the text's has the files
 * @returns {Draft | null}
 */
function draftOf(rows) {
  const text = rows.find(({ message }) => message.id === TEXT)?.message;
  const files = new Map(rows.flatMap(({ message }) => (message.file ? [[message.id, message.file]] : [])));
  for (const [id, file] of files) fileIds.set(file, id);
  const attachments = Array.isArray(text?.files) ? text.files.map((/** @type {any} */ id) => files.get(id)) : text?.attachments;
  const question = readMessage({ ...text, attachments, role: "user" });
  return question?.role === "user" ? { text: question.content, attachments: question.attachments ?? [] } : null;
}

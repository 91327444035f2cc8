/**
 * The browser's database, as far as conversations need it: pictures do not fit into the 5 MiB of
 * `localStorage`. Headings and messages are rows of their own. So a list reads no messages, a tab which
 * writes an answer writes nothing else, and two tabs in one conversation do not overwrite each other.
 */

/** @typedef {import("../conversations/shape.js").Heading} Heading */
/** @typedef {import("../conversations/shape.js").Message} Message */
/** @typedef {{conversation: string, message: Message | import("./draft_rows.js").TextRow | import("./draft_rows.js").FileRow}} Row */
/** @typedef {[conversation: string, id: string]} Key of a row */
/** @typedef {{headings: Heading[], rows: Row[], gone?: Key[]}} Batch what is written, and which rows are removed */

/**
 * Writes begin before these return: a page that goes away has no later.
 * @typedef {object} Database
 * @property {() => Promise<unknown[]>} headings all of them
 * @property {(ids: string[]) => Promise<any[]>} rows the messages of these conversations
 * @property {(id: string, complete: (heading: any, rows: any[]) => any) => Promise<void>} amend writes the heading of
 *   a conversation as `complete` makes it of itself and the messages
 * @property {(batch: Batch) => Promise<void>} write fails with QuotaExceededError when there is no room
 * @property {(ids: string[]) => Promise<any[]>} take removes conversations; returns the messages they had
 * @property {() => Promise<any[]>} clear removes everything; returns the messages that there were
 * @property {(prefix: string) => Promise<Key[]>} keys those of the messages of conversations whose ids begin so, in order
 */

const NAME = "chukei";

/** Another version would close the database of pages that are open, and of an older relay's page for good. */
const VERSION = 1;

const HEADINGS = "conversations";
const MESSAGES = "messages";

/**
 * @returns {Promise<Database | null>} null where the browser keeps nothing (blocked cookies, some private windows)
 */
export async function openDatabase() {
  try {
    const opening = indexedDB.open(NAME, VERSION);
    opening.addEventListener("upgradeneeded", () => {
      opening.result.createObjectStore(HEADINGS, { keyPath: "id" });
      opening.result.createObjectStore(MESSAGES, { keyPath: ["conversation", "message.id"] });
    });
    return new IndexedDatabase(await resultOf(opening));
  } catch {
    return null;
  }
}

/** @implements {Database} */
class IndexedDatabase {
  #connection;

  /** @param {IDBDatabase} connection */
  constructor(connection) {
    this.#connection = connection;
    // A newer page in another tab may want to change the form of the database.
    connection.addEventListener("versionchange", () => connection.close());
  }

  async headings() {
    const [, headings] = this.#begin("readonly", HEADINGS);
    return resultOf(headings.getAll());
  }

  /** @param {string[]} ids */
  async rows(ids) {
    const [, messages] = this.#begin("readonly", MESSAGES);
    return (await Promise.all(ids.map((id) => resultOf(messages.getAll(rangeOf(id)))))).flat();
  }

  /** @param {string} prefix */
  async keys(prefix) {
    const [, messages] = this.#begin("readonly", MESSAGES);
    const found = await resultOf(messages.getAllKeys(IDBKeyRange.bound([prefix], [`${prefix}\uffff`])));
    return /** @type {Key[]} */ (found);
  }

  /**
   * @param {string} id
   * @param {(heading: any, rows: any[]) => any} complete
   */
  async amend(id, complete) {
    const [transaction, headings, messages] = this.#begin("readwrite", HEADINGS, MESSAGES);
    const [heading, rows] = await Promise.all([resultOf(headings.get(id)), resultOf(messages.getAll(rangeOf(id)))]);
    if (heading !== undefined) headings.put(complete(heading, rows)); // else it was deleted meanwhile
    await completed(transaction);
  }

  /** @param {Batch} batch */
  async write({ headings, rows, gone = [] }) {
    const [transaction, headingStore, messageStore] = this.#begin("readwrite", HEADINGS, MESSAGES);
    for (const heading of headings) headingStore.put(heading);
    for (const row of rows) messageStore.put(row);
    for (const key of gone) messageStore.delete(key);
    await completed(transaction);
  }

  /** @param {string[]} ids */
  async take(ids) {
    const [transaction, headings, messages] = this.#begin("readwrite", HEADINGS, MESSAGES);
    const taken = ids.map((id) => {
      const rows = resultOf(messages.getAll(rangeOf(id)));
      messages.delete(rangeOf(id));
      headings.delete(id);
      return rows;
    });
    const [rows] = await Promise.all([Promise.all(taken), completed(transaction)]);
    return rows.flat();
  }

  async clear() {
    const [transaction, headings, messages] = this.#begin("readwrite", HEADINGS, MESSAGES);
    const taken = resultOf(messages.getAll());
    for (const store of [headings, messages]) store.clear();
    const [rows] = await Promise.all([taken, completed(transaction)]);
    return rows;
  }

  /**
   * @param {"readonly" | "readwrite"} mode
   * @param {...string} stores
   * @returns {[IDBTransaction, ...IDBObjectStore[]]}
   */
  #begin(mode, ...stores) {
    const transaction = this.#connection.transaction(stores, mode);
    return [transaction, ...stores.map((store) => transaction.objectStore(store))];
  }
}

/**
 * The keys of the messages of a conversation.
 * @param {string} conversation
 */
function rangeOf(conversation) {
  return IDBKeyRange.bound([conversation], [conversation, []]); // arrays sort after every text
}

/**
 * @template Result
 * @param {IDBRequest<Result>} request
 * @returns {Promise<Result>}
 */
function resultOf(request) {
  return new Promise((resolve, reject) => {
    request.addEventListener("success", () => resolve(request.result));
    request.addEventListener("error", () => reject(request.error));
  });
}

/**
 * @param {IDBTransaction} transaction
 * @returns {Promise<void>}
 */
function completed(transaction) {
  transaction.commit();
  return new Promise((resolve, reject) => {
    transaction.addEventListener("complete", () => resolve());
    transaction.addEventListener("abort", () => reject(transaction.error));
  });
}

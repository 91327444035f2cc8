/**
 * What the page remembers, and where.
 *
 * - The access key: `sessionStorage` only. It ends with the tab and is never written to disk by the page.
 * - Preferences: `localStorage`.
 * - Conversations: `localStorage`, one entry each, so that two tabs do not overwrite one another; only
 *   while "keep history" is on, and always under a visible "clear history". They hold no credential.
 *
 * Storage may be missing or full (private windows, blocked cookies): everything then lives in memory.
 */

/** @typedef {import("./answer.js").Answer} Answer */

/**
 * @typedef {object} UserMessage
 * @property {"user"} role
 * @property {string} content
 */

/**
 * @typedef {object} Conversation
 * @property {string} id
 * @property {number} updatedAt milliseconds since the epoch
 * @property {(UserMessage | Answer)[]} messages
 */

/**
 * @typedef {object} Preferences
 * @property {"auto" | "light" | "dark"} theme
 * @property {string} language empty: the browser's
 * @property {string} model empty: the relay's default
 * @property {string} system
 * @property {number | null} temperature null: the model's default
 * @property {boolean} keepHistory
 */

const CONVERSATION_PREFIX = "chukei:conversation:";
const PREFERENCES = "chukei:preferences";
const ACCESS_KEY = "chukei:access-key";

/** Older conversations make room: browsers allow about 5 MiB per origin. */
const MOST_CONVERSATIONS = 100;

/** @type {Preferences} */
const DEFAULTS = { theme: "auto", language: "", model: "", system: "", temperature: null, keepHistory: true };

/**
 * @param {"localStorage" | "sessionStorage"} name
 * @returns {Storage | null}
 */
export function openStorage(name) {
  try {
    return window[name];
  } catch {
    return null;
  }
}

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

export class PreferenceStore {
  #local;

  /** @param {Storage | null} local */
  constructor(local) {
    this.#local = local;
    /** @type {Preferences} */
    this.current = { ...DEFAULTS, ...readJson(local, PREFERENCES) };
  }

  /** @param {Partial<Preferences>} change */
  set(change) {
    Object.assign(this.current, change);
    write(this.#local, PREFERENCES, JSON.stringify(this.current));
  }
}

export class ConversationStore {
  #local;
  #keep;
  /** @type {Map<string, Conversation>} */
  #all = new Map();

  /**
   * @param {Storage | null} local
   * @param {boolean} keep whether conversations outlive the page
   */
  constructor(local, keep) {
    this.#local = local;
    this.#keep = keep;
    for (const key of this.#keys()) {
      const conversation = readJson(local, key);
      if (isConversation(conversation)) this.#all.set(conversation.id, conversation);
    }
  }

  /** Newest first. */
  list() {
    return [...this.#all.values()].sort((a, b) => b.updatedAt - a.updatedAt);
  }

  /** @param {string} id */
  get(id) {
    return this.#all.get(id);
  }

  /** @param {Conversation} conversation */
  save(conversation) {
    this.#all.set(conversation.id, conversation);
    for (const old of this.list().slice(MOST_CONVERSATIONS)) this.delete(old.id);
    if (this.#keep) this.#persist(conversation);
  }

  /** @param {string} id */
  delete(id) {
    this.#all.delete(id);
    this.#local?.removeItem(CONVERSATION_PREFIX + id);
  }

  clear() {
    this.#all.clear();
    this.#erase();
  }

  /** @param {boolean} keep */
  setKeep(keep) {
    this.#keep = keep;
    if (keep) this.list().forEach((conversation) => this.#persist(conversation));
    else this.#erase();
  }

  /** Writes one conversation; when the space is used up, the oldest others make room. */
  #persist(/** @type {Conversation} */ conversation) {
    const text = JSON.stringify(conversation);
    const others = this.list().filter(({ id }) => id !== conversation.id);
    while (!write(this.#local, CONVERSATION_PREFIX + conversation.id, text)) {
      const oldest = others.pop();
      if (oldest === undefined) return;
      this.delete(oldest.id);
    }
  }

  #erase() {
    for (const key of this.#keys()) this.#local?.removeItem(key);
  }

  #keys() {
    return Object.keys(this.#local ?? {}).filter((key) => key.startsWith(CONVERSATION_PREFIX));
  }
}

/**
 * The first line of what was asked.
 * @param {Conversation} conversation
 */
export function titleOf(conversation) {
  const first = conversation.messages.find(({ role }) => role === "user")?.content ?? "";
  const line = first.trim().split("\n", 1)[0];
  return line.length > 80 ? `${line.slice(0, 79)}…` : line;
}

/**
 * @param {any} value
 * @returns {value is Conversation}
 */
function isConversation(value) {
  return typeof value?.id === "string" && Number.isFinite(value.updatedAt) && Array.isArray(value.messages);
}

/**
 * @param {Storage | null} storage
 * @param {string} key
 * @returns {any}
 */
function readJson(storage, key) {
  try {
    return JSON.parse(storage?.getItem(key) ?? "null");
  } catch {
    return null;
  }
}

/**
 * @param {Storage | null} storage
 * @param {string} key
 * @param {string} value
 * @returns {boolean} false when there was no room
 */
function write(storage, key, value) {
  try {
    storage?.setItem(key, value);
    return true;
  } catch {
    return false;
  }
}

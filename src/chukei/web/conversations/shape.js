/**
 * What a conversation is, and the reading of those that come from outside: a browser's storage, which an
 * older or newer page may have written, another tab, or a file. No DOM here.
 */

import { isRunning, newAnswer } from "../answer.js";
import { firstOf } from "./tree.js";

/** @typedef {import("../answer.js").Answer} Answer */
/** @typedef {import("../attachments/attachment.js").Attachment} Attachment */

/**
 * @typedef {object} UserMessage
 * @property {string} id
 * @property {string | null} parent the id of the message before it; null for the first one
 * @property {"user"} role
 * @property {string} content
 * @property {Attachment[]} [attachments]
 */

/** @typedef {UserMessage | Answer} Message */

/**
 * @typedef {object} Heading everything about a conversation but its messages
 * @property {string} id
 * @property {string} title the reader's own; empty: the opening
 * @property {string} opening what `titleOf` says without a title of the reader's, for a list that has no messages;
 *   empty where it was not noted yet
 * @property {number} createdAt milliseconds since the epoch
 * @property {number} updatedAt milliseconds since the epoch
 * @property {string} system the system message; empty for none
 * @property {string[]} chosen ids of messages that are shown instead of the newest alternative
 */

/**
 * The messages are ordered by id, and a tree by `parent`. Of a conversation in the list they are those that happen to be
 * in memory.
 * @typedef {Heading & {messages: Message[]}} Conversation
 */

const LONGEST_TITLE = 80;
const STATES = ["waiting", "streaming", "finished", "stopped", "closed", "failed"];
const FAILURES = ["network", "access", "http", "upstream", "cut", "format"];

let lastTime = 0;

/**
 * A new id. Ids sort by the time of their making, so that messages need no other order.
 * @param {number} [now] milliseconds since the epoch
 */
export function newId(now = Date.now()) {
  lastTime = Math.max(lastTime + 1, now);
  // crypto.randomUUID() exists in secure contexts only; the page may be served over plain HTTP in a LAN.
  const random = [...crypto.getRandomValues(new Uint32Array(2))];
  return sortable(lastTime) + random.map((part) => part.toString(36).padStart(7, "0")).join("");
}

/** @param {number} time */
function sortable(time) {
  return Math.max(0, Math.floor(time)).toString(36).padStart(9, "0");
}

/**
 * @param {string} system
 * @returns {Conversation}
 */
export function newConversation(system) {
  const now = Date.now();
  return { id: newId(now), title: "", opening: "", createdAt: now, updatedAt: now, system, chosen: [], messages: [] };
}

/**
 * The reader's own title, or the first line of what was asked, or what was attached to it.
 * @param {Conversation} conversation
 */
export function titleOf(conversation) {
  return conversation.title || openingOf(conversation);
}

/** @param {Conversation} conversation */
function openingOf(conversation) {
  const first = firstOf(conversation);
  if (first?.role !== "user") return conversation.opening;
  const line = first.content.trim().split("\n", 1)[0] || (first.attachments?.[0]?.name ?? "");
  return line.length > LONGEST_TITLE ? `${line.slice(0, LONGEST_TITLE - 1)}…` : line;
}

/**
 * @param {Conversation} conversation
 * @returns {Heading}
 */
export function headingOf(conversation) {
  const { id, title, createdAt, updatedAt, system, chosen } = conversation;
  return { id, title, opening: openingOf(conversation), createdAt, updatedAt, system, chosen };
}

/**
 * @param {any} value
 * @returns {Heading | null} null for what is no conversation
 */
export function readHeading(value) {
  if (!isText(value?.id) || value.id === "" || !isTime(value.updatedAt)) return null;
  return {
    id: value.id,
    title: isText(value.title) ? value.title : "",
    opening: isText(value.opening) ? value.opening : "",
    createdAt: isTime(value.createdAt) ? value.createdAt : value.updatedAt,
    updatedAt: value.updatedAt,
    system: isText(value.system) ? value.system : "",
    chosen: Array.isArray(value.chosen) ? value.chosen.filter(isText) : [],
  };
}

/**
 * What each field of an answer must be; one that is not falls back to that of a new answer.
 * @type {Record<string, (value: any) => boolean>}
 */
const ANSWER_CHECKS = {
  state: (value) => STATES.includes(value),
  model: isText,
  content: isText,
  reasoning: isText,
  refusal: isText,
  toolCalls: (value) => isListOf(value, (call) => isText(call?.name) && isText(call?.arguments)),
  finishReason: isText,
  filtered: (value) => isListOf(value, isFilterHit),
  usage: (value) => Number.isFinite(value?.input) && Number.isFinite(value?.output),
  pieces: Number.isFinite,
  simulator: (value) => typeof value === "boolean",
  requestId: isText,
  failure: isFailure,
  startedAt: Number.isFinite,
  firstAt: Number.isFinite,
  textAt: Number.isFinite,
  lastAt: Number.isFinite,
};

/**
 * @param {any} value
 * @returns {Message | null} null for what is no message
 */
export function readMessage(value) {
  if (!isText(value?.id) || value.id === "") return null;
  const place = { id: value.id, parent: isText(value.parent) ? value.parent : null };
  if (value.role === "user") {
    if (!isText(value.content)) return null;
    const attachments = Array.isArray(value.attachments) ? value.attachments.filter(isAttachment) : [];
    return { ...place, role: "user", content: value.content, ...(attachments.length > 0 ? { attachments } : {}) };
  }
  if (value.role !== "assistant") return null;
  const known = Object.entries(value).filter(([name, field]) => !Object.hasOwn(ANSWER_CHECKS, name) || ANSWER_CHECKS[name](field));
  return { ...newAnswer("", 0), ...Object.fromEntries(known), ...place };
}

/**
 * Puts a conversation together. Messages whose parent is missing begin it, and so does the oldest of those that
 * are each other's parents, so that none is lost.
 * @param {Heading} heading
 * @param {Message[]} messages
 * @returns {Conversation}
 */
export function assemble(heading, messages) {
  const byId = new Map(messages.map((message) => [message.id, message]));
  const ordered = [...byId.values()].sort(byAge);
  const rooted = new Set();
  for (const message of ordered) {
    const walked = new Set();
    for (let step = message; !rooted.has(step); ) {
      walked.add(step);
      const parent = step.parent === null ? undefined : byId.get(step.parent);
      if (parent === undefined || walked.has(parent)) {
        (parent ?? step).parent = null;
        break;
      }
      step = parent;
    }
    for (const step of walked) rooted.add(step);
  }
  return { ...heading, messages: ordered };
}

/**
 * @param {Message} a
 * @param {Message} b
 */
export function byAge(a, b) {
  return a.id < b.id ? -1 : 1;
}

/**
 * Reads a whole conversation. Messages without ids are of before there were alternatives: each
 * followed the one before it. They get the same ids whenever they are read.
 * @param {any} value
 * @returns {Conversation | null}
 */
export function readConversation(value) {
  const heading = readHeading(value);
  if (heading === null || !Array.isArray(value.messages)) return null;
  /** @type {Message[]} */
  const messages = [];
  for (const [index, message] of value.messages.entries()) {
    const parent = messages.at(-1)?.id ?? null;
    const id = sortable(heading.createdAt + index) + heading.id;
    const read = readMessage(isText(message?.id) ? message : { ...message, id, parent });
    if (read !== null) messages.push(read);
  }
  return assemble(heading, messages);
}

/**
 * Marks answers that nobody is writing any more: the page was closed meanwhile.
 * @param {Message[]} messages
 */
export function closeAnswers(messages) {
  for (const message of messages) {
    if (message.role === "assistant" && isRunning(message)) message.state = "closed";
  }
}

/** @param {unknown} value */
function isText(value) {
  return typeof value === "string";
}

/** Whether a `Date` can be made of it. @param {any} value */
function isTime(value) {
  return Number.isFinite(value) && !Number.isNaN(new Date(value).getTime());
}

/**
 * @param {unknown} value
 * @param {(item: any) => boolean} holds
 */
function isListOf(value, holds) {
  return Array.isArray(value) && value.every(holds);
}

/** @param {any} value */
function isAttachment(value) {
  const { kind, name, type, size, data, encoding } = value ?? {};
  const isKnown = kind === "text" || (kind === "image" && isText(data) && data.startsWith("data:image/"));
  return isKnown && [name, type, data].every(isText) && Number.isFinite(size) && isOptional(encoding, isText);
}

/** @param {any} value */
function isFilterHit(value) {
  return isText(value?.category) && isOptional(value.severity, isText);
}

/** @param {any} value */
function isFailure(value) {
  return (
    FAILURES.includes(value?.kind) &&
    isText(value.message) &&
    isOptional(value.status, Number.isFinite) &&
    isOptional(value.code, isText) &&
    isOptional(value.requestId, isText) &&
    isOptional(value.retryAfterSeconds, Number.isFinite) &&
    isOptional(value.filtered, (hits) => isListOf(hits, isFilterHit))
  );
}

/**
 * @param {unknown} value
 * @param {(value: any) => boolean} holds
 */
function isOptional(value, holds) {
  return value === undefined || holds(value);
}

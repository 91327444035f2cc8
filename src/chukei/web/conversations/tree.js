/**
 * The messages of a conversation form a tree: editing a question or asking for another answer adds a
 * sibling. The path is what the reader sees of it. No DOM here.
 */

import { isRunning } from "../answer.js";

/** @typedef {import("./shape.js").Conversation} Conversation */
/** @typedef {import("./shape.js").Message} Message */

/**
 * The messages that are shown, in order: at each place the chosen alternative, else the newest.
 * @param {Conversation} conversation
 * @returns {Message[]}
 */
export function pathOf(conversation) {
  const children = byParent(conversation.messages);
  const path = [];
  for (let at = shownOf(children.get(null), conversation.chosen); at !== undefined; ) {
    path.push(at);
    at = shownOf(children.get(at.id), conversation.chosen);
  }
  return path;
}

/**
 * The first message of the path, without a walk along it.
 * @param {Conversation} conversation
 * @returns {Message | undefined}
 */
export function firstOf({ messages, chosen }) {
  return shownOf(messages.filter(({ parent }) => parent === null), chosen);
}

/**
 * The messages at one place, oldest first. An attempt that brought nothing is left out once there is a
 * newer one: a failure that was retried is no alternative.
 * @param {Conversation} conversation
 * @param {Message} message
 * @returns {Message[]}
 */
export function alternativesOf(conversation, message) {
  return worthwhile(conversation.messages.filter(({ parent }) => parent === message.parent));
}

/**
 * Shows the alternative that is so many steps further.
 * @param {Conversation} conversation
 * @param {Message} message
 * @param {number} step
 * @returns {Message | undefined} what is shown now; undefined when there is none so far
 */
export function choose(conversation, message, step) {
  const alternatives = alternativesOf(conversation, message);
  const wanted = alternatives[alternatives.indexOf(message) + step];
  if (wanted === undefined) return undefined;
  forgetChoice(conversation, message.parent);
  if (wanted !== alternatives.at(-1)) conversation.chosen.push(wanted.id);
  return wanted;
}

/**
 * Adds a message, which is then shown.
 * @param {Conversation} conversation
 * @param {Message} message
 */
export function add(conversation, message) {
  forgetChoice(conversation, message.parent);
  conversation.messages.push(message);
}

/**
 * @param {Conversation} conversation
 * @param {string | null} parent
 */
function forgetChoice(conversation, parent) {
  const siblings = new Set(conversation.messages.filter((one) => one.parent === parent).map(({ id }) => id));
  conversation.chosen = conversation.chosen.filter((id) => !siblings.has(id));
}

/**
 * @param {Message[]} messages
 * @returns {Map<string | null, Message[]>}
 */
function byParent(messages) {
  const children = new Map();
  for (const message of messages) {
    const siblings = children.get(message.parent);
    if (siblings === undefined) children.set(message.parent, [message]);
    else siblings.push(message);
  }
  return children;
}

/**
 * @param {Message[] | undefined} siblings
 * @param {string[]} chosen
 */
function shownOf(siblings = [], chosen) {
  return siblings.find(({ id }) => chosen.includes(id)) ?? siblings.at(-1);
}

/** @param {Message[]} siblings */
function worthwhile(siblings) {
  return siblings.filter((message, index) => index === siblings.length - 1 || saysSomething(message));
}

/** @param {Message} message */
function saysSomething(message) {
  if (message.role === "user" || isRunning(message)) return true;
  return [message.content, message.reasoning, message.refusal, ...message.toolCalls].some((part) => part !== "");
}

/**
 * The rows of the database as messages of conversations. No DOM and no database here.
 */

import { isRunning } from "../answer.js";
import { assemble, closeAnswers, headingOf, readHeading, readMessage } from "../conversations/shape.js";

/** @typedef {import("../answer.js").Answer} Answer */
/** @typedef {import("../conversations/search.js").Text} Text */
/** @typedef {import("../conversations/shape.js").Conversation} Conversation */
/** @typedef {import("../conversations/shape.js").Message} Message */

/**
 * An answer that grows stays the same object, so that its view can go on with it.
 * @param {Message | undefined} known
 * @param {Message} message
 * @returns {Answer | null} null when it is no answer that is being written
 */
export function grow(known, message) {
  return known?.role === "assistant" && isRunning(known) ? Object.assign(known, message) : null;
}

/**
 * @param {any[]} rows
 * @returns {Map<string, Message[]>} those that are messages
 */
export function byConversation(rows) {
  /** @type {Map<string, Message[]>} */
  const messages = new Map();
  for (const row of rows) {
    const message = readMessage(row?.message);
    if (message === null) continue;
    const others = messages.get(row.conversation);
    if (others === undefined) messages.set(row.conversation, [message]);
    else others.push(message);
  }
  return messages;
}

/**
 * Nobody in this tab writes what is read. If another tab does, it says so, maybe before it is read.
 * @param {Conversation} conversation
 * @param {Message[]} messages
 */
export function addRead(conversation, messages) {
  closeAnswers(messages);
  if (messages.length > 0) conversation.messages = assemble(conversation, [...messages, ...conversation.messages]).messages;
}

/**
 * @param {any} heading
 * @param {any[]} rows the conversation's own
 */
export function withOpening(heading, rows) {
  const known = readHeading(heading);
  const messages = [...byConversation(rows).values()].flat();
  return known === null ? heading : { ...heading, opening: headingOf(assemble(known, messages)).opening };
}

/**
 * Pictures and files are long, and searched by their names alone.
 * @param {Message} message
 * @returns {Text}
 */
export function outlineOf(message) {
  const { id, role, content } = message;
  const attachments = message.role === "user" ? message.attachments : undefined;
  return { id, role, content, attachments: attachments?.map(({ name }) => ({ name })) };
}

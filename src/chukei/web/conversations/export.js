/**
 * Conversations as files: Markdown to read, JSON to keep and to bring back. No DOM here.
 */

import { newId, readConversation, titleOf } from "./shape.js";
import { alternativesOf, pathOf } from "./tree.js";

/** @typedef {import("../answer.js").Answer} Answer */
/** @typedef {import("../i18n.js").Words} Words */
/** @typedef {import("./shape.js").Conversation} Conversation */
/** @typedef {import("./shape.js").UserMessage} UserMessage */

const FORMAT = "chukei-conversation";
const VERSION = 1;
const LONGEST_NAME = 80;

/**
 * A name that every system takes: without separators, control characters, and characters that turn the
 * direction of what follows.
 * @param {string} title
 * @param {string} extension
 */
export function fileName(title, extension) {
  const plain = title.replace(/[\p{C}\p{Z}<>:"/\\|?*]+/gu, " ").replace(/^[\s.]+|[\s.]+$/g, "");
  const short = [...plain].slice(0, LONGEST_NAME).join("").trim();
  const isReserved = /^(con|prn|aux|nul|com\d|lpt\d)(\.|$)/i.test(short);
  return `${short === "" || isReserved ? "chukei" : short}.${extension}`;
}

/**
 * Everything about a conversation, with all alternatives and attachments.
 * @param {Conversation} conversation
 */
export function toJson(conversation) {
  return `${JSON.stringify({ format: FORMAT, version: VERSION, conversation }, null, 2)}\n`;
}

/**
 * @param {string} text
 * @returns {Conversation | "other" | "version"} a conversation of its own, even if that of the file is still there; "other"
 *   for anything but a file of `toJson`, "version" for one of another version of it
 */
export function fromJson(text) {
  let file;
  try {
    file = JSON.parse(text);
  } catch {
    return "other";
  }
  if (file?.format !== FORMAT) return "other";
  if (file.version !== VERSION) return "version";
  const conversation = readConversation(file.conversation);
  if (conversation === null || conversation.messages.length === 0) return "other";
  return { ...conversation, id: newId(), updatedAt: Date.now() };
}

/**
 * What the reader sees of a conversation, with what is folded there. The data of pictures is at the end,
 * so that the text can be read as it is.
 * @param {Conversation} conversation
 * @param {Words} words
 */
export function toMarkdown(conversation, words) {
  /** @type {string[]} */
  const pictures = [];
  const messages = pathOf(conversation).map((message) =>
    message.role === "user"
      ? question(message, words, pictures)
      : answer(message, alternativesOf(conversation, message).length, words),
  );
  const head = [`# ${escape(titleOf(conversation) || words.say("chat.untitled"))}`];
  if (conversation.system.trim() !== "") head.push(quote(`**${words.say("settings.system")}**\n\n${conversation.system}`));
  return `${[...head, ...messages.flat(), ...pictures].filter((part) => part !== "").join("\n\n")}\n`;
}

/**
 * @param {UserMessage} message
 * @param {Words} words
 * @param {string[]} pictures definitions of what is referred to
 */
function question({ content, attachments = [] }, words, pictures) {
  const parts = [`## ${words.say("you")}`, content.trim()];
  for (const { kind, name, data } of attachments) {
    if (kind === "text") {
      parts.push(`**${words.say("export.file", { name: escape(name) })}**`, fenced(data));
      continue;
    }
    const label = `picture-${pictures.length + 1}`;
    pictures.push(`[${label}]: ${data}`);
    parts.push(`![${words.say("export.picture", { name: escape(name) })}][${label}]`);
  }
  return parts;
}

/**
 * @param {Answer} message
 * @param {number} count of the alternatives
 * @param {Words} words
 */
function answer(message, count, words) {
  const { model, reasoning, content, refusal, toolCalls } = message;
  const byline = model === "" ? words.say("assistant") : words.say("export.model", { model: escape(model) });
  return [
    `## ${byline}`,
    reasoning === "" ? "" : quote(`**${words.say("export.reasoning")}**\n\n${reasoning.trim()}`),
    content.trim(),
    refusal === "" ? "" : quote(`**${words.say("refusal")}**\n\n${refusal}`),
    ...toolCalls.flatMap((call) => [`**${words.say("export.tool", { name: escape(call.name) })}**`, fenced(call.arguments)]),
    ...[ending(message, words), count > 1 ? words.say("export.alternatives", { count: words.number(count) }) : ""]
      .filter((text) => text !== "")
      .map((text) => quote(`*${text}*`)),
  ];
}

/**
 * How an answer ended, unless as usual.
 * @param {Answer} message
 * @param {Words} words
 */
function ending({ state, failure, finishReason }, words) {
  if (failure !== undefined) {
    const { kind, message, status, code } = failure;
    const parts = [message || kind, status && words.say("export.status", { status }), code];
    return words.say("export.failed", { reason: escape(parts.filter(Boolean).join(" · ")) });
  }
  const key = [`notice.${state}`, `notice.${finishReason}`].find((candidate) => words.has(candidate));
  return key === undefined ? "" : words.say(key);
}

/**
 * Text that markdown takes as it is, in one line.
 * @param {string} text
 */
function escape(text) {
  return text.replace(/\s+/g, " ").replace(/[\\`*_[\]<>#|]/g, "\\$&");
}

/** @param {string} text */
function quote(text) {
  return text.replace(/^/gm, "> ");
}

/**
 * A block whose fence is longer than any within it.
 * @param {string} text
 */
function fenced(text) {
  const longest = Math.max(2, ...[...text.matchAll(/`+/g)].map(({ 0: run }) => run.length));
  const fence = "`".repeat(longest + 1);
  return `${fence}\n${text.replace(/\n$/, "")}\n${fence}`;
}

/**
 * Finds conversations by their titles and texts. No DOM here.
 */

import { titleOf } from "./shape.js";

/** @typedef {import("./shape.js").Conversation} Conversation */
/** @typedef {import("./shape.js").Message} Message */
/** @typedef {[text: string, isMatch: boolean]} Piece */
/** @typedef {Pick<Message, "id" | "role" | "content"> & {attachments?: {name: string}[]}} Text what is searched of a message */

/**
 * @typedef {object} Finding
 * @property {Conversation} conversation
 * @property {Piece[]} title
 * @property {Piece[]} excerpt from a text; empty when the title says it all
 */

/** How much of a text is shown before and after what was found, in characters. */
const BEFORE = 24;
const AFTER = 96;

/** Folded texts by message, with the length that the message then had: answers grow. @type {WeakMap<Text, [number, string]>} */
const foldedTexts = new WeakMap();

/**
 * The conversations that contain every word, in any of their messages or in the title.
 * @param {Conversation[]} conversations
 * @param {(conversation: Conversation) => Text[]} textsOf
 * @param {string} query
 * @returns {Finding[]} in the order of the conversations
 */
export function find(conversations, textsOf, query) {
  const words = fold(query).split(/\s+/).filter((word) => word !== "");
  return conversations.flatMap((conversation) => findIn(conversation, textsOf, words) ?? []);
}

/**
 * @param {Conversation} conversation
 * @param {(conversation: Conversation) => Text[]} textsOf
 * @param {string[]} words
 * @returns {Finding | null}
 */
function findIn(conversation, textsOf, words) {
  const title = titleOf(conversation);
  const texts = textsOf(conversation);
  const foldedTitle = fold(title);
  const wanted = words.filter((word) => !foldedTitle.includes(word));
  const isThere = wanted.every((word) => texts.some((message) => foldedText(message).includes(word)));
  if (!isThere) return null;
  const first = texts.find((message) => foldedText(message).includes(wanted[0]));
  return {
    conversation,
    title: mark(title, words),
    excerpt: wanted.length === 0 || first === undefined ? [] : mark(excerptOf(first, wanted[0]), words),
  };
}

const ASCII = /^[\0-\x7f]*$/;

/**
 * Letters without regard to case, width and accents.
 * @param {string} text
 */
function fold(text) {
  if (ASCII.test(text)) return text.toLowerCase(); // three times as fast
  return text.normalize("NFKD").replace(/[\u0300-\u036f]/g, "").normalize("NFC").toLowerCase();
}

/** @param {Text} text */
function textOf({ content, attachments = [] }) {
  return [content, ...attachments.map(({ name }) => name)].join("\n");
}

/** @param {Text} message */
function foldedText(message) {
  const known = foldedTexts.get(message);
  if (known?.[0] === message.content.length) return known[1];
  const folded = fold(textOf(message));
  foldedTexts.set(message, [message.content.length, folded]);
  return folded;
}

/**
 * One line of a text around a word that it contains.
 * @param {Text} message
 * @param {string} word
 */
function excerptOf(message, word) {
  const text = textOf(message);
  const at = placeIn(text, foldedText(message).indexOf(word));
  const from = Math.max(0, at - BEFORE);
  const space = text.slice(from, at).search(/\s/);
  const start = from > 0 && space >= 0 ? from + space + 1 : from;
  return (start > 0 ? "…" : "") + text.slice(start, at + AFTER).trimStart().replace(/\s+/g, " ");
}

/**
 * Where in a text the character is that is at a place of the folded text.
 * @param {string} text
 * @param {number} place
 */
function placeIn(text, place) {
  let folded = 0;
  for (const { 0: unit, index } of units(text)) {
    if (folded >= place) return index;
    folded += fold(unit).length;
  }
  return text.length;
}

/** Characters together with the accents on them. @param {string} text */
function units(text) {
  return text.matchAll(/\P{M}\p{M}*|\p{M}+/gsu);
}

/**
 * @param {string} text
 * @param {string[]} words folded
 * @returns {Piece[]}
 */
function mark(text, words) {
  let folded = "";
  /** The unit that each character of the folded text comes from. @type {number[]} */
  const origins = [];
  const parts = [...units(text)].map(({ 0: unit }) => unit);
  for (const [index, unit] of parts.entries()) {
    const letters = fold(unit);
    for (let count = 0; count < letters.length; count += 1) origins.push(index);
    folded += letters;
  }
  const marked = new Set();
  for (const word of words) {
    for (let at = folded.indexOf(word); at >= 0; at = folded.indexOf(word, at + word.length)) {
      for (let offset = 0; offset < word.length; offset += 1) marked.add(origins[at + offset]);
    }
  }
  /** @type {Piece[]} */
  const pieces = [];
  for (const [index, unit] of parts.entries()) {
    const last = pieces.at(-1);
    if (last !== undefined && last[1] === marked.has(index)) last[0] += unit;
    else pieces.push([unit, marked.has(index)]);
  }
  return pieces;
}

/**
 * Makes an attachment of a file, or says why not.
 */

import { obstacle, roomFor } from "./limits.js";
import { isAnimated, readPicture } from "./picture.js";
import { UTF8, decodeText } from "./text.js";

/** @typedef {import("./attachment.js").Attachment} Attachment */
/** @typedef {import("./limits.js").Limits} Limits */
/** @typedef {"empty" | "unreadable" | "kind" | "large" | "long" | import("./limits.js").Obstacle} Refusal */

/** Larger files are not read at all: the page would stand still. */
export const MOST_FILE_BYTES = 64_000_000;

/** More than a million tokens, and so more than any model reads. */
export const MOST_TEXT_BYTES = 5_000_000;

/**
 * @param {File} file
 * @param {Attachment[]} others what is attached already
 * @param {Limits} limits
 * @returns {Promise<Attachment | Refusal>}
 */
export async function readAttachment(file, others, limits) {
  if (file.size > MOST_FILE_BYTES) return "large";
  const buffer = await file.arrayBuffer().catch(() => null); // a folder, or a file that has gone
  if (buffer === null) return "unreadable";
  if (buffer.byteLength === 0) return "empty";
  const bytes = new Uint8Array(buffer);
  const decoded = decodeText(bytes);
  const read = decoded === null ? await pictureOf(file, bytes, roomFor(others, "", limits)) : textOf(file, decoded);
  return typeof read === "string" ? read : (obstacle([...others, read], "", limits) ?? read);
}

/**
 * Makes an attachment of a text that was pasted.
 * @param {string} name
 * @param {string} text
 * @param {Attachment[]} others
 * @param {Limits} limits
 * @returns {Attachment | Refusal}
 */
export function attachPasted(name, text, others, limits) {
  const { size, type } = new Blob([text], { type: "text/plain" });
  if (size > MOST_TEXT_BYTES) return "long";
  /** @type {Attachment} */
  const pasted = { kind: "text", name, type, size, data: text, pasted: true };
  return obstacle([...others, pasted], "", limits) ?? pasted;
}

/**
 * @param {File} file
 * @param {import("./text.js").Decoded} decoded
 * @returns {Attachment | Refusal}
 */
function textOf({ name, type, size }, { text, encoding }) {
  if (size > MOST_TEXT_BYTES) return "long";
  return { kind: "text", name, type: type || "text/plain", size, data: text, ...(encoding === UTF8 ? {} : { encoding }) };
}

/**
 * @param {File} file
 * @param {Uint8Array} bytes its own
 * @param {number} room the most characters of the data URL
 * @returns {Promise<Attachment | Refusal>}
 */
async function pictureOf(file, bytes, room) {
  const picture = await readPicture(file, room);
  if (picture === "unreadable") return "kind";
  return picture === "too-large" ? "size" : { kind: "image", name: file.name, ...picture, ...(isAnimated(bytes) ? { still: true } : {}) };
}

/**
 * What model and relay take of attachments.
 */

import { picturesIn } from "./attachment.js";
import { FRAME_BYTES, encodedBytes, mostPictures } from "../wire/prompt.js";

/** @typedef {import("./attachment.js").Attachment} Attachment */
/** @typedef {import("../wire/prompt.js").Model} Model */
/** @typedef {{model: Model | null, maxBodyBytes: number | null}} Limits null: not known, so anything may be tried */
/** @typedef {"pictures" | "count" | "size"} Obstacle no pictures, too many of them, more than the relay takes */

/**
 * Why a question cannot be sent with these attachments.
 * @param {Attachment[]} attachments
 * @param {string} text
 * @param {Limits} limits
 * @returns {Obstacle | null} null when it can
 */
export function obstacle(attachments, text, limits) {
  const pictures = picturesIn(attachments).length;
  const most = mostPictures(limits.model);
  if (pictures > most) return most === 0 ? "pictures" : "count";
  return roomFor(attachments, text, limits) < 0 ? "size" : null;
}

/**
 * The bytes that the body of a question still has room for.
 * @param {Attachment[]} attachments
 * @param {string} text
 * @param {Limits} limits
 */
export function roomFor(attachments, text, { maxBodyBytes }) {
  if (maxBodyBytes === null) return Number.POSITIVE_INFINITY;
  return attachments.map(bytesOf).reduce((room, bytes) => room - bytes, maxBodyBytes - FRAME_BYTES - encodedBytes(text));
}

/** A long file is measured once, not with every key that is pressed. @type {WeakMap<Attachment, number>} */
const measured = new WeakMap();

/**
 * What an attachment takes of a body.
 * @param {Attachment} attachment
 */
function bytesOf(attachment) {
  const { kind, data } = attachment;
  const bytes = measured.get(attachment) ?? (kind === "image" ? data.length : encodedBytes(data));
  measured.set(attachment, bytes);
  return bytes;
}

/**
 * What goes along with a question: plain data, so that it can be stored with the conversation.
 */

/**
 * @typedef {object} Attachment
 * @property {"image" | "text"} kind
 * @property {string} name the file's own, shown as text only
 * @property {string} type MIME
 * @property {number} size bytes: of a picture as it is sent, of a text as it was read
 * @property {string} data a picture's data URL, or the text
 * @property {string} [encoding] that a text file was in, unless UTF-8
 * @property {boolean} [still] whether a picture is the first frame of an animation
 * @property {boolean} [pasted] whether it is a long text that was pasted
 */

/** @param {Attachment[]} attachments */
export function picturesIn(attachments) {
  return attachments.filter(({ kind }) => kind === "image");
}

/** @param {Attachment[]} attachments */
export function textFilesIn(attachments) {
  return attachments.filter(({ kind }) => kind === "text");
}

/**
 * What is sent of a conversation, before it takes the shape of an API.
 */

import { picturesIn, textFilesIn } from "../attachments/attachment.js";

/** @typedef {import("../answer.js").Answer} Answer */
/** @typedef {import("../attachments/attachment.js").Attachment} Attachment */
/** @typedef {import("../conversations/shape.js").UserMessage} UserMessage */

/**
 * A model as the relay lists it. What the relay does not know is null.
 * @typedef {object} Model
 * @property {string} id
 * @property {string} description may be empty
 * @property {("chat" | "responses")[]} apis
 * @property {("text" | "image")[] | null} input
 * @property {number | null} contextTokens
 * @property {number | null} outputTokens
 * @property {number | null} maxImages in one request
 * @property {boolean} failure a model of the simulator that shows a failure
 */

/**
 * @typedef {object} Request
 * @property {Model | null} model null leaves the choice to the relay
 * @property {(UserMessage | Answer)[]} messages
 * @property {string} system empty leaves it to the relay
 * @property {number | null} temperature null: the model's default
 * @property {number | null} maxOutputTokens null: the model's own limit
 */

/**
 * One message with its text files written into its text.
 * @typedef {object} Turn
 * @property {"user" | "assistant"} role
 * @property {string} text may be empty when there are pictures
 * @property {Attachment[]} pictures
 */

/** What a body has beside texts and pictures, at most: names of fields, marks, and the data URLs' own escapes. */
export const FRAME_BYTES = 64 * 1024;

/**
 * The turns of a request that say something. Pictures count for the whole request: where model or relay take fewer than
 * there are, the newest are sent. A picture that is left out leaves its name, so that the model can say what it lacks.
 * @param {Request} request
 * @param {number} maxBytes of the whole body. The pictures of the last question are sent even beyond it: without them
 *   the model would answer another question.
 * @returns {Turn[]}
 */
export function turnsOf({ messages, model, system }, maxBytes) {
  const last = messages.findLast(({ role }) => role === "user");
  let count = mostPictures(model);
  let bytes = maxBytes - FRAME_BYTES - encodedBytes([system, ...messages.map(writtenText)].join("\n"));
  /** @type {Turn[]} */
  const turns = [];
  for (const message of messages.toReversed()) {
    /** @type {Attachment[]} */
    const pictures = [];
    const absences = [];
    for (const picture of picturesIn(attachmentsOf(message))) {
      const fits = count > 0 && (message === last || picture.data.length <= bytes);
      if (!fits) absences.push(`[The picture ${JSON.stringify(picture.name)} is not included.]`);
      else {
        pictures.push(picture);
        count -= 1;
        bytes -= picture.data.length;
      }
    }
    const text = joined([...absences, writtenText(message)]);
    if (text !== "" || pictures.length > 0) turns.push({ role: message.role, text, pictures });
  }
  return turns.reverse();
}

/**
 * The bytes of a text in a JSON body.
 * @param {string} text
 */
export function encodedBytes(text) {
  return new TextEncoder().encode(JSON.stringify(text)).length;
}

/**
 * How many pictures a request to this model may have.
 * @param {Model | null} model
 */
export function mostPictures(model) {
  if (model?.input?.includes("image") === false) return 0;
  return model?.maxImages ?? Number.POSITIVE_INFINITY;
}

/**
 * Text files first, as what the question is about.
 * @param {UserMessage | Answer} message
 */
function writtenText(message) {
  return joined([...textFilesIn(attachmentsOf(message)).map(fileText), message.content]);
}

/** @param {UserMessage | Answer} message */
function attachmentsOf(message) {
  return message.role === "user" ? (message.attachments ?? []) : [];
}

/**
 * A text file in a fence that its own backticks cannot close. The name is quoted: it may contain anything.
 * @param {Attachment} file
 */
function fileText({ name, data }) {
  const longest = data.match(/`{3,}/g)?.reduce((most, run) => Math.max(most, run.length), 0) ?? 2;
  const fence = "`".repeat(longest + 1);
  return `File ${JSON.stringify(name)}:\n${fence}\n${data}${data.endsWith("\n") ? "" : "\n"}${fence}`;
}

/** @param {string[]} parts */
function joined(parts) {
  return parts.filter((part) => part !== "").join("\n\n");
}

/**
 * The attachments of a question that was sent.
 */

import { element, icon, iconButton } from "../dom.js";

/** @typedef {import("../attachments/attachment.js").Attachment} Attachment */
/** @typedef {import("../i18n.js").Words} Words */

/** More would make the page slow, and is there in the file. */
const MOST_SHOWN = 100_000;

/**
 * @param {Attachment[]} attachments
 * @param {Words} words
 * @returns {HTMLElement | null} null when there are none
 */
export function renderAttachments(attachments, words) {
  if (attachments.length === 0) return null;
  const render = { image: renderPicture, text: renderFile };
  return element(
    "ul",
    { class: "attachments", "aria-label": words.say("attach.list") },
    ...attachments.map((attachment) => element("li", {}, render[attachment.kind](attachment, words))),
  );
}

/**
 * @param {number} bytes
 * @param {Words} words
 */
export function sayBytes(bytes, words) {
  const [unit, value] = bytes < 1e6 ? ["kilobyte", Math.max(0.1, bytes / 1e3)] : ["megabyte", bytes / 1e6];
  return words.format(value, { style: "unit", unit, maximumFractionDigits: value < 10 ? 1 : 0 });
}

/**
 * The size of an attachment, and what may not be as the reader expects: the encoding of a text, one frame of an animation.
 * @param {Attachment} attachment
 * @param {Words} words
 */
export function sayDetails({ size, encoding, still }, words) {
  const parts = [sayBytes(size, words), encoding, still === true && words.say("attach.still")];
  return parts.filter(Boolean).join(" · ");
}

/**
 * @param {Attachment} picture
 * @param {Words} words
 */
function renderPicture(picture, words) {
  const label = words.say("attach.enlarge", { name: picture.name });
  const title = picture.still === true ? `${picture.name} · ${words.say("attach.still")}` : picture.name;
  return element(
    "button",
    { type: "button", class: "picture", "aria-label": label, title, onclick: () => enlarge(picture, words) },
    element("img", { src: picture.data, alt: "" }),
  );
}

/**
 * @param {Attachment} picture
 * @param {Words} words
 */
function enlarge({ name, data }, words) {
  const dialog = element("dialog", { class: "picture-dialog", "aria-label": name });
  const close = iconButton("close", words.say("attach.close"), () => dialog.close());
  dialog.append(element("header", {}, element("bdi", { class: "file-name" }, name), close), element("img", { src: data, alt: name }));
  dialog.addEventListener("close", () => dialog.remove());
  // Esc closes the picture; it must not stop an answer, too.
  dialog.addEventListener("keydown", (event) => event.key === "Escape" && event.stopPropagation());
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  document.body.append(dialog);
  dialog.showModal();
}

/**
 * @param {Attachment} file
 * @param {Words} words
 */
function renderFile(file, words) {
  const { name, data } = file;
  const root = element(
    "details",
    { class: "file" },
    element("summary", {}, icon("file"), element("bdi", { class: "file-name" }, name), element("span", { class: "file-size" }, sayDetails(file, words))),
  );
  root.addEventListener("toggle", () => root.append(...fileBody(name, data, words)), { once: true });
  return root;
}

/**
 * @param {string} name
 * @param {string} text
 * @param {Words} words
 */
function fileBody(name, text, words) {
  const rest = text.length - MOST_SHOWN;
  const body = element("pre", { tabindex: 0, role: "group", "aria-label": name, dir: "auto" }, text.slice(0, MOST_SHOWN));
  return rest > 0 ? [body, element("p", { class: "hint" }, words.say("attach.more", { count: words.number(rest) }))] : [body];
}

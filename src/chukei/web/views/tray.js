/**
 * The attachments of the question that is being written: chips that can be taken away, and why a file was not taken.
 */

import { MOST_FILE_BYTES, MOST_TEXT_BYTES, attachPasted, readAttachment } from "../attachments/reading.js";
import { mostPictures } from "../wire/prompt.js";
import { element, icon, iconButton } from "../dom.js";
import { sayBytes, sayDetails } from "./attachments.js";

/** @typedef {import("../attachments/attachment.js").Attachment} Attachment */
/** @typedef {import("../attachments/limits.js").Limits} Limits */
/** @typedef {{name: string, refusal: import("../attachments/reading.js").Refusal}} Refused */
/** @typedef {{words: import("../i18n.js").Words, announcer: import("./announcer.js").Announcer, onChange: () => void, onEmptied: () => void, onText: (file: Attachment) => void}} TrayContext */

/** A field's time grows with the square of its lines. */
const LONGEST_INSERTED = 100_000;

export class Tray {
  #context;
  #list = element("ul", { class: "tray", hidden: true, "data-say-label": "attach.list" });
  /** Each is made once: one that is put in again would lose the keyboard's focus. */
  #chips = /** @type {Map<Attachment, HTMLElement>} */ (new Map());
  #waiting = element("li", { class: "chip waiting-chip", hidden: true });
  #refusals = element("div", { class: "refusals" });
  #refused = /** @type {Refused[]} */ ([]);
  /** Files are read one after the other, so that each finds what those before it took. */
  #reading = /** @type {File[]} */ ([]);
  #attachments = /** @type {Attachment[]} */ ([]);

  /**
   * @param {TrayContext} context `onEmptied`: the keyboard's focus was on a chip, and none is left; `onText`: a text that was
   *   pasted is to be in the message instead
   */
  constructor(context) {
    this.#context = context;
    /** What model and relay take. @type {Limits} */
    this.limits = { model: null, maxBodyBytes: null };
    this.parts = [this.#refusals, this.#list];
    this.#list.append(this.#waiting);
    context.words.addEventListener("change", () => {
      this.#drop([...this.#chips.keys()]);
      this.#draw();
    });
  }

  get attachments() {
    return this.#attachments;
  }

  /** Shows these in place of what is there, and of what is still being read. */
  set attachments(attachments) {
    this.#attachments = attachments;
    this.#reading = [];
    this.#refused = [];
    this.#draw();
  }

  /** The files that are still to be read. */
  get unread() {
    return this.#reading;
  }

  get isReading() {
    return this.#reading.length > 0;
  }

  /** @param {File[]} files */
  async add(files) {
    const isIdle = !this.isReading;
    this.#refused = [];
    this.#reading.push(...files);
    this.#draw();
    if (isIdle) await this.#readAll(this.#reading);
  }

  /** @param {File[]} queue */
  async #readAll(queue) {
    while (queue.length > 0) {
      const read = await readAttachment(queue[0], this.#attachments, this.limits);
      if (queue !== this.#reading) return; // the question that it was for is not shown any more
      const { name } = /** @type {File} */ (queue.shift());
      this.#take(name, read);
    }
  }

  /** @param {Attachment} attachment */
  put(attachment) {
    this.remove(attachment);
    this.#attachments = [...this.#attachments, attachment];
    this.#draw();
  }

  /** @param {Attachment} attachment */
  remove(attachment) {
    this.#attachments = this.#attachments.filter((other) => other !== attachment);
    this.#draw();
  }

  /**
   * A text that was pasted and is too long to be read in the field.
   * @param {string} text
   * @returns {boolean} whether it was taken
   */
  addPasted(text) {
    const { words } = this.#context;
    const name = words.say("attach.pasted");
    let file = `${name}.txt`;
    for (let count = 2; this.#attachments.some((other) => other.name === file); count += 1) file = `${name} ${count}.txt`;
    this.#refused = [];
    return this.#take(file, attachPasted(file, text, this.#attachments, this.limits));
  }

  /**
   * @param {string} name
   * @param {Attachment | Refused["refusal"]} read
   * @returns {boolean} whether it is attached
   */
  #take(name, read) {
    const { words, announcer } = this.#context;
    if (typeof read === "string") this.#refused.push({ name, refusal: read });
    else this.#attachments = [...this.#attachments, read];
    this.#draw();
    if (typeof read !== "string") announcer.say(words.say(read.pasted ? "say.pasted" : "say.attached", { name }));
    return typeof read !== "string";
  }

  /**
   * Why something cannot be sent, or was refused, as a sentence.
   * @param {"refused" | "blocked"} kind
   * @param {Refused["refusal"]} refusal
   */
  sentence(kind, refusal) {
    const { words } = this.#context;
    const { model, maxBodyBytes } = this.limits;
    const bytes = { large: MOST_FILE_BYTES, long: MOST_TEXT_BYTES, size: maxBodyBytes }[/** @type {string} */ (refusal)] ?? 0;
    const values = { model: model?.id ?? "", count: words.number(mostPictures(model)), most: sayBytes(bytes, words) };
    return words.say(`${kind}.${refusal}`, values);
  }

  #draw() {
    const wanted = new Set(this.#attachments);
    this.#drop([...this.#chips.keys()].filter((attachment) => !wanted.has(attachment)));
    for (const attachment of this.#attachments) {
      if (this.#chips.has(attachment)) continue;
      this.#chips.set(attachment, this.#chip(attachment));
      this.#waiting.before(/** @type {HTMLElement} */ (this.#chips.get(attachment)));
    }
    const [file] = this.#reading;
    this.#waiting.textContent = file === undefined ? "" : this.#context.words.say("attach.reading", { name: file.name });
    this.#waiting.hidden = file === undefined;
    this.#list.hidden = wanted.size === 0 && file === undefined;
    this.#refusals.replaceChildren(...(this.#refused.length === 0 ? [] : [this.#sayRefused()]));
    this.#context.onChange();
  }

  /** @param {Attachment[]} attachments */
  #drop(attachments) {
    for (const attachment of attachments) {
      this.#chips.get(attachment)?.remove();
      this.#chips.delete(attachment);
    }
  }

  /** @param {Attachment} attachment */
  #chip(attachment) {
    const { words } = this.#context;
    const { kind, name, data, pasted } = attachment;
    return element(
      "li",
      { class: "chip" },
      kind === "image" ? element("img", { src: data, alt: "" }) : icon("file"),
      element("span", { class: "chip-text", title: name }, element("bdi", { class: "file-name" }, name), element("span", { class: "file-size" }, sayDetails(attachment, words))),
      pasted === true && data.length <= LONGEST_INSERTED && iconButton("edit", words.say("attach.insert", { name }), () => this.#insert(attachment)),
      iconButton("close", words.say("attach.remove", { name }), () => this.#close(attachment)),
    );
  }

  /** @param {Attachment} attachment */
  #insert(attachment) {
    this.remove(attachment);
    this.#context.onText(attachment);
  }

  /** @param {Attachment} attachment */
  #close(attachment) {
    const at = this.#attachments.indexOf(attachment);
    this.remove(attachment);
    const { words, announcer, onEmptied } = this.#context;
    announcer.say(words.say("say.removed", { name: attachment.name }));
    const buttons = this.#list.querySelectorAll("button:last-child");
    const next = buttons[Math.min(at, buttons.length - 1)];
    if (next instanceof HTMLElement) next.focus();
    else onEmptied();
  }

  #sayRefused() {
    const { words } = this.#context;
    const lines = this.#refused.map(({ name, refusal }) => words.say("refused", { name, reason: this.sentence("refused", refusal) }));
    const dismiss = iconButton("close", words.say("attach.dismiss"), () => {
      this.#refused = [];
      this.#draw();
      this.#context.onEmptied();
    });
    return element("div", { class: "refused", role: "alert" }, element("ul", {}, ...lines.map((line) => element("li", {}, line))), dismiss);
  }
}

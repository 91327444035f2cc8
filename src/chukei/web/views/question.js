/**
 * One message of the reader, and its editing in place.
 */

import { element, iconButton } from "../dom.js";
import { renderAlternatives } from "./alternatives.js";
import { renderAttachments } from "./attachments.js";
import { copyFrom } from "./copying.js";
import { isComposing, isSendKey } from "./keys.js";

/** @typedef {import("../conversations/shape.js").UserMessage} UserMessage */
/** @typedef {import("../i18n.js").Words} Words */
/** @typedef {{words: Words, onEdit: (message: UserMessage, text: string) => void, onCopied: () => void} & import("./alternatives.js").AlternativesContext} QuestionContext */

/** What was written and not sent, for when the question is shown again. @type {WeakMap<UserMessage, string>} */
const unsent = new WeakMap();

export class QuestionView {
  #message;
  #context;

  /**
   * @param {UserMessage} message
   * @param {QuestionContext} context
   */
  constructor(message, context) {
    this.#message = message;
    this.#context = context;
    this.root = element("article", { class: "message question", "aria-label": context.words.say("you") });
    if (unsent.has(message)) this.#write();
    else this.#read();
  }

  #read() {
    const { words } = this.#context;
    const edit = iconButton("edit", words.say("edit"), () => this.#write().focus());
    edit.classList.add("when-idle");
    const copy = iconButton("copy", words.say("copy"), () => void copyFrom(copy, this.#message.content, this.#context));
    this.root.classList.remove("editing");
    this.root.replaceChildren(
      element("h2", { class: "visually-hidden" }, words.say("you")),
      element(
        "div",
        { class: "question-body" },
        renderAttachments(this.#message.attachments ?? [], words),
        // What the reader typed is shown as typed, not as markdown.
        this.#message.content !== "" && element("div", { class: "question-text", dir: "auto" }, this.#message.content),
      ),
      element("div", { class: "message-foot" }, edit, copy, renderAlternatives(this.#message, this.#context)),
    );
    return edit;
  }

  #write() {
    const { words } = this.#context;
    const field = element("textarea", { "aria-label": words.say("edit.label"), rows: 2, dir: "auto" });
    field.value = unsent.get(this.#message) ?? this.#message.content;
    field.addEventListener("input", () => unsent.set(this.#message, field.value));
    const cancel = element("button", { type: "button", class: "outline-button", onclick: () => this.#cancel() }, words.say("cancel"));
    const send = element("button", { type: "submit", class: "primary-button" }, words.say("edit.send"));
    const form = element("form", { class: "edit-form" }, field, element("div", { class: "edit-foot" }, cancel, send));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send(field.value);
    });
    form.addEventListener("keydown", (event) => this.#onKey(event, field));
    this.root.classList.add("editing");
    this.root.replaceChildren(form);
    field.setSelectionRange(field.value.length, field.value.length);
    return field;
  }

  /**
   * @param {KeyboardEvent} event
   * @param {HTMLTextAreaElement} field
   */
  #onKey(event, field) {
    if (event.target === field && isSendKey(event)) {
      event.preventDefault();
      this.#send(field.value);
    } else if (event.key === "Escape" && !isComposing(event)) {
      event.stopPropagation();
      this.#cancel();
    }
  }

  #cancel() {
    unsent.delete(this.#message);
    this.#read().focus();
  }

  /** What has attachments needs no text, as in the composer. @param {string} text */
  #send(text) {
    if (text.trim() === "" && this.#message.attachments === undefined) return;
    unsent.delete(this.#message);
    this.#context.onEdit(this.#message, text);
  }
}

/**
 * One message of the reader, and its editing in place.
 */

import { copyText, element, iconButton } from "../dom.js";
import { isSendKey } from "./keys.js";

/** @typedef {import("../storage.js").UserMessage} UserMessage */
/** @typedef {import("../i18n.js").Words} Words */
/** @typedef {{words: Words, onEdit: (message: UserMessage, text: string) => void, onCopied: () => void}} QuestionContext */

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
    this.#read();
  }

  #read() {
    const { words } = this.#context;
    const edit = iconButton("edit", words.say("edit"), () => this.#write());
    edit.classList.add("when-idle");
    const copy = iconButton("copy", words.say("copy"), () => void this.#copy());
    this.root.classList.remove("editing");
    this.root.replaceChildren(
      element("h2", { class: "visually-hidden" }, words.say("you")),
      // What the reader typed is shown as typed, not as markdown.
      element("div", { class: "question-text" }, this.#message.content),
      element("div", { class: "message-foot" }, edit, copy),
    );
    return edit;
  }

  #write() {
    const { words } = this.#context;
    const field = element("textarea", { "aria-label": words.say("edit.label"), rows: 2 });
    field.value = this.#message.content;
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
    field.focus();
    field.setSelectionRange(field.value.length, field.value.length);
  }

  /**
   * @param {KeyboardEvent} event
   * @param {HTMLTextAreaElement} field
   */
  #onKey(event, field) {
    if (event.target === field && isSendKey(event)) {
      event.preventDefault();
      this.#send(field.value);
    } else if (event.key === "Escape" && !event.isComposing) {
      event.stopPropagation();
      this.#cancel();
    }
  }

  #cancel() {
    this.#read().focus();
  }

  /** @param {string} text */
  #send(text) {
    if (text.trim() !== "") this.#context.onEdit(this.#message, text);
  }

  async #copy() {
    if (await copyText(this.#message.content)) this.#context.onCopied();
  }
}

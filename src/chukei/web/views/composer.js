/**
 * Where the reader writes, and attaches.
 */

import { obstacle } from "../attachments/limits.js";
import { byId, element, icon } from "../dom.js";
import { DropZone } from "./drop.js";
import { isSendKey, isTouch } from "./keys.js";
import { Recall } from "./recall.js";
import { Tray } from "./tray.js";

/** @typedef {import("../attachments/attachment.js").Attachment} Attachment */
/** @typedef {import("../wire/prompt.js").Model} Model */

/**
 * @typedef {object} ComposerContext
 * @property {import("../i18n.js").Words} words
 * @property {import("./announcer.js").Announcer} announcer
 * @property {(text: string, attachments: Attachment[]) => boolean} onSend tells whether it was taken
 * @property {() => void} onStop
 * @property {() => Promise<string[]>} past earlier prompts, newest first
 * @property {import("../storage/drafts.js").DraftStore} drafts
 */

/** A longer text that is pasted would bury the question in the field, in characters: about two printed pages. */
const LONG_PASTE = 5000;

export class Composer {
  #context;
  #field = element("textarea", { id: "prompt", rows: 1, dir: "auto", autofocus: !isTouch(), "aria-describedby": "prompt-hint", "data-say-placeholder": "prompt.placeholder" });
  #files = element("input", { type: "file", multiple: true, hidden: true, tabindex: -1 });
  #attach = element("button", { id: "attach", type: "button", class: "icon-button", "data-say-label": "attach", onclick: () => this.#files.click() }, icon("attach"));
  #send = element("button", { id: "send", type: "submit", class: "round-button", "data-say-label": "send" }, icon("send"));
  #stop = element("button", { id: "stop", type: "button", class: "round-button stop", hidden: true, "data-say-label": "stop", onclick: () => this.#context.onStop() }, icon("stop"));
  #blocked = element("p", { id: "blocked", class: "blocked" });
  #idleHint = element("span", { id: "hint-idle", "data-say": "prompt.hint" });
  #busyHint = element("span", { id: "hint-busy", hidden: true, "data-say": "prompt.hint.busy" });
  #tray;
  /** Whether the keys are pressed that paste as plain text, which takes a long text into the field. */
  #pastesPlain = false;
  /** Whose draft is shown: the id of a conversation, null for the new chat; undefined at first. @type {string | null | undefined} */
  #place;

  /** @param {ComposerContext} context */
  constructor(context) {
    this.#context = context;
    const { words, announcer } = context;
    this.#tray = new Tray({ words, announcer, onChange: () => this.#refresh(), onEmptied: () => this.focus(), onText: (text) => this.#insert(text) });
    const [refusals, chips] = this.#tray.parts;
    const label = element("label", { class: "visually-hidden", for: "prompt", "data-say": "prompt" });
    const row = element("div", { class: "composer-row" }, this.#attach, label, this.#field, this.#send, this.#stop);
    const form = element("form", { id: "composer", class: "composer" }, chips, this.#blocked, row, this.#files);
    const hint = element("p", { id: "prompt-hint", class: "hint prompt-hint" }, this.#idleHint, this.#busyHint);
    byId("composer-slot", HTMLElement).append(refusals, form, hint);
    this.#listen(form);
    new DropZone((files) => this.#take(files));
    new Recall(this.#field, context.past, (text) => this.fill(text));
    this.#refresh();
  }

  /** @param {HTMLFormElement} form */
  #listen(form) {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    // Ctrl + Shift + Tab is released elsewhere, after a blur.
    for (const type of ["keydown", "keyup", "blur"]) {
      this.#field.addEventListener(type, (/** @type {any} */ { shiftKey, ctrlKey, metaKey }) => {
        this.#pastesPlain = type === "keydown" && shiftKey && (ctrlKey || metaKey);
      });
    }
    this.#field.addEventListener("keydown", (event) => {
      if (!isSendKey(event, !isTouch())) return;
      event.preventDefault();
      this.#submit();
    });
    this.#field.addEventListener("input", () => this.#refresh());
    this.#field.addEventListener("paste", (event) => this.#paste(event));
    this.#files.addEventListener("change", () => {
      this.#take([...(this.#files.files ?? [])]);
      this.#files.value = ""; // so that the same file may be chosen again
    });
  }

  /** On a touch screen the keyboard would cover what the reader wants to see. */
  focus() {
    if (!isTouch()) this.#field.focus();
  }

  /** @param {string} text */
  fill(text) {
    this.#field.value = text;
    this.#field.setSelectionRange(text.length, text.length);
    this.#refresh();
  }

  /**
   * Another conversation is shown: what was begun for the one before waits there.
   * @param {string | null} place id of the conversation; null for the new chat
   */
  async open(place) {
    if (place === this.#place) return;
    const { drafts } = this.#context;
    this.#place = undefined;
    this.#show(drafts.get(place));
    this.#place = place;
    const kept = await drafts.read(place);
    if (place === this.#place && this.#field.value === "" && this.#tray.isEmpty) this.#show(kept);
  }

  /** @param {import("../storage/drafts.js").Draft} [draft] */
  #show({ text, attachments } = { text: "", attachments: [] }) {
    this.#field.value = text;
    this.#tray.attachments = attachments;
    this.fill(text);
  }

  /** @param {boolean} busy */
  setBusy(busy) {
    const [shown, gone] = busy ? [this.#stop, this.#send] : [this.#send, this.#stop];
    const hadFocus = gone === document.activeElement;
    shown.hidden = false;
    gone.hidden = true;
    this.#idleHint.hidden = busy;
    this.#busyHint.hidden = !busy;
    if (!hadFocus) return;
    shown.focus(); // on a touch screen it stays there
    this.focus();
  }

  /**
   * What the attachments must fit.
   * @param {Model | null} model
   * @param {number | null} maxBodyBytes
   */
  setModel(model, maxBodyBytes) {
    this.#tray.limits = { model, maxBodyBytes };
    this.#refresh();
  }

  /** @param {File[]} files */
  #take(files) {
    void this.#tray.add(files);
    this.focus();
  }

  /**
   * Spreadsheets and word processors give a picture of what was copied beside the text; the text is meant.
   * @param {ClipboardEvent} event
   */
  #paste(event) {
    const clipboard = event.clipboardData ?? new DataTransfer();
    const { types } = clipboard;
    const files = types.includes("text/plain") && types.includes("text/html") ? [] : [...clipboard.files];
    const text = clipboard.getData("text/plain");
    if (files.length === 0 && (text.length <= LONG_PASTE || this.#pastesPlain)) return;
    event.preventDefault();
    if (files.length > 0) this.#take(files);
    else this.#tray.addPasted(text);
  }

  /** @param {string} text */
  #insert(text) {
    this.#field.focus();
    this.#field.setRangeText(text, this.#field.selectionStart, this.#field.selectionEnd, "end");
    this.#refresh();
  }

  #submit() {
    const draft = { text: this.#field.value, attachments: this.#tray.attachments };
    if (this.#isBlocked()) this.#context.announcer.say(this.#blocked.textContent ?? "");
    else if (!this.#tray.isReading) this.#sendDraft(draft);
  }

  /** @param {import("../storage/drafts.js").Draft} draft */
  #sendDraft({ text, attachments }) {
    const place = this.#place ?? null; // the first question gives the new chat an id
    if (!this.#context.onSend(text, attachments)) return;
    this.#context.drafts.set(place, { text: "", attachments: [] });
    this.#show();
    this.focus();
  }

  /** Says why it cannot be sent, where it cannot. */
  #isBlocked() {
    const found = obstacle(this.#tray.attachments, this.#field.value, this.#tray.limits);
    const sentence = found === null ? "" : this.#tray.sentence("blocked", found);
    if (this.#blocked.textContent === sentence) return found !== null;
    this.#blocked.textContent = sentence;
    if (sentence !== "") this.#context.announcer.say(sentence);
    return found !== null;
  }

  #refresh() {
    const { attachments, isReading } = this.#tray;
    if (this.#place !== undefined) this.#context.drafts.set(this.#place, { text: this.#field.value, attachments });
    const isEmpty = this.#field.value.trim() === "" && attachments.length === 0;
    // Not `disabled`: a button that loses the focus while it is pressed leaves the keyboard nowhere.
    this.#send.setAttribute("aria-disabled", String(this.#isBlocked() || isReading || isEmpty));
    this.#resize();
  }

  /** Grows with its text where CSS cannot do it yet (`field-sizing`). */
  #resize() {
    if (CSS.supports("field-sizing", "content")) return;
    this.#field.style.height = "auto";
    this.#field.style.height = `${this.#field.scrollHeight}px`;
  }
}

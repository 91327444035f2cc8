/**
 * Where the reader writes, and attaches.
 */

import { obstacle } from "../attachments/limits.js";
import { byId, element, icon } from "../dom.js";
import { isSame } from "../storage/draft_rows.js";
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

/** A longer text that is pasted would bury the question, in characters: about two printed pages. */
const LONG_PASTE = 5000;

/** With more, a browser takes seconds to insert a text that can be undone. */
const MOST_UNDOABLE_LINES = 300;

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
  /** Files whose text was put into the field, with the field's text before and after. @type {{file: Attachment, before: string, after: string}[]} */
  #written = [];
  /** Files that were still to be read when the reader went elsewhere, by place. @type {Map<string | null, File[]>} */
  #unread = new Map();
  /** Whose draft is shown: the id of a conversation, null for the new chat; undefined at first. @type {string | null | undefined} */
  #place;

  /** @param {ComposerContext} context */
  constructor(context) {
    this.#context = context;
    const { words, announcer } = context;
    this.#tray = new Tray({ words, announcer, onChange: () => this.#refresh(), onEmptied: () => this.focus(), onText: (file) => this.#write(file) });
    const [refusals, chips] = this.#tray.parts;
    const label = element("label", { class: "visually-hidden", for: "prompt", "data-say": "prompt" });
    const row = element("div", { class: "composer-row" }, this.#attach, label, this.#field, this.#send, this.#stop);
    const form = element("form", { id: "composer", class: "composer" }, chips, this.#blocked, row, this.#files);
    const hint = element("p", { id: "prompt-hint", class: "hint prompt-hint" }, this.#idleHint, this.#busyHint);
    byId("composer-slot", HTMLElement).append(refusals, form, hint);
    this.#listen(form);
    new DropZone((files) => this.#take(files));
    new Recall(this.#field, context.past, (text) => {
      this.#field.select();
      this.#insert(text);
    });
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
    this.#field.addEventListener("input", (event) => this.#onInput(/** @type {InputEvent} */ (event)));
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

  /**
   * Another conversation is shown: what was begun for the one before waits there.
   * @param {string | null} place id of the conversation; null for the new chat
   */
  async open(place) {
    if (place === this.#place) return;
    const { drafts } = this.#context;
    if (this.#place !== undefined && this.#tray.isReading) this.#unread.set(this.#place, this.#tray.unread);
    this.#place = undefined;
    const hadFocus = this.#field === document.activeElement;
    this.#send.before(this.#field); // one that is moved forgets what "redo" would bring from elsewhere
    if (hadFocus) this.#field.focus();
    this.#show(drafts.get(place));
    this.#place = place;
    const kept = await drafts.read(place);
    if (place !== this.#place) return;
    const unread = this.#unread.get(place) ?? [];
    this.#unread.delete(place);
    if (kept !== undefined && !isSame(kept, this.#draft)) {
      unread.push(...this.#tray.unread);
      this.#show(kept);
    }
    if (unread.length > 0) void this.#tray.add(unread);
  }

  get #draft() {
    return { text: this.#field.value, attachments: this.#tray.attachments };
  }

  /** Shows what the draft is now, after it was deleted or brought back. */
  reopen() {
    const place = this.#place;
    if (place === undefined) return; // it is being opened
    this.#unread.clear();
    this.#place = undefined;
    void this.open(place);
  }

  /** @param {import("../storage/draft_rows.js").Draft} [draft] */
  #show({ text, attachments } = { text: "", attachments: [] }) {
    this.#field.value = text;
    this.#field.setSelectionRange(text.length, text.length);
    this.#written = [];
    this.#tray.attachments = attachments;
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
    else if (this.#tray.addPasted(text)) this.#insert("");
  }

  /**
   * Puts a text in place of what is selected, so that "undo" brings that back.
   * @param {string} text
   */
  #insert(text) {
    const { selectionStart, selectionEnd } = this.#field;
    this.#field.focus();
    if (text === "" && selectionStart === selectionEnd) return;
    const isShort = text.split("\n", MOST_UNDOABLE_LINES + 1).length <= MOST_UNDOABLE_LINES;
    const isDone = isShort && document.execCommand(text === "" ? "delete" : "insertText", false, text);
    if (!isDone) this.#field.setRangeText(text, selectionStart, selectionEnd, "end");
    this.#refresh();
  }

  /** @param {Attachment} file whose text is wanted in the message instead */
  #write(file) {
    const before = this.#field.value;
    this.#insert(file.data);
    this.#written.push({ file, before, after: this.#field.value });
  }

  /** What was a file before its text was in the field is one again after "undo". @param {InputEvent} event */
  #onInput({ inputType }) {
    const { value } = this.#field;
    for (const { file, before, after } of this.#written) {
      if (inputType === "historyUndo" && value === before) this.#tray.put(file);
      if (inputType === "historyRedo" && value === after) this.#tray.remove(file);
    }
    this.#refresh();
  }

  #submit() {
    if (this.#isBlocked()) this.#context.announcer.say(this.#blocked.textContent ?? "");
    else if (!this.#tray.isReading) this.#sendDraft();
  }

  #sendDraft() {
    const { text, attachments } = this.#draft;
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
    const { text, attachments } = this.#draft;
    if (this.#place !== undefined) this.#context.drafts.set(this.#place, { text, attachments });
    const isEmpty = text.trim() === "" && attachments.length === 0;
    // Not `disabled`: a button that loses the focus while it is pressed leaves the keyboard nowhere.
    this.#send.setAttribute("aria-disabled", String(this.#isBlocked() || this.#tray.isReading || isEmpty));
    this.#resize();
  }

  /** Grows with its text where CSS cannot do it yet (`field-sizing`). */
  #resize() {
    if (CSS.supports("field-sizing", "content")) return;
    this.#field.style.height = "auto";
    this.#field.style.height = `${this.#field.scrollHeight}px`;
  }
}

/**
 * What can be done with conversations from their list: deleting with a way back, and files.
 */

import { fileName, fromJson, toJson, toMarkdown } from "../conversations/export.js";
import { titleOf } from "../conversations/shape.js";
import { element } from "../dom.js";

/** @typedef {import("../conversations/shape.js").Conversation} Conversation */
/** @typedef {import("../i18n.js").Words} Words */

/**
 * @typedef {object} HistoryContext
 * @property {Words} words
 * @property {import("../chat.js").Chat} chat
 * @property {import("../storage/drafts.js").DraftStore} drafts
 * @property {() => void} onDrafts all drafts were deleted, or brought back
 * @property {import("./toast.js").Toast} toast
 * @property {(id?: string) => void} focusList gives the focus to a conversation in the list, or to what is near
 * @property {(id: string) => void} onImported
 */

/**
 * @param {Conversation} conversation
 * @param {Words} words
 */
export function sayTitle(conversation, words) {
  return titleOf(conversation) || words.say("chat.untitled");
}

export class HistoryActions {
  #context;

  /** @param {HistoryContext} context */
  constructor(context) {
    this.#context = context;
  }

  /** @param {Conversation} conversation */
  delete(conversation) {
    const { words } = this.#context;
    const notice = words.say("history.deleted", { title: sayTitle(conversation, words) });
    this.#delete([conversation], [conversation.id], notice);
  }

  clear() {
    const { chat, words } = this.#context;
    this.#delete(chat.conversations(), undefined, words.say("history.cleared"));
  }

  /**
   * @param {string} id
   * @param {"markdown" | "json"} format
   */
  async export(id, format) {
    const { chat, toast, words } = this.#context;
    const conversation = await chat.read(id);
    if (conversation === undefined) {
      toast.show(words.say("missing.heading"));
      return;
    }
    const title = sayTitle(conversation, words);
    if (format === "json") download(fileName(title, "json"), "application/json", toJson(conversation));
    else download(fileName(title, "md"), "text/markdown", toMarkdown(conversation, words));
  }

  /** @param {File} file */
  async import(file) {
    const { chat, toast, words, onImported } = this.#context;
    const conversation = fromJson(await file.text().catch(() => ""));
    if (typeof conversation === "string") {
      toast.show(words.say(`history.import.${conversation}`));
      return;
    }
    toast.hide(); // it may still say that the file before this one could not be read
    chat.restore([conversation]);
    onImported(conversation.id);
  }

  /**
   * There is no question before it, but a way back after it.
   * @param {Conversation[]} conversations
   * @param {string[] | undefined} drafts the places of drafts that go, too; undefined for all
   * @param {string} notice
   */
  #delete(conversations, drafts, notice) {
    const { chat, toast, words, focusList, onDrafts } = this.#context;
    const shown = chat.current.id;
    const deleted = chat.delete(conversations.map(({ id }) => id));
    const unsent = this.#context.drafts.delete(drafts);
    if (drafts === undefined) void unsent.then(onDrafts);
    const undo = async () => {
      chat.restore(await deleted);
      this.#context.drafts.restore(await unsent);
      if (drafts === undefined) onDrafts();
      const wasShown = conversations.some(({ id }) => id === shown);
      if (wasShown && chat.current.messages.length === 0) void chat.open(shown);
      focusList(conversations.at(-1)?.id);
    };
    toast.show(notice, { label: words.say("history.undo"), act: () => void undo(), leave: () => focusList() });
  }
}

/**
 * Hands a text to the browser as a file to save.
 * @param {string} name
 * @param {string} type a MIME type
 * @param {string} text
 */
function download(name, type, text) {
  const address = URL.createObjectURL(new Blob([text], { type: `${type};charset=utf-8` }));
  element("a", { href: address, download: name }).click();
  // The browser reads the file after this task.
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

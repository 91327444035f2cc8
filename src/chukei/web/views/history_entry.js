/**
 * One conversation in the list: a link to it, and what can be done with it.
 */

import { addressOf } from "../address.js";
import { titleOf } from "../conversations/shape.js";
import { element, iconButton } from "../dom.js";
import { isComposing } from "./keys.js";

/** @typedef {import("../conversations/shape.js").Conversation} Conversation */
/** @typedef {import("../conversations/search.js").Finding} Finding */
/** @typedef {import("../conversations/search.js").Piece} Piece */

/**
 * @typedef {object} EntryActions
 * @property {() => void} onOpen the link is being followed
 * @property {(conversation: Conversation, title: string) => void} onRename
 * @property {(conversation: Conversation, format: "markdown" | "json") => void} onExport
 * @property {(conversation: Conversation) => void} onDelete
 */

const LONGEST_TITLE = 200;

export class HistoryEntry {
  #conversation;
  #words;
  #menu;
  #actions;
  #link;
  #more;
  #renaming = false;

  /**
   * @param {Conversation} conversation
   * @param {import("../i18n.js").Words} words
   * @param {import("./menu.js").Menu} menu
   * @param {EntryActions} actions
   */
  constructor(conversation, words, menu, actions) {
    this.#conversation = conversation;
    this.#words = words;
    this.#menu = menu;
    this.#actions = actions;
    this.#link = element("a", { class: "history-entry", href: addressOf(conversation.id), onclick: (event) => this.#onClick(event) });
    this.#more = iconButton("more", "", () => this.#openMenu());
    this.#more.classList.add("history-more");
    this.#more.setAttribute("aria-haspopup", "menu");
    this.#more.setAttribute("aria-expanded", "false");
    this.root = element("li", {}, this.#link, this.#more);
  }

  /**
   * @param {Conversation} conversation
   * @param {boolean} isCurrent
   * @param {Finding | null} finding
   */
  update(conversation, isCurrent, finding) {
    this.#conversation = conversation;
    const title = this.#title;
    const label = this.#words.say("history.actions", { title });
    this.#more.setAttribute("aria-label", label);
    this.#more.title = label;
    this.#link.title = title;
    if (isCurrent) this.#link.setAttribute("aria-current", "page");
    else this.#link.removeAttribute("aria-current");
    const excerpt = finding?.excerpt ?? [];
    this.#link.replaceChildren(
      element("span", { class: "history-title", dir: "auto" }, ...pieces(finding?.title ?? []), finding === null && title),
      ...(excerpt.length > 0 ? [element("span", { class: "history-excerpt", dir: "auto" }, ...pieces(excerpt))] : []),
    );
  }

  focus() {
    this.#link.focus();
  }

  get #title() {
    return titleOf(this.#conversation) || this.#words.say("chat.untitled");
  }

  /** A click with a key opens another tab, which is the browser's to do. @param {Event} event */
  #onClick(event) {
    const { button, ctrlKey, metaKey, shiftKey } = /** @type {MouseEvent} */ (event);
    if (button === 0 && !ctrlKey && !metaKey && !shiftKey) this.#actions.onOpen();
  }

  #openMenu() {
    const { onExport, onDelete } = this.#actions;
    const say = (/** @type {string} */ key) => this.#words.say(key);
    this.#menu.open(this.#more, this.#words.say("history.actions", { title: this.#title }), [
      { icon: "edit", label: say("history.rename"), act: () => this.#rename() },
      { icon: "export", label: say("history.export.markdown"), act: () => onExport(this.#conversation, "markdown") },
      { icon: "export", label: say("history.export.json"), act: () => onExport(this.#conversation, "json") },
      { icon: "delete", label: say("history.delete"), act: () => onDelete(this.#conversation) },
    ]);
  }

  #rename() {
    const field = element("input", { class: "history-rename", dir: "auto", "aria-label": this.#words.say("history.rename.label"), maxlength: LONGEST_TITLE });
    field.value = this.#title;
    field.addEventListener("keydown", (event) => this.#onRenameKey(event, field));
    field.addEventListener("blur", () => this.#endRename(field.value));
    this.#renaming = true;
    this.root.replaceChildren(field);
    field.select();
  }

  /**
   * @param {KeyboardEvent} event
   * @param {HTMLInputElement} field
   */
  #onRenameKey(event, field) {
    if (isComposing(event) || !["Enter", "Escape"].includes(event.key)) return;
    event.preventDefault();
    event.stopPropagation();
    this.#endRename(event.key === "Enter" ? field.value : null);
    this.#link.focus();
  }

  /** @param {string | null} title null leaves it as it is */
  #endRename(title) {
    if (!this.#renaming) return; // taking the field away blurs it
    this.#renaming = false;
    this.root.replaceChildren(this.#link, this.#more);
    if (title !== null && title.trim() !== this.#title) this.#actions.onRename(this.#conversation, title.trim());
  }
}

/** @param {Piece[]} found */
function pieces(found) {
  return found.map(([text, isMatch]) => (isMatch ? element("mark", {}, text) : text));
}

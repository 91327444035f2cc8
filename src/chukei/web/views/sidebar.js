/**
 * The list of conversations. Beside the page on a wide screen; over it, and modal, on a phone.
 */

import { byId, element, icon, iconButton } from "../dom.js";
import { titleOf } from "../storage.js";

/** @typedef {import("../storage.js").Conversation} Conversation */
/** @typedef {import("../i18n.js").Words} Words */
/** @typedef {{onNew: () => void, onOpen: (id: string) => void, onDelete: (id: string) => void, onClear: () => void}} SidebarActions */

/** How long a first press on "clear" waits for the second, in milliseconds. */
const CONFIRM_MS = 5000;

export class Sidebar {
  #root = byId("sidebar", HTMLElement);
  #page = byId("page", HTMLElement);
  #scrim = byId("scrim", HTMLElement);
  #list = byId("history-list", HTMLUListElement);
  #empty = byId("history-empty", HTMLElement);
  #clear = byId("clear-history", HTMLButtonElement);
  #opener;
  #words;
  #actions;
  #confirming = 0;

  /**
   * @param {Words} words
   * @param {SidebarActions} actions
   */
  constructor(words, actions) {
    this.#words = words;
    this.#actions = actions;
    this.#opener = iconButton("menu", words.say("sidebar.open"), () => this.open());
    this.#opener.dataset.sayLabel = "sidebar.open";
    const closer = iconButton("close", words.say("sidebar.close"), () => this.close());
    closer.dataset.sayLabel = "sidebar.close";
    byId("open-sidebar-slot", HTMLElement).append(this.#opener);
    byId("close-sidebar-slot", HTMLElement).append(closer);
    this.#scrim.addEventListener("click", () => this.close());
    this.#clear.addEventListener("click", () => this.#onClear());
    const start = byId("new-chat", HTMLButtonElement);
    start.querySelector(".icon-slot")?.append(icon("plus"));
    start.addEventListener("click", () => this.#leave(actions.onNew));
  }

  get isOpen() {
    return this.#root.classList.contains("open");
  }

  open() {
    this.#root.classList.add("open");
    this.#scrim.hidden = false;
    this.#page.inert = true;
    byId("new-chat", HTMLButtonElement).focus();
  }

  close() {
    if (!this.isOpen) return;
    this.#root.classList.remove("open");
    this.#scrim.hidden = true;
    this.#page.inert = false;
    this.#opener.focus();
  }

  /**
   * @param {Conversation[]} conversations
   * @param {string} currentId
   */
  show(conversations, currentId) {
    this.#empty.hidden = conversations.length > 0;
    this.#clear.hidden = conversations.length === 0;
    this.#list.replaceChildren(...conversations.map((one) => this.#entry(one, one.id === currentId)));
  }

  /**
   * @param {Conversation} conversation
   * @param {boolean} isCurrent
   */
  #entry(conversation, isCurrent) {
    const { id } = conversation;
    const title = titleOf(conversation);
    const current = isCurrent ? "true" : null;
    const open = () => this.#leave(() => this.#actions.onOpen(id));
    return element(
      "li",
      {},
      element("button", { type: "button", class: "history-entry", "aria-current": current, title, onclick: open }, title),
      iconButton("delete", this.#words.say("history.delete", { title }), () => this.#delete(id)),
    );
  }

  /** The entry takes its button with it; the focus stays in the list's neighbourhood. @param {string} id */
  #delete(id) {
    this.#actions.onDelete(id);
    byId("new-chat", HTMLButtonElement).focus();
  }

  /** @param {() => void} go */
  #leave(go) {
    this.close();
    go();
  }

  /** The first press asks, the second clears: there is no way back. */
  #onClear() {
    clearTimeout(this.#confirming);
    const confirmed = this.#clear.classList.toggle("confirming") === false;
    this.#clear.textContent = this.#words.say(confirmed ? "history.clear" : "history.clear.confirm");
    if (confirmed) this.#leave(this.#actions.onClear);
    else this.#confirming = setTimeout(() => this.#forgetClear(), CONFIRM_MS);
  }

  #forgetClear() {
    this.#clear.classList.remove("confirming");
    this.#clear.textContent = this.#words.say("history.clear");
  }
}

/**
 * The list of conversations. Beside the page on a wide screen; over it, and modal, on a phone.
 */

import { groupByDay, nameOfMonth } from "../conversations/groups.js";
import { find } from "../conversations/search.js";
import { byId, element, icon, iconButton } from "../dom.js";
import { HistoryEntry } from "./history_entry.js";
import { isComposing } from "./keys.js";
import { Menu } from "./menu.js";

/** @typedef {import("../conversations/shape.js").Conversation} Conversation */
/** @typedef {import("../conversations/search.js").Finding} Finding */
/** @typedef {import("../conversations/search.js").Text} Text */
/** @typedef {import("../i18n.js").Words} Words */

/**
 * @typedef {object} SidebarActions
 * @property {() => void} onNew
 * @property {() => void} onOpen a conversation is being opened by its address
 * @property {(conversation: Conversation, title: string) => void} onRename
 * @property {(conversation: Conversation, format: "markdown" | "json") => void} onExport
 * @property {(conversation: Conversation) => void} onDelete
 * @property {() => void} onClear
 * @property {(file: File) => void} onImport
 * @property {(count: number) => void} onFound how many conversations a search has found
 * @property {(conversation: Conversation) => Text[]} textsOf what is searched
 * @property {() => Promise<void>} readTexts reads all that is searched
 */

/** @typedef {{conversation: Conversation, finding: Finding | null}} Item */

export class Sidebar {
  #root = byId("sidebar", HTMLElement);
  #page = byId("page", HTMLElement);
  #scrim = byId("scrim", HTMLElement);
  #start = byId("new-chat", HTMLButtonElement);
  #search = byId("history-search", HTMLInputElement);
  #list = byId("history-list", HTMLElement);
  #menu = new Menu(byId("sidebar", HTMLElement));
  #opener;
  #words;
  #actions;
  /** @type {Map<string, HistoryEntry>} */
  #entries = new Map();
  /** What is listed, to see whether it has to be arranged anew. */
  #outline = "";
  #conversations = /** @type {Conversation[]} */ ([]);
  #currentId = "";
  /** Whether a search finds everything already. */
  #isComplete = false;

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
    this.#start.querySelector(".icon-slot")?.append(icon("plus"));
    this.#start.addEventListener("click", () => this.#leave(actions.onNew));
    this.#search.addEventListener("input", () => void this.#onSearch());
    this.#search.addEventListener("keydown", (event) => this.#onSearchKey(event));
    byId("clear-history", HTMLButtonElement).addEventListener("click", () => actions.onClear());
    this.#bindImport();
  }

  get isOpen() {
    return this.#root.classList.contains("open");
  }

  open() {
    this.#root.classList.add("open");
    this.#scrim.hidden = false;
    this.#page.inert = true;
    this.#start.focus();
  }

  close() {
    if (!this.isOpen) return;
    this.#root.classList.remove("open");
    this.#scrim.hidden = true;
    this.#page.inert = false;
    this.#opener.focus();
  }

  /**
   * @param {Conversation[]} conversations newest first
   * @param {string} currentId
   * @param {boolean} isKept whether they outlive the page
   */
  show(conversations, currentId, isKept) {
    const isEmpty = conversations.length === 0;
    this.#conversations = conversations;
    this.#currentId = currentId;
    byId("history-unkept", HTMLElement).hidden = isKept;
    byId("history-empty", HTMLElement).hidden = !isEmpty;
    byId("clear-history", HTMLElement).hidden = isEmpty;
    this.#search.hidden = isEmpty;
    if (isEmpty) this.#search.value = "";
    this.#draw();
  }

  /** Shows everything anew, in another language. */
  redraw() {
    this.#outline = "";
    this.#entries.clear();
    this.#draw();
  }

  /** Where the focus goes when what had it is gone. @param {string} [id] of a conversation */
  focus(id = "") {
    const entry = this.#entries.get(id);
    if (entry !== undefined) entry.focus();
    else this.#start.focus();
  }

  #draw() {
    const groups = this.#groups();
    const outline = JSON.stringify(groups.map(([group, items]) => [group, ...items.map(({ conversation }) => conversation.id)]));
    if (outline !== this.#outline) this.#arrange(groups);
    this.#outline = outline;
    for (const { conversation, finding } of groups.flatMap(([, items]) => items)) {
      this.#entries.get(conversation.id)?.update(conversation, conversation.id === this.#currentId, finding);
    }
  }

  /** @returns {[heading: string, items: Item[]][]} */
  #groups() {
    const query = this.#search.value.trim();
    if (query !== "") {
      const findings = find(this.#conversations, this.#actions.textsOf, query);
      const items = findings.map((finding) => ({ conversation: finding.conversation, finding }));
      return [[this.#sayFound(items.length), items]];
    }
    const now = new Date();
    return groupByDay(this.#conversations, now).map(([group, members]) => [
      this.#words.has(`history.${group}`) ? this.#words.say(`history.${group}`) : nameOfMonth(group, now, this.#words.language),
      members.map((conversation) => ({ conversation, finding: null })),
    ]);
  }

  /** @param {number} count */
  #sayFound(count) {
    if (!this.#isComplete) return this.#words.say("history.searching");
    return this.#words.say(count === 0 ? "history.found.none" : "history.found", { count: this.#words.number(count) });
  }

  /** Moving the entry that has the focus would lose it. @param {[string, Item[]][]} groups */
  #arrange(groups) {
    const focused = document.activeElement;
    const hadFocus = this.#list.contains(focused);
    const listed = new Map();
    const sections = groups.map(([heading, items]) => {
      const list = element("ul", { "aria-label": heading });
      for (const { conversation } of items) {
        const entry = this.#entries.get(conversation.id) ?? new HistoryEntry(conversation, this.#words, this.#menu, {
          ...this.#actions,
          onOpen: () => this.#leave(this.#actions.onOpen),
        });
        listed.set(conversation.id, entry);
        list.append(entry.root);
      }
      return element("section", {}, element("h3", { class: "eyebrow" }, heading), list);
    });
    this.#entries = listed;
    this.#list.replaceChildren(...sections);
    if (!hadFocus || !(focused instanceof HTMLElement)) return;
    if (focused.isConnected) focused.focus();
    else this.#start.focus();
  }

  async #onSearch() {
    const query = this.#search.value;
    this.#draw();
    if (query.trim() === "") return;
    await this.#actions.readTexts();
    this.#isComplete = true;
    this.#draw();
    if (query === this.#search.value) this.#actions.onFound(this.#entries.size);
  }

  /** @param {KeyboardEvent} event */
  #onSearchKey(event) {
    if (event.key !== "Escape" || isComposing(event) || this.#search.value === "") return;
    event.preventDefault();
    event.stopPropagation();
    this.#search.value = "";
    this.#draw();
  }

  #bindImport() {
    const chooser = byId("import-file", HTMLInputElement);
    byId("import", HTMLButtonElement).addEventListener("click", () => chooser.click());
    chooser.addEventListener("change", () => {
      const file = chooser.files?.[0];
      if (file !== undefined) this.#actions.onImport(file);
      chooser.value = ""; // so that the same file can be chosen again
    });
  }

  /** @param {() => void} go */
  #leave(go) {
    this.close();
    go();
  }
}

/**
 * Callers' keys: made, replaced and ended. A new key is shown until it is put away, and kept nowhere.
 */

import { byId, copyText, element, icon } from "../dom.js";
import { confirmed } from "./confirm.js";
import { moment } from "./figures.js";
import { renderTable } from "./table.js";

/** @typedef {import("./api.js").Key} Key */
/** @typedef {import("./api.js").MadeKey} MadeKey */

const DAY = 86_400_000;
const MOST_ROWS = 200;

/** Seconds for which the key that is replaced goes on working. */
const OVERLAPS = [0, 3600, 86_400, 604_800, 2_592_000];

export class Keys {
  #api;
  #words;
  #announcer;
  #attempt;
  #table = byId("keys-table", HTMLElement);
  #made = byId("made", HTMLElement);
  #failure = byId("keys-failure", HTMLElement);
  #find = byId("find-key", HTMLInputElement);
  #form = byId("new-key", HTMLFormElement);
  /** @type {Key[] | null} */
  #keys = null;
  /** @type {MadeKey | null} */
  #shown = null;

  /** @param {{api: import("./api.js").AdminApi, words: import("../i18n.js").Words, announcer: import("../views/announcer.js").Announcer, attempt: (place: HTMLElement, work: () => Promise<void>, again?: (() => void) | null) => Promise<boolean>}} context */
  constructor({ api, words, announcer, attempt }) {
    this.#api = api;
    this.#words = words;
    this.#announcer = announcer;
    this.#attempt = attempt;
    this.#find.addEventListener("input", () => this.#drawTable());
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#create();
    });
  }

  clear() {
    this.#keys = this.#shown = null;
    this.#find.value = "";
    this.#form.reset();
    this.#made.replaceChildren();
    this.#table.replaceChildren();
  }

  load() {
    return this.#attempt(
      this.#failure,
      async () => {
        this.#keys = await this.#api.keys();
        this.#drawTable();
      },
      () => void this.load(),
    );
  }

  draw() {
    this.#drawMade();
    this.#drawTable();
  }

  #drawTable() {
    if (this.#keys === null) return;
    const words = this.#words;
    const wanted = this.#find.value.trim().toLowerCase();
    const found = this.#keys.filter(({ id, caller, group, note }) => [id, caller, group, note].some((text) => text?.toLowerCase().includes(wanted)));
    const shown = found.slice(0, MOST_ROWS);
    if (this.#keys.length === 0) {
      this.#table.replaceChildren(element("p", { class: "nothing" }, words.say("keys.none")));
      return;
    }
    const text = (/** @type {string | null} */ value) => (value === null ? "–" : element("bdi", {}, value));
    const table = renderTable(
      words.say("keys.heading"),
      [
        { head: words.say("keys.caller"), name: true, class: "name", cell: ({ caller }) => text(caller) },
        { head: words.say("keys.id"), class: "code-cell", cell: ({ id }) => element("code", {}, id) },
        { head: words.say("keys.group"), class: "name", cell: ({ group }) => text(group) },
        { head: words.say("keys.state"), cell: ({ state }) => element("span", { class: `state state-${state}` }, words.say(`keys.state.${state}`)) },
        { head: words.say("keys.created"), cell: ({ created }) => moment(created) },
        { head: words.say("keys.expires"), cell: ({ expires, revoked }) => moment(revoked ?? expires) },
        { head: words.say("keys.note"), class: "name", cell: ({ note }) => text(note) },
        { head: words.say("keys.actions"), class: "actions", cell: (key) => this.#actions(key) },
      ],
      shown,
    );
    const note = words.say(found.length > shown.length ? "keys.cut" : "keys.count", { shown: words.number(shown.length), rows: words.number(found.length) });
    this.#table.replaceChildren(table, element("p", { class: "quiet" }, note));
  }

  /** @param {Key} key */
  #actions(key) {
    if (key.state !== "active" && key.state !== "unreadable") return null;
    const words = this.#words;
    const button = (/** @type {string} */ what, /** @type {() => void} */ onclick) =>
      element("button", { type: "button", class: "text-button", "aria-label": words.say(`keys.${what}.label`, { id: key.id, caller: key.caller }), onclick }, words.say(`keys.${what}`));
    const revoke = button("revoke", () => void this.#revoke(key));
    if (key.state === "unreadable") return element("div", { class: "buttons" }, revoke);
    return element("div", { class: "buttons" }, button("rotate", () => void this.#rotate(key)), revoke);
  }

  #create() {
    const value = (/** @type {string} */ id) => byId(id, HTMLInputElement).value.trim() || null;
    const days = byId("key-days", HTMLSelectElement).value;
    const expires = days === "" ? null : new Date(Date.now() + Number(days) * DAY).toISOString();
    const wanted = { caller: value("key-caller") ?? "", group: value("key-group"), expires, note: value("key-note") };
    return this.#attempt(this.#failure, async () => {
      this.#show(await this.#api.create(wanted));
      this.#form.reset();
    });
  }

  /** @param {Key} key */
  async #rotate(key) {
    const words = this.#words;
    const options = OVERLAPS.map((seconds) => element("option", { value: seconds, selected: seconds === 86_400 }, words.say(`overlap.${seconds}`)));
    const select = element("select", { id: "overlap", class: "select boxed" }, ...options);
    const extra = element("div", { class: "control" }, element("label", { for: "overlap" }, words.say("keys.overlap")), select);
    const names = { id: key.id, caller: key.caller };
    if (!(await confirmed({ title: words.say("keys.rotate.title"), text: words.say("keys.rotate.text", names), yes: words.say("keys.rotate"), extra }))) return;
    await this.#attempt(this.#failure, async () => this.#show(await this.#api.rotate(key.id, Number(select.value))));
  }

  /** @param {Key} key */
  async #revoke(key) {
    const words = this.#words;
    const names = { id: key.id, caller: key.caller };
    if (!(await confirmed({ title: words.say("keys.revoke.title"), text: words.say("keys.revoke.text", names), yes: words.say("keys.revoke"), grave: true }))) return;
    await this.#attempt(this.#failure, async () => {
      await this.#api.revoke(key.id);
      this.#announcer.say(words.say("keys.revoked", names));
      this.#find.focus(); // what was pressed is gone with its row
      void this.load();
    });
  }

  /** @param {MadeKey} made */
  #show(made) {
    this.#shown = made;
    this.#drawMade();
    this.#made.querySelector("button")?.focus();
    void this.load();
  }

  #drawMade() {
    const made = this.#shown;
    if (made === null) {
      this.#made.replaceChildren();
      return;
    }
    const words = this.#words;
    const copy = element("button", { type: "button", class: "primary-button", onclick: () => void this.#copy(made.key, copy) }, icon("copy"), words.say("copy"));
    const done = element("button", { type: "button", class: "outline-button", onclick: () => this.#putAway() }, words.say("keys.made.done"));
    this.#made.replaceChildren(
      element(
        "div",
        { class: "card made", role: "group", "aria-labelledby": "made-heading" },
        element("h3", { id: "made-heading" }, words.say("keys.made", { caller: made.caller })),
        element("p", {}, words.say("keys.made.text")),
        element("p", { class: "secret" }, element("code", {}, made.key)),
        element("div", { class: "buttons" }, copy, done),
      ),
    );
  }

  /** @param {string} key @param {HTMLElement} button */
  async #copy(key, button) {
    if (!(await copyText(key))) return;
    this.#announcer.say(this.#words.say("copied"));
    button.querySelector(".icon")?.replaceWith(icon("done"));
  }

  #putAway() {
    this.#shown = null;
    this.#drawMade();
    byId("key-caller", HTMLInputElement).focus();
  }
}

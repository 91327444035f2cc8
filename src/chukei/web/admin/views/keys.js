/**
 * Callers' keys: found at the relay, made, replaced and ended. A new key is shown until it is put away, and kept nowhere.
 */

import { copyText, element, icon } from "../../dom.js";
import { ANY, writeAddress } from "../address.js";
import { confirmed } from "../confirm.js";
import { moment } from "../figures.js";
import { choice, control, textField } from "../form.js";
import { renderTable } from "../table.js";

/** @typedef {import("../api.js").Group} Group */
/** @typedef {import("../api.js").Key} Key */
/** @typedef {import("../api.js").MadeKey} MadeKey */
/** @typedef {import("../view.js").View} View */

const DAY = 86_400_000;

/** How many keys are shown at first, and at most; each time as many more as there are. */
const SOME = 200;
const MOST = 3200;

/** Milliseconds after the last letter before the relay is asked. */
const PAUSE = 150;

/** To which all callers belong, so no key names it. */
const EVERYBODY = "everybody";

/** Seconds for which the key that is replaced goes on working. */
const OVERLAPS = [0, 3600, 86_400, 604_800, 2_592_000];

const STATES = { "": "keys.state.any", active: "keys.state.active", expired: "keys.state.expired", revoked: "keys.state.revoked", unreadable: "keys.state.unreadable" };

const LIVES = { 30: "keys.days.30", 90: "keys.days.90", 365: "keys.days.365", "": "keys.days.none" };

/** @implements {View} */
export class KeysView {
  /** @type {import("../address.js").Known} */
  static parameters = { find: ANY, state: (value) => Object.hasOwn(STATES, value) };
  #api;
  #words;
  #announcer;
  #attempt;
  #session;
  #caller = textField("key-caller", { required: true, maxlength: 128 });
  #group = element("select", { id: "key-group", class: "select boxed", "aria-describedby": "key-limits", onchange: () => this.#drawLimits() });
  #limits = element("p", { id: "key-limits", class: "quiet" });
  #days = choice("key-days", LIVES, "90");
  #note = textField("key-note", { maxlength: 200, spellcheck: null });
  #form = element(
    "form",
    { id: "new-key", class: "controls", "data-say-label": "keys.new", onsubmit: (event) => this.#submit(event) },
    control("keys.caller", this.#caller),
    control("keys.group", this.#group),
    control("keys.days", this.#days),
    control("keys.note", this.#note),
    element("button", { type: "submit", class: "primary-button", "data-say": "keys.make" }),
    this.#limits,
  );
  #looks = element("p", { class: "quiet", "data-say": "sign_in.looks.text" });
  #made = element("div", { id: "made" });
  #failure = element("div", { class: "failure-slot" });
  #find = textField("find-key", {
    type: "search",
    oninput: (event) => {
      if (!(event instanceof InputEvent && event.isComposing)) this.#soon(); // a word that is not finished yet is no name
    },
    oncompositionend: () => this.#soon(),
  });
  #state = element("select", { id: "key-state", class: "select boxed", onchange: () => this.#search() });
  #table = element("div", { id: "keys-table" });
  root = element(
    "section",
    {},
    this.#form,
    this.#looks,
    this.#made,
    this.#failure,
    element("div", { class: "controls search", role: "search" }, control("keys.find", this.#find, { class: "find" }), control("keys.state", this.#state)),
    this.#table,
  );
  /** @type {{data: Key[], rows: number} | null} */
  #keys = null;
  /** @type {{currency: string | null, data: Group[]}} */
  #groups = { currency: null, data: [] };
  /** @type {MadeKey | null} */
  #shown = null;
  #asking = new AbortController();
  #timer = 0;
  #limit = SOME;
  #making = false;

  /** @param {import("../view.js").Context} context */
  constructor({ api, words, announcer, attempt, session }) {
    this.#api = api;
    this.#words = words;
    this.#announcer = announcer;
    this.#attempt = attempt;
    this.#session = session;
    this.#state.append(...Object.entries(STATES).map(([value, label]) => element("option", { value, "data-say": label })));
  }

  /** @param {string[]} _path @param {URLSearchParams} parameters `find` and `state` */
  enter(_path, parameters) {
    const { mayChange } = this.#session();
    this.#form.hidden = !mayChange;
    this.#looks.hidden = mayChange;
    this.#find.value = parameters.get("find") ?? "";
    this.#state.value = parameters.get("state") ?? "";
    this.#limit = SOME;
    void this.load();
    if (mayChange) void this.#loadGroups();
  }

  leave() {
    this.#asking.abort();
    clearTimeout(this.#timer);
  }

  clear() {
    this.#keys = this.#shown = null;
    this.#groups = { currency: null, data: [] };
    this.#find.value = this.#state.value = "";
    this.#form.reset();
    this.#group.replaceChildren();
    this.#limits.replaceChildren();
    this.#made.replaceChildren();
    this.#table.replaceChildren();
  }

  load() {
    this.leave();
    this.#asking = new AbortController();
    const query = { find: this.#find.value.trim(), limit: String(this.#limit), ...(this.#state.value === "" ? {} : { state: this.#state.value }) };
    return this.#attempt(
      this.#failure,
      async () => {
        this.#keys = await this.#api.keys(query, this.#asking.signal);
        this.#drawTable();
      },
      () => void this.load(),
    );
  }

  #soon() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#search(), PAUSE);
  }

  /** The address follows without an entry in the history for each letter. */
  #search() {
    const [find, state] = [this.#find.value.trim(), this.#state.value];
    history.replaceState(history.state, "", writeAddress("keys", [], { ...(find !== "" && { find }), ...(state !== "" && { state }) }));
    this.#limit = SOME;
    void this.load();
  }

  #loadGroups() {
    return this.#attempt(this.#failure, async () => {
      this.#groups = await this.#api.groups(this.#asking.signal);
      this.#drawGroups();
    });
  }

  redraw() {
    this.#drawGroups();
    this.#drawMade();
    this.#drawTable();
  }

  #drawGroups() {
    const chosen = this.#group.value;
    const names = this.#groups.data.map(({ group }) => group).filter((name) => name !== EVERYBODY);
    this.#group.replaceChildren(element("option", { value: "" }, this.#words.say("keys.group.none")), ...names.map((name) => element("option", { value: name }, name)));
    this.#group.value = names.includes(chosen) ? chosen : "";
    this.#drawLimits();
  }

  /** Says what the chosen group gives a caller; without one it is what everybody has. */
  #drawLimits() {
    const words = this.#words;
    const group = this.#groups.data.find(({ group }) => group === (this.#group.value || EVERYBODY));
    const list = (/** @type {import("../api.js").Limit[]} */ limits) =>
      new Intl.ListFormat(words.language, { type: "unit" }).format(limits.map(({ limit, most }) => this.#sayLimit(limit, most)));
    const parts = [
      group !== undefined && group.limits.length > 0 && words.say("keys.limits.each", { limits: list(group.limits) }),
      group !== undefined && group.total.length > 0 && words.say("keys.limits.total", { limits: list(group.total) }),
    ].filter(Boolean);
    this.#limits.textContent = group === undefined ? "" : parts.join(" ") || words.say("keys.limits.none");
  }

  /** @param {string} limit @param {number} most */
  #sayLimit(limit, most) {
    const words = this.#words;
    const money = limit === "money_per_month" ? `${words.number(most, 2)} ${this.#groups.currency ?? ""}`.trim() : words.number(most);
    return words.say(`keys.limit.${limit}`, { most: money });
  }

  #drawTable() {
    if (this.#keys === null) return;
    const words = this.#words;
    const { data: shown, rows } = this.#keys;
    if (rows === 0) {
      const searched = this.#find.value.trim() !== "" || this.#state.value !== "";
      this.#table.replaceChildren(element("p", { class: "nothing" }, words.say(searched ? "keys.none.found" : "keys.none")));
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
        { head: words.say("keys.created"), cell: ({ created }) => element("time", { datetime: created, title: moment(created) }, created.slice(0, 10)) },
        { head: words.say("keys.expires"), cell: ({ expires, revoked }) => moment(revoked ?? expires).replace(" UTC", "") },
        { head: words.say("keys.note"), class: "name", cell: ({ note }) => text(note) },
        ...(this.#session().mayChange ? [{ head: words.say("keys.actions"), class: "actions", cell: (/** @type {Key} */ key) => this.#actions(key) }] : []),
      ],
      shown,
    );
    const rest = rows > shown.length;
    const note = words.say(rest ? "keys.cut" : "keys.count", { shown: words.number(shown.length), rows: words.number(rows) });
    const more = element("p", {}, element("button", { type: "button", class: "outline-button", onclick: () => void this.#more() }, words.say("rows.more")));
    this.#table.replaceChildren(table, element("p", { class: "quiet" }, note), ...(rest && this.#limit < MOST ? [more] : []));
  }

  async #more() {
    const before = this.#keys?.data.length ?? 0;
    this.#limit = Math.min(2 * this.#limit, MOST);
    await this.load();
    const row = this.#table.querySelectorAll("tbody tr")[before];
    row?.setAttribute("tabindex", "-1");
    row?.focus();
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

  /** @param {Event} event */
  #submit(event) {
    event.preventDefault();
    void this.#create();
  }

  /** One at a time: of two keys that a double click makes, only the second would be shown. */
  async #create() {
    if (this.#making) return;
    this.#making = true;
    const value = (/** @type {HTMLInputElement | HTMLSelectElement} */ field) => field.value.trim() || null;
    const days = this.#days.value;
    const expires = days === "" ? null : new Date(Date.now() + Number(days) * DAY).toISOString();
    const wanted = { caller: value(this.#caller) ?? "", group: value(this.#group), expires, note: value(this.#note) };
    try {
      await this.#attempt(this.#failure, async () => {
        this.#show(await this.#api.create(wanted));
        this.#form.reset();
        this.#drawLimits();
      });
    } finally {
      this.#making = false;
    }
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
        element("h2", { id: "made-heading" }, words.say("keys.made", { caller: made.caller })),
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
    this.#caller.focus();
  }
}

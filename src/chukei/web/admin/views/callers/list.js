/**
 * Callers as the relay finds them, those with most tokens first, and the groups of the configuration.
 */

import { element } from "../../../dom.js";
import { writeAddress } from "../../address.js";
import { money, moment, percent } from "../../figures.js";
import { choice, control, redrawKept, textField } from "../../form.js";
import { limitsForm, renderLimits } from "../../limits.js";
import { renderName } from "../../sums.js";
import { renderTable } from "../../table.js";

/** @typedef {import("../../api.js").Callers} Callers */
/** @typedef {import("../../api.js").CallerRow} CallerRow */
/** @typedef {import("../../api.js").Group} Group */

export const SPANS = ["24h", "7d", "30d", "90d"];

/** How many callers are shown at first, and how many more each time; the relay sends at most a thousand. */
const SOME = 50;
const MOST = 1000;

/** Milliseconds without another letter after which the relay is asked. */
const PAUSE = 250;

export class CallerList {
  #api;
  #words;
  #announcer;
  #attempt;
  #session;
  #find = textField("find-caller", { type: "search" });
  #since = choice("callers-since", Object.fromEntries(SPANS.map((span) => [span, `usage.range.${span}`])), "7d");
  #failure = element("div", { class: "failure-slot" });
  #place = element("div", { id: "callers-table", "aria-busy": "true" });
  #groupsPlace = element("div", { id: "groups", class: "groups" });
  #groupsFailure = element("div", { class: "failure-slot" });
  root = element(
    "section",
    {},
    element(
      "form",
      { class: "controls", role: "search", "data-say-label": "callers.search", onsubmit: (event) => this.#submit(event) },
      control("callers.find", this.#find, { class: "find-control" }),
      control("usage.range", this.#since),
    ),
    this.#failure,
    this.#place,
    element("h2", { "data-say": "groups.heading" }),
    element("p", { class: "quiet", "data-say": "groups.note" }),
    this.#groupsFailure,
    this.#groupsPlace,
  );
  /** @type {Callers | null} */
  #found = null;
  /** @type {{currency: string | null, data: Group[]} | null} */
  #groups = null;
  /** The group whose limits are being changed. @type {string | null} */
  #changing = null;
  #limit = SOME;
  #loading = new AbortController();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /** @param {import("../../view.js").Context} context */
  constructor({ api, words, announcer, attempt, session }) {
    this.#api = api;
    this.#words = words;
    this.#announcer = announcer;
    this.#attempt = attempt;
    this.#session = session;
    this.#find.addEventListener("input", (event) => {
      if (!(event instanceof InputEvent && event.isComposing)) this.#searchSoon(); // a word that is not finished yet is no name
    });
    this.#find.addEventListener("compositionend", () => this.#searchSoon());
    this.#since.addEventListener("change", () => this.#search());
  }

  /** @param {URLSearchParams} parameters */
  enter(parameters) {
    this.#find.value = parameters.get("find") ?? "";
    this.#since.value = parameters.get("since") ?? "7d";
    this.#limit = SOME;
    this.#loading = new AbortController();
    void this.#load();
    void this.#loadGroups();
  }

  leave() {
    clearTimeout(this.#timer);
    this.#loading.abort();
  }

  clear() {
    this.#found = this.#groups = this.#changing = null;
    this.#find.value = "";
    this.#place.replaceChildren();
    this.#groupsPlace.replaceChildren();
  }

  redraw() {
    this.#drawCallers();
    this.#drawGroups();
  }

  /** @param {Event} event */
  #submit(event) {
    event.preventDefault();
    this.#search();
  }

  #searchSoon() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#search(), PAUSE);
  }

  /** The address follows without an entry in the history for each letter. */
  #search() {
    clearTimeout(this.#timer);
    const find = this.#find.value.trim();
    history.replaceState(history.state, "", writeAddress("callers", [], { ...(find !== "" && { find }), since: this.#since.value }));
    this.#limit = SOME;
    void this.#load();
  }

  async #load() {
    const query = { find: this.#find.value.trim(), since: this.#since.value, limit: String(this.#limit) };
    const { signal } = this.#loading;
    this.#place.setAttribute("aria-busy", "true");
    await this.#attempt(
      this.#failure,
      async () => {
        const found = await this.#api.callers(query, signal);
        if (query.find !== this.#find.value.trim() || query.since !== this.#since.value) return; // there is a later wish
        this.#found = found;
        this.#drawCallers();
        this.#announcer.say(this.#words.say("callers.found", { rows: this.#words.number(found.rows) }));
      },
      () => void this.#load(),
    );
    if (!signal.aborted) this.#place.removeAttribute("aria-busy");
  }

  #drawCallers() {
    const found = this.#found;
    if (found === null) return;
    const words = this.#words;
    if (found.rows === 0) {
      this.#place.replaceChildren(element("p", { class: "nothing" }, words.say("callers.none")));
      return;
    }
    const since = { since: this.#since.value, measure: "requests" };
    const table = renderTable(
      words.say("view.callers"),
      [
        { head: words.say("by.caller"), name: true, class: "name", cell: ({ caller }) => renderName(words, "caller", caller) },
        { head: words.say("callers.groups"), class: "name", cell: ({ groups }) => (groups.length > 0 ? element("bdi", {}, groups.join(", ")) : "–") },
        { head: words.say("figure.requests"), number: true, cell: ({ requests }) => words.number(requests) },
        ...["refused", "failed"].map((outcome) => ({
          head: words.say(`figure.${outcome}`),
          number: true,
          cell: (/** @type {any} */ row) => renderShare(words, row, outcome, writeAddress("usage", [], { ...since, outcome, only: `caller:${row.caller}` })),
        })),
        { head: words.say("usage.tokens"), number: true, cell: ({ input, output }) => words.number(input + output) },
        { head: words.say("figure.cost"), number: true, cell: ({ cost }) => money(words, cost, found.currency) },
        { head: words.say("callers.seen"), class: "when", cell: (/** @type {CallerRow} */ { last_seen: time }) => moment(time) },
      ],
      found.data,
    );
    const shown = { shown: words.number(found.data.length), rows: words.number(found.rows) };
    const rest = found.rows > found.data.length;
    const more = rest && this.#limit < MOST;
    this.#place.replaceChildren(
      table,
      element("p", { class: "quiet" }, words.say(rest && !more ? "callers.cut" : "callers.shown", shown)),
      ...(more ? [element("p", {}, element("button", { type: "button", class: "outline-button", onclick: () => void this.#more() }, words.say("rows.more")))] : []),
    );
  }

  async #more() {
    const before = this.#found?.data.length ?? 0;
    this.#limit = Math.min(2 * this.#limit, MOST);
    await this.#load();
    this.#place.querySelectorAll("tbody th a")[before]?.focus();
  }

  async #loadGroups() {
    const { signal } = this.#loading;
    await this.#attempt(
      this.#groupsFailure,
      async () => {
        this.#groups = await this.#api.groups(signal);
        this.#drawGroups();
      },
      () => void this.#loadGroups(),
    );
  }

  #drawGroups() {
    const groups = this.#groups;
    if (groups === null) return;
    redrawKept(this.#groupsPlace, () => this.#groupsPlace.replaceChildren(...groups.data.map((group) => this.#groupCard(group, groups.currency))));
  }

  /** @param {Group} group @param {string | null} currency */
  #groupCard(group, currency) {
    const words = this.#words;
    const name = group.group === "everybody" ? words.say("groups.everybody") : group.group;
    if (this.#changing === group.group) {
      return limitsForm(words, { ...group, name, currency, onSave: (change) => void this.#save(group, change), onCancel: () => this.#close(group) });
    }
    const of = (/** @type {"limits" | "total"} */ part) => {
      const heading = words.say(`limits.${part}`);
      const limits = group[part].map((each) => ({ ...each, subject: undefined })); // the heading says whose they are
      const shown = limits.length > 0 ? renderLimits(words, `${name}: ${heading}`, limits, currency) : element("p", { class: "quiet" }, words.say("limits.none"));
      return [element("h3", {}, heading), shown];
    };
    const usage = group.group !== "everybody" && writeAddress("usage", [], { only: `group:${group.group}` });
    return element(
      "article",
      { class: "card", "data-group": group.group, "aria-label": name },
      element("h2", {}, element("bdi", {}, name)),
      ...of("limits"),
      ...of("total"),
      element(
        "div",
        { class: "buttons" },
        this.#session().mayChange && element("button", { type: "button", class: "outline-button", onclick: () => this.#change(group) }, words.say("limits.change")),
        usage && element("a", { href: usage, class: "text-link" }, words.say("callers.usage")),
      ),
    );
  }

  /** @param {Group} group */
  #change(group) {
    this.#changing = group.group;
    this.#drawGroups();
    this.#groupsPlace.querySelector("input")?.focus();
  }

  /** @param {Group} group */
  #close(group) {
    this.#changing = null;
    this.#drawGroups();
    const card = [...this.#groupsPlace.querySelectorAll("article")].find((each) => each.dataset.group === group.group);
    card?.querySelector("button")?.focus();
  }

  /** @param {Group} group @param {import("../../api.js").RuleChange} change */
  async #save(group, change) {
    const place = /** @type {HTMLElement} */ (this.#groupsPlace.querySelector(".failure-slot"));
    await this.#attempt(place, async () => {
      await this.#api.changeRules(change);
      this.#groups = await this.#api.groups(this.#loading.signal);
      this.#close(group);
      this.#announcer.say(this.#words.say("limits.saved"));
    });
  }
}

/** @param {import("../../../i18n.js").Words} words @param {any} row @param {string} outcome @param {string} address */
function renderShare(words, row, outcome, address) {
  const count = row[outcome];
  if (count === 0) return words.number(0);
  return element("a", { href: address }, words.say("callers.share", { count: words.number(count), share: percent(words, count, row.requests) }));
}

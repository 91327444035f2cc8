/**
 * One caller: its limits and what is left of them, what it used, why it was refused, its keys.
 */

import { element } from "../../../dom.js";
import { writeAddress } from "../../address.js";
import { moment, total } from "../../figures.js";
import { redrawKept } from "../../form.js";
import { limitsForm, renderLimits, renderSource } from "../../limits.js";
import { renderName, renderTotals } from "../../sums.js";
import { renderTable } from "../../table.js";

/** @typedef {import("../../api.js").Caller} Caller */
/** @typedef {import("../../api.js").Membership} Membership */
/** @typedef {import("../../api.js").Usage} Usage */

const SINCE = "30d";
const MOST_CODES = 100;

export class CallerPage {
  #api;
  #words;
  #announcer;
  #attempt;
  #session;
  #failure = element("div", { class: "failure-slot" });
  #place = element("div", { id: "caller", class: "report", "aria-busy": "true" });
  root = element("section", {}, element("p", {}, element("a", { href: writeAddress("callers"), "data-say": "caller.back" })), this.#failure, this.#place);
  /** @type {Caller | null} */
  #caller = null;
  /** @type {Usage | null} */
  #codes = null;
  #changing = false;
  /** Those of the configuration, once somebody changes limits. @type {string[]} */
  #groups = [];
  #loading = new AbortController();

  /** @param {import("../../view.js").Context} context */
  constructor({ api, words, announcer, attempt, session }) {
    this.#api = api;
    this.#words = words;
    this.#announcer = announcer;
    this.#attempt = attempt;
    this.#session = session;
  }

  /** @param {string} name */
  enter(name) {
    this.#loading = new AbortController();
    if (this.#caller?.caller !== name) this.clear();
    void this.#load(name);
  }

  leave() {
    this.#loading.abort();
  }

  clear() {
    this.#caller = this.#codes = null;
    this.#changing = false;
    this.#place.replaceChildren();
  }

  /** @param {string} name */
  async #load(name) {
    const { signal } = this.#loading;
    this.#place.setAttribute("aria-busy", "true");
    await this.#attempt(
      this.#failure,
      async () => {
        [this.#caller, this.#codes] = await Promise.all([
          this.#api.caller(name, signal),
          this.#api.usage({ by: "code", caller: name, since: SINCE, limit: String(MOST_CODES) }, signal),
        ]);
        this.redraw();
      },
      () => void this.#load(name),
    );
    if (!signal.aborted) this.#place.removeAttribute("aria-busy");
  }

  redraw() {
    const [caller, codes] = [this.#caller, this.#codes];
    if (caller === null || codes === null) return;
    redrawKept(this.#place, () => this.#place.replaceChildren(this.#limits(caller), this.#usage(caller, codes), this.#causes(codes), this.#keys(caller)));
  }

  /** @param {Caller} caller */
  #limits(caller) {
    const words = this.#words;
    if (this.#changing) {
      const own = caller.memberships.flatMap(({ limits }) => limits.filter(({ subject }) => subject?.startsWith("caller:")));
      const options = { name: caller.caller, rule: caller.rule, limits: own, total: null, groups: this.#groups, currency: caller.currency };
      return limitsForm(words, { ...options, onSave: (change) => void this.#save(change), onCancel: () => this.#close() });
    }
    return element(
      "section",
      { class: "card", "data-part": "limits", "aria-labelledby": "limits-heading" },
      element("h2", { id: "limits-heading" }, words.say("caller.limits")),
      ...caller.memberships.flatMap((each) => this.#membership(each, caller)),
      element(
        "div",
        { class: "buttons" },
        this.#session().mayChange && element("button", { type: "button", class: "outline-button", onclick: () => void this.#change() }, words.say("limits.change.caller")),
      ),
    );
  }

  /** @param {Membership} membership @param {Caller} caller */
  #membership({ groups, sources, limits }, caller) {
    const words = this.#words;
    const names = groups.length > 0 ? words.say("caller.groups", { groups: new Intl.ListFormat(words.language).format(groups) }) : words.say("caller.no-group");
    const from = sources.map((source) => this.#source(source));
    const table = limits.length > 0 ? renderLimits(words, `${words.say("caller.limits")}: ${names}`, limits, caller.currency) : element("p", { class: "quiet" }, words.say("limits.none"));
    return [element("h3", {}, element("bdi", {}, names)), from.length > 0 && element("p", { class: "quiet sources" }, ...from), table].filter((each) => each !== false);
  }

  /** @param {string} source */
  #source(source) {
    const words = this.#words;
    if (source === "last request") return element("span", {}, words.say("source.last-request"));
    if (source.startsWith("key ")) return element("span", {}, `${words.say("source.key")} `, element("code", {}, source.slice(4)));
    return renderSource(words, source);
  }

  /** @param {Caller} caller @param {Usage} codes */
  #usage(caller, codes) {
    const words = this.#words;
    const address = (/** @type {Record<string, string>} */ others) => writeAddress("usage", [], { since: SINCE, only: `caller:${caller.caller}`, ...others });
    return element(
      "section",
      { "data-part": "usage", "aria-labelledby": "caller-usage-heading" },
      element("h2", { id: "caller-usage-heading" }, words.say("caller.usage")),
      renderTotals(words, total(codes.data), codes.currency, (outcome) => address({ outcome, measure: "requests" })),
      element("p", { class: "quiet after" }, words.say("caller.seen", { time: moment(caller.last_seen) }), " ", element("a", { href: address({}) }, words.say("callers.usage"))),
    );
  }

  /** @param {Usage} codes */
  #causes(codes) {
    const words = this.#words;
    const rows = codes.data.filter(({ refused, failed }) => refused + failed > 0).toSorted((a, b) => b.refused + b.failed - a.refused - a.failed);
    const title = words.say("caller.causes");
    const columns = [
      { head: words.say("by.code"), name: true, class: "name", cell: (/** @type {any} */ { code }) => renderName(words, "code", code) },
      ...["refused", "failed"].map((outcome) => ({ head: words.say(`figure.${outcome}`), number: true, cell: (/** @type {any} */ row) => words.number(row[outcome]) })),
    ];
    return element(
      "section",
      { class: "card", "data-part": "causes", "aria-labelledby": "caller-causes-heading" },
      element("h2", { id: "caller-causes-heading" }, title),
      rows.length > 0 ? renderTable(title, columns, rows) : element("p", { class: "quiet" }, words.say("caller.no-causes")),
    );
  }

  /** @param {Caller} caller */
  #keys({ caller, keys }) {
    const words = this.#words;
    const table = () =>
      renderTable(
        words.say("view.keys"),
        [
          { head: words.say("keys.id"), name: true, class: "code-cell", cell: ({ id }) => element("code", {}, id) },
          { head: words.say("by.group"), class: "name", cell: ({ group }) => renderName(words, "group", group) },
          { head: words.say("keys.state"), cell: ({ state }) => element("span", { class: `state state-${state}` }, words.say(`keys.state.${state}`)) },
          { head: words.say("keys.expires"), class: "when", cell: ({ expires }) => moment(expires) },
        ],
        keys,
      );
    return element(
      "section",
      { class: "card", "data-part": "keys", "aria-labelledby": "caller-keys-heading" },
      element("h2", { id: "caller-keys-heading" }, words.say("view.keys")),
      keys.length > 0 ? table() : element("p", { class: "quiet" }, words.say("caller.no-keys")),
      keys.length > 0 && element("p", { class: "after" }, element("a", { href: writeAddress("keys", [], { find: caller }) }, words.say("caller.keys"))),
    );
  }

  async #change() {
    await this.#attempt(this.#failure, async () => {
      const { data } = await this.#api.groups(this.#loading.signal);
      this.#groups = data.map(({ group }) => group).filter((group) => group !== "everybody");
      this.#changing = true;
      this.redraw();
      this.#place.querySelector("input")?.focus();
    });
  }

  #close() {
    this.#changing = false;
    this.redraw();
    this.#place.querySelector("button")?.focus();
  }

  /** @param {import("../../api.js").RuleChange} change */
  async #save(change) {
    const place = /** @type {HTMLElement} */ (this.#place.querySelector(".failure-slot"));
    const name = change.subject.slice("caller:".length);
    await this.#attempt(place, async () => {
      await this.#api.changeRules(change);
      this.#caller = await this.#api.caller(name, this.#loading.signal);
      this.#close();
      this.#announcer.say(this.#words.say("limits.saved"));
    });
  }
}

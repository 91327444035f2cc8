/**
 * How the relay that answers is doing: its deployments, and the writing of its ledger.
 */

import { byId, element } from "../dom.js";
import { moment } from "./figures.js";
import { renderTable } from "./table.js";

/** @typedef {import("../i18n.js").Words} Words */

export class Deployments {
  #words;
  #place = byId("deployments", HTMLElement);
  /** @type {Record<string, any[]> | null} */
  #models = null;

  /** @param {Words} words */
  constructor(words) {
    this.#words = words;
  }

  clear() {
    this.#models = null;
    this.#place.replaceChildren();
  }

  /** @param {{models: Record<string, any[]>}} found */
  show({ models }) {
    this.#models = models;
    this.draw();
  }

  draw() {
    if (this.#models === null) return;
    const words = this.#words;
    const rows = Object.entries(this.#models).flatMap(([model, found]) => found.map((each) => ({ model, ...each })));
    if (rows.length === 0) {
      this.#place.replaceChildren(element("p", { class: "nothing" }, words.say("deployments.none")));
      return;
    }
    const seconds = (/** @type {number | null} */ value) => (value === null ? "–" : words.number(value, 2));
    const table = renderTable(
      words.say("deployments"),
      [
        { head: words.say("by.model"), name: true, class: "name", cell: ({ model }) => element("bdi", {}, model) },
        { head: words.say("by.deployment"), class: "name", cell: ({ deployment }) => element("bdi", {}, deployment) },
        { head: words.say("deployments.status"), cell: (row) => this.#status(row) },
        { head: words.say("deployments.priority"), number: true, cell: ({ priority, weight }) => `${words.number(priority)} / ${words.number(weight)}` },
        { head: words.say("deployments.outstanding"), number: true, cell: ({ outstanding }) => words.number(outstanding) },
        { head: words.say("deployments.answered"), number: true, cell: ({ answered }) => words.number(answered) },
        { head: words.say("figure.failed"), number: true, cell: ({ failed }) => words.number(failed) },
        { head: words.say("deployments.error"), cell: ({ last_error: error }) => error ?? "–" },
        { head: words.say("deployments.p50"), number: true, cell: ({ first_token_p50: value }) => seconds(value) },
        { head: words.say("deployments.p95"), number: true, cell: ({ first_token_p95: value }) => seconds(value) },
      ],
      rows,
    );
    this.#place.replaceChildren(element("h3", {}, words.say("deployments")), table);
  }

  /** @param {any} row */
  #status({ status, seconds, why }) {
    const words = this.#words;
    const known = words.has(`status.${status}`) ? words.say(`status.${status}`) : String(status);
    const rest = seconds > 0 ? words.say("deployments.for", { seconds: words.number(Math.ceil(seconds)), why: why ?? "–" }) : "";
    return element("span", {}, element("span", { class: `state status-${status}` }, known), rest === "" ? "" : ` ${rest}`);
  }
}

export class Ledger {
  #words;
  #place = byId("ledger", HTMLElement);
  /** @type {Record<string, any> | null} */
  #state = null;

  /** @param {Words} words */
  constructor(words) {
    this.#words = words;
  }

  clear() {
    this.#state = null;
    this.#place.replaceChildren();
  }

  /** @param {Record<string, any>} state */
  show(state) {
    this.#state = state;
    this.draw();
  }

  draw() {
    const state = this.#state;
    if (state === null) return;
    const words = this.#words;
    const status = words.has(`ledger.${state.status}`) ? words.say(`ledger.${state.status}`) : String(state.status);
    const list = element("dl", { class: "facts" });
    const fact = (/** @type {string} */ name, /** @type {string} */ value) =>
      list.append(element("div", {}, element("dt", {}, words.say(name)), element("dd", {}, value)));
    fact("ledger.status", status);
    if (state.waiting !== undefined) {
      fact("ledger.waiting", words.number(state.waiting));
      fact("ledger.spooled", words.number(state.spooled));
      fact("ledger.lost", words.number(state.lost));
      fact("ledger.written", moment(state.last_written));
    }
    if (state.last_error) fact("ledger.error", String(state.last_error));
    this.#place.replaceChildren(element("h3", {}, words.say("ledger")), list);
  }
}

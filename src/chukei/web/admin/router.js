/**
 * Shows the view that the address names, its heading, and the way to the others.
 */

import { element } from "../dom.js";
import { sayAll } from "../i18n.js";
import { parseAddress, understood, writeAddress } from "./address.js";

/** @typedef {import("./view.js").View} View */

/** How much is repeated of what an address says and nobody understands: parts, and letters of each. */
const MOST_PARTS = 5;
const MOST_LETTERS = 60;

export class Router {
  #table;
  #context;
  #nav;
  #heading;
  #place;
  #links;
  #note = element("p", { class: "address-note", role: "status" });
  /** What the address said and nobody understood. @type {string[]} */
  #wrong = [];
  /** @type {Map<string, View>} those that were shown already */
  #views = new Map();
  /** @type {{name: string, path: string[]} | null} what is shown; null while the console is locked */
  #shown = null;

  /**
   * @param {[string, import("./view.js").ViewKind][]} table
   * @param {import("./view.js").Context} context
   * @param {{nav: HTMLElement, heading: HTMLElement, place: HTMLElement}} places
   */
  constructor(table, context, { nav, heading, place }) {
    this.#table = new Map(table);
    this.#context = context;
    this.#nav = nav;
    this.#heading = heading;
    this.#place = place;
    this.#links = new Map(table.map(([name]) => [name, element("a", { href: writeAddress(name), "data-say": `view.${name}` })]));
    place.before(this.#note);
    nav.append(element("ul", {}, ...[...this.#links.values()].map((link) => element("li", {}, link))));
    window.addEventListener("hashchange", () => {
      if (this.#shown !== null) this.open();
    });
  }

  /** Shows what the address names. What is wrong with the address is left out of it, and said. */
  open() {
    const asked = parseAddress(location.hash);
    const [first] = this.#table.keys();
    const { name, path, parameters } = this.#table.has(asked.name) ? asked : parseAddress(writeAddress(first));
    const { right, wrong } = understood(parameters, this.#table.get(name)?.parameters ?? {});
    this.#wrong = name === asked.name || asked.name === "" ? wrong : [`#/${asked.name}`];
    if (name !== asked.name || wrong.length > 0) history.replaceState(history.state, "", writeAddress(name, path, right));
    const before = this.#shown;
    if (before !== null && before.name !== name) this.#views.get(before.name)?.leave();
    this.#shown = { name, path };
    const view = this.#view(name);
    for (const [each, { root }] of this.#views) root.hidden = each !== name;
    view.enter(path, new URLSearchParams(right));
    this.#say();
    if (before?.name === name && before.path.join("/") === path.join("/")) return;
    for (const [each, link] of this.#links) {
      if (each === name) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    this.#links.get(name)?.scrollIntoView({ block: "nearest", inline: "nearest" });
    window.scrollTo(0, 0);
    this.#heading.focus({ preventScroll: true });
  }

  /** Ends and empties every view. */
  close() {
    if (this.#shown !== null) this.#views.get(this.#shown.name)?.leave();
    this.#shown = null;
    this.#note.textContent = "";
    for (const view of this.#views.values()) view.clear();
  }

  /** Says everything in the language of now. */
  redraw() {
    for (const view of this.#views.values()) view.redraw();
    this.#say();
  }

  /** @param {string} name */
  #view(name) {
    const known = this.#views.get(name);
    if (known !== undefined) return known;
    const kind = /** @type {import("./view.js").ViewKind} */ (this.#table.get(name));
    const made = new kind(this.#context);
    this.#views.set(name, made);
    this.#place.append(made.root);
    sayAll(made.root, this.#context.words);
    return made;
  }

  #say() {
    if (this.#shown === null) return;
    const { name } = this.#shown;
    const words = this.#context.words;
    const parts = this.#wrong.slice(0, MOST_PARTS).map((part) => (part.length > MOST_LETTERS ? `${part.slice(0, MOST_LETTERS)}…` : part));
    this.#note.textContent = parts.length === 0 ? "" : words.say("address.wrong", { parts: parts.join(", ") });
    const own = this.#views.get(name)?.heading?.() ?? null;
    this.#heading.replaceChildren(own === null ? words.say(`view.${name}`) : element("bdi", {}, own));
    document.title = words.say("page.title.view", { view: this.#heading.textContent });
  }
}

/**
 * Callers and groups: a search, and a page for each caller. `#/callers?find=…&since=…`, `#/callers/NAME`.
 */

import { element } from "../../../dom.js";
import { ANY } from "../../address.js";
import { CallerList, SPANS } from "./list.js";
import { CallerPage } from "./page.js";

/** @typedef {import("../../view.js").View} View */

/** @implements {View} */
export class CallersView {
  /** @type {import("../../address.js").Known} */
  static parameters = { find: ANY, since: (value) => SPANS.includes(value) };
  #list;
  #page;
  #name = "";
  root;

  /** @param {import("../../view.js").Context} context */
  constructor(context) {
    this.#list = new CallerList(context);
    this.#page = new CallerPage(context);
    this.root = element("div", {}, this.#list.root, this.#page.root);
  }

  /** @param {string[]} path @param {URLSearchParams} parameters */
  enter(path, parameters) {
    this.leave();
    this.#name = path.join("/");
    this.#list.root.hidden = this.#name !== "";
    this.#page.root.hidden = this.#name === "";
    if (this.#name === "") this.#list.enter(parameters);
    else this.#page.enter(this.#name);
  }

  leave() {
    this.#list.leave();
    this.#page.leave();
  }

  redraw() {
    this.#list.redraw();
    this.#page.redraw();
  }

  clear() {
    this.#name = "";
    this.#list.clear();
    this.#page.clear();
  }

  heading() {
    return this.#name === "" ? null : this.#name;
  }
}

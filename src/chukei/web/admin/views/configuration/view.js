/**
 * The configuration as it is in force, where each value comes from, and the button that reads it again.
 */

import { element } from "../../../dom.js";
import { ANY, writeAddress } from "../../address.js";
import { control, textField } from "../../form.js";
import { renderTable } from "../../table.js";
import { flattened, found } from "./settings.js";

/** @typedef {import("./settings.js").Setting} Setting */

/** What the relay sends in place of a secret. */
const MASK = "set";

/** How many settings are shown; the others can be searched. */
const MOST_ROWS = 400;

/** @implements {import("../../view.js").View} */
export class ConfigurationView {
  /** @type {import("../../address.js").Known} */
  static parameters = { find: ANY };
  #context;
  #failure = element("div", { class: "failure-slot" });
  #facts = element("dl", { class: "details" });
  #notices = element("div");
  #reload = element("button", { id: "reload", type: "button", class: "outline-button", "data-say": "config.reload", onclick: () => void this.#readAgain() });
  #outcome = element("div", { id: "outcome" });
  #find = textField("find-setting", { type: "search", oninput: () => this.#search() });
  #all = element("input", { id: "all-settings", type: "checkbox", onchange: () => this.#drawTables() });
  #tables = element("div", { id: "settings" });
  root;
  /** @type {Record<string, any> | null} */
  #shown = null;
  /** @type {Setting[]} */
  #settings = [];
  /** @type {Record<string, any> | null} what the last reload has changed */
  #changes = null;

  /** @param {import("../../view.js").Context} context */
  constructor(context) {
    this.#context = context;
    this.root = element(
      "section",
      {},
      element("div", { class: "view-head" }, element("p", { class: "quiet", "data-say": "config.note" }), this.#reload),
      this.#failure,
      this.#outcome,
      this.#facts,
      this.#notices,
      element(
        "div",
        { class: "controls find" },
        control("config.find", this.#find),
        element("label", { class: "check" }, this.#all, element("span", { "data-say": "config.all" })),
      ),
      this.#tables,
    );
  }

  /** @param {string[]} _path @param {URLSearchParams} parameters */
  enter(_path, parameters) {
    this.#find.value = parameters.get("find") ?? "";
    this.#reload.hidden = !this.#context.session().mayChange;
    void this.#load();
  }

  leave() {}

  clear() {
    this.#shown = this.#changes = null;
    this.#settings = [];
    this.#find.value = "";
    this.#all.checked = false;
    for (const place of [this.#failure, this.#facts, this.#notices, this.#outcome, this.#tables]) place.replaceChildren();
  }

  redraw() {
    this.#drawHead();
    this.#drawOutcome();
    this.#drawTables();
  }

  #load() {
    const { api, attempt } = this.#context;
    return attempt(
      this.#failure,
      async () => {
        this.#shown = await api.configuration();
        this.#settings = flattened(this.#shown);
        this.#drawHead();
        this.#drawTables();
      },
      () => void this.#load(),
    );
  }

  async #readAgain() {
    const { api, attempt, announcer, words } = this.#context;
    this.#changes = null;
    this.#outcome.replaceChildren();
    this.#reload.disabled = true;
    const well = await attempt(this.#failure, async () => {
      this.#changes = await api.reload();
    });
    this.#reload.disabled = false;
    if (!well) return;
    this.#drawOutcome();
    announcer.say(words.say("config.reloaded"));
    await this.#load();
  }

  #search() {
    const find = this.#find.value.trim();
    history.replaceState(history.state, "", writeAddress("configuration", [], find === "" ? {} : { find }));
    this.#drawTables();
  }

  #drawHead() {
    if (this.#shown === null) return;
    const words = this.#context.words;
    const { version, path, files, notices, simulated } = this.#shown;
    const fact = (/** @type {string} */ name, /** @type {Node | string} */ value) => element("div", {}, element("dt", {}, words.say(name)), element("dd", {}, value));
    const others = files.filter((/** @type {string} */ each) => each !== path);
    this.#facts.replaceChildren(
      fact("config.version", element("code", {}, version)),
      fact("config.path", path === null ? words.say("config.path.none") : element("bdi", {}, path)),
      fact("config.files", others.length === 0 ? "–" : element("span", {}, ...others.map((/** @type {string} */ each) => element("bdi", { class: "line" }, each)))),
    );
    const lines = [...(simulated ? [words.say("config.simulated")] : []), ...notices];
    this.#notices.replaceChildren(
      ...(lines.length === 0 ? [] : [element("h2", {}, words.say("config.notices")), element("ul", { class: "notes" }, ...lines.map((line) => element("li", {}, line)))]),
    );
  }

  #drawOutcome() {
    if (this.#changes === null) return;
    const words = this.#context.words;
    const changes = this.#changes;
    const kinds = ["changed", "added", "removed", "files", "restart"].filter((kind) => changes[kind].length > 0);
    const rows = kinds.map((kind) => element("div", {}, element("dt", {}, words.say(`config.outcome.${kind}`)), element("dd", {}, list(changes[kind]))));
    this.#outcome.replaceChildren(
      element(
        "div",
        { class: "card outcome" },
        element("p", {}, words.say(rows.length === 0 ? "config.outcome.nothing" : "config.reloaded")),
        rows.length > 0 && element("dl", {}, ...rows),
      ),
    );
  }

  #drawTables() {
    if (this.#shown === null) return;
    const words = this.#context.words;
    const wanted = found(this.#settings, this.#find.value, this.#all.checked || this.#find.value.trim() !== "");
    const rows = wanted.slice(0, MOST_ROWS);
    const sections = Map.groupBy(rows, ({ path }) => path[0]);
    const counts = { shown: words.number(rows.length), rows: words.number(wanted.length) };
    this.#tables.replaceChildren(
      ...[...sections].flatMap(([section, settings]) => [element("h2", {}, element("bdi", {}, section)), this.#table(section, settings)]),
      element("p", { class: "quiet" }, words.say(rows.length < wanted.length ? "config.cut" : "config.count", counts)),
    );
  }

  /** @param {string} section @param {Setting[]} rows */
  #table(section, rows) {
    const words = this.#context.words;
    const key = (/** @type {Setting} */ { path, restart }) =>
      element(
        "span",
        {},
        element("code", {}, element("bdi", {}, path.slice(1).join(".") || path[0])),
        restart && element("span", { class: "below" }, words.say("config.restart")),
      );
    return renderTable(
      words.say("config.section", { section }),
      [
        { head: words.say("config.key"), name: true, class: "name setting", cell: key },
        { head: words.say("config.value"), class: "name value", cell: ({ value }) => this.#value(value) },
        { head: words.say("config.place"), class: "name", cell: ({ place }) => this.#placed(place) },
      ],
      rows,
    );
  }

  /** @param {string | null} value */
  #value(value) {
    if (value === null || value === MASK) return element("span", { class: "quiet" }, this.#context.words.say(value === null ? "config.unset" : "config.secret"));
    return element("code", {}, element("bdi", {}, value));
  }

  /** @param {string | null} place */
  #placed(place) {
    if (place === null || place === this.#shown?.path) return element("span", { class: "quiet" }, this.#context.words.say(place === null ? "config.default" : "config.place.file"));
    return element("bdi", {}, place);
  }
}

/** @param {string[]} names */
function list(names) {
  return element("span", {}, ...names.map((name) => element("code", { class: "line" }, element("bdi", {}, name))));
}

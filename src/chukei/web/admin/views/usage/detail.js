/**
 * A table of sums by whatever the reader chooses, and the same as a file.
 */

import { element } from "../../../dom.js";
import { renderSums } from "../../sums.js";

/** @typedef {import("../../api.js").Usage} Usage */

/** How many rows are shown; the file has all. */
const MOST_ROWS = 200;

export const GROUPINGS = ["caller", "group", "model", "deployment", "day", "end-reason", "code"];
const FIRST = ["caller", "model"];

export class Detail {
  #api;
  #words;
  #announcer;
  #attempt;
  #onChoose;
  /** @type {Record<string, string>} what is asked, without what it is summed by */
  #query = {};
  #signal = new AbortController().signal;
  /** @type {Usage | null} */
  #found = null;
  #by = FIRST;
  #foundBy = "";
  #boxes = GROUPINGS.map((by) => element("input", { type: "checkbox", value: by, onchange: () => this.#choose() }));
  #failure = element("div", { class: "failure-slot" });
  #table = element("div", {});
  root = element(
    "section",
    { class: "card", "data-plot": "own", "aria-labelledby": "own-heading" },
    element("h2", { id: "own-heading" }),
    element("fieldset", { class: "groupings" }, element("legend"), ...this.#boxes.map((box) => element("label", { class: "check" }, box, element("span")))),
    this.#failure,
    this.#table,
    element("p", {}, element("button", { type: "button", class: "outline-button", onclick: () => void this.#download() })),
  );

  /**
   * @param {import("../../view.js").Context} context
   * @param {(by: string[]) => void} onChoose the reader wants other columns
   */
  constructor({ api, words, announcer, attempt }, onChoose) {
    this.#api = api;
    this.#words = words;
    this.#announcer = announcer;
    this.#attempt = attempt;
    this.#onChoose = onChoose;
  }

  get by() {
    return this.#by;
  }

  /** What to sum by: some of `GROUPINGS`, or nothing for what is usual. @param {string[]} wanted */
  set by(wanted) {
    this.#by = wanted.length > 0 ? GROUPINGS.filter((by) => wanted.includes(by)) : FIRST;
  }

  /** From now on about these requests. @param {Record<string, string>} query @param {AbortSignal} signal */
  ask(query, signal) {
    this.#query = query;
    this.#signal = signal;
    this.#found = null;
    this.#foundBy = "";
  }

  clear() {
    this.#found = null;
    this.#foundBy = "";
    this.#table.replaceChildren();
  }

  /** Asks for what is not there yet. */
  redraw() {
    const words = this.#words;
    const [heading, fieldset] = [this.root.querySelector("h2"), this.root.querySelector("fieldset")];
    heading?.replaceChildren(words.say("own.heading"));
    fieldset?.querySelector("legend")?.replaceChildren(words.say("own.by"));
    this.root.querySelector("button")?.replaceChildren(words.say("own.csv"));
    for (const box of this.#boxes) {
      box.checked = this.#by.includes(box.value);
      box.nextElementSibling?.replaceChildren(words.say(`by.${box.value}`));
    }
    if (this.#foundBy === this.#by.join()) this.#draw();
    else void this.#load();
  }

  #choose() {
    const wanted = this.#boxes.filter((box) => box.checked).map((box) => box.value);
    if (wanted.length > 0) this.#onChoose(wanted);
    else this.redraw(); // something must remain to sum by
  }

  async #load() {
    const by = this.#by.join();
    this.#foundBy = by;
    const chosen = this.#found !== null; // the first table comes by itself
    await this.#attempt(
      this.#failure,
      async () => {
        const found = await this.#api.usage({ by, ...this.#query, limit: String(MOST_ROWS) }, this.#signal);
        if (this.#foundBy !== by) return; // there is a later wish
        this.#found = found;
        this.#draw();
        if (chosen) this.#announcer.say(this.#words.say("own.loaded", { rows: this.#words.number(found.rows) }));
      },
      () => void this.#load(),
    );
  }

  #draw() {
    const found = this.#found;
    if (found === null) return;
    const words = this.#words;
    const by = GROUPINGS.filter((each) => found.data.length === 0 || each in found.data[0]);
    const counts = { shown: words.number(found.data.length), rows: words.number(found.rows) };
    const note = words.say(found.rows > found.data.length ? "rows.cut" : "rows.all", counts);
    this.#table.replaceChildren(renderSums(words, words.say("own.heading"), by, found.data, found.currency), element("p", { class: "quiet" }, note));
  }

  #download() {
    return this.#attempt(this.#failure, async () => {
      const file = await this.#api.csv({ by: this.#by.join(), ...this.#query });
      const url = URL.createObjectURL(file);
      const { since, until } = this.#query;
      const link = element("a", { href: url, download: `usage-${plain(since)}-to-${plain(until)}.csv` });
      link.click();
      setTimeout(() => URL.revokeObjectURL(url), 60_000);
      this.#announcer.say(this.#words.say("own.saved"));
    });
  }
}

/** A time without what no name of a file may have. @param {string} time */
function plain(time) {
  return time.slice(0, 13);
}

/**
 * The deployments as the relay that answers sees them, one of them in detail, and the writing of its ledger.
 */

import { element } from "../../../dom.js";
import { writeAddress } from "../../address.js";
import { renderDetails } from "./details.js";
import { renderLedger } from "./ledger.js";
import { byName, renderList } from "./list.js";

/** @typedef {import("./list.js").Deployment} Deployment */

/** Milliseconds after which it is looked at again. */
const AGAIN = 5000;

/** @implements {import("../../view.js").View} */
export class DeploymentsView {
  #context;
  #failure = element("div", { class: "failure-slot" });
  #place = element("div", { id: "deployments" });
  #ledger = element("div", { id: "ledger" });
  root;
  /** The deployment that the address names. @type {string | null} */
  #name = null;
  /** @type {Deployment[] | null} */
  #found = null;
  /** @type {Record<string, any> | null} */
  #written = null;
  #timer = 0;

  /** @param {import("../../view.js").Context} context */
  constructor(context) {
    this.#context = context;
    const again = () => void this.#load().then((well) => well && context.announcer.say(context.words.say("state.done")));
    this.root = element(
      "section",
      {},
      element(
        "div",
        { class: "view-head" },
        element("p", { class: "quiet", "data-say": "state.note" }),
        element("button", { id: "look-again", type: "button", class: "outline-button", "data-say": "state.refresh", onclick: again }),
      ),
      this.#failure,
      this.#place,
      this.#ledger,
    );
  }

  /** @param {string[]} path */
  enter([name = ""]) {
    this.leave();
    this.#name = name === "" ? null : name;
    this.redraw();
    void this.#load();
    this.#timer = setInterval(() => {
      // A failure stays until the reader tries again: it would be read aloud every time.
      if (!document.hidden && this.#failure.childElementCount === 0) void this.#load();
    }, AGAIN);
  }

  leave() {
    clearInterval(this.#timer);
  }

  heading() {
    return this.#name;
  }

  clear() {
    this.#found = this.#written = this.#name = null;
    this.#place.replaceChildren();
    this.#ledger.replaceChildren();
    this.#failure.replaceChildren();
  }

  redraw() {
    if (this.#found === null) return;
    const focused = this.#place.contains(document.activeElement) ? document.activeElement?.getAttribute("href") : null;
    this.#place.replaceChildren(...this.#shown(this.#found));
    this.#ledger.replaceChildren(...(this.#name === null && this.#written !== null ? renderLedger(this.#context.words, this.#written) : []));
    if (focused) [...this.#place.querySelectorAll("a")].find((link) => link.getAttribute("href") === focused)?.focus({ preventScroll: true });
  }

  /** @param {Deployment[]} found */
  #shown(found) {
    const words = this.#context.words;
    if (this.#name === null) return renderList(words, found);
    const back = element("p", { class: "back-link" }, element("a", { href: writeAddress("deployments") }, words.say("deployments.all")));
    return [back, ...renderDetails(words, this.#name, found)];
  }

  async #load() {
    const { api, attempt } = this.#context;
    const work = async () => {
      const [{ models }, written] = await Promise.all([api.deployments(), api.ledger()]);
      this.#found = byName(models);
      this.#written = written;
      this.redraw();
    };
    const well = await attempt(this.#failure, work, () => void this.#load());
    this.root.classList.toggle("outdated", !well);
    return well;
  }
}

/**
 * How a model came to its answer, as far as it tells: one line that opens. What is open stays open while it grows.
 */

import { isRunning } from "../answer.js";
import { element } from "../dom.js";
import { MarkdownStream } from "../markdown/stream.js";

/** @typedef {import("../answer.js").Answer} Answer */
/** @typedef {import("../i18n.js").Words} Words */

export class ReasoningView {
  #words;
  #title = element("summary");
  #text = element("div", { class: "prose reasoning-text" });
  #markdown;
  #drawn = 0;

  /**
   * @param {Words} words
   * @param {import("../markdown/render.js").Labels} labels
   */
  constructor(words, labels) {
    this.#words = words;
    this.#markdown = new MarkdownStream(this.#text, labels);
    this.root = element("details", { class: "fold reasoning", hidden: true }, this.#title, this.#text);
  }

  /** @param {Answer} answer */
  update(answer) {
    const fresh = answer.reasoning.slice(this.#drawn);
    this.#drawn = answer.reasoning.length;
    if (fresh !== "") this.#markdown.append(fresh);
    this.root.hidden = answer.reasoning === "";
    const title = this.#say(answer);
    if (this.#title.textContent !== title) this.#title.textContent = title;
  }

  /** @param {Answer} answer */
  end(answer) {
    this.#markdown.finish();
    this.update(answer);
  }

  /** @param {Answer} answer */
  #say(answer) {
    const end = answer.textAt ?? (isRunning(answer) ? null : answer.lastAt);
    if (end === null) return this.#words.say("reasoning.running");
    const seconds = (end - answer.startedAt) / 1000;
    return this.#words.say("reasoning.took", { seconds: this.#words.number(seconds, seconds < 10 ? 1 : 0) });
  }
}

/**
 * The tools that a model asks for: one line for each, which opens.
 */

import { isRunning } from "../answer.js";
import { element } from "../dom.js";

/** @typedef {import("../answer.js").Answer} Answer */
/** @typedef {import("../answer.js").ToolCall} ToolCall */
/** @typedef {import("../i18n.js").Words} Words */

export class ToolCallsView {
  #words;
  /** @type {CallView[]} */
  #views = [];

  /** @param {Words} words */
  constructor(words) {
    this.#words = words;
    this.root = element("div", { class: "tool-calls" });
  }

  /** @param {Answer} answer */
  update(answer) {
    const ended = !isRunning(answer);
    for (const [index, call] of answer.toolCalls.entries()) {
      this.#views[index] ??= this.#add();
      this.#views[index].update(call, ended);
    }
  }

  #add() {
    const view = new CallView(this.#words);
    this.root.append(view.root);
    return view;
  }
}

class CallView {
  #words;
  #title = element("summary");
  #text = element("pre", { tabindex: 0, role: "group", translate: "no", dir: "ltr" });
  #drawn = 0;

  /** @param {Words} words */
  constructor(words) {
    this.#words = words;
    this.#text.setAttribute("aria-label", words.say("tool.arguments"));
    const note = element("p", { class: "hint" }, words.say("tool.note"));
    this.root = element("details", { class: "fold tool-call" }, this.#title, this.#text, note);
  }

  /**
   * @param {ToolCall} call
   * @param {boolean} ended
   */
  update(call, ended) {
    const title = this.#words.say(ended ? "tool.called" : "tool.calling", { name: call.name });
    if (this.#title.textContent !== title) this.#title.textContent = title;
    if (ended) {
      this.#text.textContent = prettyJson(call.arguments);
      return;
    }
    const fresh = call.arguments.slice(this.#drawn);
    this.#drawn = call.arguments.length;
    if (fresh !== "") this.#text.append(fresh);
  }
}

/** @param {string} text */
function prettyJson(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

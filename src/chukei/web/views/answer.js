/**
 * One answer on the page, from the first wait to the last figure.
 */

import { isRunning } from "../answer.js";
import { element, icon, iconButton, relayMark } from "../dom.js";
import { switchWrap } from "../markdown/render.js";
import { MarkdownStream } from "../markdown/stream.js";
import { renderAlternatives } from "./alternatives.js";
import { copyFrom } from "./copying.js";
import { renderFailure, sayFilters } from "./failure.js";
import { Pacer } from "./pacing.js";
import { renderReadout } from "./readout.js";
import { ReasoningView } from "./reasoning.js";
import { ToolCallsView } from "./tool_calls.js";

/** @typedef {import("../answer.js").Answer} Answer */
/** @typedef {import("../i18n.js").Words} Words */
/** @typedef {{words: Words, onRegenerate: () => void, onCopied: () => void} & import("./alternatives.js").AlternativesContext} AnswerContext */

/** Reasons to end that need no explaining. */
const ORDINARY_ENDS = new Set(["stop", null]);
const EXPLAINED_ENDS = new Set(["length", "content_filter", "tool_calls"]);

export class AnswerView {
  #answer;
  #context;
  #drawn = 0;
  #status;
  #body;
  #markdown;
  #reasoning;
  #tools;
  #extras = element("div", { class: "extras" });
  #pacer = new Pacer(() => this.#draw());

  /**
   * @param {Answer} answer
   * @param {AnswerContext} context
   */
  constructor(answer, context) {
    const { words } = context;
    this.#answer = answer;
    this.#context = context;
    this.#status = element("p", { class: "waiting", hidden: true }, words.say("waiting"));
    const labels = labelsIn(words);
    this.#reasoning = new ReasoningView(words, labels);
    this.#tools = new ToolCallsView(words);
    this.#body = element("div", { class: "prose answer-text" });
    this.#markdown = new MarkdownStream(this.#body, labels);
    const byline = element("h2", { class: "byline" }, relayMark(), words.say("assistant"));
    this.root = element("article", { class: "message answer", "aria-label": words.say("assistant") });
    this.root.append(byline, this.#status, this.#reasoning.root, this.#body, this.#tools.root, this.#extras);
    this.root.addEventListener("click", (event) => this.#onClick(event));
    if (isRunning(answer)) this.#begin();
    else this.end(false);
  }

  #begin() {
    this.root.setAttribute("aria-busy", "true");
    this.#draw();
  }

  update() {
    this.#pacer.request();
  }

  /** @param {boolean} isNew whether it ended just now, rather than being shown again */
  end(isNew) {
    this.#pacer.flush();
    this.#markdown.finish();
    this.#reasoning.end(this.#answer);
    this.root.removeAttribute("aria-busy");
    this.#extras.replaceChildren(...this.#endParts(isNew));
  }

  /** What a screen reader is told: the answer as it reads, without the words of its buttons. */
  spokenText() {
    const copy = /** @type {HTMLElement} */ (this.#body.cloneNode(true));
    for (const other of copy.querySelectorAll(".code-bar, .copy-source")) other.remove();
    for (const formula of copy.querySelectorAll("math")) formula.replaceWith(formula.getAttribute("alttext") ?? "");
    const blocks = [...copy.children].map((block) => block.textContent?.trim() ?? "");
    const { refusal } = this.#answer;
    return [...blocks, refusal].filter((text) => text !== "").join("\n");
  }

  #draw() {
    const answer = this.#answer;
    const fresh = answer.content.slice(this.#drawn);
    this.#drawn = answer.content.length;
    if (fresh !== "") this.#markdown.append(fresh);
    this.#status.hidden = answer.state !== "waiting";
    this.#reasoning.update(answer);
    this.#tools.update(answer);
  }

  /** @param {boolean} isNew */
  #endParts(isNew) {
    const answer = this.#answer;
    const { words, onRegenerate } = this.#context;
    const retry = answer.failure?.kind === "access" ? null : onRegenerate;
    return [
      ...(answer.refusal === "" ? [] : [renderRefusal(answer.refusal, words)]),
      ...notices(answer, words).map((text) => element("p", { class: "notice" }, text)),
      ...(answer.failure === undefined ? [] : [renderFailure(answer.failure, words, isNew, retry)]),
      this.#foot(),
    ];
  }

  #foot() {
    const { words, onRegenerate } = this.#context;
    const { content, failure, pieces } = this.#answer;
    return element(
      "div",
      { class: "message-foot" },
      content !== "" && iconButton("copy", words.say("copy"), (event) => this.#copy(event.currentTarget, content)),
      failure === undefined && regenerateButton(this.#answer, words, onRegenerate),
      renderAlternatives(this.#answer, this.#context),
      (failure === undefined || pieces > 0) && renderReadout(this.#answer, words),
    );
  }

  /** The buttons within the text. @param {Event} event */
  #onClick(event) {
    const button = event.target instanceof Element ? event.target.closest("button") : null;
    if (button?.classList.contains("wrap-code")) switchWrap(button);
    if (button?.classList.contains("copy-source")) {
      this.#copy(button, button.closest(".copyable")?.querySelector(".source")?.textContent ?? "");
    }
  }

  /**
   * @param {EventTarget | null} button
   * @param {string} text
   */
  #copy(button, text) {
    if (button instanceof HTMLElement) void copyFrom(button, text, this.#context);
  }
}

/**
 * @param {Words} words
 * @returns {import("../markdown/render.js").Labels}
 */
function labelsIn(words) {
  return {
    copy: words.say("copy"),
    code: words.say("code"),
    formula: words.say("formula"),
    image: words.say("image"),
    table: words.say("table"),
    task: words.say("task"),
    wrap: words.say("code.wrap"),
  };
}

/**
 * An answer that was cut asks for it in words.
 * @param {Answer} answer
 * @param {Words} words
 * @param {() => void} onRegenerate
 */
function regenerateButton({ state }, words, onRegenerate) {
  const label = words.say("regenerate");
  const button =
    state === "closed"
      ? element("button", { type: "button", class: "text-button", onclick: onRegenerate }, icon("again"), label)
      : iconButton("again", label, onRegenerate);
  button.classList.add("when-idle", "regenerate");
  return button;
}

/**
 * @param {string} refusal
 * @param {Words} words
 */
function renderRefusal(refusal, words) {
  return element("div", { class: "notice refusal" }, element("p", { class: "notice-title" }, words.say("refusal")), element("p", {}, refusal));
}

/**
 * @param {Answer} answer
 * @param {Words} words
 */
function notices(answer, words) {
  const { state, finishReason: reason, filtered } = answer;
  if (state === "stopped" || state === "closed") return [words.say(`notice.${state}`)];
  if (state !== "finished") return [];
  const isEmpty = answer.content === "" && answer.refusal === "" && answer.toolCalls.length === 0;
  if (ORDINARY_ENDS.has(reason)) return isEmpty ? [words.say("notice.empty")] : [];
  if (!EXPLAINED_ENDS.has(reason ?? "")) return [words.say("notice.other", { reason: reason ?? "" })];
  const found = reason === "content_filter" && filtered !== undefined ? ` ${sayFilters(filtered, words)}` : "";
  return [words.say(`notice.${reason}`) + found];
}

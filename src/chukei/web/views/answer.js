/**
 * One answer on the page, from the first wait to the last figure.
 */

import { isRunning } from "../answer.js";
import { copyText, element, icon, iconButton, relayMark } from "../dom.js";
import { MarkdownStream } from "../markdown/stream.js";
import { renderFailure, sayFilters } from "./failure.js";
import { Pacer } from "./pacing.js";
import { renderReadout } from "./readout.js";

/** @typedef {import("../answer.js").Answer} Answer */
/** @typedef {import("../i18n.js").Words} Words */
/** @typedef {{words: Words, onRegenerate: () => void, onCopied: () => void}} AnswerContext */

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
    this.#reasoning = renderReasoning(words);
    this.#body = element("div", { class: "prose answer-text" });
    this.#markdown = new MarkdownStream(this.#body, {
      copy: words.say("copy"),
      code: words.say("code"),
      image: words.say("image"),
      table: words.say("table"),
    });
    const byline = element("h2", { class: "byline" }, relayMark(), words.say("assistant"));
    this.root = element("article", { class: "message answer", "aria-label": words.say("assistant") });
    this.root.append(byline, this.#status, this.#reasoning.root, this.#body, this.#extras);
    this.root.addEventListener("click", (event) => void this.#copyCode(event));
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
    this.root.removeAttribute("aria-busy");
    this.#extras.replaceChildren(...this.#endParts(isNew));
  }

  /** What a screen reader is told: the answer as it reads, without the words of its buttons. */
  spokenText() {
    const copy = /** @type {HTMLElement} */ (this.#body.cloneNode(true));
    for (const bar of copy.querySelectorAll(".code-bar")) bar.remove();
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
  }

  /** @param {boolean} isNew */
  #endParts(isNew) {
    const answer = this.#answer;
    const { words, onRegenerate } = this.#context;
    const retry = answer.failure?.kind === "access" ? null : onRegenerate;
    return [
      ...(answer.refusal === "" ? [] : [renderRefusal(answer.refusal, words)]),
      ...answer.toolCalls.map((call) => renderToolCall(call, words)),
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
      content !== "" && iconButton("copy", words.say("copy"), (event) => void this.#copy(event.currentTarget, content)),
      failure === undefined && regenerateButton(words, onRegenerate),
      (failure === undefined || pieces > 0) && renderReadout(this.#answer, words),
    );
  }

  /** @param {Event} event */
  async #copyCode(event) {
    const button = event.target instanceof Element ? event.target.closest(".copy-code") : null;
    const code = button?.closest(".code")?.querySelector("code");
    if (code) await this.#copy(button, code.textContent ?? "");
  }

  /**
   * @param {EventTarget | null} button
   * @param {string} text
   */
  async #copy(button, text) {
    if (!(button instanceof HTMLElement) || !(await copyText(text))) return;
    this.#context.onCopied();
    button.querySelector(".icon")?.replaceWith(icon("done"));
    setTimeout(() => button.querySelector(".icon")?.replaceWith(icon("copy")), 1600);
  }
}

/**
 * @param {Words} words
 * @param {() => void} onRegenerate
 */
function regenerateButton(words, onRegenerate) {
  const button = iconButton("again", words.say("regenerate"), onRegenerate);
  button.classList.add("when-idle", "regenerate");
  return button;
}

/** @param {Words} words */
function renderReasoning(words) {
  const text = element("div", { class: "reasoning-text" });
  const root = element("details", { class: "reasoning", hidden: true }, element("summary", {}, words.say("thinking")), text);
  return {
    root,
    /** @param {Answer} answer */
    update({ reasoning }) {
      const drawn = text.textContent?.length ?? 0;
      if (reasoning.length === drawn) return;
      root.hidden = false;
      text.append(reasoning.slice(drawn));
    },
  };
}

/**
 * @param {string} refusal
 * @param {Words} words
 */
function renderRefusal(refusal, words) {
  return element("div", { class: "notice refusal" }, element("p", { class: "notice-title" }, words.say("refusal")), element("p", {}, refusal));
}

/**
 * @param {import("../answer.js").ToolCall} call
 * @param {Words} words
 */
function renderToolCall(call, words) {
  return element(
    "div",
    { class: "tool-call" },
    element("p", { class: "tool-title" }, `${words.say("tool")} `, element("code", {}, call.name)),
    element("pre", { tabindex: 0, role: "group", "aria-label": words.say("tool") }, prettyJson(call.arguments)),
    element("p", { class: "hint" }, words.say("tool.note")),
  );
}

/** @param {string} text */
function prettyJson(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

/**
 * @param {Answer} answer
 * @param {Words} words
 */
function notices(answer, words) {
  const { state, finishReason: reason, filtered } = answer;
  if (state === "stopped") return [words.say("notice.stopped")];
  if (state !== "finished") return [];
  const isEmpty = answer.content === "" && answer.refusal === "" && answer.toolCalls.length === 0;
  if (ORDINARY_ENDS.has(reason)) return isEmpty ? [words.say("notice.empty")] : [];
  if (!EXPLAINED_ENDS.has(reason ?? "")) return [words.say("notice.other", { reason: reason ?? "" })];
  const found = reason === "content_filter" && filtered !== undefined ? ` ${sayFilters(filtered, words)}` : "";
  return [words.say(`notice.${reason}`) + found];
}

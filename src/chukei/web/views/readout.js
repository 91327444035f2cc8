/**
 * The figures under an answer: how soon, how fast, how much, why it ended, and who wrote it.
 */

import { figures } from "../answer.js";
import { element } from "../dom.js";

/** @typedef {import("../answer.js").Answer} Answer */
/** @typedef {import("../i18n.js").Words} Words */

/**
 * @param {Answer} answer
 * @param {Words} words
 */
export function renderReadout(answer, words) {
  const entries = readings(answer, words).filter(([, value]) => value !== "");
  return element(
    "dl",
    { class: "readout" },
    ...entries.map(([name, value, title]) =>
      element("div", { title, "data-figure": name }, element("dt", {}, words.say(`figure.${name}`)), element("dd", {}, value)),
    ),
  );
}

/**
 * @param {Answer} answer
 * @param {Words} words
 * @returns {[name: string, value: string, title?: string][]}
 */
function readings(answer, words) {
  const { firstTokenSeconds, tokensPerSecond, exact } = figures(answer);
  const about = exact ? "" : "≈ "; // one delta is about one token
  const first = firstTokenSeconds === null ? "" : words.number(firstTokenSeconds, 2);
  const speed = tokensPerSecond === null ? "" : about + words.number(tokensPerSecond, tokensPerSecond < 10 ? 1 : 0);
  return [
    ["first", first && words.say("figure.first.value", { value: first })],
    ["speed", speed && words.say("figure.speed.value", { value: speed })],
    ["tokens", tokens(answer, words)],
    ["finish", answer.finishReason ?? ""],
    ["model", answer.model, answer.requestId && words.say("error.request", { id: answer.requestId })],
  ];
}

/**
 * @param {Answer} answer
 * @param {Words} words
 */
function tokens(answer, words) {
  const { inputTokens, outputTokens, exact } = figures(answer);
  if (outputTokens === null) return "";
  const output = (exact ? "" : "≈ ") + words.number(outputTokens);
  if (inputTokens === null) return words.say("figure.tokens.output", { output });
  return words.say("figure.tokens.value", { input: words.number(inputTokens), output });
}

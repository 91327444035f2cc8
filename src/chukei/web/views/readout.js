/**
 * The figures of an answer: how soon and how fast in one quiet line, and the rest behind it.
 */

import { figures } from "../answer.js";
import { element, icon } from "../dom.js";

/** @typedef {import("../answer.js").Answer} Answer */
/** @typedef {import("../dom.js").Child} Child */
/** @typedef {import("../i18n.js").Words} Words */

/**
 * @param {Answer} answer
 * @param {Words} words
 */
export function renderReadout(answer, words) {
  const { first, speed } = pace(answer, words);
  const line = [first, speed].filter((text) => text !== "").join(" · ");
  const name = element("span", { class: line === "" ? null : "visually-hidden" }, words.say("figures"));
  const entries = readings(answer, words).filter(([, value]) => value !== "");
  return element(
    "details",
    { class: "fold readout" },
    element("summary", { title: words.say("figures") }, name, line !== "" && ` ${line}`),
    element("dl", {}, ...entries.map(([key, value]) => renderEntry(key, value, words))),
  );
}

/**
 * @param {string} key
 * @param {Child} value
 * @param {Words} words
 */
function renderEntry(key, value, words) {
  return element("div", { "data-figure": key }, element("dt", {}, words.say(`figure.${key}`)), element("dd", {}, value));
}

/**
 * @param {Answer} answer
 * @param {Words} words
 */
function pace(answer, words) {
  const { firstTokenSeconds, tokensPerSecond, exact } = figures(answer);
  const about = exact ? "" : "≈ "; // one delta is about one token
  const first = firstTokenSeconds === null ? "" : words.number(firstTokenSeconds, firstTokenSeconds < 0.1 ? 2 : 1);
  const speed = tokensPerSecond === null ? "" : about + words.number(tokensPerSecond, tokensPerSecond < 10 ? 1 : 0);
  return {
    first: first && words.say("figure.first.value", { value: first }),
    speed: speed && words.say("figure.speed.value", { value: speed }),
  };
}

/**
 * @param {Answer} answer
 * @param {Words} words
 * @returns {[name: string, value: Child][]}
 */
function readings(answer, words) {
  const { inputTokens, outputTokens, reasoningTokens, exact } = figures(answer);
  const { first, speed } = pace(answer, words);
  const count = (/** @type {number | null} */ tokens) => (tokens === null ? "" : words.number(tokens));
  return [
    ["first", first],
    ["speed", speed],
    ["input", count(inputTokens)],
    ["output", outputTokens === null ? "" : (exact ? "" : "≈ ") + count(outputTokens)],
    ["reasoning", count(reasoningTokens)],
    ["finish", sayFinish(answer, words)],
    ["model", answer.model],
    ["request", answer.requestId === undefined ? "" : renderRequest(answer.requestId, words)],
  ];
}

/**
 * @param {Answer} answer
 * @param {Words} words
 */
function sayFinish({ finishReason, state }, words) {
  const key = `finish.${state === "finished" ? finishReason : state}`;
  return words.has(key) ? words.say(key) : (finishReason ?? "");
}

/**
 * @param {string} id
 * @param {Words} words
 */
function renderRequest(id, words) {
  const copy = element("button", { type: "button", class: "copy-source" }, icon("copy"), element("span", {}, words.say("copy")));
  return element("span", { class: "copyable" }, element("code", { class: "source", translate: "no" }, id), copy);
}

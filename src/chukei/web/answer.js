/**
 * One answer as it grows: a plain record, and the pure functions that fold stream chunks into it.
 * Times are milliseconds of a monotonic clock and are passed in.
 */

import { filterHits } from "./errors.js";

/** @typedef {import("./errors.js").Failure} Failure */
/** @typedef {import("./errors.js").FilterHit} FilterHit */

/**
 * @typedef {object} ToolCall
 * @property {string} name
 * @property {string} arguments JSON text, possibly incomplete while it streams
 */

/**
 * @typedef {object} Answer
 * @property {"assistant"} role
 * @property {"waiting" | "streaming" | "finished" | "stopped" | "failed"} state
 * @property {string} model asked for at first, then what the stream names
 * @property {string} content
 * @property {string} reasoning
 * @property {string} refusal
 * @property {ToolCall[]} toolCalls
 * @property {string | null} finishReason
 * @property {FilterHit[]} [filtered]
 * @property {{input: number, output: number} | null} usage
 * @property {number} pieces deltas received: stands in for the output tokens until the usage arrives
 * @property {boolean} simulator
 * @property {string} [requestId]
 * @property {Failure} [failure]
 * @property {number} startedAt
 * @property {number | null} firstAt
 * @property {number | null} lastAt
 */

/**
 * @param {string} model
 * @param {number} now
 * @returns {Answer}
 */
export function newAnswer(model, now) {
  return {
    role: "assistant",
    state: "waiting",
    model,
    content: "",
    reasoning: "",
    refusal: "",
    toolCalls: [],
    finishReason: null,
    usage: null,
    pieces: 0,
    simulator: false,
    startedAt: now,
    firstAt: null,
    lastAt: null,
  };
}

/**
 * Folds one chunk in. Chunks without choices or without a delta (prompt filter results, usage,
 * annotations of the asynchronous content filter) are ordinary and add no text.
 * @param {Answer} answer
 * @param {any} chunk
 * @param {number} now
 */
export function addChunk(answer, chunk, now) {
  if (typeof chunk?.model === "string" && chunk.model !== "") answer.model = chunk.model;
  addUsage(answer, chunk?.usage);
  for (const choice of Array.isArray(chunk?.choices) ? chunk.choices : []) {
    if ((choice?.index ?? 0) !== 0) continue;
    answer.filtered = filterHits(choice.content_filter_results) ?? answer.filtered;
    if (typeof choice.finish_reason === "string") answer.finishReason = choice.finish_reason;
    if (addDelta(answer, choice.delta)) markProgress(answer, now);
  }
}

/**
 * @param {Answer} answer
 * @param {any} delta
 * @returns {boolean} whether anything was added
 */
function addDelta(answer, delta) {
  if (delta === null || typeof delta !== "object") return false;
  const content = textOf(delta.content);
  const reasoning = textOf(delta.reasoning_content);
  const refusal = textOf(delta.refusal);
  answer.content += content;
  answer.reasoning += reasoning;
  answer.refusal += refusal;
  const calls = addToolCalls(answer, delta.tool_calls);
  return calls || content !== "" || reasoning !== "" || refusal !== "";
}

/**
 * The first delta of a call has its name, later ones only pieces of its arguments.
 * @param {Answer} answer
 * @param {any} calls
 */
function addToolCalls(answer, calls) {
  if (!Array.isArray(calls)) return false;
  for (const call of calls) {
    const index = Number.isInteger(call?.index) && call.index >= 0 && call.index < 128 ? call.index : 0;
    while (answer.toolCalls.length <= index) answer.toolCalls.push({ name: "", arguments: "" });
    answer.toolCalls[index].name += textOf(call?.function?.name);
    answer.toolCalls[index].arguments += textOf(call?.function?.arguments);
  }
  return calls.length > 0;
}

/**
 * @param {Answer} answer
 * @param {any} usage
 */
function addUsage(answer, usage) {
  if (Number.isFinite(usage?.prompt_tokens) && Number.isFinite(usage?.completion_tokens)) {
    answer.usage = { input: usage.prompt_tokens, output: usage.completion_tokens };
  }
}

/**
 * @param {Answer} answer
 * @param {number} now
 */
function markProgress(answer, now) {
  answer.state = "streaming";
  answer.firstAt ??= now;
  answer.lastAt = now;
  answer.pieces += 1;
}

/** @param {Answer} answer */
export function isRunning(answer) {
  return answer.state === "waiting" || answer.state === "streaming";
}

/** A speed measured over less says more about the network's buffers than about the model. */
const SHORTEST_SECONDS = 0.05;

/**
 * The figures under an answer. Tokens per second count from the first token to the last, so that the
 * wait before the first one is reported once, not twice.
 * @param {Answer} answer
 */
export function figures(answer) {
  const { firstAt, lastAt, startedAt, usage, pieces } = answer;
  const output = usage?.output ?? pieces;
  const seconds = firstAt === null || lastAt === null ? 0 : (lastAt - firstAt) / 1000;
  return {
    firstTokenSeconds: firstAt === null ? null : (firstAt - startedAt) / 1000,
    tokensPerSecond: seconds >= SHORTEST_SECONDS && output > 1 ? (output - 1) / seconds : null,
    inputTokens: usage?.input ?? null,
    outputTokens: output > 0 ? output : null,
    exact: usage !== null,
  };
}

/** @param {unknown} value */
function textOf(value) {
  return typeof value === "string" ? value : "";
}

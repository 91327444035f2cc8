/**
 * One answer as it grows: a plain record, and the pure functions that fold the changes of a stream into it.
 * Times are milliseconds of a monotonic clock and are passed in.
 */

/** @typedef {import("./errors.js").Failure} Failure */
/** @typedef {import("./errors.js").FilterHit} FilterHit */

/**
 * @typedef {object} ToolCall
 * @property {string} name
 * @property {string} arguments JSON text, possibly incomplete while it streams
 */

/** @typedef {{index: number, name?: string, arguments?: string}} ToolCallPiece name and arguments are continued */

/**
 * Tokens, as the service counted them.
 * @typedef {object} Usage
 * @property {number} input
 * @property {number} output with the reasoning
 * @property {number} [reasoning] absent where there was none
 */

/**
 * What one event of a stream adds to an answer. Empty texts add nothing.
 * @typedef {object} Change
 * @property {string} [text]
 * @property {string} [reasoning]
 * @property {string} [refusal]
 * @property {ToolCallPiece} [toolCall]
 * @property {string} [model]
 * @property {Usage} [usage]
 * @property {string} [finishReason]
 * @property {FilterHit[]} [filtered]
 */

/**
 * @typedef {object} Answer
 * @property {string} id
 * @property {string | null} parent the id of the question
 * @property {"assistant"} role
 * @property {"waiting" | "streaming" | "finished" | "stopped" | "closed" | "failed"} state closed: the page was, meanwhile
 * @property {string} model asked for at first, then what the stream names
 * @property {string} content
 * @property {string} reasoning
 * @property {string} refusal
 * @property {ToolCall[]} toolCalls
 * @property {string | null} finishReason
 * @property {FilterHit[]} [filtered]
 * @property {Usage | null} usage
 * @property {number} pieces deltas received: stands in for the output tokens until the usage arrives
 * @property {boolean} simulator
 * @property {string} [requestId]
 * @property {Failure} [failure]
 * @property {number} startedAt
 * @property {number | null} firstAt
 * @property {number | null} textAt when the first of the content arrived: reasoning comes before it
 * @property {number | null} lastAt
 */

/**
 * @param {string} model
 * @param {number} now
 * @returns {Omit<Answer, "id" | "parent">} its place is the conversation's to give
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
    textAt: null,
    lastAt: null,
  };
}

/** The most tool calls of one answer: a stream must not make the page allocate what it likes. */
const MOST_TOOL_CALLS = 128;

/**
 * Folds one change in.
 * @param {Answer} answer
 * @param {Change} change
 * @param {number} now
 */
export function addChange(answer, change, now) {
  const { text = "", reasoning = "", refusal = "", toolCall } = change;
  answer.content += text;
  answer.reasoning += reasoning;
  answer.refusal += refusal;
  if (toolCall !== undefined) addToolCall(answer, toolCall);
  answer.model = change.model || answer.model;
  answer.usage = change.usage ?? answer.usage;
  answer.finishReason = change.finishReason || answer.finishReason;
  answer.filtered = change.filtered ?? answer.filtered;
  if (text !== "" || reasoning !== "" || refusal !== "" || toolCall !== undefined) markProgress(answer, now);
  if (text !== "") answer.textAt ??= now;
}

/**
 * @param {Answer} answer
 * @param {ToolCallPiece} piece
 */
function addToolCall({ toolCalls }, piece) {
  const index = Math.min(piece.index, MOST_TOOL_CALLS - 1);
  while (toolCalls.length <= index) toolCalls.push({ name: "", arguments: "" });
  toolCalls[index].name += piece.name ?? "";
  toolCalls[index].arguments += piece.arguments ?? "";
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
 * wait before the first one is reported once, not twice. Reasoning that was not shown was made in that wait: where
 * none was shown, its tokens do not count for the speed.
 * @param {Answer} answer
 */
export function figures(answer) {
  const { firstAt, lastAt, startedAt, usage, pieces } = answer;
  const output = usage?.output ?? pieces;
  const hidden = answer.reasoning === "" ? (usage?.reasoning ?? 0) : 0;
  const shown = output - hidden;
  const seconds = firstAt === null || lastAt === null ? 0 : (lastAt - firstAt) / 1000;
  return {
    firstTokenSeconds: firstAt === null ? null : (firstAt - startedAt) / 1000,
    tokensPerSecond: seconds >= SHORTEST_SECONDS && shown > 1 ? (shown - 1) / seconds : null,
    inputTokens: usage?.input ?? null,
    outputTokens: output > 0 ? output : null,
    reasoningTokens: usage?.reasoning ?? null,
    exact: usage !== null,
  };
}

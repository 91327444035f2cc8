/**
 * The Responses API: the request's body, and what the stream's events change in an answer.
 */

import { RelayError, describeError, listedFilterHits } from "../errors.js";
import { readJson, textOf, tokens } from "./events.js";

/** @typedef {import("../answer.js").Change} Change */
/** @typedef {import("./prompt.js").Request} Request */
/** @typedef {import("./prompt.js").Turn} Turn */

export const path = "v1/responses";

/**
 * The conversation is sent whole, and nothing is kept at the service.
 * @param {Request} request
 * @param {Turn[]} turns
 * @param {boolean} summarise whether to ask for summaries of the reasoning; other models refuse the parameter
 */
export function body({ model, system, temperature, maxOutputTokens }, turns, summarise) {
  return {
    model: model?.id,
    instructions: system.trim() === "" ? undefined : system,
    input: turns.map(message),
    temperature: temperature ?? undefined,
    max_output_tokens: maxOutputTokens ?? undefined,
    reasoning: summarise ? { summary: "auto" } : undefined,
    store: false,
    stream: true,
  };
}

/** @param {Turn} turn */
function message({ role, text, pictures }) {
  const type = role === "assistant" ? "output_text" : "input_text";
  const images = pictures.map(({ data }) => ({ type: "input_image", image_url: data }));
  return { role, content: [...(text === "" ? [] : [{ type, text }]), ...images] };
}

/** Reasons of an incomplete response, in the words of chat completions. @type {Record<string, string>} */
const FINISH_REASONS = { max_output_tokens: "length" };

export class Reader {
  /** Whether the response ended: a clean end of the body alone proves nothing. */
  complete = false;
  /** The tool calls by their place in the output, where reasoning and messages stand too. */
  #calls = /** @type {Map<unknown, {index: number, hasArguments: boolean}>} */ (new Map());
  #hasText = false;
  #hasReasoning = false;
  /** Whether the model waits for results: the service runs its own tools itself. */
  #awaitsResults = false;

  /**
   * What one event changes. Events that only announce or repeat change nothing.
   * @param {string} data of the event
   * @returns {Change[]}
   * @throws {RelayError} when the response failed, or the event is no JSON
   */
  read(data) {
    const event = readJson(data);
    switch (event?.type) {
      case "response.created":
        return [{ model: textOf(event.response?.model) }];
      case "response.output_item.added":
        return this.#begin(event);
      case "response.output_item.done":
        return this.#finishCall(event);
      case "response.content_part.added":
        return this.#hasText && event.part?.type === "output_text" ? [{ text: "\n\n" }] : [];
      case "response.reasoning_summary_part.added":
        return this.#hasReasoning ? [{ reasoning: "\n\n" }] : [];
      case "response.output_text.delta":
        this.#hasText = true;
        return [{ text: textOf(event.delta) }];
      case "response.reasoning_summary_text.delta":
      case "response.reasoning_text.delta":
        this.#hasReasoning = true;
        return [{ reasoning: textOf(event.delta) }];
      case "response.refusal.delta":
        return [{ refusal: textOf(event.delta) }];
      case "response.completed":
      case "response.incomplete":
        return this.#end(event.response);
      case "response.failed":
        throw failure(event.response, event.response);
      case "error":
        // The error is nested in what OpenAI and the relay send, and flat in the API's reference.
        throw failure(event.error === undefined ? { error: { ...event, type: undefined } } : event);
      default:
        return event?.error ? fail(event) : this.#callDelta(event);
    }
  }

  /**
   * An item of the output that is a call: of a function, or of a tool of the service (code interpreter, MCP, search).
   * @param {any} event
   * @returns {Change[]}
   */
  #begin({ output_index: at, item }) {
    const type = textOf(item?.type);
    if (!type.endsWith("_call")) return [];
    const index = this.#calls.size;
    this.#calls.set(at, { index, hasArguments: false });
    if (type === "function_call" || type === "custom_tool_call") this.#awaitsResults = true;
    return [{ toolCall: { index, name: textOf(item.name) || type.slice(0, -"_call".length) } }];
  }

  /**
   * Arguments, code or input of a call: each kind has its own name for the event, but all have a delta and a place.
   * @param {any} event
   * @returns {Change[]}
   */
  #callDelta(event) {
    const call = this.#calls.get(event?.output_index);
    if (call === undefined || typeof event.delta !== "string") return [];
    call.hasArguments = true;
    return [{ toolCall: { index: call.index, arguments: event.delta } }];
  }

  /**
   * Some services send the arguments only with the finished item.
   * @param {any} event
   * @returns {Change[]}
   */
  #finishCall({ output_index: at, item }) {
    const call = this.#calls.get(at);
    const whole = textOf(item?.arguments ?? item?.code ?? item?.input);
    return call === undefined || call.hasArguments || whole === "" ? [] : [{ toolCall: { index: call.index, arguments: whole } }];
  }

  /**
   * @param {any} response
   * @returns {Change[]}
   */
  #end(response) {
    this.complete = true;
    const reason = response?.incomplete_details?.reason;
    const ordinary = this.#awaitsResults ? "tool_calls" : "stop";
    const usage = response?.usage;
    return [
      {
        model: textOf(response?.model),
        usage: tokens(usage?.input_tokens, usage?.output_tokens, usage?.output_tokens_details?.reasoning_tokens),
        finishReason: reason === undefined ? ordinary : (FINISH_REASONS[reason] ?? textOf(reason)),
        filtered: listedFilterHits(response?.content_filters),
      },
    ];
  }
}

/**
 * @param {any} body with an `error`
 * @param {any} [response]
 */
function failure(body, response) {
  const described = describeError(body);
  return new RelayError({ kind: "upstream", ...described, filtered: described.filtered ?? listedFilterHits(response?.content_filters) });
}

/**
 * @param {any} event
 * @returns {never}
 */
function fail(event) {
  throw failure(event);
}

/**
 * Chat completions: the request's body, and what the stream's events change in an answer.
 */

import { RelayError, describeError, filterHits } from "../errors.js";
import { readJson, textOf, tokens } from "./events.js";

/** @typedef {import("../answer.js").Change} Change */
/** @typedef {import("./prompt.js").Request} Request */
/** @typedef {import("./prompt.js").Turn} Turn */

export const path = "v1/chat/completions";

/**
 * The relay renames `max_completion_tokens` for deployments that know only `max_tokens`.
 * @param {Request} request
 * @param {Turn[]} turns
 */
export function body({ model, system, temperature, maxOutputTokens }, turns) {
  return {
    model: model?.id,
    messages: [...(system.trim() === "" ? [] : [{ role: "system", content: system }]), ...turns.map(message)],
    temperature: temperature ?? undefined,
    max_completion_tokens: maxOutputTokens ?? undefined,
    stream: true,
    stream_options: { include_usage: true },
  };
}

/**
 * Text alone stays a string: not every model takes a list of parts.
 * @param {Turn} turn
 */
function message({ role, text, pictures }) {
  if (pictures.length === 0) return { role, content: text };
  const images = pictures.map(({ data }) => ({ type: "image_url", image_url: { url: data } }));
  return { role, content: [...(text === "" ? [] : [{ type: "text", text }]), ...images] };
}

export class Reader {
  /** Whether `[DONE]` was read: a clean end of the body alone proves nothing. */
  complete = false;

  /**
   * What one event changes; chunks without choices or without a delta (prompt filter results, annotations of the
   * asynchronous content filter) are ordinary and may change nothing.
   * @param {string} data of the event
   * @returns {Change[]}
   * @throws {RelayError} when the event is an error, or no JSON
   */
  read(data) {
    if (data.trim() === "[DONE]") {
      this.complete = true;
      return [];
    }
    const chunk = readJson(data);
    if (chunk?.error) throw new RelayError({ kind: "upstream", ...describeError(chunk) });
    const choices = Array.isArray(chunk?.choices) ? chunk.choices : [];
    return [
      { model: textOf(chunk?.model), usage: usageOf(chunk?.usage) },
      ...choices.filter((/** @type {any} */ choice) => (choice?.index ?? 0) === 0).flatMap(choiceChanges),
    ];
  }
}

/**
 * @param {any} choice
 * @returns {Change[]}
 */
function choiceChanges(choice) {
  const delta = choice?.delta;
  const calls = Array.isArray(delta?.tool_calls) ? delta.tool_calls : [];
  return [
    {
      text: textOf(delta?.content),
      reasoning: textOf(delta?.reasoning_content),
      refusal: textOf(delta?.refusal),
      finishReason: textOf(choice?.finish_reason),
      filtered: filterHits(choice?.content_filter_results),
    },
    ...calls.map(callChange),
  ];
}

/**
 * The first delta of a call has its name, later ones only pieces of its arguments.
 * @param {any} call
 * @returns {Change}
 */
function callChange(call) {
  const index = Number.isInteger(call?.index) && call.index >= 0 ? call.index : 0;
  return { toolCall: { index, name: textOf(call?.function?.name), arguments: textOf(call?.function?.arguments) } };
}

/** @param {any} usage */
function usageOf(usage) {
  // DeepSeek's models count their reasoning beside the details.
  const reasoning = usage?.completion_tokens_details?.reasoning_tokens ?? usage?.reasoning_tokens;
  return tokens(usage?.prompt_tokens, usage?.completion_tokens, reasoning);
}

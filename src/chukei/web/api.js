/**
 * What the page asks of the relay. All addresses are relative, so the page works under any path prefix.
 */

import { EventStreamParser } from "./sse.js";
import { RelayError, failureOfResponse, requestId } from "./errors.js";
import * as completions from "./wire/completions.js";
import { turnsOf } from "./wire/prompt.js";
import * as responses from "./wire/responses.js";

/** @typedef {import("./answer.js").Change} Change */
/** @typedef {import("./wire/prompt.js").Model} Model */
/** @typedef {import("./wire/prompt.js").Request} Request */

/**
 * @typedef {object} AnswerHead
 * @property {string} [requestId]
 * @property {boolean} simulator a simulator, not a model, answers
 */

/**
 * @typedef {object} Offer
 * @property {Model[]} models the first one is the default
 * @property {boolean} simulator
 * @property {number | null} maxBodyBytes the most bytes of one request; null where the relay does not say
 */

export class Relay {
  #key;
  #fetch;
  #maxBodyBytes = Number.POSITIVE_INFINITY;
  /** The models that have refused to summarise their reasoning: asked once, they are not asked again. */
  #unsummarised = /** @type {Set<string>} */ (new Set());

  /**
   * @param {() => string} key the caller's access key, or an empty string
   * @param {typeof fetch} [fetcher]
   */
  constructor(key, fetcher = (input, init) => fetch(input, init)) {
    this.#key = key;
    this.#fetch = fetcher;
  }

  /**
   * The models that may be used.
   * @param {string} language of their descriptions, where the relay has them in several
   * @returns {Promise<Offer>}
   */
  async models(language) {
    const response = await this.#request("v1/models", { headers: { ...this.#headers(), "accept-language": language } });
    const list = await response.json().catch(() => null);
    if (!Array.isArray(list?.data)) throw new RelayError({ kind: "format", message: "" });
    const maxBodyBytes = countOf(list.chukei?.max_body_bytes);
    this.#maxBodyBytes = maxBodyBytes ?? Number.POSITIVE_INFINITY;
    return {
      models: list.data.filter((/** @type {any} */ model) => typeof model?.id === "string").map(readModel),
      simulator: list.chukei?.simulator === true || isSimulator(response),
      maxBodyBytes,
    };
  }

  /**
   * Streams one answer. Returning means that the stream has said that it is complete; anything else throws.
   * @param {Request} request
   * @param {AbortSignal} signal aborting closes the connection, which stops the model too
   * @param {(head: AnswerHead) => void} onHead called once, when the status has arrived
   * @returns {AsyncGenerator<Change, void, void>}
   */
  async *stream(request, signal, onHead) {
    const wire = request.model?.apis.includes("responses") ? responses : completions;
    const response = await this.#send(wire, request, signal);
    const head = { requestId: requestId(response), simulator: isSimulator(response) };
    onHead(head);
    try {
      yield* readChanges(response, new wire.Reader());
    } catch (error) {
      if (error instanceof RelayError) error.failure.requestId = head.requestId;
      throw error;
    }
  }

  /**
   * Summaries of the reasoning are asked for and, by a model that has none, refused with a 400 before anything is
   * computed. The list of models does not tell which is which, so the answer does, once for each model.
   * @param {typeof completions | typeof responses} wire
   * @param {Request} request
   * @param {AbortSignal} signal
   */
  async #send(wire, request, signal) {
    const name = request.model?.id ?? "";
    const summarise = !this.#unsummarised.has(name);
    try {
      return await this.#post(wire, request, summarise, signal);
    } catch (error) {
      if (wire !== responses || !summarise || !refusesReasoning(error)) throw error;
      this.#unsummarised.add(name);
      return await this.#post(wire, request, false, signal);
    }
  }

  /**
   * @param {typeof completions | typeof responses} wire
   * @param {Request} request
   * @param {boolean} summarise
   * @param {AbortSignal} signal
   */
  #post(wire, request, summarise, signal) {
    const turns = turnsOf(request, this.#maxBodyBytes);
    return this.#request(wire.path, {
      method: "POST",
      headers: { ...this.#headers(), "content-type": "application/json" },
      body: JSON.stringify(wire.body(request, turns, summarise), wellFormed),
      signal,
    });
  }

  /**
   * @param {string} path
   * @param {RequestInit} init
   */
  async #request(path, init) {
    const response = await this.#fetch(path, { cache: "no-store", ...init }).catch(rethrowAs("network"));
    if (!response.ok) throw new RelayError(await failureOfResponse(response));
    return response;
  }

  /** @returns {Record<string, string>} */
  #headers() {
    const key = this.#key();
    return key === "" ? {} : { authorization: `Bearer ${key}` };
  }
}

/**
 * @param {Response} response
 * @param {completions.Reader | responses.Reader} reader
 */
async function* readChanges(response, reader) {
  const type = response.headers.get("content-type") ?? "";
  if (!type.startsWith("text/event-stream") || response.body === null) {
    throw new RelayError({ ...(await failureOfResponse(response)), kind: "format" });
  }
  for await (const event of readEvents(response.body)) {
    yield* reader.read(event.data);
    if (reader.complete) return;
  }
  // A clean end proves nothing: only the stream itself says that the answer is whole.
  throw new RelayError({ kind: "cut", message: "" });
}

/** @param {ReadableStream<Uint8Array>} body */
async function* readEvents(body) {
  const parser = new EventStreamParser();
  const reader = body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read().catch(rethrowAs("cut"));
      if (done) return;
      yield* parser.push(value);
    }
  } finally {
    await reader.cancel().catch(() => undefined); // nothing is left to read, or nobody is left to read it
  }
}

/**
 * An entry of the list, from a relay that tells little of its models, too.
 * @param {any} entry
 * @returns {Model}
 */
function readModel({ id, chukei }) {
  return {
    id,
    description: typeof chukei?.description === "string" ? chukei.description : "",
    apis: listOf(chukei?.apis, ["chat", "responses"]) ?? ["chat"],
    input: listOf(chukei?.input, ["text", "image"]),
    contextTokens: countOf(chukei?.context_tokens),
    outputTokens: countOf(chukei?.output_tokens),
    maxImages: countOf(chukei?.max_images),
    failure: chukei?.failure === true,
  };
}

/**
 * @template {string} Name
 * @param {unknown} value
 * @param {Name[]} known
 * @returns {Name[] | null} null for what is no list
 */
function listOf(value, known) {
  return Array.isArray(value) ? known.filter((name) => value.includes(name)) : null;
}

/**
 * @param {any} value
 * @returns {number | null}
 */
function countOf(value) {
  return Number.isFinite(value) && value >= 0 ? value : null;
}

/** Half an emoji that was cut is refused as JSON. @param {string} _name @param {unknown} value */
function wellFormed(_name, value) {
  return typeof value === "string" ? value.replace(/\p{Surrogate}/gu, "\ufffd") : value;
}

/** @param {Response} response */
function isSimulator(response) {
  return response.headers.get("x-chukei-simulator") === "true";
}

/**
 * Azure answers `Unsupported parameter: 'reasoning.summary' is not supported with this model.` or names
 * `reasoning.effort`; organisations that may not see summaries get a 400 of other words with "reasoning summaries".
 * @param {unknown} error
 */
function refusesReasoning(error) {
  return error instanceof RelayError && error.failure.status === 400 && /reasoning/i.test(error.failure.message);
}

/**
 * @param {"network" | "cut"} kind
 * @returns {(error: unknown) => never}
 */
function rethrowAs(kind) {
  return (error) => {
    if (isAbort(error)) throw error;
    throw new RelayError({ kind, message: "" });
  };
}

/** @param {unknown} error */
export function isAbort(error) {
  return error instanceof DOMException && error.name === "AbortError";
}

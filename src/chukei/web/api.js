/**
 * What the page asks of the relay. All addresses are relative, so the page works under any path prefix.
 */

import { EventStreamParser } from "./sse.js";
import { RelayError, describeError, failureOfResponse, requestId } from "./errors.js";

/**
 * @typedef {object} ChatMessage
 * @property {"system" | "user" | "assistant"} role
 * @property {string} content
 */

/**
 * @typedef {object} ChatRequest
 * @property {string} [model] the relay's default when left out
 * @property {ChatMessage[]} messages
 * @property {number} [temperature]
 */

/**
 * @typedef {object} AnswerHead
 * @property {string} [requestId]
 * @property {boolean} simulator a simulator, not a model, answers
 */

export class Relay {
  #key;
  #fetch;

  /**
   * @param {() => string} key the caller's access key, or an empty string
   * @param {typeof fetch} [fetcher]
   */
  constructor(key, fetcher = (input, init) => fetch(input, init)) {
    this.#key = key;
    this.#fetch = fetcher;
  }

  /**
   * The names of the models that may be used; the first one is the default.
   * @returns {Promise<{models: string[], simulator: boolean}>}
   */
  async models() {
    const response = await this.#request("v1/models", { headers: this.#headers() });
    const list = await response.json().catch(() => null);
    if (!Array.isArray(list?.data)) throw new RelayError({ kind: "format", message: "" });
    const models = list.data.map((/** @type {any} */ model) => model?.id);
    return {
      models: models.filter((/** @type {unknown} */ id) => typeof id === "string"),
      simulator: isSimulator(response),
    };
  }

  /**
   * Streams one answer as parsed chunks. Returning means that `[DONE]` was read; anything else throws.
   * @param {ChatRequest} request
   * @param {AbortSignal} signal aborting closes the connection, which stops the model too
   * @param {(head: AnswerHead) => void} onHead called once, when the status has arrived
   * @returns {AsyncGenerator<any, void, void>}
   */
  async *stream(request, signal, onHead) {
    const response = await this.#request("v1/chat/completions", {
      method: "POST",
      headers: { ...this.#headers(), "content-type": "application/json" },
      body: JSON.stringify({ ...request, stream: true, stream_options: { include_usage: true } }),
      signal,
    });
    const head = { requestId: requestId(response), simulator: isSimulator(response) };
    onHead(head);
    yield* readChunks(response, head);
  }

  /**
   * @param {string} path
   * @param {RequestInit} init
   */
  async #request(path, init) {
    const response = await this.#fetch(path, { cache: "no-store", ...init }).catch(rethrowAsNetwork);
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
 * @param {AnswerHead} head
 */
async function* readChunks(response, head) {
  const type = response.headers.get("content-type") ?? "";
  if (!type.startsWith("text/event-stream") || response.body === null) {
    throw new RelayError({ ...(await failureOfResponse(response)), kind: "format" });
  }
  for await (const event of readEvents(response.body, head)) {
    if (event.data.trim() === "[DONE]") return;
    yield parseChunk(event.data, head);
  }
  // A clean end proves nothing: only [DONE] says that the answer is whole.
  throw new RelayError({ kind: "cut", message: "", requestId: head.requestId });
}

/**
 * @param {ReadableStream<Uint8Array>} body
 * @param {AnswerHead} head
 */
async function* readEvents(body, head) {
  const parser = new EventStreamParser();
  const reader = body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read().catch((error) => rethrowAsCut(error, head));
      if (done) return;
      yield* parser.push(value);
    }
  } finally {
    await reader.cancel().catch(() => undefined); // nothing is left to read, or nobody is left to read it
  }
}

/**
 * @param {string} data
 * @param {AnswerHead} head
 */
function parseChunk(data, head) {
  let chunk;
  try {
    chunk = JSON.parse(data);
  } catch {
    throw new RelayError({ kind: "format", message: "", requestId: head.requestId });
  }
  if (chunk?.error) {
    throw new RelayError({ kind: "upstream", ...describeError(chunk), requestId: head.requestId });
  }
  return chunk;
}

/** @param {Response} response */
function isSimulator(response) {
  return response.headers.get("x-chukei-simulator") === "true";
}

/**
 * @param {unknown} error
 * @returns {never}
 */
function rethrowAsNetwork(error) {
  if (isAbort(error)) throw error;
  throw new RelayError({ kind: "network", message: "" });
}

/**
 * @param {unknown} error
 * @param {AnswerHead} head
 * @returns {never}
 */
function rethrowAsCut(error, head) {
  if (isAbort(error)) throw error;
  throw new RelayError({ kind: "cut", message: "", requestId: head.requestId });
}

/** @param {unknown} error */
export function isAbort(error) {
  return error instanceof DOMException && error.name === "AbortError";
}

/**
 * The one error that the page shows: what failed, and everything that helps a reader to act on it.
 */

/**
 * Where it failed.
 * - `network`: no answer at all
 * - `access`: an access key is needed, or was not accepted (HTTP 401)
 * - `http`: an answer with an error status, before any token
 * - `upstream`: an error event inside a stream that had begun
 * - `cut`: the stream ended without `[DONE]`, or without the last event of a response
 * - `format`: an answer that is not what was asked for
 * @typedef {"network" | "access" | "http" | "upstream" | "cut" | "format"} ErrorKind
 */

/**
 * @typedef {object} FilterHit
 * @property {string} category such as "hate" or "jailbreak"
 * @property {string} [severity] "low", "medium" or "high" where the filter grades
 */

/**
 * What is kept of a failure: plain data, so that it can be stored with the conversation.
 * @typedef {object} Failure
 * @property {ErrorKind} kind
 * @property {string} message what the server said, in its own words; may be empty
 * @property {number} [status]
 * @property {string} [code]
 * @property {string} [requestId]
 * @property {number} [retryAfterSeconds]
 * @property {FilterHit[]} [filtered]
 */

export class RelayError extends Error {
  /** @param {Failure} failure */
  constructor(failure) {
    super(failure.message || failure.kind);
    this.name = "RelayError";
    this.failure = failure;
  }
}

/**
 * Reads an HTTP error answer, whatever its body turns out to be.
 * @param {Response} response
 * @returns {Promise<Failure>}
 */
export async function failureOfResponse(response) {
  const body = await response.text().catch(() => "");
  const described = describeError(parseJson(body));
  return {
    kind: response.status === 401 ? "access" : "http",
    status: response.status,
    ...described,
    message: described.message || plainExcerpt(body, response),
    requestId: requestId(response),
    retryAfterSeconds: retryAfterSeconds(response.headers),
  };
}

/**
 * Picks message, code and filter results out of an OpenAI-shaped error body or error event.
 * @param {any} body
 * @returns {{message: string, code?: string, filtered?: FilterHit[]}}
 */
export function describeError(body) {
  const error = body?.error;
  if (typeof error === "string") return { message: error };
  if (error === null || typeof error !== "object") return { message: "" };
  const code = error.code ?? error.type ?? undefined;
  return {
    message: typeof error.message === "string" ? error.message : "",
    code: code === undefined ? undefined : String(code),
    filtered: filterHits(error.innererror?.content_filter_result) ?? listedFilterHits(error.content_filters),
  };
}

/**
 * The categories that blocked something, from Azure's content filter results.
 * @param {any} results
 * @returns {FilterHit[] | undefined}
 */
export function filterHits(results) {
  if (results === null || typeof results !== "object") return undefined;
  const hits = Object.entries(results)
    .filter(([, result]) => result?.filtered === true)
    .map(([category, result]) => ({
      category,
      ...(typeof result.severity === "string" ? { severity: result.severity } : {}),
    }));
  return hits.length > 0 ? hits : undefined;
}

/**
 * The same from the Responses API, which lists a filter for the prompt and one for the completion.
 * @param {any} filters
 * @returns {FilterHit[] | undefined}
 */
export function listedFilterHits(filters) {
  if (!Array.isArray(filters)) return undefined;
  const hits = filters.flatMap((filter) => filterHits(filter?.content_filter_results) ?? []);
  return hits.length > 0 ? hits : undefined;
}

/** @param {Response} response */
export function requestId(response) {
  return response.headers.get("x-request-id") ?? undefined;
}

/**
 * Seconds to wait: Azure's `retry-after-ms` is the finer one; `retry-after` may be a date (RFC 9110, 10.2.3).
 * @param {Headers} headers
 * @param {number} [now] milliseconds since the epoch
 */
function retryAfterSeconds(headers, now = Date.now()) {
  const milliseconds = Number.parseFloat(headers.get("retry-after-ms") ?? "");
  if (milliseconds >= 0) return Math.ceil(milliseconds / 1000);
  const value = headers.get("retry-after");
  if (value === null) return undefined;
  if (/^\s*\d+\s*$/.test(value)) return Number(value);
  const date = Date.parse(value);
  return Number.isNaN(date) ? undefined : Math.max(0, Math.ceil((date - now) / 1000));
}

/** @param {string} text */
function parseJson(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/**
 * The body itself when it is short prose: a proxy's HTML page helps nobody.
 * @param {string} body
 * @param {Response} response
 */
function plainExcerpt(body, response) {
  const isProse = response.headers.get("content-type")?.startsWith("text/plain") && body.length <= 300;
  return isProse ? body.trim() : "";
}

/**
 * Addresses of views: `#/NAME/PATH…?PARAMETERS`, with every part percent-encoded.
 */

/** @typedef {{name: string, path: string[], parameters: URLSearchParams}} Address */

/**
 * @param {string} hash as `location.hash` has it
 * @returns {Address} with the name "" where the hash is no address
 */
export function parseAddress(hash) {
  if (!hash.startsWith("#/")) return { name: "", path: [], parameters: new URLSearchParams() };
  const [parts, query = ""] = hash.slice(2).split(/\?(.*)/s, 2);
  const [name, ...path] = parts.split("/").map(decoded);
  return { name, path, parameters: new URLSearchParams(query) };
}

/**
 * @param {string} name
 * @param {string[]} [path]
 * @param {Record<string, string>} [parameters]
 */
export function writeAddress(name, path = [], parameters = {}) {
  const query = new URLSearchParams(parameters).toString();
  return `#/${[name, ...path].map(encodeURIComponent).join("/")}${query === "" ? "" : `?${query}`}`;
}

/**
 * Which parameters a view takes: by name, whether it understands a value, beside all the others.
 * @typedef {Record<string, (value: string, all: URLSearchParams) => boolean>} Known
 */

/** @type {Known[string]} */
export const ANY = () => true;

/**
 * Separates what a view understands from what it does not, as that was written. Of a name that comes twice the first holds.
 * @param {URLSearchParams} given
 * @param {Known} known
 */
export function understood(given, known) {
  /** @type {Record<string, string>} */
  const right = {};
  const wrong = [];
  for (const [name, value] of given) {
    if (Object.hasOwn(known, name) && !Object.hasOwn(right, name) && known[name](value, given)) right[name] = value;
    else wrong.push(`${name}=${value}`);
  }
  return { right, wrong };
}

/** @param {string} part that somebody may have typed @returns {string} */
function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

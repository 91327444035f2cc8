/**
 * What both APIs' events have in common.
 */

import { RelayError } from "../errors.js";

/**
 * @param {string} data of an event
 * @returns {any}
 * @throws {RelayError} when it is no JSON
 */
export function readJson(data) {
  try {
    return JSON.parse(data);
  } catch {
    throw new RelayError({ kind: "format", message: "" });
  }
}

/** @param {unknown} value */
export function textOf(value) {
  return typeof value === "string" ? value : "";
}

/**
 * @param {unknown} input
 * @param {unknown} output
 * @param {unknown} reasoning the part of the output that was reasoning
 * @returns {import("../answer.js").Usage | undefined} undefined where the service did not count
 */
export function tokens(input, output, reasoning) {
  if (!isCount(input) || !isCount(output)) return undefined;
  return isCount(reasoning) && reasoning > 0 ? { input, output, reasoning } : { input, output };
}

/**
 * @param {unknown} value
 * @returns {value is number}
 */
function isCount(value) {
  return Number.isFinite(value);
}

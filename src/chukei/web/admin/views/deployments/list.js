/**
 * All deployments in a table.
 */

import { element } from "../../../dom.js";
import { writeAddress } from "../../address.js";
import { renderReason } from "../../reasons.js";
import { renderTable } from "../../table.js";

/** @typedef {import("../../../i18n.js").Words} Words */

/**
 * @typedef {object} Deployment
 * @property {string} deployment
 * @property {string[]} models
 * @property {string} status
 * @property {number} seconds for which it still is left alone
 * @property {string | null} why
 * @property {number} priority
 * @property {number} weight
 * @property {number} outstanding
 * @property {number} outstanding_tokens
 * @property {number} answered
 * @property {number} failed
 * @property {string | null} last_error
 * @property {number} left_out_for
 * @property {number | null} first_token_p50
 * @property {number | null} first_token_p95
 * @property {number | null} max_concurrent
 * @property {string | null} quota_group
 * @property {number} pressed_seconds
 * @property {number | null} large_tokens
 * @property {number} large_seconds
 */

/** Those in trouble come first. */
const ORDER = ["open", "cooling", "full", "half_open"];

/**
 * Each deployment once, with all its models.
 * @param {Record<string, any[]>} models
 * @returns {Deployment[]}
 */
export function byName(models) {
  /** @type {Map<string, Deployment>} */
  const found = new Map();
  for (const [model, deployments] of Object.entries(models)) {
    for (const each of deployments) {
      const known = found.get(each.deployment);
      if (known === undefined) found.set(each.deployment, { ...each, models: [model] });
      else known.models.push(model);
    }
  }
  const rank = (/** @type {Deployment} */ { status }) => (ORDER.indexOf(status) + ORDER.length + 1) % (ORDER.length + 1);
  return [...found.values()].sort((a, b) => rank(a) - rank(b));
}

/** @param {Words} words @param {Deployment[]} found */
export function renderList(words, found) {
  if (found.length === 0) return [element("p", { class: "nothing" }, words.say("deployments.none"))];
  const table = renderTable(
    words.say("deployments"),
    [
      { head: words.say("by.deployment"), name: true, class: "name", cell: (row) => renderLink(row.deployment) },
      { head: words.say("deployments.models"), class: "name", cell: ({ models }) => names(models) },
      { head: words.say("deployments.status"), class: "name", cell: (row) => renderStatus(words, row, row.why !== row.last_error) },
      { head: words.say("deployments.outstanding"), number: true, cell: (row) => inFlight(words, row) },
      { head: words.say("deployments.answered"), number: true, cell: ({ answered }) => words.number(answered) },
      { head: words.say("figure.failed"), number: true, cell: ({ failed }) => words.number(failed) },
      { head: words.say("deployments.p50"), number: true, cell: ({ first_token_p50: value }) => seconds(words, value) },
      { head: words.say("deployments.p95"), number: true, cell: ({ first_token_p95: value }) => seconds(words, value) },
      { head: words.say("deployments.error"), class: "name", cell: ({ last_error: code }) => renderReason(words, code) },
    ],
    found,
  );
  return [table];
}

/** @param {string} name */
export function renderLink(name) {
  return element("a", { href: writeAddress("deployments", [name]) }, element("bdi", {}, name));
}

/** @param {string[]} found names from outside */
export function names(found) {
  return element("span", {}, ...found.flatMap((name, index) => [index > 0 && ", ", element("bdi", {}, name)]));
}

/**
 * The state, and for how long it lasts.
 * @param {Words} words
 * @param {Deployment} row
 * @param {boolean} explained whether it is said why
 */
export function renderStatus(words, { status, seconds: left, why, left_out_for: callers }, explained) {
  const known = words.has(`status.${status}`) ? words.say(`status.${status}`) : status;
  const rest = left > 0 ? ` ${words.say("deployments.for", { seconds: words.number(Math.ceil(left)) })}` : "";
  return element(
    "span",
    {},
    element("span", { class: "status-line" }, element("span", { class: `state status-${status}` }, known), rest),
    callers > 0 && element("span", { class: "below" }, words.say("deployments.only", { callers: words.number(callers) })),
    explained && why !== null && element("span", { class: "below" }, renderReason(words, why)),
  );
}

/** @param {Words} words @param {Deployment} row */
export function inFlight(words, { outstanding, max_concurrent: most }) {
  const count = words.number(outstanding);
  return most === null ? count : words.say("deployments.of", { count, most: words.number(most) });
}

/** @param {Words} words @param {number | null} value */
export function seconds(words, value) {
  return value === null ? "–" : `${words.number(value, 2)} s`;
}

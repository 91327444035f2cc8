/**
 * One deployment in detail.
 */

import { element } from "../../../dom.js";
import { writeAddress } from "../../address.js";
import { renderReason } from "../../reasons.js";
import { inFlight, names, renderLink, renderStatus, seconds } from "./list.js";

/** @typedef {import("../../../i18n.js").Words} Words */
/** @typedef {import("../../../dom.js").Child} Child */
/** @typedef {import("./list.js").Deployment} Deployment */

/**
 * @param {Words} words
 * @param {string} name
 * @param {Deployment[]} all
 */
export function renderDetails(words, name, all) {
  const found = all.find(({ deployment }) => deployment === name);
  if (found === undefined) return [element("p", { class: "nothing" }, words.say("deployments.unknown"))];
  const explained = `status.${found.status}.text`;
  return [
    element(
      "div",
      { class: "card" },
      element("p", {}, renderStatus(words, found, true)),
      words.has(explained) && element("p", { class: "quiet" }, words.say(explained)),
      element("ul", { class: "notes" }, ...notes(words, found).map((text) => element("li", {}, text))),
    ),
    element("h2", {}, words.say("deployments.limits")),
    facts(words, [
      ["deployments.models", names(found.models)],
      ["deployments.outstanding", inFlight(words, found)],
      ["deployments.left", found.max_concurrent === null ? words.say("deployments.unlimited") : words.number(Math.max(found.max_concurrent - found.outstanding, 0))],
      ["deployments.tokens", words.number(found.outstanding_tokens)],
      ["deployments.priority", `${words.number(found.priority)} / ${words.number(found.weight)}`],
      ["deployments.shares", sharing(found, all)],
    ]),
    element("h2", {}, words.say("deployments.since")),
    facts(words, [
      ["deployments.answered", words.number(found.answered)],
      ["figure.failed", failed(words, found)],
      ["deployments.error", renderReason(words, found.last_error)],
      ["deployments.p50", seconds(words, found.first_token_p50)],
      ["deployments.p95", seconds(words, found.first_token_p95)],
    ]),
    element("p", { class: "foot-link" }, element("a", { href: writeAddress("configuration", [], { find: `deployments.${name}` }) }, words.say("deployments.configured"))),
  ];
}

/** What holds it back besides its state. @param {Words} words @param {Deployment} found */
function notes(words, { left_out_for: callers, pressed_seconds: pressed, large_seconds: large, large_tokens: tokens }) {
  const count = (/** @type {number} */ value) => words.number(Math.ceil(value));
  return [
    callers > 0 && words.say("deployments.left-out", { callers: count(callers) }),
    pressed > 0 && words.say("deployments.pressed", { seconds: count(pressed) }),
    tokens !== null && words.say("deployments.large", { seconds: count(large), tokens: count(tokens) }),
  ].filter((text) => text !== false);
}

/** @param {Deployment} found @param {Deployment[]} all */
function sharing({ deployment, quota_group: group }, all) {
  const others = all.filter((each) => group !== null && each.quota_group === group && each.deployment !== deployment);
  if (others.length === 0) return "–";
  return element("span", {}, ...others.flatMap((each, index) => [index > 0 && ", ", renderLink(each.deployment)]));
}

/** @param {Words} words @param {Deployment} found */
function failed(words, { answered, failed: count }) {
  const share = words.number(count > 0 ? (100 * count) / (answered + count) : 0, 1);
  return words.say("deployments.share", { count: words.number(count), share });
}

/** @param {Words} words @param {[string, Child][]} rows */
function facts(words, rows) {
  return element("dl", { class: "details" }, ...rows.map(([name, value]) => element("div", {}, element("dt", {}, words.say(name)), element("dd", {}, value))));
}

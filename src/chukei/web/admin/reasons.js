/**
 * Codes of errors in words. Nobody should have to look a code up, and everybody may search the log for it.
 */

import { element } from "../dom.js";

/** @typedef {import("../i18n.js").Words} Words */

/**
 * @param {Words} words
 * @param {string} code
 * @returns {string | null} null for a code that the page has no words for, such as one of Azure's own
 */
function reasonText(words, code) {
  if (words.has(`reason.${code}`)) return words.say(`reason.${code}`);
  const status = /^upstream_(\d{3})$/.exec(code)?.[1];
  return status === undefined ? null : words.say("reason.upstream_status", { status });
}

/**
 * The words with the code below them, or the code alone.
 * @param {Words} words
 * @param {string | null | undefined} code
 * @param {string | null} [rule] the place in the configuration of the rule that refused
 */
export function renderReason(words, code, rule = null) {
  if (!code) return "–";
  const text = reasonText(words, code);
  const codes = [code, rule].filter((each) => each !== null).map((each) => element("code", {}, element("bdi", {}, each)));
  if (text === null) return element("span", { class: "reason" }, ...codes);
  return element("span", { class: "reason" }, text, element("span", { class: "codes" }, ...codes));
}

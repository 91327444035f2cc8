/**
 * A failure, shown where it happened: in the reader's language what happened and what to do, with the
 * service's own words behind "Details".
 */

import { element, icon } from "../dom.js";
import { meaningOf, needsOwnWords } from "../meanings.js";
import { copyFrom } from "./copying.js";

/** @typedef {import("../errors.js").Failure} Failure */
/** @typedef {import("../errors.js").FilterHit} FilterHit */
/** @typedef {import("../i18n.js").Words} Words */

/** Units of a wait, and from how many seconds on each is used. @type {[string, number, number][]} */
const UNITS = [
  ["day", 86_400, 2 * 86_400],
  ["hour", 3600, 2 * 3600],
  ["minute", 60, 2 * 60],
  ["second", 1, 0],
];

/**
 * @param {Failure} failure
 * @param {Words} words
 * @param {boolean} isNew announced at once; one that is only shown again is not
 * @param {(() => void) | null} onRetry
 */
export function renderFailure(failure, words, isNew, onRetry) {
  const { key, needsWords } = sentence(failure, words);
  const filtered = failure.filtered ?? [];
  const wait = failure.retryAfterSeconds;
  const said = needsWords ? failure.message : "";
  return element(
    "div",
    { class: "failure" },
    element(
      "div",
      { role: isNew ? "alert" : null },
      element("p", { class: "failure-title" }, words.say(key)),
      said !== "" && element("p", { class: "failure-message" }, words.say("failure.said", { message: said })),
      filtered.length > 0 && element("p", {}, sayFilters(filtered, words)),
      words.has(`${key}.do`) && element("p", { class: "failure-advice" }, words.say(`${key}.do`)),
      wait !== undefined && element("p", {}, words.say("failure.retry_after", { time: sayTime(wait, "long", words) })),
    ),
    onRetry !== null && retryButton(words, wait ?? 0, onRetry),
    renderDetails(failure, said === "" ? failure.message : "", words),
  );
}

/**
 * @param {FilterHit[]} hits
 * @param {Words} words
 */
export function sayFilters(hits, words) {
  const categories = hits.map(({ category, severity }) => {
    const name = sayOr(words, `filter.${category}`, category);
    return severity === undefined ? name : `${name} (${sayOr(words, `severity.${severity}`, severity)})`;
  });
  const list = new Intl.ListFormat(words.language, { type: "unit" }).format(categories);
  return words.say("filter.found", { categories: list });
}

/**
 * @param {Words} words
 * @param {string} key
 * @param {string} otherwise
 */
function sayOr(words, key, otherwise) {
  return words.has(key) ? words.say(key) : otherwise;
}

/**
 * The sentence for a failure: by its code if the page knows it, else by its status or kind. The latter are
 * general, so the service's own words must be beside them.
 * @param {Failure} failure
 * @param {Words} words
 */
function sentence(failure, words) {
  const meaning = meaningOf(failure);
  const { code, status, kind } = failure;
  const known = [`error.${code}`, `error.${meaning}`].find((key) => words.has(key) && !key.endsWith(".do"));
  const key = known ?? (words.has(`error.${status}`) ? `error.${status}` : `error.${kind}`);
  return { key, needsWords: known === undefined || needsOwnWords(meaning) };
}

/**
 * @param {number} seconds
 * @param {"long" | "short"} unitDisplay
 * @param {Words} words
 */
function sayTime(seconds, unitDisplay, words) {
  const [unit, length] = UNITS.find(([, , from]) => seconds >= from) ?? UNITS[UNITS.length - 1];
  return words.format(Math.ceil(seconds / length), { style: "unit", unit, unitDisplay });
}

/**
 * What an operator asks for; it can be copied as a whole.
 * @param {Failure} failure
 * @param {string} message the service's words, unless they are shown already
 * @param {Words} words
 */
function renderDetails(failure, message, words) {
  const { status, code, requestId } = failure;
  const rows = /** @type {[string, string | number | undefined][]} */ ([
    ["failure.status", status],
    ["failure.code", code],
    ["failure.request", requestId],
  ]).filter(([, value]) => value !== undefined);
  if (rows.length === 0 && message === "") return null;
  const lines = rows.map(([key, value]) => `${words.say(key)}: ${value}`);
  const text = [failure.message, ...lines].filter((line) => line !== "").join("\n");
  return element(
    "details",
    { class: "failure-details fold" },
    element("summary", {}, words.say("failure.details")),
    message !== "" && element("p", { class: "failure-own" }, message),
    element(
      "dl",
      {},
      ...rows.map(([key, value]) =>
        element("div", {}, element("dt", {}, words.say(key)), element("dd", {}, String(value))),
      ),
    ),
    copyButton(text, words),
  );
}

/**
 * @param {string} text
 * @param {Words} words
 */
function copyButton(text, words) {
  const said = element("span", { class: "visually-hidden", role: "status" });
  const onCopied = () => (said.textContent = words.say("copied"));
  const label = words.say("failure.copy");
  const button = element("button", { type: "button", class: "text-button" }, icon("copy"), label);
  button.addEventListener("click", () => void copyFrom(button, text, { words, onCopied }));
  return element("div", { class: "failure-copy" }, button, said);
}

/**
 * The button counts down but can be pressed at any time; it is outside the alert, so that the seconds
 * are not read aloud.
 * @param {Words} words
 * @param {number} seconds
 * @param {() => void} onRetry
 */
function retryButton(words, seconds, onRetry) {
  const label = element("span", {}, words.say("retry"));
  const button = element("button", { type: "button", class: "outline-button when-idle retry", onclick: onRetry }, icon("again"), label);
  const end = performance.now() + seconds * 1000;
  const tick = () => {
    const left = Math.ceil((end - performance.now()) / 1000);
    label.textContent = left > 0 ? words.say("retry.wait", { time: sayTime(left, "short", words) }) : words.say("retry");
    if (left > 0 && (button.isConnected || left === seconds)) setTimeout(tick, 1000);
  };
  tick();
  return button;
}

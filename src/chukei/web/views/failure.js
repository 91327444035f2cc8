/**
 * A failure, shown where it happened: what went wrong, what the server said, when to try again.
 */

import { element, icon } from "../dom.js";

/** @typedef {import("../errors.js").Failure} Failure */
/** @typedef {import("../errors.js").FilterHit} FilterHit */
/** @typedef {import("../i18n.js").Words} Words */

/**
 * @param {Failure} failure
 * @param {Words} words
 * @param {boolean} isNew announced at once; one that is only shown again is not
 * @param {(() => void) | null} onRetry
 */
export function renderFailure(failure, words, isNew, onRetry) {
  const filtered = failure.filtered ?? [];
  const wait = failure.retryAfterSeconds;
  return element(
    "div",
    { class: "failure" },
    element(
      "div",
      { role: isNew ? "alert" : null },
      element("p", { class: "failure-title" }, headline(failure, words)),
      failure.message !== "" && element("p", { class: "failure-message" }, failure.message),
      filtered.length > 0 && element("p", {}, sayFilters(filtered, words)),
      wait !== undefined && element("p", {}, words.say("error.retry_after", { seconds: words.number(wait) })),
    ),
    element(
      "div",
      { class: "failure-foot" },
      onRetry !== null && retryButton(words, wait ?? 0, onRetry),
      element("p", { class: "failure-detail" }, details(failure, words)),
    ),
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
 * @param {Failure} failure
 * @param {Words} words
 */
function headline(failure, words) {
  const keys = [`error.${failure.code}`, `error.${failure.status}`];
  const key = keys.find((candidate) => words.has(candidate));
  return words.say(key ?? `error.${failure.kind}`);
}

/**
 * @param {Failure} failure
 * @param {Words} words
 */
function details({ status, code, requestId }, words) {
  const parts = [
    status === undefined ? "" : words.say("error.status", { status }),
    code === undefined || code === String(status) ? "" : code,
    requestId === undefined ? "" : words.say("error.request", { id: requestId }),
  ];
  return parts.filter((part) => part !== "").join(" · ");
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
    label.textContent = left > 0 ? words.say("retry.wait", { seconds: words.number(left) }) : words.say("retry");
    if (left > 0 && (button.isConnected || left === seconds)) setTimeout(tick, 1000);
  };
  tick();
  return button;
}

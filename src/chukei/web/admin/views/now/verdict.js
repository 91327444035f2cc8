/**
 * What is wrong and where: the headline, what else was found, and the four parts of a request's way.
 */

import { element } from "../../../dom.js";
import { duration, percent } from "./quantities.js";

/** @typedef {import("../../../i18n.js").Words} Words */

const MOST_ALSO = 4;

export class Verdict {
  #words;
  #announcer;
  #said = "";
  #headline = element("p", { id: "headline", class: "headline" });
  #also = element("ul");
  #place = element("section", { class: "verdict", "data-say-label": "now.verdict" }, this.#headline, this.#also);
  #places = element("div", { class: "places", role: "group", "data-say-label": "now.places" });
  root = element("div", {}, this.#place, this.#places);

  /** @param {Words} words @param {import("../../../views/announcer.js").Announcer} announcer */
  constructor(words, announcer) {
    this.#words = words;
    this.#announcer = announcer;
  }

  clear() {
    this.#said = "";
    this.#headline.textContent = "";
    this.#also.replaceChildren();
    this.#places.replaceChildren();
  }

  /** @param {any} live */
  show(live) {
    const words = this.#words;
    const { verdict, findings } = live;
    this.#place.dataset.level = verdict.level;
    this.#headline.textContent = sentence(words, verdict);
    const rest = findings.slice(1, 1 + MOST_ALSO);
    this.#also.replaceChildren(...rest.map((/** @type {any} */ each) => element("li", {}, sentence(words, each))));
    this.#places.replaceChildren(...places(words, live).map((each) => place(words, live.places, each)));
    // Figures change every second; what is said aloud is only that something else is wrong than before.
    const now = [verdict.rule, verdict.subject, verdict.level].join();
    if (now !== this.#said) this.#announcer.say(this.#headline.textContent);
    this.#said = now;
  }
}

/** The relay's own sentence where this page is older than the rule. @param {Words} words @param {any} finding */
export function sentence(words, { rule, values, text }) {
  const key = values.deployment !== undefined && rule.startsWith("slow_") && values.times === undefined ? `${rule}.new` : rule;
  if (!words.has(`finding.${key}`)) return text;
  const rest = `finding.others.${values.others}`;
  const others = words.has(rest) ? words.say(rest) : "";
  return words.say(`finding.${key}`, { ...values, others });
}

/**
 * @param {Words} words
 * @param {any} live
 * @returns {{name: "caller" | "relay" | "network" | "azure", facts: [string, string][]}[]}
 */
function places(words, live) {
  const { times, open, ended, deployments } = live;
  const asked = sum(deployments, ({ asked: count }) => count);
  const failed = sum(deployments, ({ failed: count }) => count);
  const unreached = sum(deployments, ({ unreached: count }) => count);
  return [
    {
      name: "caller",
      facts: [
        ["now.upload", duration(words, times.upload.p95)],
        ["now.refused", percent(words, ended.refused, ended.requests)],
        ["now.slow", words.number(open.slow)],
        ["now.left", words.number(ended.left)],
      ],
    },
    {
      name: "relay",
      facts: [
        ["now.own", duration(words, times.own.p95)],
        ["now.lag", duration(words, live.lag)],
        ["now.open", words.number(open.requests)],
        ["now.streams", words.number(open.streams)],
      ],
    },
    {
      name: "network",
      facts: [
        ["now.connect", duration(words, times.connect.p50)],
        ["now.unreached", percent(words, unreached, asked)],
        ["now.connections", words.number(open.connections)],
      ],
    },
    {
      name: "azure",
      facts: [
        ["now.first", duration(words, times.first_token.p95)],
        ["now.gap", duration(words, times.gap.p50)],
        ["now.failed", percent(words, failed - unreached, asked)],
        ["now.waiting", words.number(open.waiting)],
      ],
    },
  ];
}

/**
 * @param {Words} words
 * @param {Record<string, string>} levels
 * @param {{name: string, facts: [string, string][]}} facts
 */
function place(words, levels, { name, facts }) {
  const list = facts.map(([key, value]) => element("div", {}, element("dt", {}, words.say(key)), element("dd", {}, value)));
  return element(
    "div",
    { class: "place", "data-place": name, "data-level": levels[name] },
    element("h2", {}, words.say(`now.place.${name}`), element("span", { class: "level" }, words.say(`now.level.${levels[name]}`))),
    element("dl", {}, ...list),
  );
}

/** @param {any[]} rows @param {(row: any) => number} count */
function sum(rows, count) {
  return rows.reduce((total, row) => total + count(row), 0);
}

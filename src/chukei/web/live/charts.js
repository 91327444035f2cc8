/**
 * Small plots of the last quarter of an hour. They are made once; afterwards only their bars and figures change.
 */

import { element } from "../dom.js";
import { duration, rate } from "./quantities.js";

/** @typedef {import("../i18n.js").Words} Words */

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 40;

/**
 * @typedef {object} Plot
 * @property {string} name its words
 * @property {(live: any) => (number | null)[]} values
 * @property {(live: any) => (number | null)[]} [bad] the part of them that is drawn in the colour of failures
 * @property {(live: any) => number | null} now
 * @property {(words: Words, value: number | null) => string} format
 */

const SECONDS = (/** @type {Words} */ words, /** @type {number | null} */ value) => duration(words, value);
const RATE = (/** @type {Words} */ words, /** @type {number | null} */ value) => rate(words, value ?? 0);

/** @type {Plot[]} */
const PLOTS = [
  {
    name: "live.chart.requests",
    values: ({ quarter }) => quarter.requests,
    bad: ({ quarter }) => quarter.failed.map((/** @type {number} */ failed, /** @type {number} */ index) => failed + quarter.refused[index]),
    now: ({ rates }) => rates.requests,
    format: RATE,
  },
  { name: "live.chart.output", values: ({ quarter }) => quarter.output, now: ({ rates }) => rates.output, format: RATE },
  { name: "live.chart.first", values: ({ quarter }) => quarter.first_token, now: ({ times }) => times.first_token.p95, format: SECONDS },
  { name: "live.chart.minute", values: ({ minute }) => minute.output, now: ({ minute }) => minute.output.at(-2), format: RATE },
];

export class Charts {
  #words;
  #drawn;

  /** @param {HTMLElement} place @param {Words} words */
  constructor(place, words) {
    this.#words = words;
    this.#drawn = PLOTS.map((plot) => ({ plot, ...frame(words.say(plot.name)) }));
    place.replaceChildren(...this.#drawn.map(({ figure }) => figure));
  }

  /** @param {any} live */
  show(live) {
    const words = this.#words;
    for (const { plot, svg, name, value, most } of this.#drawn) {
      const values = plot.values(live).map((each) => each ?? 0);
      const top = Math.max(0, ...values);
      const now = plot.format(words, plot.now(live));
      name.textContent = words.say(plot.name);
      value.textContent = now;
      most.textContent = words.say("live.most", { value: plot.format(words, top) });
      svg.setAttribute("aria-label", words.say("live.chart.label", { name: words.say(plot.name), now, most: plot.format(words, top) }));
      svg.setAttribute("viewBox", `0 0 ${values.length} ${HEIGHT}`);
      const bad = plot.bad?.(live);
      svg.replaceChildren(...values.flatMap((each, index) => bars(index, each, bad?.[index] ?? 0, top)));
    }
  }
}

/** @param {string} label */
function frame(label) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", label);
  svg.setAttribute("preserveAspectRatio", "none");
  const [name, value, most] = [element("span", { class: "name" }), element("span", { class: "value" }), element("span")];
  const foot = element("div", { class: "foot" }, most);
  return { svg, name, value, most, figure: element("figure", { class: "chart" }, element("figcaption", {}, name, value), svg, foot) };
}

/**
 * A bar, whose lower part is what went wrong. Whatever is above zero is seen.
 * @param {number} index
 * @param {number} value
 * @param {number} bad
 * @param {number} top
 */
function bars(index, value, bad, top) {
  if (value <= 0) return [];
  const height = (/** @type {number} */ part) => Math.max((HEIGHT * part) / top, 1);
  const parts = [bar(index, height(value), "part-0")];
  if (bad > 0) parts.push(bar(index, height(bad), "part-bad"));
  return parts;
}

/** @param {number} index @param {number} height @param {string} name */
function bar(index, height, name) {
  const made = document.createElementNS(SVG, "rect");
  for (const [key, value] of Object.entries({ class: name, x: index + 0.1, y: HEIGHT - height, width: 0.8, height })) {
    made.setAttribute(key, String(value));
  }
  return made;
}

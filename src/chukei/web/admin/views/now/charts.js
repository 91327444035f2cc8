/**
 * Small plots of the last quarter of an hour. They are made once; afterwards only their bars and figures change.
 */

import { element } from "../../../dom.js";
import { duration, rate } from "./quantities.js";

/** @typedef {import("../../../i18n.js").Words} Words */

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 40;

/**
 * @typedef {object} Plot
 * @property {string} name its words
 * @property {(live: any) => (number | null)[]} values
 * @property {(live: any) => number | null} now
 * @property {(words: Words, value: number | null) => string} format
 * @property {string} [kind] a class of its own
 */

const SECONDS = (/** @type {Words} */ words, /** @type {number | null} */ value) => duration(words, value);
const RATE = (/** @type {Words} */ words, /** @type {number | null} */ value) => rate(words, value ?? 0);

/** @type {Plot[]} */
const PLOTS = [
  { name: "now.chart.first", values: ({ quarter }) => quarter.first_token, now: ({ times }) => times.first_token.p95, format: SECONDS, kind: "wide-chart" },
  { name: "now.chart.requests", values: ({ quarter }) => quarter.requests, now: ({ rates }) => rates.requests, format: RATE },
  { name: "now.chart.output", values: ({ quarter }) => quarter.output, now: ({ rates }) => rates.output, format: RATE },
  { name: "now.chart.failed", values: ({ quarter }) => quarter.failed, now: ({ quarter }) => quarter.failed.at(-1) ?? null, format: RATE, kind: "bad-chart" },
  { name: "now.chart.refused", values: ({ quarter }) => quarter.refused, now: ({ quarter }) => quarter.refused.at(-1) ?? null, format: RATE, kind: "refused-chart" },
];

export class Charts {
  #words;
  #drawn;
  root;

  /** @param {Words} words */
  constructor(words) {
    this.#words = words;
    this.#drawn = PLOTS.map((plot) => ({ plot, ...frame(plot) }));
    this.root = element("div", { class: "charts" }, ...this.#drawn.map(({ figure }) => figure));
  }

  clear() {
    for (const { svg, value, most } of this.#drawn) {
      svg.replaceChildren();
      value.textContent = most.textContent = "";
    }
  }

  /** @param {any} live */
  show(live) {
    const words = this.#words;
    for (const { plot, svg, value, most } of this.#drawn) {
      const values = plot.values(live).map((each) => each ?? 0);
      const top = Math.max(0, ...values);
      const now = plot.format(words, plot.now(live));
      value.textContent = now;
      most.textContent = words.say("now.most", { value: plot.format(words, top) });
      svg.setAttribute("aria-label", words.say("now.chart.label", { name: words.say(plot.name), now, most: plot.format(words, top) }));
      svg.setAttribute("viewBox", `0 0 ${values.length} ${HEIGHT}`);
      svg.replaceChildren(...values.flatMap((each, index) => (each > 0 ? [bar(index, Math.max((HEIGHT * each) / top, 1))] : [])));
    }
  }
}

/** @param {Plot} plot */
function frame({ name, kind }) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("role", "img");
  svg.setAttribute("preserveAspectRatio", "none");
  const [value, most] = [element("span", { class: "value" }), element("span")];
  const caption = element("figcaption", {}, element("span", { class: "name", "data-say": name }), value);
  const foot = element("div", { class: "foot" }, most);
  return { svg, value, most, figure: element("figure", { class: ["chart", kind].filter(Boolean).join(" ") }, caption, svg, foot) };
}

/** Whatever is above zero is seen. @param {number} index @param {number} height */
function bar(index, height) {
  const made = document.createElementNS(SVG, "rect");
  for (const [key, value] of Object.entries({ class: "bar-part", x: index + 0.1, y: HEIGHT - height, width: 0.8, height })) {
    made.setAttribute(key, String(value));
  }
  return made;
}

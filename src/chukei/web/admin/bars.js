/**
 * The plot of hours or days: upright bars, drawn element by element at the size that there is, so that its text stays readable.
 */

const SVG = "http://www.w3.org/2000/svg";

const HEIGHT = 240;
const MARGIN = { top: 12, right: 4, bottom: 28, left: 52 };

/** Pixels that a date or an hour below the axis needs. */
const DATE_WIDTH = 64;

/** @typedef {import("./figures.js").Part} Part */

/**
 * @typedef {object} Bar
 * @property {string} name below the axis
 * @property {string} title what is told of it
 * @property {Part[]} parts from below
 */

/**
 * @param {Bar[]} bars
 * @param {object} options
 * @param {number} options.width in pixels
 * @param {string} options.label for those who do not see it
 * @param {(value: number) => string} options.format of the values beside the axis
 */
export function drawBars(bars, { width, label, format }) {
  const plot = svg("svg", { class: "bars", role: "img", "aria-label": label, width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}` });
  const inner = { width: Math.max(width - MARGIN.left - MARGIN.right, 1), height: HEIGHT - MARGIN.top - MARGIN.bottom };
  const top = niceCeiling(Math.max(0, ...bars.map(({ parts }) => sum(parts))));
  for (const share of [0, 0.25, 0.5, 0.75, 1]) {
    const y = MARGIN.top + inner.height * (1 - share);
    plot.append(
      svg("line", { class: share === 0 ? "axis" : "grid", x1: MARGIN.left, x2: width - MARGIN.right, y1: y, y2: y }),
      svg("text", { class: "tick", x: MARGIN.left - 8, y: y + 4, "text-anchor": "end" }, format(top * share)),
    );
  }
  const step = inner.width / Math.max(bars.length, 1);
  const thick = Math.max(Math.min(step * 0.72, 56), 1);
  const every = Math.max(1, Math.ceil(DATE_WIDTH / step));
  bars.forEach((bar, index) => {
    const middle = MARGIN.left + step * (index + 0.5);
    plot.append(drawBar(bar, middle, thick, inner.height, top));
    if (index % every === 0) {
      plot.append(svg("text", { class: "tick", x: middle, y: HEIGHT - 8, "text-anchor": "middle" }, bar.name));
    }
  });
  return plot;
}

/**
 * @param {Bar} bar
 * @param {number} middle
 * @param {number} thick
 * @param {number} height of the whole scale
 * @param {number} top value of the whole scale
 */
function drawBar({ title, parts }, middle, thick, height, top) {
  const group = svg("g", { class: "bar-group" }, svg("title", {}, title));
  // What the pointer meets is the whole column: a bar of a quiet day is too small to hit.
  group.append(svg("rect", { class: "column", x: middle - thick / 2, y: MARGIN.top, width: thick, height }));
  let below = 0;
  for (const [name, value] of parts) {
    const size = (value / top) * height;
    const y = MARGIN.top + height - below - size;
    group.append(svg("rect", { class: `part part-${name}`, x: middle - thick / 2, y, width: thick, height: Math.max(size, 0), "data-value": value }));
    below += size;
  }
  return group;
}

/**
 * A bar that lies beside its name and its figure in a table, which says the same in words.
 * @param {Part[]} parts
 * @param {number} top value of a bar over the whole width
 */
export function drawLying(parts, top) {
  const plot = svg("svg", { class: "lying", "aria-hidden": "true", width: "100%", height: 14 });
  let left = 0;
  for (const [name, value] of parts) {
    const share = top > 0 ? (value / top) * 100 : 0;
    plot.append(svg("rect", { class: `part part-${name}`, x: `${left}%`, y: 0, width: `${share}%`, height: 14, "data-value": value }));
    left += share;
  }
  return plot;
}

/**
 * The next round number: 1, 2, 4, 6, 8 or 10 times a power of ten, so that quarters of it are short to write.
 * @param {number} value
 */
export function niceCeiling(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  const factor = [1, 2, 4, 6, 8, 10].find((each) => each * power >= value * (1 - 1e-9)) ?? 10;
  return factor * power;
}

/** @param {Part[]} parts */
function sum(parts) {
  return parts.reduce((total, [, value]) => total + value, 0);
}

/**
 * @param {string} tag
 * @param {Record<string, string | number>} attributes
 * @param {...(Node | string)} children
 */
function svg(tag, attributes, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value));
  made.append(...children);
  return made;
}

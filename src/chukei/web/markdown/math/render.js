/**
 * Formulas on the page. MathML elements are made one by one; the source stays with them, for those who copy it and
 * for screen readers that do not read MathML.
 */

import { parseFormula } from "./parse.js";

/** @typedef {import("./parse.js").Tree} Tree */

const MATHML = "http://www.w3.org/1998/Math/MathML";

/**
 * @param {string} tex
 * @param {boolean} display as a block of its own
 * @returns {Element | null} null when the source is to be shown instead
 */
export function renderFormula(tex, display) {
  const tree = parseFormula(tex);
  if (tree === null) return null;
  const math = document.createElementNS(MATHML, "math");
  // Formulas run from left to right in any language.
  math.setAttribute("dir", "ltr");
  math.setAttribute("display", display ? "block" : "inline");
  math.setAttribute("alttext", tex);
  const annotation = document.createElementNS(MATHML, "annotation");
  annotation.setAttribute("encoding", "application/x-tex");
  annotation.setAttribute("class", "source");
  annotation.append(tex);
  const semantics = document.createElementNS(MATHML, "semantics");
  semantics.append(draw(tree), annotation);
  math.append(semantics);
  return math;
}

/**
 * @param {Tree} tree
 * @returns {Element}
 */
function draw(tree) {
  const made = document.createElementNS(MATHML, tree.tag);
  for (const [name, value] of Object.entries(tree.attributes)) made.setAttribute(name, value);
  made.append(tree.text, ...tree.children.map(draw));
  return made;
}

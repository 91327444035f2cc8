/**
 * Draws parts of markdown as DOM nodes. Model output reaches the page only through here, as text nodes
 * and through one gate for link targets (`safeTarget`). Images are never loaded: an address chosen by a
 * model must not be fetched by showing an answer. They become links.
 */

import { element, icon } from "../dom.js";
import { tokenize } from "./highlight.js";
import { parseInline } from "./inline.js";
import { renderFormula } from "./math/render.js";

/** @typedef {import("./blocks.js").Code} Code */
/** @typedef {import("./blocks.js").Table} Table */
/** @typedef {import("./inline.js").Inline} Inline */

/**
 * The words that the renderer itself adds.
 * @typedef {object} Labels
 * @property {string} copy
 * @property {string} code
 * @property {string} formula
 * @property {string} image
 * @property {string} table
 * @property {string} task
 * @property {string} wrap
 */

const LINK_PROTOCOLS = new Set(["http:", "https:", "mailto:"]);

/**
 * The address to link to, or null when it must not become a link: anything that is not an absolute
 * http, https or mailto URL. The URL parser decides, so no spelling of `javascript:` gets by.
 * @param {string} target
 * @returns {string | null}
 */
export function safeTarget(target) {
  try {
    const url = new URL(target);
    return LINK_PROTOCOLS.has(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}

/** The attribute of the page that says whether new code blocks wrap their lines: as the reader chose last. */
const WRAPS = "data-wrap-code";

/**
 * A code block without its text. Its buttons carry no listeners: the message that holds them listens for all.
 * @param {Code} block
 * @param {Labels} labels
 */
export function renderCode(block, labels) {
  const code = element("code", { class: "source" });
  const name = block.language === "" ? labels.code : block.language;
  const wraps = document.documentElement.hasAttribute(WRAPS);
  const root = element(
    "div",
    { class: "code copyable" },
    element(
      "div",
      { class: "code-bar" },
      element("span", { class: "code-language" }, name),
      element("button", { type: "button", class: "wrap-code", "aria-pressed": String(wraps) }, labels.wrap),
      element("button", { type: "button", class: "copy-source" }, icon("copy"), element("span", {}, labels.copy)),
    ),
    element("pre", { tabindex: 0, role: "group", "aria-label": name, translate: "no", dir: "ltr" }, code),
  );
  return { root, code };
}

/**
 * Wraps the lines of a code block, or no longer, and those of code blocks to come.
 * @param {Element} button
 */
export function switchWrap(button) {
  const wraps = button.getAttribute("aria-pressed") !== "true";
  button.setAttribute("aria-pressed", String(wraps));
  document.documentElement.toggleAttribute(WRAPS, wraps);
}

/**
 * @param {string} text
 * @param {string} language
 */
export function renderTokens(text, language) {
  const tokens = tokenize(text, language);
  if (tokens === null) return [text];
  return tokens.map(({ kind, text: part }) => (kind === "" ? part : element("span", { class: `token-${kind}` }, part)));
}

/**
 * A table without its rows.
 * @param {Table} table
 * @param {Labels} labels
 */
export function renderTable(table, labels) {
  const body = element("tbody");
  const head = element("thead", {}, renderRow("th", table.head, table, labels));
  const name = { class: "table", tabindex: 0, role: "group", "aria-label": labels.table };
  return { root: element("div", name, element("table", {}, head, body)), body };
}

/**
 * @param {"th" | "td"} tag
 * @param {string[]} cells
 * @param {Table} table
 * @param {Labels} labels
 */
export function renderRow(tag, cells, table, labels) {
  const scope = tag === "th" ? "col" : null;
  const drawn = cells.map((cell, column) => {
    const align = table.aligns[column];
    return element(tag, { scope, class: align && `align-${align}` }, ...renderInline(cell, labels));
  });
  return element("tr", {}, ...drawn);
}

/**
 * @param {string} text
 * @param {Labels} labels
 */
export function renderInline(text, labels) {
  return renderNodes(parseInline(text), labels);
}

/**
 * @param {Inline[]} nodes
 * @param {Labels} labels
 * @returns {(Node | string)[]}
 */
function renderNodes(nodes, labels) {
  return nodes.flatMap((node) => renderNode(node, labels));
}

/**
 * @param {Inline} node
 * @param {Labels} labels
 * @returns {Node | string | (Node | string)[]}
 */
function renderNode(node, labels) {
  switch (node.type) {
    case "text":
      return node.text;
    case "code":
      return element("code", { translate: "no" }, node.text);
    case "break":
      return element("br");
    case "strong":
      return element("strong", {}, ...renderNodes(node.children, labels));
    case "emphasis":
      return element("em", {}, ...renderNodes(node.children, labels));
    case "deleted":
      return element("del", {}, ...renderNodes(node.children, labels));
    case "math":
      return renderMath(node, labels);
    case "image":
      return renderLink(node, [`${labels.image}: `, node.text]);
    default:
      return renderLink(node, renderNodes(withoutLinks(node.children, labels), labels));
  }
}

/**
 * @param {Inline & {type: "link" | "image"}} node
 * @param {(Node | string)[]} text
 */
function renderLink(node, text) {
  const href = safeTarget(node.target);
  if (href === null) return text;
  const title = node.title === "" ? null : node.title;
  return element("a", { href, title, target: "_blank", rel: "noopener noreferrer" }, ...text);
}

/**
 * A link within a link cannot be followed: an image and an address that stand in one are text.
 * @param {Inline[]} nodes
 * @param {Labels} labels
 * @returns {Inline[]}
 */
function withoutLinks(nodes, labels) {
  return nodes.flatMap((node) => {
    if (node.type === "image") return [{ type: "text", text: `${labels.image}: ${node.text}` }];
    if (node.type === "link") return withoutLinks(node.children, labels);
    return "children" in node ? [{ ...node, children: withoutLinks(node.children, labels) }] : [node];
  });
}

/** Formulas of more characters scroll by themselves where they do not fit; shorter ones stand in the line. */
const SHORT_FORMULA = 48;

/**
 * @param {Inline & {type: "math"}} node
 * @param {Labels} labels
 */
function renderMath({ tex, display }, labels) {
  const formula = renderFormula(tex, display);
  if (formula === null) return element("code", { class: "math-source", translate: "no" }, tex);
  if (!display && tex.length <= SHORT_FORMULA) return formula;
  const kind = display ? "math display copyable" : "math";
  const scroll = element("span", { class: "math-scroll", tabindex: 0, role: "group", "aria-label": labels.formula });
  scroll.append(formula);
  const copy = element("button", { type: "button", class: "copy-source", "aria-label": labels.copy }, icon("copy"));
  return element("span", { class: kind }, scroll, display && copy);
}

/**
 * Draws parsed markdown as DOM nodes. Model output reaches the page only through here, as text nodes
 * and through one gate for link targets (`safeTarget`). Images are never loaded: an address chosen by a
 * model must not be fetched by showing an answer. They become links.
 */

import { element, icon } from "../dom.js";
import { tokenize } from "./highlight.js";
import { parseInline } from "./inline.js";

/** @typedef {import("./blocks.js").Block} Block */
/** @typedef {import("./blocks.js").ListItem} ListItem */
/** @typedef {import("./inline.js").Inline} Inline */

/**
 * The words that the renderer itself adds.
 * @typedef {object} Labels
 * @property {string} copy
 * @property {string} code
 * @property {string} image
 * @property {string} table
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

/**
 * @param {Block} block
 * @param {Labels} labels
 * @returns {HTMLElement}
 */
export function renderBlock(block, labels) {
  switch (block.type) {
    case "heading":
      // The page has its own h1 and h2: an answer's headings begin below them.
      return element(headingTag(block.level), {}, ...renderInline(block.text, labels));
    case "paragraph":
      return element("p", {}, ...renderInline(block.text, labels));
    case "code":
      return renderCode(block, labels).root;
    case "quote":
      return element("blockquote", {}, ...renderBlocks(block.blocks, labels));
    case "list":
      return renderList(block, labels);
    case "table":
      return renderTable(block, labels);
    default:
      return element("hr");
  }
}

/** @param {number} level */
function headingTag(level) {
  return /** @type {const} */ (["h3", "h4", "h5", "h6"])[Math.min(level, 4) - 1];
}

/**
 * @param {Block[]} blocks
 * @param {Labels} labels
 */
function renderBlocks(blocks, labels) {
  return blocks.map((block) => renderBlock(block, labels));
}

/**
 * The copy button carries no listener: the message that holds it listens for all of them.
 * @param {Block & {type: "code"}} block
 * @param {Labels} labels
 */
export function renderCode(block, labels) {
  const code = element("code", {}, ...renderTokens(block.text, block.language));
  const copy = element("button", { type: "button", class: "copy-code", "aria-label": labels.copy }, icon("copy"), labels.copy);
  const name = block.language === "" ? labels.code : block.language;
  const root = element(
    "div",
    { class: "code" },
    element("div", { class: "code-bar" }, element("span", { class: "code-language" }, name), copy),
    element("pre", { tabindex: 0, role: "group", "aria-label": name, translate: "no" }, code),
  );
  return { root, code };
}

/**
 * @param {string} text
 * @param {string} language
 */
function renderTokens(text, language) {
  const tokens = tokenize(text, language);
  if (tokens === null) return [text];
  return tokens.map(({ kind, text: part }) => (kind === "" ? part : element("span", { class: `token-${kind}` }, part)));
}

/**
 * @param {Block & {type: "list"}} list
 * @param {Labels} labels
 */
function renderList(list, labels) {
  const items = list.items.map((item) => renderItem(item, list.tight, labels));
  if (!list.ordered) return element("ul", {}, ...items);
  return element("ol", { start: list.start === 1 ? null : list.start }, ...items);
}

/**
 * @param {ListItem} item
 * @param {boolean} tight
 * @param {Labels} labels
 */
function renderItem(item, tight, labels) {
  const children = item.blocks.flatMap((block) =>
    tight && block.type === "paragraph" ? renderInline(block.text, labels) : [renderBlock(block, labels)],
  );
  if (item.checked === null) return element("li", {}, ...children);
  const box = element("input", { type: "checkbox", disabled: true, checked: item.checked });
  return element("li", { class: "task" }, box, ...children);
}

/**
 * @param {Block & {type: "table"}} table
 * @param {Labels} labels
 */
function renderTable(table, labels) {
  /** @param {"th" | "td"} tag */
  const row = (tag, /** @type {string[]} */ cells) =>
    element(
      "tr",
      {},
      ...cells.map((cell, column) => {
        const align = table.aligns[column];
        const scope = tag === "th" ? "col" : null;
        return element(tag, { scope, class: align && `align-${align}` }, ...renderInline(cell, labels));
      }),
    );
  const head = element("thead", {}, row("th", table.head));
  const body = element("tbody", {}, ...table.rows.map((cells) => row("td", cells)));
  return element("div", { class: "table", tabindex: 0, role: "group", "aria-label": labels.table }, element("table", {}, head, body));
}

/**
 * @param {string} text
 * @param {Labels} labels
 */
function renderInline(text, labels) {
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
    default:
      return renderLink(node, labels);
  }
}

/**
 * @param {Inline & {type: "link" | "image"}} node
 * @param {Labels} labels
 */
function renderLink(node, labels) {
  const text = renderNodes(node.children, labels);
  if (node.type === "image") text.unshift(`${labels.image}: `);
  const href = safeTarget(node.target);
  if (href === null) return text;
  const title = node.title === "" ? null : node.title;
  return element("a", { href, title, target: "_blank", rel: "noopener noreferrer" }, ...text);
}

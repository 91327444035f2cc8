/**
 * The blocks of markdown on the page, which grow at their end. A view draws its block again only where the block
 * has changed since: what is drawn for good is left alone, with the reader's selection in it.
 */

import { element } from "../dom.js";
import { directionOf } from "./direction.js";
import { renderCode, renderInline, renderRow, renderTable, renderTokens } from "./render.js";

/** @typedef {import("./blocks.js").Block} Block */
/** @typedef {import("./blocks.js").Leaf} Leaf */
/** @typedef {import("./blocks.js").ListItem} ListItem */
/** @typedef {import("./render.js").Labels} Labels */

/**
 * What is at the end of the text: the leaf that lines may still be added to, and whether everything else is settled
 * for good (or a line is being tried).
 * @typedef {{leaf: Leaf | null, settled: boolean}} End
 */
/** @typedef {{root: HTMLElement, block: unknown, update: (end: End) => void, addRaw?: (text: string) => void}} View */

/**
 * @param {Block} block
 * @param {Labels} labels
 * @returns {View}
 */
function makeView(block, labels) {
  switch (block.type) {
    case "paragraph":
    case "math":
      return new TextView(block, labels);
    case "code":
      return new CodeView(block, labels);
    case "table":
      return new TableView(block, labels);
    case "quote":
      return new GroupView(block, element("blockquote"), block.blocks, (child) => makeView(child, labels));
    case "list":
      return new ListView(block, labels);
    case "heading":
      // The page has its own h1 and h2: an answer's headings begin below them.
      return fixed(block, element(headingTag(block.level), {}, ...renderInline(block.text, labels)));
    default:
      return fixed(block, element("hr"));
  }
}

/**
 * @param {HTMLElement} root
 * @param {Block[]} blocks
 * @param {Labels} labels
 */
export function makeDocument(root, blocks, labels) {
  return new GroupView(null, root, blocks, (block) => new DirectedView(block, makeView(block, labels)));
}

/** A block that reads in the direction of its own language, which need not be the page's. */
class DirectedView {
  #view;
  #isDirected = false;

  /**
   * @param {Block} block
   * @param {View} view
   */
  constructor(block, view) {
    this.block = block;
    this.root = view.root;
    this.#view = view;
  }

  /** @param {End} end */
  update(end) {
    this.#view.update(end);
    if (this.#isDirected) return;
    const direction = directionOf(this.block);
    if (direction === null) return;
    this.#isDirected = true;
    this.root.setAttribute("dir", direction);
  }

  /** @param {string} text */
  addRaw(text) {
    this.#view.addRaw?.(text);
  }
}

/** @param {number} level */
function headingTag(level) {
  return /** @type {const} */ (["h3", "h4", "h5", "h6"])[Math.min(level, 4) - 1];
}

/**
 * @param {unknown} block
 * @param {HTMLElement} root
 * @returns {View}
 */
function fixed(block, root) {
  return { root, block, update: () => {} };
}

/**
 * Things below one another, of which only the last can change: it may also be taken back.
 * @template {object} Part
 */
class GroupView {
  #parts;
  #make;
  /** @type {View[]} */
  #views = [];

  /**
   * @param {unknown} block
   * @param {HTMLElement} root
   * @param {Part[]} parts
   * @param {(part: Part) => View} make
   */
  constructor(block, root, parts, make) {
    this.block = block;
    this.root = root;
    this.#parts = parts;
    this.#make = make;
  }

  /** @param {End} end */
  update(end) {
    const views = this.#views;
    while (views.length > 0 && views[views.length - 1].block !== this.#parts[views.length - 1]) views.pop()?.root.remove();
    views.at(-1)?.update(end);
    while (views.length < this.#parts.length) {
      const view = this.#make(this.#parts[views.length]);
      views.push(view);
      this.root.append(view.root);
      view.update(end);
    }
  }

  /** @param {string} text */
  addRaw(text) {
    this.#views.at(-1)?.addRaw?.(text);
  }
}

class ListView {
  #items;

  /**
   * @param {Block & {type: "list"}} list
   * @param {Labels} labels
   */
  constructor(list, labels) {
    this.block = list;
    const start = list.start === 1 ? null : list.start;
    this.root = list.ordered ? element("ol", { start }) : element("ul");
    this.#items = new GroupView(list, this.root, list.items, (item) => makeItem(item, labels));
  }

  /** @param {End} end */
  update(end) {
    this.root.classList.toggle("loose", !this.block.tight);
    this.#items.update(end);
  }

  /** @param {string} text */
  addRaw(text) {
    this.#items.addRaw(text);
  }
}

/**
 * @param {ListItem} item
 * @param {Labels} labels
 */
function makeItem(item, labels) {
  const root = element("li", { class: item.checked === null ? null : "task" });
  if (item.checked !== null) {
    const box = { type: "checkbox", disabled: true, checked: item.checked, "aria-label": labels.task };
    root.append(element("input", box));
  }
  return new GroupView(item, root, item.blocks, (block) => makeView(block, labels));
}

/** A paragraph, or the source of a formula until it is complete. */
class TextView {
  #labels;
  /** @type {{count: number, last: string | null}} */
  #drawn = { count: 0, last: null };

  /**
   * @param {Block & {type: "paragraph" | "math"}} block
   * @param {Labels} labels
   */
  constructor(block, labels) {
    this.block = block;
    this.#labels = labels;
    this.root = element("p");
  }

  /** @param {End} end */
  update({ leaf, settled }) {
    const { lines, type } = this.block;
    const isOpen = leaf === this.block;
    if (isOpen && settled && this.#drawn.count > 0) return; // the line after it is about to be tried
    const last = lines[lines.length - 1];
    if (this.#drawn.count === lines.length && this.#drawn.last === last) return;
    this.#drawn = { count: lines.length, last };
    const text = lines.join("\n").trimEnd();
    this.root.replaceChildren(...(type === "math" && isOpen ? [text] : renderInline(text, this.#labels)));
  }

  /** @param {string} text */
  addRaw(text) {
    this.root.append(text);
    this.#drawn.last = null;
  }
}

class CodeView {
  #code;
  #last = element("span");
  #drawn = 0;
  #isClosed = false;

  /**
   * @param {Block & {type: "code"}} block
   * @param {Labels} labels
   */
  constructor(block, labels) {
    const { root, code } = renderCode(block, labels);
    this.block = block;
    this.root = root;
    this.#code = code;
    this.#code.append(this.#last);
  }

  /** @param {End} end */
  update({ leaf, settled }) {
    if (this.#isClosed) return;
    const { lines, language } = this.block;
    if (settled && leaf !== this.block) {
      this.#isClosed = true;
      this.#code.replaceChildren(...renderTokens(lines.join("\n"), language));
      return;
    }
    const fresh = (this.#drawn > 0 ? "\n" : "") + lines.slice(this.#drawn).join("\n");
    const hasFresh = lines.length > this.#drawn;
    this.#last.replaceChildren(hasFresh && !settled ? fresh : "");
    if (!settled || !hasFresh) return;
    this.#last.before(fresh);
    this.#drawn = lines.length;
  }

  /** @param {string} text */
  addRaw(text) {
    this.#last.append(text);
  }
}

class TableView {
  #rows;

  /**
   * @param {Block & {type: "table"}} table
   * @param {Labels} labels
   */
  constructor(table, labels) {
    const { root, body } = renderTable(table, labels);
    this.block = table;
    this.root = root;
    this.#rows = new GroupView(table, body, table.rows, (row) => fixed(row, renderRow("td", row, table, labels)));
  }

  /** @param {End} end */
  update(end) {
    this.#rows.update(end);
  }
}

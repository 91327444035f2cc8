/**
 * Block markdown: lines in, a tree of blocks out. The subset that models write: headings (`#`),
 * paragraphs, fenced code, lists (nested, ordered, tasks), quotes, tables, rules, formulas. Left out on
 * purpose: raw HTML (it stays text), indented code, reference links, and headings underlined with `---`, which
 * would make a paragraph flicker while a list or a rule below it is being streamed.
 *
 * As CommonMark proposes, only the blocks at the end of the tree are open, and each line is read once: it walks
 * the open containers, whose number is limited, and is added below the last one that it belongs to. The last
 * line may be tried before it is complete, and taken back.
 */

import {
  FENCE,
  HEADING,
  MOST_NESTED,
  QUOTE,
  closesFence,
  dedent,
  expandTabs,
  indentOf,
  isBlank,
  isRule,
  mathMark,
  opensMath,
  readMarker,
  splitRow,
  startsBlock,
  tableAligns,
} from "./lines.js";

/** @typedef {import("./lines.js").Align} Align */
/** @typedef {import("./lines.js").Marker} Marker */

/** @typedef {{type: "heading", level: number, text: string}} Heading */
/** @typedef {{type: "paragraph", lines: string[]}} Paragraph */
/** @typedef {{type: "code", language: string, lines: string[]}} Code */
/** @typedef {{type: "math", lines: string[]}} Formula `lines` with the marks around the formula */
/** @typedef {{type: "quote", blocks: Block[]}} Quote */
/** @typedef {{type: "list", ordered: boolean, start: number, tight: boolean, items: ListItem[]}} List */
/** @typedef {{blocks: Block[], checked: boolean | null}} ListItem */
/** @typedef {{type: "table", aligns: Align[], head: string[], rows: string[][]}} Table */
/** @typedef {Heading | Paragraph | Code | Formula | Quote | List | Table | {type: "rule"}} Block */

/** @typedef {{kind: "root", blocks: Block[]}} Root */
/** @typedef {{kind: "quote", blocks: Block[]}} OpenQuote */
/** @typedef {{kind: "item", blocks: Block[], list: List, first: Marker, indent: number, content: number}} OpenItem */
/** @typedef {Root | OpenQuote | OpenItem} Container */
/** @typedef {Paragraph | Code | Formula | Table} Leaf a block that further lines may be added to */

/** Cells that rows lack and are filled in. Beyond it rows stay short, or a wide head would multiply each of many. */
const MOST_MISSING = 2000;

/**
 * @param {string} text
 * @returns {Block[]}
 */
export function parseBlocks(text) {
  const parser = new BlockParser();
  for (const line of text.split(/\r\n|\r|\n/)) parser.add(line);
  parser.close();
  return parser.blocks;
}

export class BlockParser {
  /** @type {Block[]} the tree, complete but for its last branch */
  blocks = [];
  /** @type {Container[]} */
  #open = [{ kind: "root", blocks: this.blocks }];
  /** @type {Leaf | null} */
  #leaf = null;
  /** The marks that opened the code block at the end, and the columns that its lines are indented by. */
  #fence = { marks: "", indent: 0 };
  /** Empty lines since the last one with text. */
  #blank = 0;
  #missing = 0;
  /** @type {(() => void) | null} */
  #undo = null;

  /** The block that the next line may be added to. */
  get leaf() {
    return this.#leaf;
  }

  /**
   * Adds a line for good, and takes back one that was tried.
   * @param {string} line without its end
   */
  add(line) {
    this.takeBack();
    this.#read(expandTabs(line));
  }

  /**
   * Adds a line that may yet grow.
   * @param {string} line
   */
  try(line) {
    this.takeBack();
    this.#undo = this.#remember();
    this.#read(expandTabs(line));
  }

  takeBack() {
    this.#undo?.();
    this.#undo = null;
  }

  /** No line follows. */
  close() {
    this.takeBack();
    this.#closeFrom(1);
  }

  /** Notes what a line can change: the ends of the open blocks. */
  #remember() {
    const open = [...this.#open];
    const containers = open.map((container) => {
      const { length } = container.blocks;
      const last = container.blocks.at(-1);
      const { content = 0, list = null } = container.kind === "item" ? container : {};
      return { container, length, last, content, list, tight: list?.tight, items: list?.items.length };
    });
    const [leaf, fence, blank, missing] = [this.#leaf, this.#fence, this.#blank, this.#missing];
    const rest = leaf === null ? [] : growing(leaf);
    const { length } = rest;
    const last = rest.at(-1);
    return () => {
      for (const saved of containers) {
        saved.container.blocks.length = saved.length;
        if (saved.last !== undefined) saved.container.blocks[saved.length - 1] = saved.last;
        if (saved.container.kind !== "item" || saved.list === null) continue;
        saved.container.content = saved.content;
        saved.list.tight = saved.tight ?? true;
        saved.list.items.length = saved.items ?? 0;
      }
      rest.length = length;
      if (last !== undefined) rest[length - 1] = last;
      this.#open = open;
      [this.#leaf, this.#fence, this.#blank, this.#missing] = [leaf, fence, blank, missing];
    };
  }

  /** @param {string} line */
  #read(line) {
    const { depth, rest } = this.#matchContainers(line);
    if (isBlank(rest)) {
      this.#readBlank(depth);
      return;
    }
    const sibling = depth < this.#open.length ? this.#siblingAt(depth, rest) : null;
    if (depth < this.#open.length) this.#closeFrom(depth);
    if (sibling !== null) this.#addItem(sibling.list, sibling.first, sibling.marker);
    else if (!this.#continueLeaf(rest)) this.#start(rest);
    this.#blank = 0;
  }

  /**
   * An empty line ends paragraphs, and the quotes whose mark it lacks; whether it belongs to a list is for the next
   * line to say.
   * @param {number} depth
   */
  #readBlank(depth) {
    const quote = this.#open.findIndex(({ kind }, index) => index >= depth && kind === "quote");
    if (quote >= 0) this.#closeFrom(quote);
    if (this.#leaf?.type !== "code") this.#closeLeaf();
    this.#blank += 1;
  }

  /**
   * How many of the open containers a line belongs to, and what is left of it inside them.
   * @param {string} line
   */
  #matchContainers(line) {
    let rest = line;
    let depth = 1;
    for (; depth < this.#open.length && !isBlank(rest); depth += 1) {
      const container = this.#open[depth];
      if (container.kind === "quote") {
        if (!QUOTE.test(rest)) break;
        rest = rest.replace(QUOTE, "");
      } else if (container.kind === "item") {
        if (!this.#belongs(rest, container)) break;
        rest = dedent(rest, container.content);
      }
    }
    return { depth, rest };
  }

  /**
   * Whether a line goes on with an item: it is indented under it, or is the lazy next line of its text.
   * Two columns are enough for a nested list, even below `1.`: models write it so.
   * @param {string} line
   * @param {OpenItem} item
   */
  #belongs(line, item) {
    const indent = indentOf(line);
    if (indent >= item.content) return true;
    const isMarker = readMarker(line) !== null;
    if (indent >= item.indent + 2 && (this.#blank > 0 || isMarker)) {
      item.content = indent; // so do the lines after it
      return true;
    }
    const goesOn = this.#leaf?.type === "paragraph" || (this.#leaf?.type === "table" && line.includes("|"));
    return goesOn && !isMarker && !startsBlock(line, 0);
  }

  /**
   * The next item of the list whose current item a line does not belong to.
   * @param {number} depth
   * @param {string} line
   */
  #siblingAt(depth, line) {
    const item = this.#open[depth];
    const marker = item.kind === "item" && !isRule(line) ? readMarker(line) : null;
    if (item.kind !== "item" || marker === null) return null;
    const { list, first } = item;
    return marker.kind === first.kind && marker.indent < first.indent + 2 ? { list, first, marker } : null;
  }

  /** @param {number} depth */
  #closeFrom(depth) {
    this.#closeLeaf();
    this.#open.length = depth;
  }

  #closeLeaf() {
    if (this.#leaf?.type === "math") this.#giveUpMath(this.#leaf);
    this.#leaf = null;
  }

  /** A formula that nothing ends before an empty line is text. @param {Formula} formula */
  #giveUpMath(formula) {
    const { blocks } = this.#last();
    blocks[blocks.indexOf(formula, -1)] = { type: "paragraph", lines: formula.lines };
  }

  /** @returns {Container} */
  #last() {
    return this.#open[this.#open.length - 1];
  }

  /**
   * @param {string} line
   * @returns {boolean} whether the line belongs to the block at the end
   */
  #continueLeaf(line) {
    switch (this.#leaf?.type) {
      case "code": return this.#continueCode(this.#leaf, line);
      case "math": return this.#continueMath(this.#leaf, line);
      case "table": return this.#continueTable(this.#leaf, line);
      case "paragraph": return this.#continueParagraph(this.#leaf, line);
      default: return false;
    }
  }

  /** @param {Code} code @param {string} line */
  #continueCode(code, line) {
    for (let blank = 0; blank < this.#blank; blank += 1) code.lines.push("");
    if (closesFence(line, this.#fence.marks)) this.#leaf = null;
    else code.lines.push(dedent(line, this.#fence.indent));
    return true;
  }

  /** @param {Formula} formula @param {string} line */
  #continueMath(formula, line) {
    formula.lines.push(line.trim());
    if (line.includes(mathMark(formula.lines[0]) ?? "")) this.#leaf = null;
    return true;
  }

  /** @param {Table} table @param {string} line */
  #continueTable(table, line) {
    if (startsBlock(line, this.#open.length - 1)) return false;
    const cells = splitRow(line).slice(0, table.aligns.length);
    this.#missing += table.aligns.length - cells.length;
    while (cells.length < table.aligns.length && this.#missing <= MOST_MISSING) cells.push("");
    table.rows.push(cells);
    return true;
  }

  /** @param {Paragraph} paragraph @param {string} line */
  #continueParagraph(paragraph, line) {
    const head = paragraph.lines[paragraph.lines.length - 1];
    const aligns = tableAligns(head, line);
    if (aligns !== null) {
      this.#makeTable(paragraph, aligns, splitRow(head));
      return true;
    }
    if (startsBlock(line, this.#open.length - 1)) return false;
    paragraph.lines.push(line.trimStart());
    return true;
  }

  /**
   * The last line of a paragraph was the head of a table.
   * @param {Paragraph} paragraph
   * @param {Align[]} aligns
   * @param {string[]} head
   */
  #makeTable(paragraph, aligns, head) {
    /** @type {Table} */
    const table = { type: "table", aligns, head, rows: [] };
    const { blocks } = this.#last();
    paragraph.lines.pop();
    if (paragraph.lines.length === 0) blocks[blocks.length - 1] = table;
    else blocks.push(table);
    this.#leaf = table;
    this.#missing = 0;
  }

  /**
   * Begins a block: within containers, which a line may open one after the other.
   * @param {string} line
   */
  #start(line) {
    this.#closeLeaf();
    const depth = this.#open.length - 1;
    const fence = FENCE.exec(line);
    const heading = fence === null ? HEADING.exec(line) : null;
    if (fence !== null) {
      this.#fence = { marks: fence[1], indent: indentOf(line) };
      this.#addLeaf({ type: "code", language: fence[2].trim().split(/\s/, 1)[0], lines: [] });
    } else if (heading !== null) {
      const text = withoutClosingHashes(line.slice(heading[0].length).trim());
      this.#addBlock({ type: "heading", level: heading[1].length, text });
    } else if (isRule(line)) {
      this.#addBlock({ type: "rule" });
    } else if (depth < MOST_NESTED && QUOTE.test(line)) {
      this.#startQuote(line.replace(QUOTE, ""));
    } else {
      const marker = depth < MOST_NESTED ? readMarker(line) : null;
      if (marker !== null && marker.indent <= 3) this.#startList(marker);
      else this.#addLeaf({ type: opensMath(line) ? "math" : "paragraph", lines: [line.trimStart()] });
    }
  }

  /** @param {Block} block */
  #addBlock(block) {
    const container = this.#last();
    const follows = this.#blank > 0 && container.blocks.length > 0;
    // An empty line between the blocks of an item makes its list loose.
    if (follows && container.kind === "item" && block.type !== "list") container.list.tight = false;
    container.blocks.push(block);
  }

  /** @param {Leaf} leaf */
  #addLeaf(leaf) {
    this.#addBlock(leaf);
    this.#leaf = leaf;
  }

  /** @param {string} rest */
  #startQuote(rest) {
    /** @type {Quote} */
    const quote = { type: "quote", blocks: [] };
    this.#addBlock(quote);
    this.#open.push({ kind: "quote", blocks: quote.blocks });
    if (!isBlank(rest)) this.#start(rest);
  }

  /** @param {Marker} marker */
  #startList(marker) {
    const { ordered, start } = marker;
    /** @type {List} */
    const list = { type: "list", ordered, start, tight: true, items: [] };
    this.#addBlock(list);
    this.#blank = 0;
    this.#addItem(list, marker, marker);
  }

  /**
   * @param {List} list
   * @param {Marker} first of the list
   * @param {Marker} marker
   */
  #addItem(list, first, marker) {
    if (this.#blank > 0) list.tight = false;
    const task = /^\[([ xX])\] +(?=\S)/.exec(marker.rest);
    /** @type {ListItem} */
    const item = { blocks: [], checked: task === null ? null : task[1] !== " " };
    list.items.push(item);
    const { indent, content } = marker;
    this.#open.push({ kind: "item", blocks: item.blocks, list, first, indent, content });
    const rest = task === null ? marker.rest : marker.rest.slice(task[0].length);
    this.#blank = 0;
    if (!isBlank(rest)) this.#start(rest);
  }
}

/** What lines are added to. @param {Leaf} leaf @returns {unknown[]} */
function growing(leaf) {
  return leaf.type === "table" ? leaf.rows : leaf.lines;
}

/** @param {string} text */
function withoutClosingHashes(text) {
  let end = text.length;
  while (end > 0 && text[end - 1] === "#") end -= 1;
  return end === 0 || text[end - 1] === " " ? text.slice(0, end).trimEnd() : text;
}

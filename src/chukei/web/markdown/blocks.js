/**
 * Block markdown: text in, a list of blocks out. The subset that models write: headings (`#`),
 * paragraphs, fenced code, lists (nested, ordered, tasks), quotes, tables, rules. Left out on purpose:
 * raw HTML (it stays text), indented code, reference links, and headings underlined with `---`, which
 * would make a paragraph flicker while a list or a rule below it is being streamed.
 *
 * Whole lines parse the same however much follows, except that the last block may still grow: that is
 * what lets a stream be drawn block by block.
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
  readMarker,
  skipBlank,
  splitRow,
  startsBlock,
  tableAt,
} from "./lines.js";

/** @typedef {import("./lines.js").Align} Align */
/** @typedef {import("./lines.js").Marker} Marker */

/**
 * `line` is the number of the line, from 0, on which the block begins.
 * @typedef {{line: number} & (
 *     {type: "heading", level: number, text: string}
 *   | {type: "paragraph", text: string}
 *   | {type: "code", language: string, text: string}
 *   | {type: "quote", blocks: Block[]}
 *   | {type: "list", ordered: boolean, start: number, tight: boolean, items: ListItem[]}
 *   | {type: "table", aligns: Align[], head: string[], rows: string[][]}
 *   | {type: "rule"})} Block
 */
/** @typedef {{blocks: Block[], checked: boolean | null}} ListItem */
/** @typedef {{block: Block, next: number}} Found the block, and the first line after it */
/** @typedef {(lines: string[], at: number, depth: number) => Found | null} Reader */

/** Cells that rows lack and are filled in. Beyond it rows stay short, or a wide head would multiply each of many. */
const MOST_MISSING = 2000;

/** @type {Reader[]} */
const READERS = [readFence, readHeading, readRule, readQuote, readList, readTable];

/**
 * @param {string} text
 * @returns {Block[]}
 */
export function parseBlocks(text) {
  return parseLines(text.split(/\r\n|\r|\n/).map(expandTabs), 0);
}

/**
 * @param {string[]} lines
 * @param {number} depth
 * @returns {Block[]}
 */
function parseLines(lines, depth) {
  /** @type {Block[]} */
  const blocks = [];
  let at = 0;
  while (at < lines.length) {
    if (isBlank(lines[at])) {
      at += 1;
      continue;
    }
    const { block, next } = readBlock(lines, at, depth);
    blocks.push(block);
    at = next;
  }
  return blocks;
}

/** @type {(lines: string[], at: number, depth: number) => Found} */
function readBlock(lines, at, depth) {
  for (const read of READERS) {
    const found = read(lines, at, depth);
    if (found !== null) return found;
  }
  return readParagraph(lines, at, depth);
}

/** @type {Reader} */
function readFence(lines, at) {
  const open = FENCE.exec(lines[at]);
  if (open === null) return null;
  const indent = indentOf(lines[at]);
  /** @type {string[]} */
  const body = [];
  let next = at + 1;
  while (next < lines.length && !closesFence(lines[next], open[1])) {
    body.push(dedent(lines[next], indent));
    next += 1;
  }
  const language = open[2].trim().split(/\s/, 1)[0];
  return { block: { type: "code", line: at, language, text: body.join("\n") }, next: next + 1 };
}

/** @type {Reader} */
function readHeading(lines, at) {
  const match = HEADING.exec(lines[at]);
  if (match === null) return null;
  const text = withoutClosingHashes(lines[at].slice(match[0].length).trim());
  return { block: { type: "heading", line: at, level: match[1].length, text }, next: at + 1 };
}

/** @param {string} text */
function withoutClosingHashes(text) {
  let end = text.length;
  while (end > 0 && text[end - 1] === "#") end -= 1;
  return end === 0 || text[end - 1] === " " ? text.slice(0, end).trimEnd() : text;
}

/** @type {Reader} */
function readRule(lines, at) {
  return isRule(lines[at]) ? { block: { type: "rule", line: at }, next: at + 1 } : null;
}

/** @type {Reader} */
function readQuote(lines, at, depth) {
  if (depth >= MOST_NESTED || !QUOTE.test(lines[at])) return null;
  /** @type {string[]} */
  const body = [];
  let next = at;
  while (next < lines.length && QUOTE.test(lines[next])) {
    body.push(lines[next].replace(QUOTE, ""));
    next += 1;
  }
  return { block: { type: "quote", line: at, blocks: parseLines(body, depth + 1) }, next };
}

/** @type {Reader} */
function readList(lines, at, depth) {
  const first = depth >= MOST_NESTED ? null : readMarker(lines[at]);
  if (first === null || first.indent > 3) return null;
  /** @type {ListItem[]} */
  const items = [];
  let tight = true;
  let next = at;
  for (let marker = /** @type {Marker | null} */ (first); marker !== null; ) {
    const item = readItem(lines, next, marker, depth);
    items.push(item.item);
    next = item.next;
    marker = siblingMarker(lines, skipBlank(lines, next), first);
    if (item.loose || (marker !== null && skipBlank(lines, next) > next)) tight = false;
    if (marker !== null) next = skipBlank(lines, next);
  }
  const { ordered, start } = first;
  return { block: { type: "list", line: at, ordered, start, tight, items }, next };
}

/**
 * @param {string[]} lines
 * @param {number} at
 * @param {Marker} first
 */
function siblingMarker(lines, at, first) {
  const marker = at < lines.length && !isRule(lines[at]) ? readMarker(lines[at]) : null;
  return marker !== null && marker.kind === first.kind && marker.indent < first.indent + 2 ? marker : null;
}

/**
 * @param {string[]} lines
 * @param {number} at
 * @param {Marker} marker
 * @param {number} depth
 */
function readItem(lines, at, marker, depth) {
  const body = [marker.rest];
  let next = at + 1;
  let loose = false;
  while (next < lines.length) {
    const after = skipBlank(lines, next);
    if (after >= lines.length || !belongsTo(lines, after, marker, after > next)) break;
    if (after > next) {
      for (let blank = next; blank < after; blank += 1) body.push("");
      loose ||= indentOf(lines[after]) >= marker.indent + 2 && readMarker(lines[after]) === null;
    }
    body.push(dedent(lines[after], marker.content));
    next = after + 1;
  }
  return { item: makeItem(body, depth), next, loose };
}

/**
 * Whether a line goes on with an item: it is indented under it, or is the lazy next line of its text.
 * Two columns are enough for a nested list, even below `1.`: models write it so.
 * @param {string[]} lines
 * @param {number} at
 * @param {Marker} marker
 * @param {boolean} afterBlank
 */
function belongsTo(lines, at, marker, afterBlank) {
  const indent = indentOf(lines[at]);
  if (indent >= marker.content) return true;
  if (indent >= marker.indent + 2 && (afterBlank || readMarker(lines[at]) !== null)) return true;
  return !afterBlank && !startsBlock(lines, at) && readMarker(lines[at]) === null;
}

/**
 * @param {string[]} body
 * @param {number} depth
 * @returns {ListItem}
 */
function makeItem(body, depth) {
  const task = /^\[([ xX])\] +(?=\S)/.exec(body[0]);
  if (task !== null) body[0] = body[0].slice(task[0].length);
  return { blocks: parseLines(body, depth + 1), checked: task === null ? null : task[1] !== " " };
}

/** @type {Reader} */
function readTable(lines, at) {
  const aligns = tableAt(lines, at);
  if (aligns === null) return null;
  /** @type {string[][]} */
  const rows = [];
  let next = at + 2;
  let missing = 0;
  while (next < lines.length && !isBlank(lines[next]) && !startsBlock(lines, next)) {
    const cells = splitRow(lines[next]).slice(0, aligns.length);
    missing += aligns.length - cells.length;
    while (cells.length < aligns.length && missing <= MOST_MISSING) cells.push("");
    rows.push(cells);
    next += 1;
  }
  return { block: { type: "table", line: at, aligns, head: splitRow(lines[at]), rows }, next };
}

/** @type {(lines: string[], at: number, depth: number) => Found} */
function readParagraph(lines, at, depth) {
  let next = at + 1;
  while (next < lines.length && !isBlank(lines[next]) && !startsBlock(lines, next, depth)) next += 1;
  const text = lines.slice(at, next).map((line) => line.trimStart()).join("\n").trimEnd();
  return { block: { type: "paragraph", line: at, text }, next };
}

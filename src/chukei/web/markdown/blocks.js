/**
 * Block markdown: text in, a list of blocks out. The subset that models write: headings (`#`),
 * paragraphs, fenced code, lists (nested, ordered, tasks), quotes, tables, rules. Left out on purpose:
 * raw HTML (it stays text), indented code, reference links, and headings underlined with `---`, which
 * would make a paragraph flicker while a list or a rule below it is being streamed.
 *
 * Whole lines parse the same however much follows, except that the last block may still grow: that is
 * what lets a stream be drawn block by block.
 */

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
/** @typedef {"left" | "center" | "right" | ""} Align */
/** @typedef {{block: Block, next: number}} Found the block, and the first line after it */
/** @typedef {(lines: string[], at: number, depth: number) => Found | null} Reader */
/** @typedef {{indent: number, content: number, ordered: boolean, kind: string, start: number, rest: string}} Marker */

/** Deeper quotes and lists are text: the tree is drawn recursively. */
const MOST_NESTED = 12;

const FENCE = /^ {0,3}(`{3,}(?=[^`]*$)|~{3,})(.*)$/;
const HEADING = /^ {0,3}(#{1,6})(?=[ \t]|$)/;
const QUOTE = /^ {0,3}> ?/;
const MARKER = /^( *)([-*+]|(\d{1,9})([.)]))( +|$)/;

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

/**
 * @param {string} line
 * @param {string} fence
 */
function closesFence(line, fence) {
  const trimmed = line.trim();
  return indentOf(line) <= 3 && trimmed.length >= fence.length && isRunOf(trimmed, fence[0]);
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

/** @param {string} line */
function isRule(line) {
  const marks = line.replaceAll(" ", "");
  return indentOf(line) <= 3 && marks.length >= 3 && "-*_".includes(marks[0]) && isRunOf(marks, marks[0]);
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
 * @param {string} line
 * @returns {Marker | null}
 */
function readMarker(line) {
  const match = MARKER.exec(line);
  if (match === null) return null;
  const [whole, spaces, mark, number, delimiter, gap] = match;
  const padding = gap.length >= 1 && gap.length <= 4 ? gap.length : 1;
  return {
    indent: spaces.length,
    content: spaces.length + mark.length + padding,
    ordered: number !== undefined,
    kind: delimiter ?? mark,
    start: Number(number ?? 1),
    rest: " ".repeat(Math.max(0, gap.length - padding)) + line.slice(whole.length),
  };
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
      body.push(...lines.slice(next, after).map(() => ""));
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
  while (next < lines.length && !isBlank(lines[next]) && !startsBlock(lines, next)) {
    const cells = splitRow(lines[next]);
    rows.push(aligns.map((_, column) => cells[column] ?? ""));
    next += 1;
  }
  return { block: { type: "table", line: at, aligns, head: splitRow(lines[at]), rows }, next };
}

/**
 * @param {string[]} lines
 * @param {number} at
 * @returns {Align[] | null} the alignment of each column when a table begins here
 */
function tableAt(lines, at) {
  const below = lines[at + 1];
  if (below === undefined || !lines[at].includes("|") || !/^[\s|:-]+$/.test(below)) return null;
  const cells = splitRow(below);
  const valid = cells.length === splitRow(lines[at]).length && cells.every((cell) => /^:?-+:?$/.test(cell));
  return valid ? cells.map(alignOf) : null;
}

/**
 * @param {string} cell
 * @returns {Align}
 */
function alignOf(cell) {
  const right = cell.endsWith(":");
  if (cell.startsWith(":")) return right ? "center" : "left";
  return right ? "right" : "";
}

/** @param {string} line */
function splitRow(line) {
  const row = line.trim().replace(/^\|/, "");
  const cells = [""];
  for (let at = 0; at < row.length; at += 1) {
    if (row[at] === "\\" && row[at + 1] === "|") cells[cells.length - 1] += row[++at];
    else if (row[at] === "|") cells.push("");
    else cells[cells.length - 1] += row[at];
  }
  if (row.endsWith("|") && cells.at(-1) === "") cells.pop();
  return cells.map((cell) => cell.trim());
}

/** @type {(lines: string[], at: number, depth: number) => Found} */
function readParagraph(lines, at, depth) {
  let next = at + 1;
  while (next < lines.length && !isBlank(lines[next]) && !startsBlock(lines, next, depth)) next += 1;
  const text = lines.slice(at, next).map((line) => line.trimStart()).join("\n").trimEnd();
  return { block: { type: "paragraph", line: at, text }, next };
}

/**
 * Whether a line ends the paragraph above it. A number interrupts only when it is 1, so that a line
 * that happens to begin with a year stays text (CommonMark, 5.3).
 * @param {string[]} lines
 * @param {number} at
 * @param {number} [depth]
 */
function startsBlock(lines, at, depth = 0) {
  const line = lines[at];
  if (FENCE.test(line) || HEADING.test(line) || isRule(line) || tableAt(lines, at) !== null) return true;
  if (depth >= MOST_NESTED) return false;
  const marker = readMarker(line);
  const interrupts = marker !== null && marker.indent <= 3 && marker.rest.trim() !== "" && marker.start === 1;
  return QUOTE.test(line) || interrupts;
}

/**
 * @param {string[]} lines
 * @param {number} at
 */
function skipBlank(lines, at) {
  let next = at;
  while (next < lines.length && isBlank(lines[next])) next += 1;
  return next;
}

/** @param {string} line */
function isBlank(line) {
  return line.trim() === "";
}

/** @param {string} line */
function indentOf(line) {
  return line.length - line.trimStart().length;
}

/**
 * @param {string} line
 * @param {number} columns
 */
function dedent(line, columns) {
  return line.slice(Math.min(columns, indentOf(line)));
}

/**
 * @param {string} text
 * @param {string} char
 */
function isRunOf(text, char) {
  for (const other of text) if (other !== char) return false;
  return true;
}

/**
 * Leading tabs count as four columns.
 * @param {string} line
 */
function expandTabs(line) {
  return line.replace(/^[ \t]*\t/, (lead) => lead.replaceAll("\t", "    "));
}

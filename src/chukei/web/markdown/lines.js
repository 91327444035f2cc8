/**
 * What a line of markdown may be by itself: blank, a fence, a heading, a rule, a quote, the marker of a
 * list item, the beginning of a table or a formula. Pure tests, from which blocks.js builds.
 */

/** @typedef {"left" | "center" | "right" | ""} Align */
/** @typedef {{indent: number, content: number, ordered: boolean, kind: string, start: number, rest: string}} Marker */

/** Deeper quotes and lists are text: the tree is drawn recursively. */
export const MOST_NESTED = 12;

export const FENCE = /^ {0,3}(`{3,}(?=[^`]*$)|~{3,})(.*)$/;
export const HEADING = /^ {0,3}(#{1,6})(?=[ \t]|$)/;
export const QUOTE = /^ {0,3}> ?/;
const MARKER = /^( *)([-*+]|(\d{1,9})([.)]))( +|$)/;

/**
 * @param {string} line
 * @param {string} fence
 */
export function closesFence(line, fence) {
  const trimmed = line.trim();
  return indentOf(line) <= 3 && trimmed.length >= fence.length && isRunOf(trimmed, fence[0]);
}

/** @param {string} line */
export function isRule(line) {
  const marks = line.replaceAll(" ", "");
  return indentOf(line) <= 3 && marks.length >= 3 && "-*_".includes(marks[0]) && isRunOf(marks, marks[0]);
}

/**
 * @param {string} line
 * @returns {Marker | null}
 */
export function readMarker(line) {
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
 * @param {string} head
 * @param {string} below
 * @returns {Align[] | null} the alignment of each column when the two lines begin a table
 */
export function tableAligns(head, below) {
  if (!head.includes("|") || !/^[\s|:-]+$/.test(below)) return null;
  const cells = splitRow(below);
  const valid = cells.length === splitRow(head).length && cells.every((cell) => /^:?-+:?$/.test(cell));
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
export function splitRow(line) {
  const row = line.trim().replace(/^\|/, "");
  /** @type {string[]} */
  const cells = [];
  let from = 0;
  for (let at = 0; at <= row.length; at += 1) {
    if (row[at] === "\\" && row[at + 1] === "|") at += 1;
    else if (at === row.length || row[at] === "|") {
      cells.push(row.slice(from, at).replaceAll("\\|", "|").trim());
      from = at + 1;
    }
  }
  if (cells.length > 1 && row.endsWith("|")) cells.pop();
  return cells;
}

/**
 * Whether a line ends the paragraph above it. A number interrupts only when it is 1, so that a line
 * that happens to begin with a year stays text (CommonMark, 5.3).
 * @param {string} line
 * @param {number} depth
 */
export function startsBlock(line, depth) {
  if (FENCE.test(line) || HEADING.test(line) || isRule(line) || opensMath(line)) return true;
  if (depth >= MOST_NESTED) return false;
  const marker = readMarker(line);
  const interrupts = marker !== null && marker.indent <= 3 && marker.rest.trim() !== "" && marker.start === 1;
  return QUOTE.test(line) || interrupts;
}

/**
 * Whether a line begins a formula that goes on in the lines below. One that ends in the same line is inline.
 * @param {string} line
 */
export function opensMath(line) {
  const text = line.trimStart();
  const mark = mathMark(text);
  return mark !== null && text.indexOf(mark, 2) < 0;
}

/**
 * @param {string} text
 * @returns {string | null} what ends the formula that a text begins with
 */
export function mathMark(text) {
  if (text.startsWith("$$")) return "$$";
  return text.startsWith("\\[") ? "\\]" : null;
}

/** @param {string} line */
export function isBlank(line) {
  return line.trim() === "";
}

/** @param {string} line */
export function indentOf(line) {
  return line.length - line.trimStart().length;
}

/**
 * @param {string} line
 * @param {number} columns
 */
export function dedent(line, columns) {
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
export function expandTabs(line) {
  return line.replace(/^[ \t]*\t/, (lead) => lead.replaceAll("\t", "    "));
}

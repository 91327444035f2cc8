/**
 * Inline markdown: text in, a small tree out. Follows CommonMark 0.31 where answers of models need it,
 * in linear time; raw HTML is text, and `$…$`, `$$…$$`, `\(…\)` and `\[…\]` are formulas.
 * Two departures, both for readers: emphasis next to Chinese, Japanese or Korean characters works without spaces (CommonMark's flanking
 * rules break `**「重要」**です`), and `<br>` is a line break.
 */

import { charAt, charBefore, flanking, isUnspaced, resolveEmphasis } from "./emphasis.js";
import { readTarget, trimAddress } from "./targets.js";

/**
 * @typedef {{type: "text", text: string}
 *   | {type: "code", text: string}
 *   | {type: "break"}
 *   | {type: "strong" | "emphasis" | "deleted", children: Inline[]}
 *   | {type: "link", target: string, title: string, children: Inline[]}
 *   | {type: "image", target: string, title: string, text: string}
 *   | {type: "math", tex: string, display: boolean}} Inline
 */

/** @typedef {{type: "delimiter", mark: string, count: number, opens: boolean, closes: boolean}} Delimiter */
/** @typedef {{type: "bracket", image: boolean}} Bracket */
/** @typedef {Inline | Delimiter | Bracket} Part */

const ESCAPABLE = /[!-/:-@[-`{-~]/;

const ADDRESS_IN_BRACKETS = /<((?:https?:\/\/|mailto:)[^\s<>]{1,2000})>/iy;
const LINE_BREAK_TAG = /<br {0,3}\/?>/iy;
// Only the characters of RFC 3986, so that a sentence in Japanese may follow without a space.
const BARE_ADDRESS = /https?:\/\/[A-Za-z0-9\-._~:/?#@!$&'()*+,;=%]{1,2000}/iy;
const ENTITY = /&(?:#(\d{1,7})|#x([0-9a-f]{1,6})|(amp|lt|gt|quot|apos|nbsp|copy|mdash|ndash|hellip));/iy;
const PLAIN = /[^\\`*_~[\]!<&\n$hH]+/y;
/** A sum of money and the words after it, up to the next one. */
const MONEY = /^\d(?:[\d.,]*\s+\p{L}{2}|[^\\]*\p{L}{3})/u;

/** @type {Record<string, string>} */
const NAMED = {
  amp: "&", lt: "<", gt: ">", quot: '"', apos: "'", nbsp: "\u00a0", copy: "©", mdash: "—", ndash: "–", hellip: "…",
};

/**
 * @param {string} text
 * @returns {Inline[]}
 */
export function parseInline(text) {
  return new InlineParser(text).parse();
}

class InlineParser {
  #at = 0;
  /** @type {Part[]} */
  #parts = [];
  /** Indices in `#parts` of brackets that may still open a link. */
  #brackets = /** @type {number[]} */ ([]);
  /** Positions of backtick runs by length, from the last to the first. @type {Map<number, number[]> | null} */
  #backticks = null;
  /** The ends of formulas that are not to be found any more. @type {Set<string>} */
  #missing = new Set();

  /** @param {string} text */
  constructor(text) {
    this.text = text;
  }

  parse() {
    while (this.#at < this.text.length) {
      if (!this.#special(this.text[this.#at])) this.#push(this.text[this.#at], 1);
    }
    return resolveEmphasis(this.#parts);
  }

  /**
   * @param {string} char
   * @returns {boolean} whether something was read
   */
  #special(char) {
    switch (char) {
      case "\\": return this.#escape();
      case "`": return this.#code();
      case "*": case "_": case "~": return this.#delimiters(char);
      case "[": return this.#openBracket(1, false);
      case "!": return this.text[this.#at + 1] === "[" && this.#openBracket(2, true);
      case "]": return this.#closeBracket();
      case "<": return this.#angle();
      case "&": return this.#entity();
      case "$": return this.#dollar();
      case "\n": return this.#newline();
      case "h": case "H": return this.#bareAddress();
      default: return this.#plain();
    }
  }

  /**
   * @param {string} text
   * @param {number} length of the source it stands for
   */
  #push(text, length) {
    const last = this.#parts.at(-1);
    if (last?.type === "text") last.text += text;
    else this.#parts.push({ type: "text", text });
    this.#at += length;
    return true;
  }

  /** @param {RegExp} pattern sticky */
  #match(pattern) {
    pattern.lastIndex = this.#at;
    return pattern.exec(this.text);
  }

  #plain() {
    const match = this.#match(PLAIN);
    return match !== null && this.#push(match[0], match[0].length);
  }

  #escape() {
    const next = this.text[this.#at + 1] ?? "";
    if (next === "\n") return this.#break(2);
    if (next === "(" && this.#math(2, "\\)", false)) return true;
    if (next === "[" && this.#math(2, "\\]", true)) return true;
    return ESCAPABLE.test(next) && this.#push(next, 2);
  }

  /** @param {number} length */
  #break(length) {
    this.#parts.push({ type: "break" });
    this.#at += length;
    return true;
  }

  #newline() {
    const last = this.#parts.at(-1);
    if (last?.type !== "text") return this.#push("\n", 1);
    const hard = last.text.endsWith("  ");
    last.text = last.text.trimEnd();
    if (hard) return this.#break(1);
    // A line end is drawn as a space, which Chinese and Japanese do not have between words.
    const joins = isUnspaced(last.text.at(-1) ?? "") && isUnspaced(charAt(this.text, this.#at + 1));
    // A part of its own: looking at the end of one that grows with every line would copy it each time.
    this.#parts.push({ type: "text", text: joins ? "" : "\n" });
    this.#at += 1;
    return true;
  }

  #code() {
    const length = runLength(this.text, this.#at, "`");
    const close = this.#closingBackticks(length, this.#at + length);
    if (close < 0) return this.#push("`".repeat(length), length);
    const body = this.text.slice(this.#at + length, close).replaceAll("\n", " ");
    const padded = body.startsWith(" ") && body.endsWith(" ") && body.trim() !== "";
    this.#parts.push({ type: "code", text: padded ? body.slice(1, -1) : body });
    this.#at = close + length;
    return true;
  }

  /**
   * @param {number} length
   * @param {number} from
   */
  #closingBackticks(length, from) {
    this.#backticks ??= backtickRuns(this.text);
    const positions = this.#backticks.get(length) ?? [];
    while (positions.length > 0 && /** @type {number} */ (positions.at(-1)) < from) positions.pop();
    return positions.at(-1) ?? -1;
  }

  #dollar() {
    if (this.text[this.#at + 1] === "$") return this.#math(2, "$$", true) || this.#push("$$", 2);
    const end = this.#mathEnd("$", this.#at + 1);
    return end >= 0 && this.#isMath(end) && this.#math(1, "$", false);
  }

  /**
   * Whether dollars enclose a formula, as Pandoc decides it, and not two sums of money: the first one has no space
   * after it, the last one no space before and no digit after.
   * @param {number} end
   */
  #isMath(end) {
    const inside = this.text.slice(this.#at + 1, end);
    const spaced = /^\s|\s$/.test(inside);
    const beside = /[A-Za-z0-9]/.test(this.text[this.#at - 1] ?? "") || /\d/.test(this.text[end + 1] ?? "");
    return inside !== "" && !spaced && !beside && !MONEY.test(inside);
  }

  /**
   * @param {number} length of the opening mark
   * @param {string} close
   * @param {boolean} display
   */
  #math(length, close, display) {
    const end = this.#mathEnd(close, this.#at + length);
    const tex = end < 0 ? "" : this.text.slice(this.#at + length, end).trim();
    if (tex === "") return false;
    this.#parts.push({ type: "math", tex, display });
    this.#at = end + close.length;
    return true;
  }

  /**
   * @param {string} close
   * @param {number} from
   */
  #mathEnd(close, from) {
    if (this.#missing.has(close)) return -1;
    for (let at = from; at < this.text.length; at += 1) {
      if (this.text.startsWith(close, at)) return at;
      if (this.text[at] === "\\") at += 1;
    }
    this.#missing.add(close);
    return -1;
  }

  /** @param {string} mark */
  #delimiters(mark) {
    const count = runLength(this.text, this.#at, mark);
    const flanks = flanking(charBefore(this.text, this.#at), charAt(this.text, this.#at + count), mark);
    this.#parts.push({ type: "delimiter", mark, count, ...flanks });
    this.#at += count;
    return true;
  }

  /**
   * @param {number} length
   * @param {boolean} image
   */
  #openBracket(length, image) {
    this.#brackets.push(this.#parts.length);
    this.#parts.push({ type: "bracket", image });
    this.#at += length;
    return true;
  }

  #closeBracket() {
    const open = this.#brackets.pop();
    const target = open === undefined ? null : readTarget(this.text, this.#at + 1);
    if (open === undefined || target === null) return this.#push("]", 1);
    const bracket = /** @type {Bracket} */ (this.#parts[open]);
    const children = resolveEmphasis(this.#parts.splice(open).slice(1));
    const { address, title } = target;
    if (bracket.image) this.#parts.push({ type: "image", target: address, title, text: plainText(children) });
    else this.#parts.push({ type: "link", target: address, title, children });
    if (!bracket.image) this.#brackets = []; // no links inside links
    this.#at = target.end;
    return true;
  }

  #angle() {
    const address = this.#match(ADDRESS_IN_BRACKETS);
    if (address !== null) return this.#link(address[1], address[0].length);
    const tag = this.#match(LINE_BREAK_TAG);
    return tag !== null && this.#break(tag[0].length);
  }

  #entity() {
    const match = this.#match(ENTITY);
    if (match === null) return false;
    return this.#push(decodeEntity(match), match[0].length);
  }

  #bareAddress() {
    const inWord = /[A-Za-z0-9]/.test(this.text[this.#at - 1] ?? "");
    const match = inWord ? null : this.#match(BARE_ADDRESS);
    if (match === null) return this.#push(this.text[this.#at], 1);
    const address = trimAddress(match[0]);
    return this.#link(address, address.length);
  }

  /**
   * @param {string} address
   * @param {number} length
   */
  #link(address, length) {
    this.#parts.push({ type: "link", target: address, title: "", children: [{ type: "text", text: address }] });
    this.#at += length;
    return true;
  }
}

/**
 * What describes an image is text, as in CommonMark: so images within images make no deep tree.
 * @param {Inline[]} nodes
 * @returns {string}
 */
function plainText(nodes) {
  return nodes.map((node) => {
    if ("children" in node) return plainText(node.children);
    if (node.type === "break") return " ";
    return node.type === "math" ? node.tex : node.text;
  }).join("");
}

/**
 * @param {string} text
 * @param {number} at
 * @param {string} char
 */
function runLength(text, at, char) {
  let end = at;
  while (text[end] === char) end += 1;
  return end - at;
}

/** @param {string} text */
function backtickRuns(text) {
  /** @type {Map<number, number[]>} */
  const runs = new Map();
  for (const match of [...text.matchAll(/`+/g)].reverse()) {
    const positions = runs.get(match[0].length);
    if (positions === undefined) runs.set(match[0].length, [match.index]);
    else positions.push(match.index);
  }
  return runs;
}

/** @param {RegExpExecArray} match */
function decodeEntity(match) {
  if (match[3] !== undefined) return NAMED[match[3].toLowerCase()];
  const code = match[1] === undefined ? Number.parseInt(match[2], 16) : Number(match[1]);
  const valid = code > 0 && code <= 0x10ffff && !(code >= 0xd800 && code <= 0xdfff);
  return valid ? String.fromCodePoint(code) : "\ufffd";
}

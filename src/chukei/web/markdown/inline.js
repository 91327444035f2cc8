/**
 * Inline markdown: text in, a small tree out. Follows CommonMark 0.31 where answers of models need it,
 * in linear time; raw HTML is text. Two departures, both for readers:
 * emphasis next to Chinese, Japanese or Korean characters works without spaces (CommonMark's flanking
 * rules break `**「重要」**です`), and `<br>` is a line break.
 */

/**
 * @typedef {{type: "text", text: string}
 *   | {type: "code", text: string}
 *   | {type: "break"}
 *   | {type: "strong" | "emphasis" | "deleted", children: Inline[]}
 *   | {type: "link", target: string, title: string, children: Inline[]}
 *   | {type: "image", target: string, title: string, children: Inline[]}} Inline
 */

/** @typedef {{type: "delimiter", mark: string, count: number, opens: boolean, closes: boolean}} Delimiter */
/** @typedef {{type: "bracket", image: boolean}} Bracket */
/** @typedef {Inline | Delimiter | Bracket} Part */

/** Deeper emphasis is text: the tree is drawn recursively. */
const MOST_NESTED = 32;
/** Longer link targets are text: bounds the look-ahead at every `](`. */
const LONGEST_TARGET = 2000;

const PUNCTUATION = /[\p{P}\p{S}]/u;
const WIDE = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\u3000-\u303f\uff00-\uffef]/u;
const ESCAPABLE = /[!-/:-@[-`{-~]/;

const ADDRESS_IN_BRACKETS = /<((?:https?:\/\/|mailto:)[^\s<>]{1,2000})>/iy;
const LINE_BREAK_TAG = /<br {0,3}\/?>/iy;
// Only the characters of RFC 3986, so that a sentence in Japanese may follow without a space.
const BARE_ADDRESS = /https?:\/\/[A-Za-z0-9\-._~:/?#@!$&'()*+,;=%]{1,2000}/iy;
const ENTITY = /&(?:#(\d{1,7})|#x([0-9a-f]{1,6})|(amp|lt|gt|quot|apos|nbsp|copy|mdash|ndash|hellip));/iy;
const PLAIN = /[^\\`*_~[\]!<&\nhH]+/y;

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
    return hard ? this.#break(1) : this.#push("\n", 1);
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
    const type = bracket.image ? "image" : "link";
    this.#parts.push({ type, target: target.address, title: target.title, children });
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

/** @typedef {{opener: Delimiter | null, nodes: Inline[]}} Frame */

/**
 * Pairs the delimiter runs: a stack of open runs, each with what has been read since.
 * @param {Part[]} parts
 * @returns {Inline[]}
 */
function resolveEmphasis(parts) {
  /** @type {Frame[]} */
  const stack = [{ opener: null, nodes: [] }];
  for (const part of parts) {
    const top = /** @type {Frame} */ (stack.at(-1));
    if (part.type === "delimiter") addDelimiter(stack, { ...part });
    else if (part.type === "bracket") appendText(top.nodes, part.image ? "![" : "[");
    else if (part.type === "text") appendText(top.nodes, part.text);
    else top.nodes.push(part);
  }
  collapse(stack, 0);
  return stack[0].nodes;
}

/**
 * @param {Frame[]} stack
 * @param {Delimiter} run
 */
function addDelimiter(stack, run) {
  while (run.closes && run.count > 0) {
    const index = stack.findLastIndex(({ opener }) => opener?.mark === run.mark);
    if (index < 0 || !closeFrame(stack, index, run)) break;
  }
  if (run.count === 0) return;
  if (run.opens && stack.length < MOST_NESTED) stack.push({ opener: run, nodes: [] });
  else appendText(/** @type {Frame} */ (stack.at(-1)).nodes, run.mark.repeat(run.count));
}

/**
 * @param {Frame[]} stack
 * @param {number} index
 * @param {Delimiter} run
 * @returns {boolean} whether a pair was made
 */
function closeFrame(stack, index, run) {
  const opener = /** @type {Delimiter} */ (stack[index].opener);
  const used = opener.count >= 2 && run.count >= 2 ? 2 : 1;
  if (run.mark === "~" && used === 1) return false;
  collapse(stack, index);
  const type = run.mark === "~" ? "deleted" : used === 2 ? "strong" : "emphasis";
  /** @type {Inline} */
  const node = { type, children: stack[index].nodes };
  opener.count -= used;
  run.count -= used;
  if (opener.count > 0) stack[index].nodes = [node];
  else {
    stack.pop();
    stack[index - 1].nodes.push(node);
  }
  return true;
}

/**
 * Turns the frames above `index` into text of the frame at `index`.
 * @param {Frame[]} stack
 * @param {number} index
 */
function collapse(stack, index) {
  const target = stack[index].nodes;
  for (const { opener, nodes } of stack.splice(index + 1)) {
    if (opener !== null) appendText(target, opener.mark.repeat(opener.count));
    for (const node of nodes) {
      if (node.type === "text") appendText(target, node.text);
      else target.push(node);
    }
  }
}

/**
 * @param {Inline[]} nodes
 * @param {string} text
 */
function appendText(nodes, text) {
  const last = nodes.at(-1);
  if (last?.type === "text") nodes[nodes.length - 1] = { type: "text", text: last.text + text };
  else nodes.push({ type: "text", text });
}

/**
 * @param {string} before
 * @param {string} after
 * @param {string} mark
 */
function flanking(before, after, mark) {
  const left = !isSpace(after) && (!PUNCTUATION.test(after) || bounds(before));
  const right = !isSpace(before) && (!PUNCTUATION.test(before) || bounds(after));
  if (mark !== "_") return { opens: left, closes: right };
  return {
    opens: left && (!right || PUNCTUATION.test(before)),
    closes: right && (!left || PUNCTUATION.test(after)),
  };
}

/** @param {string} char */
function bounds(char) {
  return isSpace(char) || PUNCTUATION.test(char) || WIDE.test(char);
}

/** @param {string} char empty at either end of the text */
function isSpace(char) {
  return char === "" || /\s/.test(char);
}

/**
 * @param {string} text
 * @param {number} at
 */
function charAt(text, at) {
  const code = text.codePointAt(at);
  return code === undefined ? "" : String.fromCodePoint(code);
}

/**
 * @param {string} text
 * @param {number} at
 */
function charBefore(text, at) {
  const isLowSurrogate = /[\udc00-\udfff]/.test(text[at - 1] ?? "");
  return at === 0 ? "" : charAt(text, isLowSurrogate ? at - 2 : at - 1);
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

/**
 * Reads `(address "title")`.
 * @param {string} text
 * @param {number} at
 * @returns {{address: string, title: string, end: number} | null}
 */
function readTarget(text, at) {
  if (text[at] !== "(") return null;
  const inside = text.slice(at + 1, at + 1 + LONGEST_TARGET);
  const lead = inside.length - inside.trimStart().length;
  const length = inside[lead] === "<" ? inside.indexOf(">", lead) + 1 - lead : addressLength(inside, lead);
  if (length <= 0) return null;
  const raw = inside.slice(lead, lead + length);
  const rest = /^\s*(?:\s(?:"([^"]*)"|'([^']*)')\s*)?\)/.exec(inside.slice(lead + length));
  if (rest === null) return null;
  return {
    address: raw.startsWith("<") ? raw.slice(1, -1) : raw.replace(/\\([!-/:-@[-`{-~])/g, "$1"),
    title: rest[1] ?? rest[2] ?? "",
    end: at + 1 + lead + length + rest[0].length,
  };
}

/**
 * Up to white space or the parenthesis that closes more than the address opened.
 * @param {string} text
 * @param {number} from
 */
function addressLength(text, from) {
  let depth = 0;
  let at = from;
  for (; at < text.length && !/\s/.test(text[at]); at += 1) {
    if (text[at] === "\\") at += 1;
    else if (text[at] === "(") depth += 1;
    else if (text[at] === ")" && --depth < 0) break;
  }
  return Math.min(at, text.length) - from;
}

/**
 * A bare address ends before the punctuation of the sentence around it.
 * @param {string} address
 */
function trimAddress(address) {
  let end = address.length;
  while (end > 0) {
    const char = address[end - 1];
    if (char === ")" && count(address.slice(0, end), "(") >= count(address.slice(0, end), ")")) break;
    if (!".,:;!?'*_~)".includes(char)) break;
    end -= 1;
  }
  return address.slice(0, end);
}

/**
 * @param {string} text
 * @param {string} char
 */
function count(text, char) {
  return text.split(char).length - 1;
}

/** @param {RegExpExecArray} match */
function decodeEntity(match) {
  if (match[3] !== undefined) return NAMED[match[3].toLowerCase()];
  const code = match[1] === undefined ? Number.parseInt(match[2], 16) : Number(match[1]);
  const valid = code > 0 && code <= 0x10ffff && !(code >= 0xd800 && code <= 0xdfff);
  return valid ? String.fromCodePoint(code) : "\ufffd";
}

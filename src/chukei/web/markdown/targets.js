/**
 * Where link targets begin and end in inline markdown. Whether one may be linked to is decided in render.js.
 */

/** Longer targets are text: bounds the look-ahead at every `](`. */
const LONGEST_TARGET = 2000;
/** CommonMark asks for three. Each `](` opens one more, so that no character is looked at more often than this. */
const MOST_PARENTHESES = 8;

/**
 * Reads `(address "title")`.
 * @param {string} text
 * @param {number} at
 * @returns {{address: string, title: string, end: number} | null}
 */
export function readTarget(text, at) {
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
    else if (text[at] === "(" && ++depth > MOST_PARENTHESES) return 0;
    else if (text[at] === ")" && --depth < 0) break;
  }
  return Math.min(at, text.length) - from;
}

/**
 * A bare address ends before the punctuation of the sentence around it.
 * @param {string} address
 */
export function trimAddress(address) {
  let end = address.length;
  const opened = count(address, "(");
  let closed = count(address, ")");
  while (end > 0) {
    const char = address[end - 1];
    if (!".,:;!?'*_~)".includes(char)) break;
    if (char === ")" && opened >= closed--) break;
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

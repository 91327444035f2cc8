/**
 * Where link targets begin and end in inline markdown. Whether one may be linked to is decided in render.js.
 */

/** CommonMark asks for three. Each `](` opens one more, so that no character is looked at more often than this. */
const MOST_PARENTHESES = 8;

// Each ends at what a further link would need, so that no character is looked at by many: a `<`, a quotation mark.
const SPACE = /\s*/y;
const BRACKETED = /<((?:[^<>\n\\]|\\[^\n])*)>/y;
const TITLE_AND_CLOSE = /\s*(?:(?<=\s)(?:"([^"]*)"|'([^']*)')\s*)?\)/y;

/**
 * Reads `(address "title")`.
 * @param {string} text
 * @param {number} at
 * @returns {{address: string, title: string, end: number} | null}
 */
export function readTarget(text, at) {
  if (text[at] !== "(") return null;
  const from = match(SPACE, text, at + 1).end;
  const bracketed = match(BRACKETED, text, from);
  const end = bracketed.found === null ? addressEnd(text, from) : bracketed.end;
  const close = match(TITLE_AND_CLOSE, text, end);
  if (end < from || close.found === null) return null;
  const raw = bracketed.found?.[1] ?? text.slice(from, end);
  return {
    address: raw.replace(/\\([!-/:-@[-`{-~])/g, "$1"),
    title: close.found[1] ?? close.found[2] ?? "",
    end: close.end,
  };
}

/**
 * @param {RegExp} pattern sticky
 * @param {string} text
 * @param {number} at
 */
function match(pattern, text, at) {
  pattern.lastIndex = at;
  const found = pattern.exec(text);
  return { found, end: at + (found?.[0].length ?? 0) };
}

/**
 * Up to white space or the parenthesis that closes more than the address opened.
 * @param {string} text
 * @param {number} from
 * @returns {number} -1 when there is no address
 */
function addressEnd(text, from) {
  let depth = 0;
  for (let at = from; at < text.length; at += 1) {
    const char = text[at];
    if (char === "\\") at += 1;
    else if (/\s/.test(char) || (char === ")" && --depth < 0)) return at;
    else if (char === "<" && at === from) return -1;
    else if (char === "(" && ++depth > MOST_PARENTHESES) return -1;
  }
  return -1;
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

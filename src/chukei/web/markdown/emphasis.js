/**
 * Pairs the marks of emphasis (`*`, `_`, `~~`) in what the inline parser has read. CommonMark 0.31, except
 * that marks beside Chinese, Japanese or Korean characters need no spaces: its flanking rules break
 * `**「重要」**です`.
 */

/** @typedef {import("./inline.js").Inline} Inline */
/** @typedef {import("./inline.js").Part} Part */
/** @typedef {import("./inline.js").Delimiter} Delimiter */

/** Deeper emphasis is text: the tree is drawn recursively. */
const MOST_NESTED = 32;
/** Longer runs are text, for the same reason: each pair of marks is one level. */
const LONGEST_RUN = 6;

const PUNCTUATION = /[\p{P}\p{S}]/u;
const WIDE = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\u3000-\u303f\uff00-\uffef]/u;

/** Scripts that are written without spaces between words. */
const UNSPACED = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\u3000-\u303f\uff00-\uffef]/u;

/** @typedef {{opener: Delimiter | null, nodes: Inline[]}} Frame */

/**
 * Pairs the delimiter runs: a stack of open runs, each with what has been read since.
 * @param {Part[]} parts
 * @returns {Inline[]}
 */
export function resolveEmphasis(parts) {
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
  const usable = run.count <= LONGEST_RUN;
  while (usable && run.closes && run.count > 0) {
    const index = stack.findLastIndex(({ opener }) => opener?.mark === run.mark);
    if (index < 0 || !closeFrame(stack, index, run)) break;
  }
  if (run.count === 0) return;
  if (usable && run.opens && stack.length < MOST_NESTED) stack.push({ opener: run, nodes: [] });
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
export function flanking(before, after, mark) {
  const left = !isSpace(after) && (!PUNCTUATION.test(after) || bounds(before));
  const right = !isSpace(before) && (!PUNCTUATION.test(before) || bounds(after));
  if (mark !== "_") return { opens: left, closes: right };
  return {
    opens: left && (!right || PUNCTUATION.test(before)),
    closes: right && (!left || PUNCTUATION.test(after)),
  };
}

/** @param {string} char */
export function isUnspaced(char) {
  return UNSPACED.test(char);
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
export function charAt(text, at) {
  const code = text.codePointAt(at);
  return code === undefined ? "" : String.fromCodePoint(code);
}

/**
 * @param {string} text
 * @param {number} at
 */
export function charBefore(text, at) {
  const isLowSurrogate = /[\udc00-\udfff]/.test(text[at - 1] ?? "");
  return at === 0 ? "" : charAt(text, isLowSurrogate ? at - 2 : at - 1);
}

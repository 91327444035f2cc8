/**
 * Formulas: TeX as models write it in, a tree of MathML out. One pass from left to right, without a way back;
 * what is not known, not closed or nested too deeply is no formula, and its reader shows the source instead.
 * The tree holds only names of elements and attributes from here, never from the text.
 */

import {
  ACCENTS,
  FONTS,
  FONT_SWITCHES,
  FUNCTIONS,
  IDENTIFIERS,
  INTEGRALS,
  LIMITS,
  LONG_ARROWS,
  NEGATED,
  OPERATORS,
  SPACES,
  SUMS,
  WIDE_ACCENT,
  inFont,
} from "./symbols.js";

/**
 * A part of MathML Core, with text or with children.
 * @typedef {{tag: string, attributes: Record<string, string>, text: string, children: Tree[]}} Tree
 */
/** @typedef {"beside" | "over" | "function"} Place where scripts go: a function has them before its argument */

const LONGEST = 8000;
const MOST_NESTED = 24;
/** A command, a number, white space, a remark, or any other character. */
const TOKEN = /\\(?:[A-Za-z]+\*?|[\s\S]|$)|\d+(?:,\d{3}(?!\d))*(?:\.\d+)?|\s+|%[^\n]*(?:\n|$)|[\s\S]/gu;

class NotMath extends Error {}

/**
 * @param {string} tex
 * @returns {Tree | null} a row, or null when the text cannot be shown as a formula
 */
export function parseFormula(tex) {
  if (tex.length > LONGEST) return null;
  try {
    return new FormulaParser(tex).parse();
  } catch (error) {
    if (error instanceof NotMath) return null;
    throw error;
  }
}

/**
 * @param {string} tag
 * @param {Record<string, string>} attributes
 * @param {...Tree} children
 * @returns {Tree}
 */
function node(tag, attributes, ...children) {
  return { tag, attributes, text: "", children };
}

/**
 * @param {string} tag
 * @param {string} text
 * @param {Record<string, string>} [attributes]
 * @returns {Tree}
 */
function leaf(tag, text, attributes = {}) {
  return { tag, attributes, text, children: [] };
}

/** @param {Tree[]} children */
function row(children) {
  return children.length === 1 ? children[0] : node("mrow", {}, ...children);
}

/** @param {number} width in em */
function space(width) {
  return node("mspace", { width: `${width}em` });
}

const FIXED = { stretchy: "false" };
const WITH_LIMITS = { movablelimits: "true", lspace: "0", rspace: "0.167em" };
const FENCE = { stretchy: "true", fence: "true", lspace: "0", rspace: "0" };
/** Bars around a formula; MathML would set them as signs between two. */
const BAR = { stretchy: "false", lspace: "0", rspace: "0" };

/** The brackets around matrices. @type {Record<string, [open: string, close: string]>} */
const MATRICES = {
  matrix: ["", ""], smallmatrix: ["", ""], array: ["", ""], subarray: ["", ""],
  pmatrix: ["(", ")"], bmatrix: ["[", "]"], Bmatrix: ["{", "}"], vmatrix: ["|", "|"], Vmatrix: ["‖", "‖"],
  cases: ["{", ""], dcases: ["{", ""], rcases: ["", "}"],
};
const EQUATIONS = new Set(
  ("aligned align align* alignat alignat* alignedat split eqnarray eqnarray* flalign flalign* equation equation* " +
    "gather gather* gathered multline multline* displaymath math").split(" "),
);
const CENTERED = /^(?:gather|multline)/;

const DELIMITERS = /^[()[\]|/<>⟨⟩‖{}⌊⌋⌈⌉⟮⟯⌜⌝↑↓↕⇑⇓\\.]$/;

/** @type {Record<string, string>} */
const SIGNS = { "-": "−", "*": "∗", "'": "′", "`": "‘" };

class FormulaParser {
  #tokens;
  #at = 0;
  #depth = 0;
  #font = "";

  /** @param {string} tex */
  constructor(tex) {
    this.#tokens = tex.match(TOKEN) ?? [];
  }

  /** @returns {Tree} */
  parse() {
    const rows = this.#rows();
    if (this.#at < this.#tokens.length) throw new NotMath();
    return rows.length === 1 && rows[0].length === 1 ? rows[0][0] : makeTable(rows, alternating);
  }

  #peek() {
    while (/^[\s%]/.test(this.#tokens[this.#at] ?? "")) this.#at += 1;
    return this.#tokens[this.#at] ?? "";
  }

  #next() {
    const token = this.#peek();
    this.#at += 1;
    return token;
  }

  /** @param {string} token */
  #take(token) {
    if (this.#peek() !== token) return false;
    this.#at += 1;
    return true;
  }

  /** @param {string} token */
  #expect(token) {
    if (!this.#take(token)) throw new NotMath();
  }

  /**
   * Cells until what ends a table: `\\` between rows, `&` between cells.
   * @returns {Tree[][]}
   */
  #rows() {
    /** @type {Tree[][]} */
    const rows = [[]];
    for (;;) {
      while (this.#take("\\hline"));
      rows[rows.length - 1].push(row(this.#items()));
      if (this.#take("&")) continue;
      if (!this.#take("\\\\") && !this.#take("\\cr") && !this.#take("\\newline")) break;
      if (this.#tokens[this.#at] === "[") this.#optionalText();
      rows.push([]);
    }
    const last = rows[rows.length - 1];
    if (rows.length > 1 && last.length === 1 && last[0].children.length === 0 && last[0].tag === "mrow") rows.pop();
    return rows;
  }

  /**
   * What follows up to the end of a group, a cell or the formula.
   * @param {string} [end]
   */
  #items(end = "") {
    this.#depth += 1;
    if (this.#depth > MOST_NESTED) throw new NotMath();
    const font = this.#font;
    /** @type {Tree[]} */
    const items = [];
    for (let token = this.#peek(); !isEnd(token) && token !== end; token = this.#peek()) this.#item(items);
    this.#font = font;
    this.#depth -= 1;
    return items;
  }

  /** @param {Tree[]} items */
  #item(items) {
    const { base, place } = this.#base();
    const whole = this.#scripted(base, place);
    if (whole !== null) items.push(whole);
    if (place === "function") items.push(this.#application());
  }

  /**
   * @param {Tree | null} base
   * @param {Place} place
   */
  #scripted(base, place) {
    /** @type {Tree | null} */
    let below = null;
    /** @type {Tree[]} */
    const above = [];
    let where = place;
    for (;;) {
      if (this.#take("\\limits")) where = "over";
      else if (this.#take("\\nolimits")) where = "beside";
      else if (this.#peek() === "_" && below === null) below = this.#script();
      else if (this.#peek() === "^") above.push(this.#script());
      else if (this.#take("'")) above.push(leaf("mo", "′", { lspace: "0", rspace: "0" }));
      else break;
    }
    if (below === null && above.length === 0) return base;
    const [under, over, both] = where === "over" ? ["munder", "mover", "munderover"] : ["msub", "msup", "msubsup"];
    const on = base ?? row([]);
    if (below === null) return node(over, {}, on, row(above));
    return above.length === 0 ? node(under, {}, on, below) : node(both, {}, on, below, row(above));
  }

  /** The sign between a function and its argument, which is not seen. */
  #application() {
    const isBracketed = /^(?:[([{]|\\left)$/.test(this.#peek());
    return leaf("mo", "\u2061", { lspace: "0", rspace: isBracketed ? "0" : "0.167em" });
  }

  #script() {
    this.#at += 1;
    return this.#argument();
  }

  /** One token or a group. */
  #argument() {
    if (this.#peek() === "{") return this.#group();
    if (isEnd(this.#peek()) || /^[_^]$/.test(this.#peek())) throw new NotMath();
    this.#depth += 1;
    if (this.#depth > MOST_NESTED) throw new NotMath();
    const { base } = this.#base(true);
    this.#depth -= 1;
    return base ?? row([]);
  }

  #group() {
    this.#expect("{");
    const items = this.#items();
    this.#expect("}");
    return row(items);
  }

  /**
   * @param {boolean} [single] a digit is one argument, as in `x^23`
   * @returns {{base: Tree | null, place: Place}}
   */
  #base(single = false) {
    const token = this.#peek();
    if (/^[_^']$/.test(token)) return beside(null);
    if (token === "{") return beside(this.#group());
    this.#at += 1;
    if (/^\d/.test(token)) return beside(this.#number(token, single));
    if (token.startsWith("\\")) return this.#command(token.slice(1));
    if (/^\p{L}$/u.test(token)) return beside(this.#letter(token));
    if (token === "~") return beside(space(0.25));
    if (/^[\p{C}$#]$/u.test(token)) throw new NotMath();
    return beside(leaf("mo", SIGNS[token] ?? token, spacing(token)));
  }

  /** @param {string} token @param {boolean} single */
  #number(token, single) {
    if (single && token.length > 1) {
      this.#at -= 1;
      this.#tokens[this.#at] = token.slice(1);
    }
    const digits = single ? token[0] : token;
    return leaf("mn", [...digits].map((digit) => inFont(digit, this.#font)).join(""));
  }

  /** @param {string} char */
  #letter(char) {
    return leaf("mi", inFont(char, this.#font), this.#font === "upright" ? { mathvariant: "normal" } : {});
  }

  /**
   * @param {string} name without the backslash
   * @returns {{base: Tree | null, place: Place}}
   */
  #command(name) {
    const sum = SUMS.get(name);
    if (sum !== undefined) return { base: leaf("mo", sum), place: "over" };
    const limit = LIMITS.get(name);
    if (limit !== undefined) return { base: leaf("mo", limit, WITH_LIMITS), place: "over" };
    if (FUNCTIONS.has(name)) return { base: leaf("mi", name), place: "function" };
    if (name === "operatorname") return { base: leaf("mi", this.text()), place: "function" };
    const found = this.#symbol(name) ?? (Object.hasOwn(COMMANDS, name) ? COMMANDS[name](this, name) : this.#family(name));
    if (found === undefined) throw new NotMath();
    return BRACES.has(name) ? { base: found, place: "over" } : beside(found);
  }

  /** @param {string} name */
  #symbol(name) {
    const letter = IDENTIFIERS.get(name);
    if (letter !== undefined) return this.#letterOrSign(letter);
    const sign = OPERATORS.get(name) ?? INTEGRALS.get(name);
    return sign === undefined ? undefined : leaf("mo", sign, spacing(sign));
  }

  /** @param {string} char */
  #letterOrSign(char) {
    // Capital Greek letters are upright in TeX.
    return /[Α-Ω]/.test(char) ? leaf("mi", inFont(char, this.#font), { mathvariant: "normal" }) : this.#letter(char);
  }

  /**
   * Commands that are alike but for a character.
   * @param {string} name
   * @returns {Tree | null | undefined}
   */
  #family(name) {
    const width = SPACES.get(name);
    if (width !== undefined) return space(width);
    const switched = FONT_SWITCHES.get(name);
    if (switched !== undefined) return this.#switchFont(switched);
    const font = FONTS.get(name);
    if (font !== undefined) return this.#inFont(font);
    const accent = ACCENTS.get(name);
    if (accent !== undefined) return this.#accent(name, accent);
    const arrow = LONG_ARROWS.get(name);
    if (arrow !== undefined) return this.#longArrow(arrow);
    return /^[bB]igg?[lrm]?$/.test(name) ? this.#bigDelimiter(name) : undefined;
  }

  /** Changes the letters up to the end of the group. @param {string} font */
  #switchFont(font) {
    this.#font = font;
    return null;
  }

  /** @param {string} font */
  #inFont(font) {
    const before = this.#font;
    this.#font = font;
    const inside = this.#argument();
    this.#font = before;
    const { tag, children } = inside;
    // Upright letters that stand together are one name.
    const areLetters = tag === "mrow" && children.every((child) => child.tag === "mi");
    return font === "upright" && areLetters ? leaf("mi", children.map(({ text }) => text).join("")) : inside;
  }

  /** @param {string} name @param {string} accent */
  #accent(name, accent) {
    const base = this.#argument();
    const mark = leaf("mo", accent, { stretchy: String(WIDE_ACCENT.test(name)) });
    if (name.startsWith("under")) return node("munder", { accentunder: "true" }, base, mark);
    return node("mover", { accent: "true" }, base, mark);
  }

  /** @param {string} arrow */
  #longArrow(arrow) {
    const below = this.#peek() === "[" ? this.#optional() : null;
    const mark = leaf("mo", arrow, { stretchy: "true", lspace: "0.278em", rspace: "0.278em" });
    const padded = (/** @type {Tree} */ inner) => row([space(0.3), inner, space(0.3)]);
    const above = padded(this.#argument());
    return below === null ? node("mover", {}, mark, above) : node("munderover", {}, mark, padded(below), above);
  }

  /** @param {string} name */
  #bigDelimiter(name) {
    const size = name.startsWith("bigg") ? 2.4 : name.startsWith("Bigg") ? 3 : name.startsWith("big") ? 1.2 : 1.8;
    const text = this.#delimiter();
    return leaf("mo", text, { stretchy: "true", symmetric: "true", minsize: `${size}em`, maxsize: `${size}em` });
  }

  #optional() {
    this.#expect("[");
    const items = this.#items("]");
    this.#expect("]");
    return row(items);
  }

  #optionalText() {
    while (this.#peek() !== "" && this.#next() !== "]");
  }

  /** What a delimiter after `\left`, `\big` and the like stands for; `.` for none. */
  #delimiter() {
    const token = this.#next();
    const sign = token.startsWith("\\") ? (OPERATORS.get(token.slice(1)) ?? "") : token;
    if (token === "\\backslash") return "\\";
    if (!DELIMITERS.test(sign)) throw new NotMath();
    if (sign === ".") return "";
    return sign === "<" ? "⟨" : sign === ">" ? "⟩" : sign;
  }

  // What the table of commands uses.

  argument() {
    return this.#argument();
  }

  optional() {
    return this.#peek() === "[" ? this.#optional() : null;
  }

  /** @param {string} display "true" or "false" */
  style(display) {
    return node("mstyle", { displaystyle: display, scriptlevel: "0" }, ...this.#items());
  }

  fenced() {
    const parts = [this.#fence()];
    for (;;) {
      parts.push(...this.#items());
      if (this.#take("\\middle")) parts.push(this.#fence());
      else break;
    }
    this.#expect("\\right");
    parts.push(this.#fence());
    return node("mrow", {}, ...parts);
  }

  #fence() {
    return leaf("mo", this.#delimiter(), FENCE);
  }

  /** The characters of a group, as they are; formulas in them are text as well. */
  text() {
    this.#expect("{");
    let text = "";
    for (let open = 1; ; this.#at += 1) {
      const token = this.#tokens[this.#at];
      if (token === undefined) throw new NotMath();
      if (token === "{") open += 1;
      else if (token === "}" && --open === 0) break;
      else if (/^\\[^A-Za-z]$/.test(token)) text += SPACES.has(token.slice(1)) ? " " : token.slice(1);
      else text += token;
    }
    this.#at += 1;
    if (/\\[A-Za-z]|\$/.test(text)) throw new NotMath();
    return text.replace(/^\s|\s$/g, "\u00a0").replaceAll("~", "\u00a0");
  }

  negated() {
    const base = this.#argument();
    const sign = base.tag === "mo" ? NEGATED.get(base.text) : undefined;
    if (sign === undefined) throw new NotMath();
    return leaf("mo", sign);
  }

  environment() {
    const name = this.text();
    const isMatrix = Object.hasOwn(MATRICES, name);
    if (!isMatrix && !EQUATIONS.has(name)) throw new NotMath();
    const columns = /^(?:array|subarray|alignat|alignedat)/.test(name) ? this.text() : "";
    if (!isMatrix && this.#peek() === "[") this.#optionalText();
    const rows = this.#rows();
    this.#expect("\\end");
    if (this.text() !== name) throw new NotMath();
    if (isMatrix) return matrix(name, rows, columns);
    return makeTable(rows, CENTERED.test(name) ? () => "" : alternating);
  }

  lines() {
    this.#expect("{");
    const rows = this.#rows();
    this.#expect("}");
    return makeTable(rows, () => "", { displaystyle: "false", scriptlevel: "1" });
  }

}

/** Scripts that follow these are their labels. */
const BRACES = new Set(["overbrace", "underbrace", "overset", "underset", "stackrel", "operatorname*"]);

/**
 * @param {Tree | null} base
 * @returns {{base: Tree | null, place: Place}}
 */
function beside(base) {
  return { base, place: "beside" };
}

/**
 * @param {string} sign
 * @returns {Record<string, string>}
 */
function spacing(sign) {
  if (sign === "|" || sign === "‖") return BAR;
  return DELIMITERS.test(sign) ? FIXED : {};
}

/** @param {string} token */
function isEnd(token) {
  return ["", "}", "&", "\\\\", "\\cr", "\\newline", "\\end", "\\right", "\\middle"].includes(token);
}

/** @param {number} column */
function alternating(column) {
  return column % 2 === 0 ? "right" : "left";
}

/**
 * @param {Tree[][]} rows
 * @param {(column: number) => string} align
 * @param {Record<string, string>} [attributes]
 */
function makeTable(rows, align, attributes = { displaystyle: "true" }) {
  const isSingle = rows.every((cells) => cells.length === 1);
  const drawn = rows.map((cells) =>
    node("mtr", {}, ...cells.map((cell, column) => {
      const side = isSingle && align === alternating ? "left" : align(column);
      return node("mtd", side === "" ? {} : { class: `math-${side}` }, cell);
    })),
  );
  return node("mtable", attributes, ...drawn);
}

/**
 * @param {string} name
 * @param {Tree[][]} rows
 * @param {string} columns such as `l|cr`
 */
function matrix(name, rows, columns) {
  const [open, close] = MATRICES[name];
  const sides = columns.replace(/[^lcr]/g, "");
  const isCases = name.endsWith("cases");
  const align = (/** @type {number} */ column) => {
    const side = isCases ? "l" : sides[column];
    return side === "l" ? "left" : side === "r" ? "right" : "";
  };
  const style = /** @type {Record<string, string>} */ ({ displaystyle: String(name === "dcases"), class: "math-matrix" });
  if (/^s/.test(name)) style.scriptlevel = "1";
  const inside = makeTable(rows, align, style);
  return open + close === "" ? inside : node("mrow", {}, leaf("mo", open, FENCE), inside, leaf("mo", close, FENCE));
}

/**
 * @param {FormulaParser} parser
 * @param {string} name
 */
function fraction(parser, name) {
  const top = parser.argument();
  const inside = node("mfrac", /binom/.test(name) ? { linethickness: "0" } : {}, top, parser.argument());
  const display = /^[dc]/.test(name) ? "true" : name.startsWith("t") ? "false" : "";
  const styled = display === "" ? inside : node("mstyle", { displaystyle: display, scriptlevel: "0" }, inside);
  return /binom/.test(name) ? node("mrow", {}, leaf("mo", "("), styled, leaf("mo", ")")) : styled;
}

/** @param {FormulaParser} parser */
function upright(parser) {
  return leaf("mtext", parser.text());
}

/** @param {FormulaParser} parser */
function nothing(parser) {
  parser.text();
  return null;
}

/**
 * @param {string} tag
 * @returns {Command}
 */
function over(tag) {
  return (parser) => {
    const mark = parser.argument();
    return node(tag, {}, parser.argument(), mark);
  };
}

function modulo() {
  return leaf("mo", "mod", { lspace: "0.222em", rspace: "0.222em" });
}

/** @typedef {(parser: FormulaParser, name: string) => Tree | null} Command */
/** @type {Record<string, Command>} */
const COMMANDS = {
  frac: fraction, dfrac: fraction, tfrac: fraction, cfrac: fraction, binom: fraction, dbinom: fraction, tbinom: fraction,
  sqrt: (parser) => {
    const degree = parser.optional();
    const inside = parser.argument();
    return degree === null ? node("msqrt", {}, inside) : node("mroot", {}, inside, degree);
  },
  text: upright, textrm: upright, textnormal: upright, textsf: upright, mbox: upright, hbox: upright,
  textbf: (parser) => leaf("mtext", parser.text(), { class: "math-bold" }),
  textit: (parser) => leaf("mtext", parser.text(), { class: "math-italic" }),
  texttt: (parser) => leaf("mtext", parser.text(), { class: "math-mono" }),
  "operatorname*": (parser) => leaf("mo", parser.text(), WITH_LIMITS),
  left: (parser) => parser.fenced(),
  begin: (parser) => parser.environment(),
  substack: (parser) => parser.lines(),
  overset: over("mover"), stackrel: over("mover"), underset: over("munder"),
  not: (parser) => parser.negated(),
  phantom: (parser) => node("mphantom", {}, parser.argument()),
  overline: (parser) => node("mrow", { class: "math-overlined" }, parser.argument()),
  underline: (parser) => node("mrow", { class: "math-underlined" }, parser.argument()),
  boxed: (parser) => node("mrow", { class: "math-boxed" }, parser.argument()),
  cancel: (parser) => node("mrow", { class: "math-struck" }, parser.argument()),
  displaystyle: (parser) => parser.style("true"),
  textstyle: (parser) => parser.style("false"),
  bmod: modulo, mod: modulo,
  pmod: (parser) => {
    const inside = [leaf("mi", "mod"), space(0.333), parser.argument()];
    return row([space(1), leaf("mo", "(", FIXED), ...inside, leaf("mo", ")", FIXED)]);
  },
  tag: (parser) => row([space(2), leaf("mtext", `(${parser.text()})`)]),
  mathop: (parser) => parser.argument(), mathbin: (parser) => parser.argument(), mathrel: (parser) => parser.argument(),
  mathord: (parser) => parser.argument(), mathstrut: () => null, label: nothing,
  color: nothing,
  textcolor: (parser) => {
    parser.text();
    return parser.argument();
  },
  notag: () => null, nonumber: () => null, allowbreak: () => null, nobreak: () => null, "/": () => null,
};

/**
 * Light colouring of code: comments, strings, numbers and keywords, nothing cleverer. One pass with
 * linear patterns; code in an unknown language, or a great deal of it, stays as it is.
 */

/** @typedef {{kind: "" | "comment" | "string" | "number" | "keyword", text: string}} Token */
/** @typedef {{comment: RegExp, keywords: Set<string>}} Language */

const LONGEST = 60_000;
const STRING = /"""[\s\S]*?(?:"""|$)|"(?:[^"\\\n]|\\.)*"?|'(?:[^'\\\n]|\\.)*'?|`(?:[^`\\]|\\.)*`?/y;
const NUMBER = /\d[\w.]*/y;
const WORD = /[A-Za-z_$][\w$]*/y;
const OTHER = /[^\w$"'`#/-]+|[\s\S]/y;

const SLASHES = /\/\/[^\n]*|\/\*[\s\S]*?(?:\*\/|$)/y;
const HASH = /#[^\n]*/y;
const DASHES = /--[^\n]*|\/\*[\s\S]*?(?:\*\/|$)/y;
const NEVER = /(?!)/y;

/** @param {string} text */
const words = (text) => new Set(text.split(" "));

const C_LIKE = words(
  "as async await break case catch class const continue default do else enum export extends extern false final finally fn for from func function go if impl implements import in instanceof int interface let loop match mod mut namespace new nil null package private protected pub public return self static string struct super switch this throw true try type typeof undefined use using var void where while yield bool char double float long short unsigned",
);
const PYTHON = words(
  "and as assert async await break class continue def del elif else except False finally for from global if import in is lambda match None nonlocal not or pass raise return self True try while with yield",
);
const SHELL = words(
  "if then else elif fi for in do done while case esac function return export local set echo cd sudo curl pip python npm git docker az",
);
const SQL = words(
  "select from where and or not insert into values update set delete create table index view join left right inner outer on group by order having limit as distinct null primary key references union all case when then else end with",
);

/** @type {[string, Language][]} */
const FAMILIES = [
  ["js javascript ts typescript jsx tsx mjs java c h cpp c++ cs csharp c# go rust rs swift kotlin kt php scala dart", { comment: SLASHES, keywords: C_LIKE }],
  ["py python python3", { comment: HASH, keywords: PYTHON }],
  ["sh bash zsh shell console powershell ps1 dockerfile make makefile", { comment: HASH, keywords: SHELL }],
  ["rb ruby yaml yml toml ini r", { comment: HASH, keywords: words("true false null def end class if else do return") }],
  ["sql", { comment: DASHES, keywords: SQL }],
  ["json jsonc", { comment: NEVER, keywords: words("true false null") }],
];

/** @type {Map<string, Language>} */
const LANGUAGES = new Map(
  FAMILIES.flatMap(([names, language]) => names.split(" ").map((name) => /** @type {const} */ ([name, language]))),
);

/**
 * @param {string} code
 * @param {string} name
 * @returns {Token[] | null} null when the code is to stay as it is
 */
export function tokenize(code, name) {
  const language = LANGUAGES.get(name.toLowerCase());
  if (language === undefined || code.length > LONGEST) return null;
  /** @type {Token[]} */
  const tokens = [];
  for (let at = 0; at < code.length; ) {
    const token = readToken(code, at, language);
    at += token.text.length;
    const last = tokens.at(-1);
    if (last !== undefined && last.kind === token.kind) last.text += token.text;
    else tokens.push(token);
  }
  return tokens;
}

/**
 * @param {string} code
 * @param {number} at
 * @param {Language} language
 * @returns {Token}
 */
function readToken(code, at, language) {
  const comment = read(language.comment, code, at);
  if (comment !== null) return { kind: "comment", text: comment };
  const string = read(STRING, code, at);
  if (string !== null) return { kind: "string", text: string };
  const number = read(NUMBER, code, at);
  if (number !== null) return { kind: "number", text: number };
  const word = read(WORD, code, at);
  if (word !== null) return { kind: isKeyword(word, language) ? "keyword" : "", text: word };
  return { kind: "", text: read(OTHER, code, at) ?? code[at] };
}

/**
 * @param {string} word
 * @param {Language} language
 */
function isKeyword(word, language) {
  return language.keywords.has(language.keywords === SQL ? word.toLowerCase() : word);
}

/**
 * @param {RegExp} pattern sticky
 * @param {string} code
 * @param {number} at
 */
function read(pattern, code, at) {
  pattern.lastIndex = at;
  return pattern.exec(code)?.[0] ?? null;
}

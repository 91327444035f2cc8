/**
 * Text that has made parsers of markdown slow, in families that grow to any length.
 */

/** @param {string} unit */
const repeated = (unit) => (/** @type {number} */ length) => unit.repeat(Math.ceil(length / unit.length)).slice(0, length);

/** @param {(n: number) => string} line */
const growing = (line) => (/** @type {number} */ length) => {
  let text = "";
  for (let n = 1; text.length < length; n += 1) text += line(n);
  return text.slice(0, length);
};

const UNITS = [
  "[", "![", "]", "[]", "[a](", "[a](<", "![a](", "[a](b", '[a](b "', "[a](b '\"", "[a](\\(", "[a](b)", "[![a](b)](c)", "![[", "[a](((", "[a](b(c)", "[^1]",
  "[a]: b\n", "<", "<a", "<a href=", "<!--", "<br", "<http://", "<http://a>", "&", "&#", "&amp;", "&#x41;", "http://", "http://a)", "http://a.b/((", "www.",
  "*", "_", "~", "~~", "**", "***", "*a ", "**a ", "a**b", "_*", "*_", "*a_b", "**a*b", "*a **b ", "_a*b_c*", "a* ", "~~a~", "*日", "*あ**",
  "`", "`a", "``a`", "\\", "\\`", "\\[", "\\]", "\\(", "\\)", "$", "$$", "$a", "$a$", "$a $", "$1 ", "$$a\n", "\\(a", "\\[a\n", "$$\na\n", "$\\", "$x^{", "\\left(",
  "> ", ">", "> > ", ">\n", "> a\n", "> a\n\n", "- ", "- a\n", "- \n", "* a\n\n", "1. ", "1. a\n", "9) a\n", "- - ", "- > ", "> - ", "- [ ] a\n", "- a\n  b\n", "-\n\n",
  "|", "|a", "|-", "|a|b|\n|-|-\n", "a|b\n-|-\n", "|a|b|c|d|e\n", "|\n", "|a|\n|-x\n", "\\|",
  "#", "# ", "# a\n", "#a\n", "---\n", "- - -", "***\n", "```\n", "```a\n", "~~~\n", "``` `\n", "   ```\n",
  "\n", "\r", "\r\n", "\r\r\n", "a\n", "a  \n", "a\\\n", "\t", "\t- a\n", " ", "  \n", "\u00a0", "a", "h", "日本", "e\u0301", "\u{1f468}\u200d", "\ud800", "\u202e",
];

/** @type {[name: string, text: (length: number) => string][]} */
export const FAMILIES = [
  ...UNITS.map((unit) => /** @type {[string, (length: number) => string]} */ ([JSON.stringify(unit), repeated(unit)])),
  ["backticks of growing length", growing((n) => `${"`".repeat(n)}a`)],
  ["backticks of falling length", (length) => Array.from({ length: Math.floor(Math.sqrt(2 * length)) }, (_, n, all = Math.floor(Math.sqrt(2 * length))) => "`".repeat(all - n)).join("a")],
  ["nested lists", growing((n) => `${"  ".repeat(n % 40)}- a\n`)],
  ["nested quotes", growing((n) => `${"> ".repeat(n % 40)}a\n`)],
  ["nested lists and quotes", growing((n) => `${"- > ".repeat(n % 20)}a\n`)],
  ["one list item", (length) => `- a\n${repeated("\n  b c d\n")(length)}`],
  ["one quote", (length) => repeated("> b *c* d\n")(length)],
  ["one table", (length) => `|a|b|\n|-|-|\n${repeated("|c *d*|e|\n")(length)}`],
  ["one code block", (length) => `\`\`\`js\n${repeated("const a = 1;\n")(length)}`],
  ["one line of code", (length) => `\`\`\`js\n${repeated("const a = 1;")(length)}`],
  ["one heading", (length) => `# ${repeated("a *b* ")(length)}`],
  ["one long word", repeated("abcdefgh")],
  ["links within a text", repeated("See [the page](https://a.test/b_(c)) and `code`, **bold**. ")],
  ["open emphasis and closed", (length) => "*a ".repeat(length / 6) + "a* ".repeat(length / 6)],
  ["open brackets and closed", (length) => "[".repeat(length / 2) + "]".repeat(length / 2)],
  ["images in images", (length) => "![".repeat(length / 6) + "](b)".repeat(length / 6)],
  ["links in links", (length) => "[".repeat(length / 5) + "](b)".repeat(length / 5)],
  ["blank lines in an item", (length) => `- a\n${"\n".repeat(length / 2)}${repeated("  b\n\n")(length / 2)}`],
  ["wide table", (length) => `${"|a".repeat(length / 6)}\n${"|-".repeat(length / 6)}\n${repeated("b\n")(length / 3)}`],
  ["spaces before a word", (length) => `${" ".repeat(length)}a`],
  ["deep formula", (length) => `$${"x^{".repeat(length / 6)}${"}".repeat(length / 6)}$`],
  ["long formula", (length) => `$$${repeated("\\frac{a}{b} + ")(length)}$$`],
  ["what models write", repeated("# A\n\nText *b* **c** `d` [e](https://f.test/)\n\n- g\n- h\n  - i\n\n| j | k |\n|---|---|\n| l | m |\n\n```js\nlet n = 1;\n```\n\n$$\no^2\n$$\n\n")],
];

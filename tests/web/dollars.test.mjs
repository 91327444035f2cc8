import assert from "node:assert/strict";
import { test } from "node:test";
import { parseInline } from "../../src/chukei/web/markdown/inline.js";

/** Texts that users of other products reported, and the formulas in them. @type {[text: string, formulas: string[]][]} */
const REPORTED = [
  ["$740 for $5 million coverage", []],
  ["I have $24000 and you have $40000", []],
  ["i loaded 25$ in openrouter and about 30$ more", []],
  ["$80 + $50 = $130", []],
  ["$10K flat, Phase 2 at $8K", []],
  ["$155 lifetime spend, $34", []],
  ["**$800** and **$900**", []],
  ["it costs \\$5 and \\$10", []],
  ["$2x+1$", ["2x+1"]],
  ["$1$", ["1"]],
  ["\\(e=5.2\\frac{\\$}{€}\\), and the price is $p=25.6\\$$.", ["e=5.2\\frac{\\$}{€}", "p=25.6\\$"]],
];

for (const [text, formulas] of REPORTED) {
  test(`${text} has the formulas [${formulas}]`, () => {
    const found = parseInline(text).filter(({ type }) => type === "math");
    assert.deepEqual(found.map((/** @type {any} */ { tex }) => tex), formulas);
  });
}

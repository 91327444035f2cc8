import assert from "node:assert/strict";
import test from "node:test";

import { parseFormula } from "../../src/chukei/web/markdown/math/parse.js";
import { FAMILIES } from "./hostile.mjs";
import { operations } from "./operations.mjs";

/** @param {import("../../src/chukei/web/markdown/math/parse.js").Tree | null} tree */
function show(tree) {
  if (tree === null) return null;
  return `<${tree.tag}>${tree.text}${tree.children.map(show).join("")}</${tree.tag}>`;
}

/** @type {[tex: string, shown: string | null][]} */
const CASES = [
  ["x", "<mi>x</mi>"],
  ["a-b", "<mrow><mi>a</mi><mo>−</mo><mi>b</mi></mrow>"],
  ["x^23", "<mrow><msup><mi>x</mi><mn>2</mn></msup><mn>3</mn></mrow>"],
  ["x_i^{2}", "<msubsup><mi>x</mi><mi>i</mi><mn>2</mn></msubsup>"],
  ["f''(x)", "<mrow><msup><mi>f</mi><mrow><mo>′</mo><mo>′</mo></mrow></msup><mo>(</mo><mi>x</mi><mo>)</mo></mrow>"],
  ["1,000.5", "<mn>1,000.5</mn>"],
  ["\\frac12", "<mfrac><mn>1</mn><mn>2</mn></mfrac>"],
  ["\\frac{a+b}{c}", "<mfrac><mrow><mi>a</mi><mo>+</mo><mi>b</mi></mrow><mi>c</mi></mfrac>"],
  ["\\sqrt[3]{x}", "<mroot><mi>x</mi><mn>3</mn></mroot>"],
  ["\\alpha \\le \\Omega", "<mrow><mi>α</mi><mo>≤</mo><mi>Ω</mi></mrow>"],
  ["\\sum_{i=1}^n i", "<mrow><munderover><mo>∑</mo><mrow><mi>i</mi><mo>=</mo><mn>1</mn></mrow><mi>n</mi></munderover><mi>i</mi></mrow>"],
  ["\\int_0^1", "<msubsup><mo>∫</mo><mn>0</mn><mn>1</mn></msubsup>"],
  ["\\int\\limits_0^1", "<munderover><mo>∫</mo><mn>0</mn><mn>1</mn></munderover>"],
  ["\\lim_{x\\to0}", "<munder><mo>lim</mo><mrow><mi>x</mi><mo>→</mo><mn>0</mn></mrow></munder>"],
  ["\\sin^2 x", "<mrow><msup><mi>sin</mi><mn>2</mn></msup><mo>\u2061</mo><mi>x</mi></mrow>"],
  ["\\mathbb R^n", "<msup><mi>ℝ</mi><mi>n</mi></msup>"],
  ["\\mathbf{x1}\\mathcal{H}", "<mrow><mrow><mi>𝐱</mi><mn>𝟏</mn></mrow><mi>ℋ</mi></mrow>"],
  ["{\\bf x} y", "<mrow><mi>𝐱</mi><mi>y</mi></mrow>"],
  ["\\mathrm{kg}", "<mi>kg</mi>"],
  ["\\text{if } x", "<mrow><mtext>if\u00a0</mtext><mi>x</mi></mrow>"],
  ["\\hat{x}", "<mover><mi>x</mi><mo>^</mo></mover>"],
  ["\\overbrace{a}^{n}", "<mover><mover><mi>a</mi><mo>⏞</mo></mover><mi>n</mi></mover>"],
  ["\\left(\\frac{1}{2}\\right]", "<mrow><mo>(</mo><mfrac><mn>1</mn><mn>2</mn></mfrac><mo>]</mo></mrow>"],
  ["\\left.x\\right|_0", "<msub><mrow><mo></mo><mi>x</mi><mo>|</mo></mrow><mn>0</mn></msub>"],
  ["\\begin{pmatrix}a&b\\\\c&d\\end{pmatrix}", `<mrow><mo>(</mo><mtable>${tableRow("a", "b")}${tableRow("c", "d")}</mtable><mo>)</mo></mrow>`],
  ["\\begin{cases}a\\\\b\\end{cases}", `<mrow><mo>{</mo><mtable>${tableRow("a")}${tableRow("b")}</mtable><mo></mo></mrow>`],
  ["\\begin{aligned}a&b\\\\c&d\\\\\\end{aligned}", `<mtable>${tableRow("a", "b")}${tableRow("c", "d")}</mtable>`],
  ["a\\\\b", `<mtable>${tableRow("a")}${tableRow("b")}</mtable>`],
  ["a\\not=b", "<mrow><mi>a</mi><mo>≠</mo><mi>b</mi></mrow>"],
  ["\\color{red}x % remark", "<mi>x</mi>"],
  ["\\binom nk", "<mrow><mo>(</mo><mfrac><mi>n</mi><mi>k</mi></mfrac><mo>)</mo></mrow>"],
  ["\\unknown", null],
  ["\\constructor", null],
  ["\\begin{constructor}\\end{constructor}", null],
  ["{a", null],
  ["a}", null],
  ["a & b \\end{x}", null],
  ["\\left(a", null],
  ["x^", null],
  ["\\frac{a}", null],
  ["\\begin{matrix}a\\end{cases}", null],
  ["\\text{a $b$}", null],
  ["a$b", null],
  ["\\", null],
];

/** @param {...string} letters */
function tableRow(...letters) {
  return `<mtr>${letters.map((letter) => `<mtd><mi>${letter}</mi></mtd>`).join("")}</mtr>`;
}

for (const [tex, shown] of CASES) {
  test(`the formula ${tex}`, () => assert.equal(show(parseFormula(tex)), shown));
}

const DEEP = ["{", "\\left(", "\\sqrt", "x^", "x^{", "\\frac1", "\\hat", "\\not", "\\begin{matrix}", "\\displaystyle ", "\\sqrt[", "\\mathrm", "\\substack{", "\\big"];

for (const unit of DEEP) {
  test(`deep nesting of ${unit} is no formula`, () => assert.equal(parseFormula(unit.repeat(400)), null));
}

test("the depth of what is shown is limited", () => {
  const depth = (/** @type {any} */ tree) => 1 + Math.max(0, ...tree.children.map(depth));
  for (let nested = 1; nested < 60; nested += 1) {
    const tree = parseFormula("\\sqrt{".repeat(nested) + "x" + "}".repeat(nested));
    if (tree === null) return;
    assert.ok(depth(tree) < 80);
  }
  assert.fail("no limit");
});

const UNITS = ["x", "x^2", "\\alpha ", "\\frac{a}{b}", "\\left(x\\right)", "\\sqrt{x}", "a&b\\\\", "\\text{a}", "'", "{}", "\\not=", "1", ",000", " ", "%\n", "\\mathrm{ab}", "\\sin x", "\\big(", "\\begin{matrix}a\\end{matrix}"];

for (const [name, make] of [...FAMILIES, ...UNITS.map((unit) => [unit, (/** @type {number} */ length) => unit.repeat(length / unit.length)])]) {
  test(`reading a formula takes work in proportion to its length: ${name}`, async () => {
    const [once, twice] = [await operations(() => parseFormula(make(2000))), await operations(() => parseFormula(make(4000)))];
    assert.ok(twice <= Math.max(2.6 * once, 40_000), `${once} and then ${twice} operations`);
    assert.ok(twice <= 200 * 4000, `${twice / 4000} operations for each character`);
  });
}

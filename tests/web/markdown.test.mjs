import assert from "node:assert/strict";
import test from "node:test";

import { parseBlocks } from "../../src/chukei/web/markdown/blocks.js";
import { parseInline } from "../../src/chukei/web/markdown/inline.js";
import { FAMILIES } from "./hostile.mjs";
import { operations } from "./operations.mjs";

// Operations for each character, whatever the text is: its lines are read, and each level of nesting reads them again.
const MOST = 200;
const LENGTH = 4000;

test("the count sees work that grows with the square of the text", async () => {
  const wasteful = (text) => {
    for (let at = 0; at < text.length; at += 1) text.includes("x");
  };
  const [once, twice] = [await operations(() => wasteful("a".repeat(500))), await operations(() => wasteful("a".repeat(1000)))];
  assert.ok(twice / once > 3.5, `${once} ${twice}`);
});

for (const [name, make] of FAMILIES) {
  test(`parsing takes work in proportion to the length: ${name}`, async () => {
    for (const parse of [parseBlocks, parseInline]) {
      const text = make(LENGTH);
      const double = make(2 * LENGTH);
      const once = await operations(() => parse(text));
      const twice = await operations(() => parse(double));
      const least = 10 * LENGTH; // less is no work to speak of
      assert.ok(twice <= Math.max(2.6 * once, least), `${parse.name}: ${once} and then ${twice} operations`);
      assert.ok(twice <= MOST * double.length, `${parse.name}: ${twice / double.length} operations for each character`);
    }
  });
}

/** @type {[text: string, expected: unknown][]} */
const BLOCKS = [
  ["- a\n- b\n\n- c", { type: "list", ordered: false, start: 1, tight: false, items: ["a", "b", "c"].map(itemOf) }],
  ["- a\nlazy", { type: "list", ordered: false, start: 1, tight: true, items: [{ blocks: [paragraph("a", "lazy")], checked: null }] }],
  ["> a\nb", { type: "quote", blocks: [paragraph("a")] }],
  ["```js x\na\n\nb", { type: "code", language: "js", lines: ["a", "", "b"] }],
  ["$$\na\n- b\n$$", { type: "math", lines: ["$$", "a", "- b", "$$"] }],
  ["\\[\na\n\\].", { type: "math", lines: ["\\[", "a", "\\]."] }],
  ["$$\na", paragraph("$$", "a")],
  ["$$a$$ b", paragraph("$$a$$ b")],
  ["a|b\n-|-\n1", { type: "table", aligns: ["", ""], head: ["a", "b"], rows: [["1", ""]] }],
];

/** @param {...string} lines */
function paragraph(...lines) {
  return { type: "paragraph", lines };
}

/** @param {string} text */
function itemOf(text) {
  return { blocks: [paragraph(text)], checked: null };
}

for (const [text, expected] of BLOCKS) {
  test(`the first block of ${JSON.stringify(text)}`, () => assert.deepEqual(parseBlocks(text)[0], expected));
}

test("a fence may be indented less than the text of its item", () => {
  const [list, ...others] = parseBlocks("1. a\n\n  ```py\n  x\n  ```\n2. b");
  assert.deepEqual(others, []);
  assert.deepEqual(list.items[0].blocks[1], { type: "code", language: "py", lines: ["x"] });
  assert.equal(list.items.length, 2);
});

const math = (/** @type {string} */ tex, display = false) => ({ type: "math", tex, display });
const words = (/** @type {string} */ text) => ({ type: "text", text });

/** @type {[text: string, expected: unknown[]][]} */
const INLINE = [
  ["$x^2$ and $5", [math("x^2"), words(" and $5")]],
  ["It costs $5 and $10.", [words("It costs $5 and $10.")]],
  ["$20,000 or $30,000", [words("$20,000 or $30,000")]],
  ["$5, whereas another costs 6$", [words("$5, whereas another costs 6$")]],
  ["US$5 and CA$6", [words("US$5 and CA$6")]],
  ["$2x + 3 = 7$", [math("2x + 3 = 7")]],
  ["2000$ or $ 4 $", [words("2000$ or $ 4 $")]],
  ["値$x$は", [words("値"), math("x"), words("は")]],
  ["\\(a\\) \\[b\\] \\(c", [math("a"), words(" "), math("b", true), words(" (c")]],
  ["$$a$$ $$", [math("a", true), words(" $$")]],
  ["`$a$` \\$a\\$", [{ type: "code", text: "$a$" }, words(" $a$")]],
  ["$a_1 * b_1 * c$", [math("a_1 * b_1 * c")]],
  ["$\\$5$", [math("\\$5")]],
  ["\\\\(a\\\\)", [words("\\(a\\)")]],
  ["![![a](b) *c*](d)", [{ type: "image", target: "d", title: "", text: "a c" }]],
  ["[a](<b c> 'd')", [{ type: "link", target: "b c", title: "d", children: [words("a")] }]],
];

for (const [text, expected] of INLINE) {
  test(`the parts of ${JSON.stringify(text)}`, () => assert.deepEqual(parseInline(text), expected));
}

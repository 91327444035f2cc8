import assert from "node:assert/strict";
import { test } from "node:test";
import { MEASURES, PARTS, amount, money, percent, total } from "../../src/chukei/web/admin/figures.js";
import { Words } from "../../src/chukei/web/i18n.js";
import { WORDS } from "../../src/chukei/web/admin/words/usage.js";

const words = new Words("en", WORDS);
const row = { requests: 10, refused: 3, failed: 2, input: 100, output: 20, cost: 1.5, first_token_ms: 250 };

test("requests are told apart by how they ended, and none is counted twice", () => {
  assert.deepEqual(PARTS.requests(row), [["well", 5], ["refused", 3], ["failed", 2]]);
  assert.deepEqual(MEASURES.map((measure) => amount(row, measure)), [120, 1.5, 10, 250]);
  assert.equal(amount({ ...row, first_token_ms: null }, "first"), 0);
});

test("every part and measure has words", () => {
  for (const measure of MEASURES) {
    assert.ok(words.has(`usage.${measure}`));
    for (const [name] of PARTS[measure](row)) assert.ok(words.has(`figure.${name}`), name);
  }
});

test("money is in the currency, or a plain number without one", () => {
  assert.equal(money(words, 1234.5, "EUR"), "€1,234.50");
  assert.equal(money(words, 0.00123, "EUR"), "€0.0012");
  assert.equal(money(words, 1234, "JPY"), "¥1,234");
  assert.equal(money(words, 1234.5, null), "1,234.50");
  assert.equal(money(words, 0, null), "0.00");
  assert.equal(money(words, 0.00123, null), "0.0012");
});

test("a share of nothing is nothing", () => {
  assert.deepEqual([percent(words, 1, 3), percent(words, 0, 0)], ["33.3%", "0%"]);
});

test("sums add up, and the mean is left out", () => {
  const sum = total([row, { ...row, cached: 7 }]);
  assert.deepEqual([sum.requests, sum.refused, sum.cost, sum.cached, sum.first_token_ms], [20, 6, 3, 7, null]);
});

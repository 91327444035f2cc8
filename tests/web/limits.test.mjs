import assert from "node:assert/strict";
import { test } from "node:test";

import { TEMPERATURE, outputBounds, outputLimit, readNumber } from "../../src/chukei/web/limits.js";

const model = (outputTokens) => ({ id: "m", outputTokens });

test("a temperature is read in any keyboard's digits", () => {
  for (const [text, value] of [
    ["0", 0],
    ["2", 2],
    [" 0.7 ", 0.7],
    ["0,7", 0.7],
    [".5", 0.5],
    ["1.", 1],
    ["０．７", 0.7],
    ["", null],
    ["  ", null],
  ]) {
    assert.equal(readNumber(text, TEMPERATURE), value, JSON.stringify(text));
  }
});

test("what is no temperature is not read as one", () => {
  for (const text of ["2.1", "-1", "25", "1e0", "0x1", "NaN", "Infinity", "one", ".", "1 2", "1.2.3", "0,5,0"]) {
    assert.equal(readNumber(text, TEMPERATURE), undefined, JSON.stringify(text));
  }
});

test("an output limit is a whole number of tokens up to what the model writes", () => {
  for (const [text, most, value] of [
    ["1", null, 1],
    ["16384", 16384, 16384],
    ["16385", 16384, undefined],
    ["16385", null, 16385],
    ["0", null, undefined],
    ["1.5", null, undefined],
    ["１００", 16384, 100],
    ["", 16384, null],
  ]) {
    assert.equal(readNumber(text, outputBounds(model(most))), value, `${text} of ${most}`);
  }
  assert.equal(readNumber("9", outputBounds(null)), 9);
});

test("a limit above the model's own is lowered when it is sent", () => {
  assert.equal(outputLimit(5000, model(4096)), 4096);
  assert.equal(outputLimit(5000, model(null)), 5000);
  assert.equal(outputLimit(5000, null), 5000);
  assert.equal(outputLimit(null, model(4096)), null);
});

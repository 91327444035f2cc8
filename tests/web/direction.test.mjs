import assert from "node:assert/strict";
import { test } from "node:test";
import { parseBlocks } from "../../src/chukei/web/markdown/blocks.js";
import { directionOf } from "../../src/chukei/web/markdown/direction.js";

const DIRECTIONS = [
  ["plain words", "ltr"],
  ["مرحبا بالعالم", "rtl"],
  ["**שלום** world", "rtl"],
  ["1. 2) ! مرحبا", "rtl"],
  ["# عنوان", "rtl"],
  ["> > - שלום", "rtl"],
  ["- one\n- שלום", "ltr"],
  ["| שם | ערך |\n|---|---|\n| a | b |", "rtl"],
  ["日本語", "ltr"],
  ["12 + 30 = 42", null],
  ["```\nמשתנה\n```", null],
  ["---", null],
];

for (const [text, direction] of DIRECTIONS) {
  test(`${JSON.stringify(text)} reads ${direction}`, () => {
    assert.equal(directionOf(parseBlocks(/** @type {string} */ (text))[0]), direction);
  });
}

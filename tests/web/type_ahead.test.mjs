import assert from "node:assert/strict";
import { test } from "node:test";

import { TypeAhead } from "../../src/chukei/web/views/type_ahead.js";

const NAMES = ["gpt-4o", "gpt-5", "o4-mini", "Claude", "chat", "レート制限"];

/** @param {string} text @param {number} active @param {number} [pause] between two characters */
function typed(text, active, pause = 100) {
  const search = new TypeAhead();
  let now = 0;
  for (const character of text) active = search.find(character, NAMES, active, (now += pause));
  return NAMES[active];
}

test("characters that follow one another narrow the search", () => {
  assert.equal(typed("gpt-5", 0), "gpt-5");
  assert.equal(typed("ch", 0), "chat");
  assert.equal(typed("CL", 0), "Claude");
  assert.equal(typed("レー", 0), "レート制限");
});

test("the same letter goes through the entries that begin with it", () => {
  assert.equal(typed("g", 0), "gpt-5");
  assert.equal(typed("gg", 0), "gpt-4o");
  assert.equal(typed("c", 0), "Claude");
  assert.equal(typed("cc", 0), "chat");
});

test("a pause begins anew", () => {
  assert.equal(typed("gc", 0, 1000), "Claude");
});

test("what no name begins with is looked for inside, and what is nowhere moves nothing", () => {
  assert.equal(typed("mini", 0), "o4-mini");
  assert.equal(typed("z", 2), "o4-mini");
});

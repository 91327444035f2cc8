import assert from "node:assert/strict";
import { test } from "node:test";
import { differences } from "../../src/chukei/web/admin/differences.js";

const said = (before, after) => differences(before, after).map(({ path, before: then, after: now }) => [path.join("."), then, now]);

test("only what differs is told, with the names that lead to it", () => {
  const before = { subject: "caller:a", limits: { concurrent: 3, tokens: 5 }, groups: null };
  const after = { subject: "caller:a", limits: { tokens: 7, money: 2.5 }, groups: ["b", "c"] };
  assert.deepEqual(said(before, after), [
    ["limits.tokens", 5, 7],
    ["limits.money", null, 2.5],
    ["groups", null, "b, c"],
    ["limits.concurrent", 3, null],
  ]);
});

test("without a state before, everything that there is is new", () => {
  assert.deepEqual(said(null, { caller: "a", group: null, changed: [], seconds: 0, on: false }), [
    ["caller", null, "a"],
    ["seconds", null, 0],
    ["on", null, false],
  ]);
});

test("nothing differs from itself", () => {
  assert.deepEqual(said(null, null), []);
  assert.deepEqual(said({}, {}), []);
  assert.deepEqual(said({ a: { b: [1] } }, { a: { b: [1] } }), []);
});

test("names like those of every object are only names", () => {
  assert.deepEqual(said({ constructor: 1 }, JSON.parse('{"__proto__": 2, "toString": 3}')), [
    ["__proto__", null, 2],
    ["toString", null, 3],
    ["constructor", 1, null],
  ]);
});

import assert from "node:assert/strict";
import { test } from "node:test";

import { ANY, parseAddress, understood, writeAddress } from "../../src/chukei/web/admin/address.js";

test("an address is read as it was written, whatever its parts are", () => {
  for (const part of ["team-a", "a/b", "50 %", "?x=1", "#", "日本語", "a&b=c", "..", "<img src=x onerror=alert(1)>"]) {
    const { name, path, parameters } = parseAddress(writeAddress("callers", [part], { find: part }));
    assert.equal(name, "callers");
    assert.deepEqual(path, [part]);
    assert.equal(parameters.get("find"), part);
  }
});

test("a view alone has neither a path nor parameters", () => {
  assert.equal(writeAddress("now"), "#/now");
  const { name, path, parameters } = parseAddress("#/now");
  assert.deepEqual([name, path, [...parameters]], ["now", [], []]);
});

test("what is no address has no name", () => {
  for (const hash of ["", "#", "#content", "now"]) assert.equal(parseAddress(hash).name, "");
});

test("a part that is not percent-encoded properly stays as it is", () => {
  assert.deepEqual(parseAddress("#/callers/%E0%A4%A").path, ["%E0%A4%A"]);
});

test("a question mark in the parameters does not end them", () => {
  assert.equal(parseAddress("#/usage?find=a?b").parameters.get("find"), "a?b");
});

test("of parameters those are taken that a view understands, each once, and the rest is known as it was written", () => {
  const known = { find: ANY, since: (value) => value === "7d", to: (value, all) => all.get("since") === "7d" };
  const given = new URLSearchParams("find=a&find=b&since=8d&to=x&constructor=1&__proto__=2&=3");
  const { right, wrong } = understood(given, known);
  assert.deepEqual(Object.entries(right), [["find", "a"]]);
  assert.deepEqual(wrong, ["find=b", "since=8d", "to=x", "constructor=1", "__proto__=2", "=3"]);
  assert.deepEqual(understood(new URLSearchParams("to=x&since=7d"), known), { right: { to: "x", since: "7d" }, wrong: [] });
});

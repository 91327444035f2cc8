import assert from "node:assert/strict";
import { test } from "node:test";
import { Words, pickLanguage } from "../../src/chukei/web/i18n.js";

const TABLE = { greeting: ["Hello {name}", "{name} さん、こんにちは"] };

test("the first language of the reader's list that the page speaks is taken", () => {
  assert.equal(pickLanguage(["fr", "ja-JP", "en"]), "ja");
  assert.equal(pickLanguage(["fr"]), "en");
  assert.equal(pickLanguage([]), "en");
});

test("values are filled in, in either language", () => {
  const words = new Words("en", TABLE);
  assert.equal(words.say("greeting", { name: "Ada" }), "Hello Ada");
  words.language = "ja";
  assert.equal(words.say("greeting", { name: "Ada" }), "Ada さん、こんにちは");
});

test("a later table precedes those before it, and a key that is in none is an error", () => {
  const words = new Words("en", TABLE, { greeting: ["Hi", "やあ"] });
  assert.equal(words.say("greeting"), "Hi");
  assert.equal(words.has("farewell"), false);
  assert.throws(() => words.say("farewell"), /farewell/);
});

test("a change of the language is told", () => {
  const words = new Words("en", TABLE);
  let told = 0;
  words.addEventListener("change", () => (told += 1));
  words.language = "ja";
  assert.equal(told, 1);
});

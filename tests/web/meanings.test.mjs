import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { CODES, meaningOf, needsOwnWords } from "../../src/chukei/web/meanings.js";
import { CHAT_WORDS } from "../../src/chukei/web/words/chat.js";

const DOCUMENTED = documentedCodes(readFileSync(new URL("../../docs/errors.md", import.meta.url), "utf8"));

/** Codes that docs/errors.md lists and a reader of the chat page cannot meet, beside those of the administration. */
const ELSEWHERE = {
  metrics: ["invalid_metrics_key", "metrics_not_open"],
  forms: ["invalid_form"],
  "objects to change": ["object_shared"],
  batches: ["invalid_batch_line", "model_not_in_batches", "invalid_batch"],
  sockets: [
    ...["websocket_not_supported", "invalid_websocket_handshake", "websocket_version_not_supported"],
    ...["invalid_message", "invalid_event", "unknown_event", "model_not_changeable", "model_elsewhere"],
    ...["call_not_found", "too_many_sockets", "session_ending", "sockets_full"],
  ],
};

test("every documented code that a reader can meet has a sentence of its own", () => {
  const elsewhere = new Set(Object.values(ELSEWHERE).flat());
  const missing = DOCUMENTED.filter((code) => !elsewhere.has(code) && meaningOf({ code }) === null);
  assert.deepEqual(missing, []);
});

test("no code is said to be met elsewhere that is not documented, or has a meaning", () => {
  const wrong = Object.values(ELSEWHERE).flat().filter((code) => !DOCUMENTED.includes(code) || meaningOf({ code }) !== null);
  assert.deepEqual(wrong, []);
});

test("every meaning has its words: what happened and what to do", () => {
  const words = Object.assign({}, ...CHAT_WORDS);
  for (const meaning of Object.keys(CODES)) {
    assert.ok(words[`error.${meaning}`], meaning);
    assert.ok(words[`error.${meaning}.do`], `${meaning}: what to do`);
  }
});

test("no code has two meanings", () => {
  const codes = Object.values(CODES).flat();
  assert.equal(codes.length, new Set(codes).size);
});

test("a code goes before the status, and an unknown code is not explained by the status", () => {
  assert.equal(meaningOf({ code: "insufficient_quota", status: 429 }), "quota");
  assert.equal(meaningOf({ code: "something_new", status: 429 }), null);
  assert.equal(meaningOf({ code: "toString", status: 500 }), null);
  for (const code of [undefined, "429", "upstream_429"]) assert.equal(meaningOf({ code, status: 429 }), "busy");
  assert.equal(meaningOf({ status: 418 }), null);
  assert.equal(meaningOf({}), null);
});

test("what is unknown or general is not said without the service's own words", () => {
  assert.equal(needsOwnWords(null), true);
  assert.equal(needsOwnWords(meaningOf({ code: "unsupported_value" })), true);
  assert.equal(needsOwnWords(meaningOf({ code: "content_filter" })), false);
});

/**
 * The codes in the first column of the tables, up to the section of the log's `end`, without those of which the
 * table says that they come below `/admin`.
 * @param {string} page
 */
function documentedCodes(page) {
  const [codes] = page.split("## How a request ended");
  const cells = codes.split("\n").filter((line) => line.startsWith("| `") && !line.includes("`/admin")).map((line) => line.split("|")[1]);
  const found = cells.flatMap((cell) => [...cell.matchAll(/`([a-z_]+)`/g)].map((match) => match[1]));
  return [...new Set(found)];
}

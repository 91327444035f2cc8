import assert from "node:assert/strict";
import { test } from "node:test";
import { EventStreamParser } from "../../src/chukei/web/sse.js";

function events(...pieces) {
  const parser = new EventStreamParser();
  return pieces.flatMap((piece) => parser.push(piece)).map(({ type, data }) => [type, data]);
}

const WHOLE = new TextEncoder().encode(
  "\ufeff: keep-alive\r\n\r\nevent: response.output_text.delta\r\ndata: {\"delta\":\"波🌊\"}\r\n\r\ndata: a\rdata: b\r\rdata:[DONE]\n\n",
);
const EXPECTED = [
  ["response.output_text.delta", '{"delta":"波🌊"}'],
  ["message", "a\nb"],
  ["message", "[DONE]"],
];

test("whole, and cut in two at every byte", () => {
  assert.deepEqual(events(WHOLE), EXPECTED);
  for (let cut = 0; cut <= WHOLE.length; cut += 1) {
    assert.deepEqual(events(WHOLE.subarray(0, cut), WHOLE.subarray(cut)), EXPECTED, `cut at ${cut}`);
  }
});

test("byte by byte, with empty reads between", () => {
  const pieces = Array.from(WHOLE, (_, at) => [WHOLE.subarray(at, at + 1), new Uint8Array()]).flat();
  assert.deepEqual(events(...pieces), EXPECTED);
});

test("an event that no blank line ended is none", () => {
  assert.deepEqual(events(new TextEncoder().encode("data: a\n")), []);
});

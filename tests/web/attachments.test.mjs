import assert from "node:assert/strict";
import { test } from "node:test";
import { obstacle, roomFor } from "../../src/chukei/web/attachments/limits.js";
import { decodeText } from "../../src/chukei/web/attachments/text.js";
import { MODEL } from "./streams.mjs";

const UNKNOWN = { model: null, maxBodyBytes: null };
const PICTURE = { kind: "image", name: "a.png", type: "image/png", size: 3, data: "data:image/png;base64,AAAA" };
const FILE = { kind: "text", name: "a.txt", type: "text/plain", size: 3, data: "波" };

function utf16(text, isBig) {
  const units = new DataView(new ArrayBuffer(text.length * 2 + 2));
  [0xfeff, ...Array.from({ length: text.length }, (_, at) => text.charCodeAt(at))].forEach((unit, at) => units.setUint16(at * 2, unit, !isBig));
  return new Uint8Array(units.buffer);
}

test("text is what can be read as text", () => {
  const utf8 = new TextEncoder();
  for (const text of ["", "a", "波 🌊\r\n", "\u2028\u0085"]) {
    assert.deepEqual(decodeText(utf8.encode(text)), { text, encoding: "UTF-8" });
    assert.deepEqual(decodeText(utf8.encode(`\ufeff${text}`)), { text, encoding: "UTF-8" });
    assert.deepEqual(decodeText(utf16(text, false)), { text, encoding: "UTF-16LE" });
    assert.deepEqual(decodeText(utf16(text, true)), { text, encoding: "UTF-16BE" });
  }
});

test("what cannot is not", () => {
  for (const bytes of [
    [0x61, 0, 0x62],
    [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a],
    [0xff, 0xd8, 0xff, 0xe0],
    [0xe6, 0xb3, 0xa2, 0xe6, 0xb3], // cut within a character
    [0xff, 0xfe, 0x61], // half a unit
    [0xff, 0xfe, 0x00, 0xd8, 0x61, 0x00], // half of a pair
    [0xff, 0xfe, 0x00, 0x00],
    [0x61, 0, 0x62, 0, 0x63], // half a unit, without a mark
  ]) {
    assert.equal(decodeText(Uint8Array.from(bytes)), null, bytes.join(" "));
  }
});

test("what is not known forbids nothing", () => {
  assert.equal(obstacle(Array(1000).fill(PICTURE), "a".repeat(1e6), UNKNOWN), null);
});

test("the model's limits of pictures do not count text files", () => {
  const textOnly = { ...UNKNOWN, model: { ...MODEL, input: ["text"] } };
  const two = { ...UNKNOWN, model: { ...MODEL, input: ["text", "image"], maxImages: 2 } };
  assert.equal(obstacle([FILE, FILE, FILE], "", textOnly), null);
  assert.equal(obstacle([FILE, PICTURE], "", textOnly), "pictures");
  assert.equal(obstacle([PICTURE, FILE, PICTURE], "", two), null);
  assert.equal(obstacle([PICTURE, PICTURE, PICTURE], "", two), "count");
});

test("bytes are counted as they are sent", () => {
  const limits = { model: null, maxBodyBytes: 100_000 };
  const room = roomFor([], "", limits);
  assert.equal(room - roomFor([PICTURE], "", limits), PICTURE.data.length);
  assert.equal(room - roomFor([FILE], "", limits), '"波"'.length + 2);
  assert.equal(room - roomFor([], '"\n', limits), 4);
  assert.equal(obstacle([], "a".repeat(room), limits), null);
  assert.equal(obstacle([], "a".repeat(room + 1), limits), "size");
});

import assert from "node:assert/strict";
import { test } from "node:test";
import { obstacle, roomFor } from "../../src/chukei/web/attachments/limits.js";
import { isAnimated } from "../../src/chukei/web/attachments/picture.js";
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

const latin = (text) => Uint8Array.from(text, (letter) => letter.charCodeAt(0));
const chunk = (type, data) => `\0\0\0${String.fromCharCode(data.length)}${type}${data}crc.`;

test("an animation is told by its frames, in each format", () => {
  const colours = "\0\0\0\xff\xff\xff";
  const control = "\x21\xf9\x04\0\x0a\0\0\0";
  const image = `,\0\0\0\0\x01\0\x01\0\x80${colours}\x02\x02\x4c\x01\x02,,\0`;
  const comment = "\x21\xfe\x02,,\0";
  const head = `GIF89a\x01\0\x01\0\x80\0\0${colours}`;
  const png = "\x89PNG\r\n\x1a\n";
  const still = [
    `${head}${control}${image};`,
    `${head}${comment}${image};,`,
    `${head}${image}`,
    `${head}`,
    "GIF89a",
    `${png}${chunk("IHDR", "x".repeat(13))}${chunk("IDAT", "acTL")}${chunk("acTL", "")}`,
    png,
    "RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\x10\0\0\0",
    "RIFF\0\0\0\0WEBPVP8 \x0a\0\0\0\x02\0\0\0",
    "\0\0\0\x1cftypavif",
    "",
  ];
  const moving = [
    `${head}${control}${image}${control}${image};`,
    `${head}${image}${comment}${image}`,
    `${png}${chunk("IHDR", "x".repeat(13))}${chunk("acTL", "x".repeat(8))}${chunk("IDAT", "")}`,
    "RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\x12\0\0\0",
    "\0\0\0\x1cftypavis",
  ];
  for (const [texts, expected] of [[still, false], [moving, true]]) {
    for (const text of texts) assert.equal(isAnimated(latin(text)), expected, JSON.stringify(text));
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

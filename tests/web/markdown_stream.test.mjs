import assert from "node:assert/strict";
import test from "node:test";

import { makeElement, work } from "./fake_dom.mjs";
import { FAMILIES } from "./hostile.mjs";

const { MarkdownStream } = await import("../../src/chukei/web/markdown/stream.js");

const LABELS = { copy: "Copy", code: "Code", formula: "Formula", image: "Image", table: "Table", task: "Task", wrap: "Wrap" };

/** @param {string[]} pieces */
function draw(pieces) {
  const root = makeElement();
  const stream = new MarkdownStream(root, LABELS);
  work.units = 0;
  for (const piece of pieces) stream.append(piece);
  stream.finish();
  return { root, units: work.units };
}

/**
 * Pieces of 1 to 50 characters, the same each time.
 * @param {string} text
 */
function cut(text) {
  /** @type {string[]} */
  const pieces = [];
  for (let at = 0, size = 1; at < text.length; at += size, size = (size * 7) % 51) pieces.push(text.slice(at, at + size));
  return pieces;
}

for (const [name, make] of FAMILIES) {
  test(`what arrives in pieces is drawn with work in proportion to its length: ${name}`, () => {
    const once = draw(cut(make(4000))).units;
    const twice = draw(cut(make(8000))).units;
    assert.ok(twice <= Math.max(2.6 * once, 8000), `${once} and then ${twice}`);
    assert.ok(twice <= 120 * 8000, `${twice / 8000} for each character`);
  });

  test(`what is drawn does not depend on the cuts: ${name}`, () => {
    const text = make(700);
    const whole = draw([text]).root.html;
    assert.equal(draw([...text]).root.html, whole);
    assert.equal(draw(cut(text)).root.html, whole);
  });
}

test("each piece of text is on the page when it has arrived, also of a long paragraph", () => {
  const root = makeElement();
  const stream = new MarkdownStream(root, LABELS);
  let text = "";
  for (let n = 0; n < 3000; n += 1) {
    const piece = n % 5 === 4 ? ` word${n},\n` : ` word${n}`;
    text += piece;
    stream.append(piece);
    const shown = root.textContent.replaceAll(/\s+/g, " ").trim();
    assert.ok(shown.endsWith(`word${n}${n % 5 === 4 ? "," : ""}`), `piece ${n}: ${shown.slice(-20)}`);
  }
});

test("what is settled is not drawn again", () => {
  const root = makeElement();
  const stream = new MarkdownStream(root, LABELS);
  for (let n = 0; n < 200; n += 1) stream.append(`- item ${n} with **bold** text\n  - and one below\n`);
  const [list] = root.children;
  const before = list.children.slice(0, -1);
  stream.append("- the ");
  stream.append("end");
  assert.deepEqual(root.children, [list]);
  assert.equal(list.children.length, 201);
  assert.ok(before.every((item, index) => list.children[index] === item));
});

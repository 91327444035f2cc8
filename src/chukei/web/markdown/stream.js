/**
 * Draws markdown while it arrives, with work that grows as the text does. Blocks that can no longer change are drawn
 * once. The paragraph at the end is drawn again with each piece while it is short; a long one, or a long line, when
 * enough has been added to pay for it, and shows its new text as it came until then.
 */

import { BlockParser } from "./blocks.js";
import { makeDocument } from "./views.js";

/** @typedef {import("./blocks.js").Leaf} Leaf */
/** @typedef {import("./render.js").Labels} Labels */

/** Characters that may be drawn again with any piece. */
const FREE = 1024;
/** Characters that may be drawn again for each that arrived, beyond those. */
const REPEATS = 16;

export class MarkdownStream {
  #parser = new BlockParser();
  #view;
  /** The line that has not ended. */
  #line = "";
  /** Whether a CR came last, which may be half of a line's end. */
  #hasReturn = false;
  /** Characters of the paragraph at the end, without that line. */
  #leafSize = 0;
  #credit = 0;

  /**
   * @param {HTMLElement} root
   * @param {Labels} labels
   */
  constructor(root, labels) {
    this.#view = makeDocument(root, this.#parser.blocks, labels);
  }

  /** @param {string} text */
  append(text) {
    this.#credit += text.length * REPEATS;
    this.#addLines(text);
    const cost = this.#line.length + this.#leafSize;
    if (cost > FREE && cost > this.#credit) {
      this.#view.addRaw(text);
      return;
    }
    if (cost > FREE) this.#credit -= cost;
    if (this.#line !== "") this.#parser.try(this.#line);
    this.#view.update({ leaf: this.#parser.leaf, settled: false });
  }

  /** Draws the last block for good. */
  finish() {
    this.#addLines("\n");
    this.#parser.close();
    this.#view.update({ leaf: null, settled: true });
  }

  /** @param {string} text */
  #addLines(text) {
    const whole = (this.#hasReturn ? "\r" : "") + text;
    this.#hasReturn = whole.endsWith("\r");
    const lines = (this.#hasReturn ? whole.slice(0, -1) : whole).split(/\r\n|\r|\n/);
    lines[0] = this.#line + lines[0];
    this.#line = lines[lines.length - 1];
    for (let at = 0; at < lines.length - 1; at += 1) this.#addLine(lines[at]);
    if (lines.length > 1) this.#view.update({ leaf: this.#parser.leaf, settled: true });
  }

  /** @param {string} line */
  #addLine(line) {
    this.#parser.takeBack();
    const before = this.#parser.leaf;
    this.#parser.add(line);
    const { leaf } = this.#parser;
    if (leaf === null || leaf.type === "code" || leaf.type === "table") this.#leafSize = 0;
    else this.#leafSize = (leaf === before ? this.#leafSize : 0) + line.length + 1;
  }
}

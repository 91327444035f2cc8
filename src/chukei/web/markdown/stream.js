/**
 * Draws markdown while it arrives. Blocks that can no longer change are drawn once and left alone; only
 * the last one is drawn again. A code block at the end, which may be long, grows by its new text only.
 */

import { parseBlocks } from "./blocks.js";
import { renderBlock, renderCode } from "./render.js";

/** @typedef {import("./blocks.js").Block} Block */
/** @typedef {import("./render.js").Labels} Labels */

export class MarkdownStream {
  #root;
  #labels;
  /** The source from the last open block on. */
  #tail = "";
  /** @type {HTMLElement[]} */
  #open = [];
  /** @type {{block: Block & {type: "code"}, text: Text} | null} */
  #growing = null;

  /**
   * @param {HTMLElement} root
   * @param {Labels} labels
   */
  constructor(root, labels) {
    this.#root = root;
    this.#labels = labels;
  }

  /** @param {string} text */
  append(text) {
    this.#tail += text;
    this.#settle();
    this.#draw(parseBlocks(this.#tail));
  }

  /** Draws the last block for good, with its colours. */
  finish() {
    this.#growing = null;
    this.#replaceOpen(parseBlocks(this.#tail).map((block) => renderBlock(block, this.#labels)));
  }

  /**
   * Takes every block but the last out of the part that is drawn again. Only whole lines decide: half a
   * line may look like the beginning of another block ("-" may become "-5").
   */
  #settle() {
    const blocks = parseBlocks(this.#tail.slice(0, this.#tail.lastIndexOf("\n") + 1));
    const last = blocks.pop();
    if (last === undefined || blocks.length === 0) return;
    this.#growing = null;
    this.#replaceOpen(blocks.map((block) => renderBlock(block, this.#labels)));
    this.#open = [];
    this.#tail = fromLine(this.#tail, last.line);
  }

  /** @param {Block[]} blocks */
  #draw(blocks) {
    const only = blocks.length === 1 ? blocks[0] : null;
    if (only?.type !== "code") {
      this.#growing = null;
      this.#replaceOpen(blocks.map((block) => renderBlock(block, this.#labels)));
    } else if (!this.#grow(only)) {
      this.#startGrowing(only);
    }
  }

  /** @param {Block & {type: "code"}} block */
  #grow(block) {
    const before = this.#growing;
    if (before?.block.language !== block.language || !block.text.startsWith(before.block.text)) return false;
    before.text.appendData(block.text.slice(before.block.text.length));
    before.block = block;
    return true;
  }

  /** @param {Block & {type: "code"}} block */
  #startGrowing(block) {
    const { root, code } = renderCode({ ...block, text: "" }, this.#labels);
    const text = document.createTextNode(block.text);
    code.replaceChildren(text);
    this.#replaceOpen([root]);
    this.#growing = { block, text };
  }

  /** @param {HTMLElement[]} elements */
  #replaceOpen(elements) {
    for (const old of this.#open) old.remove();
    this.#root.append(...elements);
    this.#open = elements;
  }
}

/**
 * @param {string} text
 * @param {number} line
 */
function fromLine(text, line) {
  const ends = /\r\n|\r|\n/g;
  for (let count = 0; count < line; count += 1) ends.exec(text);
  return text.slice(ends.lastIndex);
}

/**
 * In which direction a block reads: that of its first letter. The browser would find it for `dir="auto"`, but looks
 * again with every element that is added, which is quadratic in Chromium: 4.3 s for 160,000 characters of `*a_b`.
 */

/** @typedef {import("./blocks.js").Block} Block */

/** Characters of a block among which its first letter is looked for. */
const LOOKED_AT = 200;

const LETTER = /\p{L}/u;
const FROM_RIGHT_TO_LEFT =
  /[\p{Script=Adlam}\p{Script=Arabic}\p{Script=Hebrew}\p{Script=Mandaic}\p{Script=Nko}\p{Script=Samaritan}\p{Script=Syriac}\p{Script=Thaana}]/u;

/**
 * @param {Block} block
 * @returns {"ltr" | "rtl" | null} null for code, formulas, and where there is no letter yet
 */
export function directionOf(block) {
  const letter = LETTER.exec(beginning(block).slice(0, LOOKED_AT));
  if (letter === null) return null;
  return FROM_RIGHT_TO_LEFT.test(letter[0]) ? "rtl" : "ltr";
}

/** @param {Block} block */
function beginning(block) {
  /** @type {Block | undefined} */
  let first = block;
  while (first?.type === "quote" || first?.type === "list") {
    first = first.type === "quote" ? first.blocks[0] : first.items[0]?.blocks[0];
  }
  if (first?.type === "heading") return first.text;
  if (first?.type === "paragraph") return first.lines[0] ?? "";
  return first?.type === "table" ? first.head.join(" ") : "";
}

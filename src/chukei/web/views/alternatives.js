/**
 * "‹ 2 / 3 ›": which of its alternatives a question or an answer is, and the way to the others.
 */

import { element, iconButton } from "../dom.js";

/** @typedef {import("../conversations/shape.js").Message} Message */

/**
 * @typedef {object} AlternativesContext
 * @property {import("../i18n.js").Words} words
 * @property {(message: Message) => [index: number, count: number]} alternatives
 * @property {(message: Message, step: number) => void} onChoose
 */

/**
 * @param {Message} message
 * @param {AlternativesContext} context
 * @returns {HTMLElement | null} null when there is only one
 */
export function renderAlternatives(message, { words, alternatives, onChoose }) {
  const [index, count] = alternatives(message);
  if (count < 2) return null;
  const place = { index: words.number(index + 1), count: words.number(count) };
  /** @param {"previous" | "next"} name @param {number} step */
  const way = (name, step) => {
    const button = iconButton(name, words.say(`alternatives.${name}`), () => onChoose(message, step));
    // One that is disabled would lose the focus at the end of the row.
    if (index + step < 0 || index + step >= count) button.setAttribute("aria-disabled", "true");
    button.dataset.step = String(step);
    return button;
  };
  return element(
    "div",
    { class: "alternatives when-idle", role: "group", "aria-label": words.say("alternatives", place) },
    way("previous", -1),
    element("span", { "aria-hidden": "true" }, `${place.index} / ${place.count}`),
    way("next", 1),
  );
}

/**
 * Copying, said where it was asked for and to screen readers.
 */

import { copyText, element, icon } from "../dom.js";

/** How long a button says so, in milliseconds. */
const SHOWN = 1600;

/** @typedef {{words: import("../i18n.js").Words, onCopied: () => void}} CopyContext */

/**
 * @param {HTMLElement} button with an icon, and maybe a word after it
 * @param {string} text
 * @param {CopyContext} context
 */
export async function copyFrom(button, text, { words, onCopied }) {
  if (!(await copyText(text))) return;
  onCopied();
  if (button.classList.contains("copied")) return;
  const before = [...button.childNodes];
  const name = button.getAttribute("aria-label");
  button.removeAttribute("aria-label");
  button.classList.add("copied");
  button.replaceChildren(icon("done"), element("span", {}, words.say("copied")));
  setTimeout(() => {
    button.classList.remove("copied");
    if (name !== null) button.setAttribute("aria-label", name);
    button.replaceChildren(...before);
  }, SHOWN);
}

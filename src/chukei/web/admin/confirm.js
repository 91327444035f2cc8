/**
 * Asks before something is done that cannot be undone. The browser's own dialog keeps the keyboard inside, ends on Esc
 * and gives the focus back.
 */

import { byId } from "../dom.js";

/**
 * @param {{title: string, text: string, yes: string, extra?: HTMLElement, grave?: boolean}} question
 * @returns {Promise<boolean>}
 */
export function confirmed({ title, text, yes, extra, grave = false }) {
  const dialog = byId("confirm", HTMLDialogElement);
  const form = byId("confirm-form", HTMLFormElement);
  const no = byId("confirm-no", HTMLButtonElement);
  const agree = byId("confirm-yes", HTMLButtonElement);
  byId("confirm-heading", HTMLElement).textContent = title;
  byId("confirm-text", HTMLElement).textContent = text;
  byId("confirm-extra", HTMLElement).replaceChildren(...(extra === undefined ? [] : [extra]));
  agree.textContent = yes;
  agree.classList.toggle("grave", grave);
  return new Promise((resolve) => {
    let answer = false;
    const ended = new AbortController();
    const options = { signal: ended.signal };
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      answer = true;
      dialog.close();
    }, options);
    no.addEventListener("click", () => dialog.close(), options);
    dialog.addEventListener("close", () => {
      ended.abort();
      resolve(answer);
    }, options);
    dialog.showModal();
    no.focus();
  });
}

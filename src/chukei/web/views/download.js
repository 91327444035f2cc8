/**
 * Hands a text to the browser as a file to save.
 */

import { element } from "../dom.js";

/**
 * @param {string} name
 * @param {string} type a MIME type
 * @param {string} text
 */
export function download(name, type, text) {
  const address = URL.createObjectURL(new Blob([text], { type: `${type};charset=utf-8` }));
  element("a", { href: address, download: name }).click();
  // The browser reads the file after this task.
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

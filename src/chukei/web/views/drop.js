/**
 * Files may be dropped anywhere on the page. While they hang over it, it says so.
 */

import { element, icon } from "../dom.js";

export class DropZone {
  #root = element("div", { class: "drop-zone", hidden: true }, icon("attach"), element("p", { "data-say": "attach.drop" }));

  /** @param {(files: File[]) => void} onFiles */
  constructor(onFiles) {
    document.body.append(this.#root);
    document.addEventListener("dragover", (event) => this.#over(event));
    document.addEventListener("dragleave", (event) => {
      if (event.relatedTarget === null) this.#root.hidden = true; // out of the window, not from part to part
    });
    document.addEventListener("drop", (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault(); // the browser would open the file in place of the page
      if (!this.#root.hidden) onFiles([...(event.dataTransfer?.files ?? [])]);
      this.#root.hidden = true;
    });
  }

  /** @param {DragEvent} event */
  #over(event) {
    if (!hasFiles(event) || event.dataTransfer === null) return;
    event.preventDefault();
    const behindDialog = document.querySelector("dialog:modal") !== null;
    event.dataTransfer.dropEffect = behindDialog ? "none" : "copy";
    this.#root.hidden = behindDialog;
  }
}

/** @param {DragEvent} event */
function hasFiles(event) {
  return event.dataTransfer?.types.includes("Files") ?? false;
}

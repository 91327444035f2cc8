/**
 * The model picker, filled from what the relay offers.
 */

import { byId, element } from "../dom.js";

export class ModelPicker {
  #select = byId("model", HTMLSelectElement);

  /** @param {(model: string) => void} onPick */
  constructor(onPick) {
    this.#select.addEventListener("change", () => onPick(this.#select.value));
  }

  /**
   * @param {string[]} models
   * @param {string} wanted
   * @returns {string} the model that is chosen now
   */
  show(models, wanted) {
    if (models.length === 0) return this.#select.value;
    this.#select.replaceChildren(...models.map((model) => element("option", { value: model }, model)));
    this.#select.value = models.includes(wanted) ? wanted : models[0];
    return this.#select.value;
  }
}

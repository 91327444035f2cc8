/**
 * Fields with their labels, as every view's forms have them. The words are filled in with the rest of the view.
 */

import { element } from "../dom.js";

/**
 * A field with its label above.
 * @param {string} label its words
 * @param {HTMLInputElement | HTMLSelectElement} field with an id
 * @param {import("../dom.js").Properties} [properties] of what holds them
 */
export function control(label, field, properties = {}) {
  return element("div", { ...properties, class: ["control", properties.class].filter(Boolean).join(" ") }, element("label", { for: field.id, "data-say": label }), field);
}

/**
 * @param {string} id
 * @param {Record<string, string>} options words by value
 * @param {string} [chosen] a value
 */
export function choice(id, options, chosen) {
  const made = Object.entries(options).map(([value, label]) => element("option", { value, selected: value === chosen, "data-say": label }));
  return element("select", { id, class: "select boxed" }, ...made);
}

/**
 * A field for a name or a note.
 * @param {string} id
 * @param {import("../dom.js").Properties} [properties]
 */
export function textField(id, properties = {}) {
  return element("input", { id, type: "text", class: "boxed", autocomplete: "off", spellcheck: "false", ...properties });
}

/**
 * Draws a place anew and puts back what the reader has changed in its fields meanwhile, and where the reader is. What was
 * not changed is as it is drawn, since it may be newer. Fields are known by their names.
 * @param {HTMLElement} place
 * @param {() => void} draw
 */
export function redrawKept(place, draw) {
  const before = fieldsOf(place);
  const focused = [...before.values()].find((field) => field === document.activeElement)?.name;
  draw();
  for (const [name, field] of fieldsOf(place)) {
    const old = before.get(name);
    if (old !== undefined && (old.value !== old.defaultValue || old.checked !== old.defaultChecked)) {
      field.value = old.value;
      field.checked = old.checked;
      field.dispatchEvent(new Event("change"));
    }
    if (name === focused) field.focus({ preventScroll: true });
  }
}

/** @param {HTMLElement} place */
function fieldsOf(place) {
  return new Map([...place.querySelectorAll("input")].filter(({ name }) => name !== "").map((field) => [field.name, field]));
}

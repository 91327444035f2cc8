/**
 * Builds elements one by one. Nothing in this page ever parses markup: text stays text, which is what
 * makes model output harmless (and the Content-Security-Policy would refuse anything else).
 */

/** @typedef {Node | string | null | undefined | false} Child */
/** @typedef {Record<string, string | number | boolean | null | undefined | EventListener>} Properties */

const SVG = "http://www.w3.org/2000/svg";

/**
 * Makes an element. `onclick`-like properties take functions and become listeners; `true` makes an
 * empty attribute; `false`, `null` and `undefined` make none.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Properties} [properties]
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (typeof value === "function") made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, String(value));
  }
  made.append(...children.filter((child) => child instanceof Node || typeof child === "string"));
  return made;
}

/** Outlines on a 24 × 24 grid. */
const ICONS = {
  send: "M12 19V5M6 11l6-6 6 6",
  stop: "M7.5 7.5h9v9h-9z",
  copy: "M9 9h10v11H9zM15 9V4H5v11h4",
  done: "M5 12.5l4.5 4.5L19 7.5",
  again: "M19 12a7 7 0 1 1-2.2-5.1M19 3.5V8h-4.5",
  edit: "M5 19l1-4L16 5l3 3L9 18zM14 7l3 3",
  delete: "M6 7h12M10 7V5h4v2M8 7l.7 12h6.6L16 7",
  menu: "M4 7h16M4 12h16M4 17h16",
  close: "M6 6l12 12M18 6L6 18",
  settings: "M4 7h9M17 7h3M15 5v4M4 17h3M11 17h9M9 15v4",
  plus: "M12 5v14M5 12h14",
  chevron: "M7 10l5 5 5-5",
  more: "M6 12h.01M12 12h.01M18 12h.01",
  next: "M10 6l6 6-6 6",
  previous: "M14 6l-6 6 6 6",
  export: "M12 4v11M7 10l5 5 5-5M5 20h14",
  down: "M12 5v14M6 13l6 6 6-6",
  attach: "M19 11.5l-7.3 7.3a4.6 4.6 0 0 1-6.5-6.5l7.8-7.8a3.1 3.1 0 0 1 4.4 4.4l-7.8 7.8a1.5 1.5 0 0 1-2.2-2.2l6.7-6.6",
  file: "M7 3.5h7l4 4v13H7zM14 3.5v4h4M10 12h5M10 15.5h5",
  auto: "M12 4a8 8 0 1 0 0 16zM12 4a8 8 0 0 1 0 16",
  light: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 2.5v2M12 19.5v2M2.5 12h2M19.5 12h2M5.3 5.3l1.4 1.4M17.3 17.3l1.4 1.4M18.7 5.3l-1.4 1.4M6.7 17.3l-1.4 1.4",
  dark: "M19 14.5A7.5 7.5 0 0 1 9.5 5a7.5 7.5 0 1 0 9.5 9.5z",
};

/** @typedef {keyof typeof ICONS} IconName */

/**
 * A decorative outline; its button carries the name.
 * @param {IconName} name
 */
export function icon(name) {
  return drawing("icon", { "": ICONS[name] });
}

/** The page's sign: 中, a box and the line that passes through it. */
export function relayMark() {
  return drawing("mark", { "mark-box": "M5 8h14v7H5z", "mark-line": "M12 3v18" });
}

/**
 * @param {string} name
 * @param {Record<string, string>} paths by class
 */
function drawing(name, paths) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("class", name);
  for (const [kind, outline] of Object.entries(paths)) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("class", kind);
    path.setAttribute("d", outline);
    svg.append(path);
  }
  return svg;
}

/**
 * A button that shows only an icon, named for those who do not see it and by its tooltip.
 * @param {IconName} name
 * @param {string} label
 * @param {EventListener} onclick
 */
export function iconButton(name, label, onclick) {
  return element("button", { type: "button", class: "icon-button", "aria-label": label, title: label, onclick }, icon(name));
}

/**
 * @template {Element} Kind
 * @param {string} id
 * @param {{new (): Kind}} kind
 * @returns {Kind}
 */
export function byId(id, kind) {
  const found = document.getElementById(id);
  if (found instanceof kind) return found;
  throw new Error(`index.html has no ${kind.name} #${id}`);
}

/**
 * Copies text. Plain HTTP in a LAN is no secure context and has no clipboard API, hence the older way.
 * @param {string} text
 * @returns {Promise<boolean>}
 */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text);
  }
}

/** @param {string} text */
function copyBySelection(text) {
  const focused = document.activeElement;
  const field = element("textarea", { class: "visually-hidden", "aria-hidden": "true", tabindex: -1 });
  field.value = text;
  document.body.append(field);
  field.select();
  const copied = document.execCommand("copy");
  field.remove();
  if (focused instanceof HTMLElement) focused.focus();
  return copied;
}

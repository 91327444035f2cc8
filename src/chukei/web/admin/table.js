/**
 * Tables of any width: on a phone they scroll by themselves, also with the keyboard.
 */

import { element } from "../dom.js";

/** @typedef {import("../dom.js").Child} Child */

/**
 * @template Row
 * @typedef {object} Column
 * @property {string} head
 * @property {(row: Row) => Child} cell
 * @property {boolean} [number] whether it is set flush right
 * @property {boolean} [name] whether it says what the row is about
 * @property {string} [class]
 */

/**
 * @template Row
 * @param {string} caption
 * @param {Column<Row>[]} columns
 * @param {Row[]} rows
 */
export function renderTable(caption, columns, rows) {
  const head = columns.map((column) => element("th", { scope: "col", class: kind(column) }, column.head));
  const body = rows.map((row) =>
    element("tr", {}, ...columns.map((column) => {
      const cell = column.cell(row);
      if (column.name) return element("th", { scope: "row", class: kind(column) }, cell);
      return element("td", { class: kind(column) }, cell);
    })),
  );
  const table = element(
    "table",
    {},
    element("caption", { class: "visually-hidden" }, caption),
    element("thead", {}, element("tr", {}, ...head)),
    element("tbody", {}, ...body),
  );
  return element("div", { class: "table-frame", tabindex: 0, role: "region", "aria-label": caption }, table);
}

/** @param {Column<any>} column */
function kind(column) {
  const classes = [column.class, column.number && "number"].filter(Boolean);
  return classes.length > 0 ? classes.join(" ") : null;
}

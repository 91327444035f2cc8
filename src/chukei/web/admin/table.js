/**
 * Tables of any width. Where there is room they scroll by themselves, also with the keyboard; on a phone each row is a
 * card that names its columns. They stay tables for those who hear them: a browser forgets that of elements that are
 * laid out in another way, hence the roles.
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
  const head = columns.map((column) => element("th", { scope: "col", role: "columnheader", class: kind(column) }, column.head));
  const table = element(
    "table",
    { role: "table" },
    element("caption", { class: "visually-hidden" }, caption),
    element("thead", { role: "rowgroup" }, element("tr", { role: "row" }, ...head)),
    element("tbody", { role: "rowgroup" }, ...rows.map((row) => element("tr", { role: "row" }, ...columns.map((column) => cell(column, row))))),
  );
  return element("div", { class: "table-frame", tabindex: 0, role: "group", "aria-label": caption }, table);
}

/** @param {Column<any>} column @param {any} row */
function cell(column, row) {
  const content = element("div", {}, column.cell(row));
  if (column.name) return element("th", { scope: "row", role: "rowheader", class: kind(column) }, content);
  return element("td", { role: "cell", class: kind(column), "data-head": column.head }, content);
}

/** @param {Column<any>} column */
function kind(column) {
  const classes = [column.class, column.number && "number"].filter(Boolean);
  return classes.length > 0 ? classes.join(" ") : null;
}

/**
 * Limits of callers and groups: what is allowed, what is left, where it is set; and the form that changes them.
 */

import { element } from "../dom.js";
import { drawLying } from "./bars.js";
import { money, percent } from "./figures.js";
import { renderTable } from "./table.js";

/** @typedef {import("../i18n.js").Words} Words */
/** @typedef {import("./api.js").Limit} Limit */
/** @typedef {import("./api.js").Rule} Rule */

/** All that there are, in the order in which they are read. */
const LIMITS = ["requests_per_minute", "tokens_per_minute", "tokens_per_day", "tokens_per_month", "money_per_month", "concurrent"];
const MONEY = "money_per_month";

/** The highest values that the relay takes. */
const MOST = 2 ** 53;
const MOST_MONEY = 1e9;

/** The beginning of the places of what administrators have set. */
const DATABASE = "database: ";

/** Below this share of a limit, what is left is marked. */
const LITTLE = 0.1;

/** Seconds of a minute, an hour and a day. @type {[Intl.NumberFormatOptions["unit"], number][]} */
const UNITS = [["day", 86_400], ["hour", 3600], ["minute", 60]];

/**
 * @param {Words} words
 * @param {string} caption
 * @param {Limit[]} limits
 * @param {string | null} currency
 */
export function renderLimits(words, caption, limits, currency) {
  const amount = (/** @type {Limit} */ { limit }, /** @type {number} */ value) => (limit === MONEY ? money(words, value, currency) : words.number(value));
  const columns = [
    { head: words.say("limit"), name: true, class: "name", cell: (/** @type {Limit} */ each) => renderWhat(words, each) },
    { head: words.say("limit.most"), number: true, cell: (/** @type {Limit} */ each) => amount(each, each.most) },
  ];
  if (limits.some(({ remaining }) => remaining !== undefined)) {
    columns.push(
      { head: words.say("limit.left"), class: "bar-cell", cell: (each) => renderLeft(each) },
      { head: words.say("limit.remaining"), number: true, cell: (each) => sayLeft(words, each, amount(each, each.remaining ?? 0)) },
      { head: words.say("limit.reset"), number: true, cell: ({ reset_seconds: seconds }) => (seconds ? span(words, seconds) : "–") },
    );
  }
  columns.push({ head: words.say("limit.source"), class: "name", cell: ({ source }) => renderSource(words, source) });
  return renderTable(caption, columns, limits);
}

/** @param {Words} words @param {Limit} limit */
function renderWhat(words, { limit, subject }) {
  const of = subject === undefined || subject.startsWith("caller:") ? null : subject.slice("group:".length);
  const whose = of === "everybody" ? words.say("limit.of.everybody") : of !== null && words.say("limit.of.group", { group: of });
  return element("span", {}, words.say(`limit.${limit}`), whose && element("span", { class: "below" }, element("bdi", {}, whose)));
}

/** @param {Limit} limit */
function renderLeft({ most, remaining = 0 }) {
  const name = remaining < most * LITTLE ? "little" : "left";
  return element("div", { class: "track" }, drawLying([[name, remaining]], most));
}

/** @param {Words} words @param {Limit} limit @param {string} amount */
function sayLeft(words, { most, remaining = 0 }, amount) {
  return element("span", { class: remaining < most * LITTLE ? "little" : null }, words.say("limit.share", { amount, share: percent(words, remaining, most) }));
}

/** @param {Words} words @param {string} source */
export function renderSource(words, source) {
  const set = source.startsWith(DATABASE);
  const place = element("code", {}, element("bdi", {}, set ? source.slice(DATABASE.length) : source));
  return element("span", { class: "reason" }, words.say(set ? "source.database" : "source.configuration"), element("span", { class: "codes" }, place));
}

/** @param {Words} words @param {string} most @param {string} source */
function sayNow(words, most, source) {
  return source.startsWith(DATABASE) ? words.say("limit.now.set", { most }) : words.say("limit.now", { most, source });
}

/** @param {Words} words @param {number} seconds */
function span(words, seconds) {
  const [unit, size] = UNITS.find(([, each]) => seconds >= 2 * each) ?? ["second", 1];
  return words.format(Math.ceil(seconds / size), { style: "unit", unit, unitDisplay: "short", maximumFractionDigits: 0 });
}

/**
 * The form that sets limits of one subject above those of the configuration. An empty field is "as configured".
 * @param {Words} words
 * @param {object} options
 * @param {string} options.name whose limits
 * @param {Rule} options.rule what is set now
 * @param {Limit[]} options.limits those of each caller by itself
 * @param {Limit[] | null} options.total those of a group's members together; null for callers
 * @param {string[]} [options.groups] those of the configuration, of which a caller may be given some
 * @param {string | null} options.currency
 * @param {(change: import("./api.js").RuleChange) => void} options.onSave with what differs
 * @param {() => void} options.onCancel also when what is saved does not differ
 */
export function limitsForm(words, { name, rule, limits, total, groups, currency, onSave, onCancel }) {
  const parts = /** @type {const} */ ([["limits", limits], ...(total === null ? [] : [["total", total]])]);
  /** @type {Map<string, HTMLInputElement>} */
  const fields = new Map();
  const fieldsets = parts.map(([part, inForce]) => {
    const controls = LIMITS.map((limit) => {
      const id = `set-${part}-${limit}`;
      const value = rule[part][limit];
      const bounds = limit === MONEY ? { step: "any", max: MOST_MONEY } : { step: 1, max: MOST };
      const field = element("input", { id, name: `${rule.subject} ${part} ${limit}`, type: "number", class: "boxed", min: 0, ...bounds, value: value ?? null, placeholder: words.say("limit.as-configured"), "aria-describedby": `${id}-now` });
      fields.set(`${part} ${limit}`, field);
      const now = inForce.find((each) => each.limit === limit);
      const most = now && (limit === MONEY ? money(words, now.most, currency) : words.number(now.most));
      const shown = now ? sayNow(words, String(most), now.source) : words.say("limit.none");
      return element("div", { class: "control" }, element("label", { for: id }, words.say(`limit.${limit}`)), field, element("p", { id: `${id}-now`, class: "hint" }, shown));
    });
    return element("fieldset", { class: "limit-fields" }, element("legend", {}, words.say(total === null ? "limits.own" : `limits.${part}`)), ...controls);
  });
  const membership = groups === undefined ? null : groupsField(words, rule.groups, groups);
  /** @param {Event} event */
  const save = (event) => {
    event.preventDefault();
    const change = changes(rule, fields);
    const wanted = membership === null ? rule.groups : membership.value();
    if (JSON.stringify(wanted) !== JSON.stringify(rule.groups)) change.groups = wanted;
    if (Object.keys(change).length > 1) onSave(change);
    else onCancel();
  };
  return element(
    "form",
    { class: "card limits-form", "aria-labelledby": "limits-form-heading", onsubmit: save },
    element("h2", { id: "limits-form-heading" }, element("bdi", {}, words.say("limits.change.of", { name }))),
    element("p", { class: "quiet" }, words.say("limits.effect")),
    ...fieldsets,
    membership?.root,
    element("div", { class: "failure-slot" }),
    element(
      "div",
      { class: "buttons" },
      element("button", { type: "submit", class: "primary-button" }, words.say("limits.save")),
      element("button", { type: "button", class: "outline-button", onclick: onCancel }, words.say("cancel")),
    ),
  );
}

/**
 * The groups of a caller: those of its key or token, or others in their place.
 * @param {Words} words
 * @param {string[] | null} set
 * @param {string[]} known
 */
function groupsField(words, set, known) {
  const usual = element("input", { name: "usual groups", type: "checkbox", checked: set === null, onchange: () => follow() });
  const boxes = known.map((value) => element("input", { name: `group ${value}`, type: "checkbox", value, checked: set?.includes(value) ?? false }));
  const follow = () => {
    for (const box of boxes) box.disabled = usual.checked;
  };
  follow();
  const labels = boxes.map((box) => element("label", { class: "check" }, box, element("bdi", {}, box.value)));
  const first = element("label", { class: "check" }, usual, words.say("groups.usual"));
  return {
    root: element("fieldset", { class: "groupings" }, element("legend", {}, words.say("callers.groups")), first, ...labels),
    value: () => (usual.checked ? null : boxes.filter((box) => box.checked).map((box) => box.value)),
  };
}

/**
 * What differs from what is set.
 * @param {Rule} rule
 * @param {Map<string, HTMLInputElement>} fields
 */
function changes(rule, fields) {
  /** @type {import("./api.js").RuleChange} */
  const change = { subject: rule.subject };
  for (const [key, field] of fields) {
    const [part, limit] = /** @type {["limits" | "total", string]} */ (key.split(" "));
    const wanted = field.value === "" ? null : Number(field.value);
    if (wanted !== (rule[part][limit] ?? null)) change[part] = { ...change[part], [limit]: wanted };
  }
  return change;
}

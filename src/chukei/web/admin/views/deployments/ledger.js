/**
 * How the writing of the ledger goes.
 */

import { element } from "../../../dom.js";
import { moment } from "../../figures.js";

/**
 * @param {import("../../../i18n.js").Words} words
 * @param {Record<string, any>} state
 */
export function renderLedger(words, state) {
  const status = words.has(`ledger.${state.status}`) ? words.say(`ledger.${state.status}`) : String(state.status);
  const list = element("dl", { class: "facts" });
  const fact = (/** @type {string} */ name, /** @type {string} */ value) =>
    list.append(element("div", {}, element("dt", {}, words.say(name)), element("dd", {}, value)));
  fact("ledger.status", status);
  if (state.waiting !== undefined) {
    fact("ledger.waiting", words.number(state.waiting));
    fact("ledger.spooled", words.number(state.spooled));
    fact("ledger.lost", words.number(state.lost));
    fact("ledger.written", moment(state.last_written));
  }
  if (state.last_error) fact("ledger.error", String(state.last_error));
  return [element("h2", {}, words.say("ledger")), list];
}

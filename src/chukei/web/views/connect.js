/**
 * How to connect a real resource: shown by the welcome while only the simulator answers.
 */

import { element, icon } from "../dom.js";
import { copyFrom } from "./copying.js";

/** @typedef {import("../i18n.js").Words} Words */

const COMMANDS = `export AZURE_OPENAI_ENDPOINT=https://YOUR-RESOURCE.openai.azure.com
export AZURE_OPENAI_API_KEY=YOUR-KEY
export AZURE_OPENAI_DEPLOYMENT=gpt-4o
scripts/run  # or: chukei serve`;

/**
 * @param {Words} words
 * @param {() => void} onCopied
 */
export function renderConnect(words, onCopied) {
  const copy = element("button", { type: "button", class: "text-button" }, icon("copy"), words.say("copy"));
  copy.addEventListener("click", () => void copyFrom(copy, COMMANDS, { words, onCopied }));
  return element(
    "details",
    { class: "connect fold" },
    element("summary", {}, words.say("connect")),
    element("p", {}, words.say("connect.text")),
    element(
      "div",
      { class: "commands" },
      element("pre", { tabindex: 0, role: "group", "aria-label": words.say("connect") }, element("code", {}, COMMANDS)),
      copy,
    ),
    element("p", {}, words.say("connect.more")),
  );
}

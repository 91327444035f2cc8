/**
 * Wires the live page. The key is in memory only: it goes with the page, and with the button that locks it.
 */

import { byId, element } from "./dom.js";
import { LANGUAGES, Words, pickLanguage, sayPage } from "./i18n.js";
import { Charts } from "./live/charts.js";
import { LiveFeed } from "./live/feed.js";
import { span } from "./live/quantities.js";
import { LiveTable, callerColumns, deploymentColumns, failureColumns, reasonColumns } from "./live/tables.js";
import { Verdict } from "./live/verdict.js";
import { LIVE_LANGUAGES } from "./live/words.js";
import { PreferenceStore, openStorage } from "./storage.js";
import { Announcer } from "./views/announcer.js";
import { renderFailure } from "./views/failure.js";
import { ThemeButton } from "./views/theme.js";

/** Milliseconds without an event after which the figures are called old; one comes every second. */
const STALE = 5000;

const preferences = new PreferenceStore(openStorage("localStorage"));
const words = new Words(pickLanguage([preferences.current.language, ...navigator.languages]), LIVE_LANGUAGES);
const announcer = new Announcer(byId("announcer", HTMLElement));
const theme = new ThemeButton(preferences, words);
const verdict = new Verdict(words, announcer);
const charts = new Charts(byId("charts", HTMLElement), words);
const tables = {
  deployments: new LiveTable("deployments", words, deploymentColumns),
  callers: new LiveTable("callers", words, callerColumns),
  reasons: new LiveTable("reasons", words, reasonColumns),
  failures: new LiveTable("failures", words, failureColumns),
};
const feed = new LiveFeed({ show, fail });
const keyField = byId("admin-key", HTMLInputElement);
const lockButton = byId("lock", HTMLButtonElement);
const pauseButton = byId("pause", HTMLButtonElement);
const freshness = byId("freshness", HTMLElement);

/** @type {any} what was last shown */
let shown = null;
let heard = performance.now();
let paused = false;
let why = "";

/** @param {any} live */
function show(live) {
  heard = performance.now();
  why = "";
  if (byId("opened", HTMLElement).hidden) reveal();
  if (paused) return;
  shown = live;
  draw();
}

function draw() {
  if (shown === null) return;
  verdict.show(shown);
  charts.show(shown);
  const others = shown.others === null ? [] : [{ ...shown.others, others: true }];
  tables.deployments.show(shown.deployments);
  tables.callers.show([...shown.callers, ...others]);
  tables.reasons.show(shown.reasons);
  tables.failures.show(shown.failures);
  drawFreshness();
}

function drawFreshness() {
  pauseButton.textContent = words.say(paused ? "live.resume" : "live.pause");
  if (shown === null) return;
  const age = performance.now() - heard;
  const stale = age > STALE;
  const fresh = words.say("live.fresh", { time: shown.at.slice(11, 19), workers: words.number(shown.workers), up: span(words, shown.up) });
  const text = stale ? words.say("live.stale", { seconds: words.number(Math.floor(age / 1000)), why }) : fresh;
  freshness.classList.toggle("stale", stale);
  freshness.textContent = paused ? `${words.say("live.paused")} · ${text}` : text;
}

/** @param {import("./errors.js").RelayError} error */
function fail(error) {
  const { kind, status } = error.failure;
  if (kind === "access" || status === 404 || byId("opened", HTMLElement).hidden) lock(error);
  else why = words.has(`error.${error.failure.code}`) ? words.say(`error.${error.failure.code}`) : words.say(`error.${kind}`);
}

function reveal() {
  keyField.value = "";
  byId("unlock-failure", HTMLElement).replaceChildren();
  byId("unlock", HTMLFormElement).hidden = true;
  byId("opened", HTMLElement).hidden = false;
  lockButton.hidden = false;
  byId("content", HTMLElement).focus();
}

/** @param {import("./errors.js").RelayError | null} error */
function lock(error) {
  feed.forget();
  shown = null;
  paused = false;
  byId("opened", HTMLElement).hidden = true;
  byId("unlock", HTMLFormElement).hidden = false;
  lockButton.hidden = true;
  verdict.clear();
  for (const table of Object.values(tables)) table.clear();
  const failure = error === null ? [] : [renderFailure(error.failure, words, true, null)];
  byId("unlock-failure", HTMLElement).replaceChildren(...failure);
  if (error === null || error.failure.kind === "access") keyField.value = "";
  keyField.focus();
}

function redraw() {
  sayPage(document, words);
  theme.apply();
  for (const table of Object.values(tables)) table.clear();
  draw();
  drawFreshness();
}

function fillLanguages() {
  const select = byId("language", HTMLSelectElement);
  for (const [tag, { name }] of Object.entries(LANGUAGES)) {
    select.append(element("option", { value: tag, lang: tag }, name));
  }
  select.value = words.language;
  select.addEventListener("change", () => {
    preferences.set({ language: select.value });
    words.language = select.value;
  });
}

byId("unlock", HTMLFormElement).addEventListener("submit", (event) => {
  event.preventDefault();
  const key = keyField.value.trim();
  if (key !== "") feed.start(key);
});
// Hidden until now: a key that is entered before would be sent by the form itself, which the page's policy forbids.
byId("unlock", HTMLFormElement).hidden = false;
lockButton.addEventListener("click", () => lock(null));
pauseButton.addEventListener("click", () => {
  paused = !paused;
  drawFreshness();
});
// Nobody looks at a hidden page, so the relay need not compute for it.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) feed.pause();
  else feed.resume();
});
// A page that was left may come back from the browser's memory, for somebody else.
window.addEventListener("pagehide", () => lock(null));
words.addEventListener("change", redraw);
setInterval(drawFreshness, 1000);
fillLanguages();
redraw();
keyField.focus();

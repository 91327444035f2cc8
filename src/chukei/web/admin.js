/**
 * Wires the administrators' page. The key is in memory only: it goes with the page, and with the button that locks it.
 */

import { AdminApi } from "./admin/api.js";
import { Deployments, Ledger } from "./admin/state.js";
import { Keys } from "./admin/keys.js";
import { Report } from "./admin/report.js";
import { ADMIN_LANGUAGES } from "./admin/words.js";
import { byId, element } from "./dom.js";
import { RelayError } from "./errors.js";
import { LANGUAGES, Words, pickLanguage, sayPage } from "./i18n.js";
import { PreferenceStore, openStorage } from "./storage.js";
import { Announcer } from "./views/announcer.js";
import { renderFailure } from "./views/failure.js";
import { ThemeButton } from "./views/theme.js";

const preferences = new PreferenceStore(openStorage("localStorage"));
const words = new Words(pickLanguage([preferences.current.language, ...navigator.languages]), ADMIN_LANGUAGES);
const api = new AdminApi();
const announcer = new Announcer(byId("announcer", HTMLElement));
const theme = new ThemeButton(preferences, words);
const keyField = byId("admin-key", HTMLInputElement);
const openButton = byId("lock", HTMLButtonElement);

const context = { api, words, announcer, attempt };
const report = new Report(context);
const keys = new Keys(context);
const deployments = new Deployments(words);
const ledger = new Ledger(words);

/**
 * Runs something that asks the relay, and shows in its place why it failed. A key that no longer opens locks the page.
 * @param {HTMLElement} place
 * @param {() => Promise<void>} work
 * @param {(() => void) | null} [again]
 */
async function attempt(place, work, again = null) {
  place.replaceChildren();
  try {
    await work();
    return true;
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") return false;
    if (!(error instanceof RelayError)) throw error;
    if (error.failure.kind === "access") lock(error);
    else place.replaceChildren(renderFailure(error.failure, words, true, again));
    return false;
  }
}

/** @param {RelayError | null} why */
function lock(why) {
  api.forget();
  byId("opened", HTMLElement).hidden = true;
  byId("unlock", HTMLFormElement).hidden = false;
  openButton.hidden = true;
  report.clear();
  keys.clear();
  deployments.clear();
  ledger.clear();
  const shown = why === null ? [] : [renderFailure(why.failure, words, true, null)];
  byId("unlock-failure", HTMLElement).replaceChildren(...shown);
  keyField.value = "";
  keyField.focus();
}

async function unlock() {
  const key = keyField.value.trim();
  if (key === "") return;
  api.key = key;
  const opened = await attempt(byId("unlock-failure", HTMLElement), async () => ledger.show(await api.ledger()));
  if (!opened) {
    if (api.key !== "") lockAfterFailure();
    return;
  }
  keyField.value = "";
  byId("unlock", HTMLFormElement).hidden = true;
  byId("opened", HTMLElement).hidden = false;
  openButton.hidden = false;
  byId("content", HTMLElement).focus();
  await Promise.all([report.load(), keys.load(), loadState()]);
}

/** The relay could not be asked, which says nothing about the key: it stays in its field. */
function lockAfterFailure() {
  api.forget();
  keyField.focus();
}

function loadState() {
  const place = byId("state-failure", HTMLElement);
  const work = async () => {
    const [found, written] = await Promise.all([api.deployments(), api.ledger()]);
    deployments.show(found);
    ledger.show(written);
  };
  return attempt(place, work, () => void loadState());
}

function redraw() {
  sayPage(document, words);
  theme.apply();
  report.draw();
  keys.draw();
  deployments.draw();
  ledger.draw();
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
  void unlock();
});
// Hidden until now: a key that is entered before would be sent by the form itself, which the page's policy forbids.
byId("unlock", HTMLFormElement).hidden = false;
openButton.addEventListener("click", () => lock(null));
byId("refresh-state", HTMLButtonElement).addEventListener("click", () => {
  void loadState().then((well) => well && announcer.say(words.say("state.done")));
});
// A page that was left may come back from the browser's memory, for somebody else.
window.addEventListener("pagehide", () => lock(null));
words.addEventListener("change", redraw);
fillLanguages();
redraw();
keyField.focus();

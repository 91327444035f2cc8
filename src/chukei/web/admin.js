/**
 * Wires the administrators' console: the place for signing in, the views, language and theme.
 */

import { AdminApi } from "./admin/api.js";
import { Gate } from "./admin/gate.js";
import { Router } from "./admin/router.js";
import { VIEWS } from "./admin/views.js";
import { ADMIN_WORDS } from "./admin/words.js";
import { byId } from "./dom.js";
import { RelayError } from "./errors.js";
import { Words, pickLanguage, sayPage } from "./i18n.js";
import { openStorage } from "./storage/local.js";
import { PreferenceStore } from "./storage/preferences.js";
import { Announcer } from "./views/announcer.js";
import { renderFailure } from "./views/failure.js";
import { fillLanguages } from "./views/languages.js";
import { ThemeButton } from "./views/theme.js";

const preferences = new PreferenceStore(openStorage("localStorage"));
const words = new Words(pickLanguage([preferences.current.language, ...navigator.languages]), ...ADMIN_WORDS);
const api = new AdminApi();
const theme = new ThemeButton(preferences, words);
const nav = byId("views", HTMLElement);
const opened = byId("opened", HTMLElement);

/** @type {import("./admin/view.js").Context} */
const context = {
  api,
  words,
  announcer: new Announcer(byId("announcer", HTMLElement)),
  attempt,
  go: (address) => {
    location.hash = address;
  },
  session: () => gate.session,
  lock: (why) => gate.lock(why),
};
const router = new Router(VIEWS, context, { nav, heading: byId("view-heading", HTMLElement), place: byId("view", HTMLElement) });
const gate = new Gate({
  api,
  words,
  onOpen: () => {
    show(true);
    router.open();
  },
  onLock: () => {
    router.close();
    show(false);
  },
});

/** @param {boolean} open */
function show(open) {
  opened.hidden = nav.hidden = !open;
  byId("gate", HTMLElement).hidden = open;
  if (!open) document.title = words.say("page.title");
}

/** @type {import("./admin/view.js").Context["attempt"]} */
async function attempt(place, work, again = null) {
  place.replaceChildren();
  try {
    await work();
    return true;
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") return false;
    if (!(error instanceof RelayError)) throw error;
    if (error.failure.kind === "access") gate.lock(error);
    else place.replaceChildren(renderFailure(error.failure, words, true, again));
    return false;
  }
}

function redraw() {
  sayPage(document, words);
  theme.apply();
  gate.redraw();
  router.redraw();
}

// A fragment would be taken for the address of a view.
byId("skip", HTMLAnchorElement).addEventListener("click", (event) => {
  event.preventDefault();
  byId("content", HTMLElement).focus();
});
words.addEventListener("change", redraw);
fillLanguages(preferences, words);
redraw();

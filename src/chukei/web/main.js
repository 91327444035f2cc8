/**
 * Wires the page: state on one side, views on the other. The only module that knows them all.
 */

import { Relay } from "./api.js";
import { Chat } from "./chat.js";
import { byId, element, icon } from "./dom.js";
import { RelayError } from "./errors.js";
import { LANGUAGES, Words, pickLanguage, sayPage } from "./i18n.js";
import { AccessKey, ConversationStore, PreferenceStore, openStorage, titleOf } from "./storage.js";
import { AccessForm } from "./views/access.js";
import { Announcer } from "./views/announcer.js";
import { Composer } from "./views/composer.js";
import { renderFailure } from "./views/failure.js";
import { Follower } from "./views/follow.js";
import { isComposing } from "./views/keys.js";
import { ModelPicker } from "./views/models.js";
import { Settings } from "./views/settings.js";
import { Sidebar } from "./views/sidebar.js";
import { ThemeButton } from "./views/theme.js";
import { Transcript } from "./views/transcript.js";

/** @typedef {import("./answer.js").Answer} Answer */

const preferences = new PreferenceStore(openStorage("localStorage"));
const store = new ConversationStore(openStorage("localStorage"), preferences.current.keepHistory);
const key = new AccessKey(openStorage("sessionStorage"));
const words = new Words(pickLanguage([preferences.current.language, ...navigator.languages]));
const relay = new Relay(() => key.value);
const chat = new Chat(relay, store, preferences);

const announcer = new Announcer(byId("announcer", HTMLElement));
const theme = new ThemeButton(preferences, words);
const follower = new Follower(byId("transcript", HTMLElement), byId("latest", HTMLButtonElement));
const composer = new Composer(send, () => chat.stop());
const access = new AccessForm(words, (entered) => void useKey(entered));
const models = new ModelPicker(pickModel);
const settings = new Settings({ preferences, key, onKey: () => void loadModels(), onKeep: keepHistory });
const sidebar = new Sidebar(words, {
  onNew: startNew,
  onOpen: openConversation,
  onDelete: (id) => chat.delete(id),
  onClear: clearHistory,
});
const transcript = new Transcript(byId("transcript", HTMLElement), {
  words,
  onEdit: edit,
  onRegenerate: regenerate,
  onCopied: () => announcer.say(words.say("copied")),
});

/** @param {string} text */
function send(text) {
  const taken = chat.send(text);
  if (taken) follower.follow();
  return taken;
}

// What was pressed is gone after these: the keyboard must not be left nowhere.

/** @param {import("./storage.js").UserMessage} message @param {string} text */
function edit(message, text) {
  chat.edit(message, text);
  composer.focus();
}

function regenerate() {
  chat.regenerate();
  composer.focus();
}

function clearHistory() {
  chat.clearHistory();
  composer.focus();
}

function startNew() {
  chat.startNew();
  composer.focus();
}

/** @param {string} id */
function openConversation(id) {
  chat.open(id);
  follower.follow();
  announcer.say(words.say("say.loaded", { title: titleOf(chat.current) }));
  composer.focus();
}

/** @param {boolean} keep */
function keepHistory(keep) {
  preferences.set({ keepHistory: keep });
  store.setKeep(keep);
}

/** @param {string} model */
function pickModel(model) {
  preferences.set({ model });
  chat.model = model;
}

/** @param {boolean} simulator */
function showSimulator(simulator) {
  byId("simulator", HTMLElement).hidden = !simulator;
  byId("simulator-note", HTMLElement).hidden = !simulator;
}

/** @returns {Promise<boolean>} whether the relay let us in */
async function loadModels() {
  const notice = byId("page-failure", HTMLElement);
  notice.replaceChildren();
  try {
    const offered = await relay.models();
    showSimulator(offered.simulator);
    chat.model = models.show(offered.models, preferences.current.model);
    access.hide();
    return true;
  } catch (error) {
    if (!(error instanceof RelayError)) throw error;
    if (error.failure.kind === "access") access.ask(key.value !== "");
    else notice.replaceChildren(renderFailure(error.failure, words, true, () => void loadModels()));
    return false;
  }
}

/** @param {string} entered */
async function useKey(entered) {
  key.value = entered;
  if (!(await loadModels())) return;
  composer.focus();
  const last = chat.current.messages.at(-1);
  if (last?.role === "assistant" && last.failure?.kind === "access") chat.regenerate();
}

function showConversation() {
  const { messages } = chat.current;
  byId("welcome", HTMLElement).hidden = messages.length > 0;
  transcript.show(messages);
  showBusy();
  showHistory();
}

function showBusy() {
  composer.setBusy(chat.busy);
  transcript.setBusy(chat.busy);
}

function showHistory() {
  sidebar.show(chat.conversations(), chat.current.id);
}

/** @param {Answer} answer */
function onEnd(answer) {
  const text = transcript.end(answer);
  showBusy();
  if (!chat.current.messages.includes(answer)) return; // it ended in a conversation that is not shown
  if (answer.state === "stopped") announcer.say(words.say("say.stopped", { text }));
  else if (text !== "") announcer.say(words.say("say.answer", { text }));
}

function redraw() {
  sayPage(document, words);
  theme.apply();
  transcript.redraw(chat.current.messages);
  showConversation();
}

/** @param {string} type @param {(detail: any) => void} react */
function onChat(type, react) {
  chat.addEventListener(type, (event) => react(/** @type {CustomEvent} */ (event).detail));
}

function listen() {
  onChat("change", showConversation);
  onChat("history", showHistory);
  onChat("start", () => announcer.say(words.say("say.generating")));
  onChat("progress", (answer) => transcript.update(answer));
  onChat("end", onEnd);
  onChat("head", showSimulator);
  onChat("access", () => access.ask(key.value !== ""));
  words.addEventListener("change", redraw);
  window.addEventListener("beforeunload", () => chat.expectToLeave());
  window.addEventListener("pagehide", () => chat.stopAll());
  document.addEventListener("keydown", onEscape);
}

/** Esc closes what is open; with nothing open it stops the answer. @param {KeyboardEvent} event */
function onEscape(event) {
  if (event.key !== "Escape" || isComposing(event)) return;
  if (sidebar.isOpen) sidebar.close();
  else if (!settings.close()) chat.stop();
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

function bindStarters() {
  byId("latest", HTMLButtonElement).querySelector(".icon-slot")?.append(icon("down"));
  for (const button of byId("starters", HTMLElement).querySelectorAll("button")) {
    button.addEventListener("click", () => {
      send(button.textContent ?? "");
      composer.focus();
    });
  }
}

listen();
fillLanguages();
bindStarters();
redraw();
composer.focus();
void loadModels();

/**
 * Wires the page: state on one side, views on the other. The only module that knows them all.
 */

import { addressOf, conversationAt } from "./address.js";
import { Relay } from "./api.js";
import { Chat } from "./chat.js";
import { byId, icon } from "./dom.js";
import { RelayError } from "./errors.js";
import { Words, pickLanguage, sayPage } from "./i18n.js";
import { loading } from "./later.js";
import { AccessKey } from "./storage/access_key.js";
import { ConversationStore } from "./storage/conversations.js";
import { openDatabase } from "./storage/database.js";
import { DraftStore } from "./storage/drafts.js";
import { openChannel, openStorage } from "./storage/local.js";
import { PreferenceStore } from "./storage/preferences.js";
import { AccessForm } from "./views/access.js";
import { Announcer } from "./views/announcer.js";
import { Composer } from "./views/composer.js";
import { renderConnect } from "./views/connect.js";
import { renderFailure } from "./views/failure.js";
import { Follower } from "./views/follow.js";
import { HistoryActions, sayTitle } from "./views/history_actions.js";
import { fillLanguages } from "./views/languages.js";
import { isComposing } from "./views/keys.js";
import { ModelMenu } from "./views/models.js";
import { Settings } from "./views/settings.js";
import { Sidebar } from "./views/sidebar.js";
import { ThemeButton } from "./views/theme.js";
import { Toast } from "./views/toast.js";
import { CHAT_WORDS } from "./words/chat.js";

/** @typedef {import("./answer.js").Answer} Answer */
/** @typedef {import("./conversations/shape.js").Message} Message */
/** @typedef {import("./views/transcript.js").Transcript} Transcript */

const preferences = new PreferenceStore(openStorage("localStorage"));
const database = openDatabase();
const channel = openChannel("chukei");
const store = new ConversationStore({
  database,
  channel,
  local: openStorage("localStorage"),
  keep: preferences.current.keepHistory,
});
const drafts = new DraftStore({ database, channel, session: openStorage("sessionStorage"), keeps: () => preferences.current.keepHistory });
const key = new AccessKey(openStorage("sessionStorage"));
const words = new Words(pickLanguage([preferences.current.language, ...navigator.languages]), ...CHAT_WORDS);
const relay = new Relay(() => key.value);
const chat = new Chat(relay, store, preferences);

const announcer = new Announcer(byId("announcer", HTMLElement));
const theme = new ThemeButton(preferences, words);
const follower = new Follower(byId("transcript", HTMLElement), byId("latest", HTMLButtonElement));
const composer = new Composer({ words, announcer, onSend: send, onStop: () => chat.stop(), past: () => chat.past(), drafts });
const access = new AccessForm(words, (entered) => void useKey(entered), () => composer.focus());
const models = new ModelMenu({ words, onPick: pickModel });
const settings = new Settings({
  words,
  preferences,
  key,
  model: () => chat.model,
  conversation: () => chat.current,
  onSystem: (text) => chat.setSystem(text),
  onKey: () => access.ask(""),
  onKeep: keepHistory,
});
const toast = new Toast(words, announcer);
const actions = new HistoryActions({ words, chat, drafts, onDrafts: () => composer.reopen(), toast, focusList: (id) => sidebar.focus(id), onImported });
const sidebar = new Sidebar(words, {
  onNew: startNew,
  onOpen: () => composer.focus(),
  onRename: (conversation, title) => chat.rename(conversation, title),
  onExport: ({ id }, format) => void actions.export(id, format),
  onDelete: (conversation) => actions.delete(conversation),
  onClear: () => actions.clear(),
  onImport: (file) => void actions.import(file),
  textsOf: (conversation) => store.textsOf(conversation),
  readTexts: () => store.readTexts(),
  onFound: (count) => announcer.say(words.say("history.found", { count: words.number(count) })),
});
/** Shows the messages; null until it has been loaded, after the first paint. @type {Transcript | null} */
let transcript = null;
/** Answers that ended before they could be shown. @type {Answer[]} */
const unshown = [];

function sayCopied() {
  announcer.say(words.say("copied"));
}

/** @param {string} text @param {import("./attachments/attachment.js").Attachment[]} [attachments] */
function send(text, attachments) {
  const taken = chat.send(text, attachments);
  if (taken) follower.follow();
  return taken;
}

// What was pressed is gone after these: the keyboard must not be left nowhere.

/** @param {import("./conversations/shape.js").UserMessage} message @param {string} text */
function edit(message, text) {
  chat.edit(message, text);
  composer.focus();
}

function regenerate() {
  chat.regenerate();
  composer.focus();
}

function startNew() {
  chat.startNew();
  composer.focus();
}

/** @param {Message} message @param {number} step */
function choose(message, step) {
  const chosen = chat.choose(message, step);
  if (chosen === undefined) return;
  const [index, count] = chat.alternatives(chosen);
  announcer.say(words.say("alternatives", { index: words.number(index + 1), count: words.number(count) }));
  transcript?.focusAlternatives(chosen, step);
}

/** @param {string} id */
function onImported(id) {
  sidebar.close();
  window.location.hash = addressOf(id);
}

/** Shows the conversation that the address names, as after "back". */
async function visit() {
  const id = conversationAt(window.location.hash);
  if (id === (chat.current.messages.length > 0 ? chat.current.id : null) && chat.instead === null) return;
  if (id === null) chat.startNew();
  else await chat.open(id);
  follower.follow();
}

async function onVisit() {
  composer.focus();
  await visit();
  if (chat.current.messages.length > 0) announcer.say(words.say("say.loaded", { title: sayTitle(chat.current, words) }));
}

/** Gives the conversation that is shown its address. */
function showAddress() {
  if (chat.instead !== null) return;
  const id = chat.current.messages.length === 0 ? null : chat.current.id;
  if (conversationAt(window.location.hash) !== id) window.history.pushState(null, "", addressOf(id));
}

/** @param {boolean} keep */
function keepHistory(keep) {
  preferences.set({ keepHistory: keep });
  void store.setKeep(keep);
  showHistory();
}

/** The most bytes of one request, as the relay says with its models. @type {number | null} */
let maxBodyBytes = null;

/** @param {import("./api.js").Model | null} model */
function useModel(model) {
  chat.model = model;
  composer.setModel(model, maxBodyBytes);
}

/** A failure is tried once; it is no wish for later chats. @param {import("./api.js").Model | null} model */
function pickModel(model) {
  if (!model?.failure) preferences.set({ model: model?.id ?? "" });
  useModel(model);
}

/** What the relay has offered. @type {import("./api.js").Model[]} */
let offered = [];

/** Chooses the model that the reader has chosen for good. An older page may have kept a failure. */
function chooseLastingModel() {
  const { model } = preferences.current;
  useModel(models.show(offered, offered.some(({ id, failure }) => failure && id === model) ? "" : model));
}

/**
 * The relay wants a key; the one that was sent, if any, was not accepted.
 * @param {import("./errors.js").Failure} failure
 */
function askForKey(failure) {
  settings.wantKey();
  access.ask(key.value === "" ? "" : (failure.code ?? "401"));
}

/** @param {boolean} simulator */
function showSimulator(simulator) {
  byId("simulator", HTMLElement).hidden = !simulator;
  byId("simulator-note", HTMLElement).hidden = !simulator;
  byId("connect-slot", HTMLElement).hidden = !simulator;
}

/** Why the models, or the rest of the page, could not be loaded. @type {import("./errors.js").Failure | null} */
let pageFailure = null;

/** @param {boolean} isNew */
function showPageFailure(isNew) {
  const shown = pageFailure === null ? [] : [renderFailure(pageFailure, words, isNew, () => void loadRest())];
  byId("page-failure", HTMLElement).replaceChildren(...shown);
}

async function loadTranscript() {
  await loading;
  const module = await import("./views/transcript.js").catch(() => {
    throw new RelayError({ kind: "network", message: "" });
  });
  if (transcript !== null) return; // another call was faster
  transcript = new module.Transcript(byId("transcript", HTMLElement), {
    words,
    onEdit: edit,
    onRegenerate: regenerate,
    onCopied: sayCopied,
    alternatives: (message) => chat.alternatives(message),
    onChoose: choose,
  });
  showConversation();
  for (const answer of unshown.splice(0)) onEnd(answer);
}

async function loadModels() {
  // Asked for at once, shown after the first paint: the first number that a browser writes takes it 20 ms.
  const [offer] = await Promise.all([relay.models(words.language), loading]);
  showSimulator(offer.simulator);
  maxBodyBytes = offer.maxBodyBytes;
  offered = offer.models;
  if (chat.model?.failure) useModel(models.show(offered, chat.model.id));
  else chooseLastingModel();
  access.hide();
}

/**
 * Loads what the page needs beside what its first paint shows.
 * @returns {Promise<boolean>} whether all of it has arrived, and so whether the relay let us in
 */
async function loadRest() {
  pageFailure = null;
  showPageFailure(false);
  try {
    await Promise.all([loadModels(), transcript ?? loadTranscript()]);
    return true;
  } catch (error) {
    if (!(error instanceof RelayError)) throw error;
    if (error.failure.kind === "access") askForKey(error.failure);
    else pageFailure = error.failure;
    showPageFailure(true);
    return false;
  }
}

/** A key is kept only once the relay has accepted it. @param {string} entered */
async function useKey(entered) {
  const before = key.value;
  key.value = entered;
  if (!(await loadRest())) {
    key.value = before;
    return;
  }
  composer.focus();
  const last = chat.path.at(-1);
  if (last?.role === "assistant" && last.failure?.kind === "access") chat.regenerate();
}

/** Of the conversation that was shown before. @type {string | null} */
let lastPlace = null;

function showConversation() {
  if (chat.place === null && lastPlace !== null && chat.model?.failure) chooseLastingModel();
  lastPlace = chat.place;
  const isEmpty = chat.current.messages.length === 0;
  byId("welcome", HTMLElement).hidden = !isEmpty || chat.instead !== null;
  byId("missing", HTMLElement).hidden = chat.instead !== "missing";
  transcript?.show(chat.path);
  showAddress();
  void composer.open(chat.place);
  showBusy();
  showHistory();
}

function showBusy() {
  composer.setBusy(chat.busy);
  transcript?.setBusy(chat.busy);
}

function showHistory() {
  const isEmpty = chat.current.messages.length === 0;
  document.title = isEmpty ? words.say("page.title") : `${sayTitle(chat.current, words)} · ${words.say("page.title")}`;
  sidebar.show(chat.conversations(), chat.place ?? "", store.keeps);
}

/** @param {Answer} answer */
function onEnd(answer) {
  showBusy();
  if (transcript === null) {
    unshown.push(answer);
    return;
  }
  const text = transcript.end(answer);
  if (!chat.path.includes(answer)) return; // it ended where the reader is not
  if (answer.state === "stopped") announcer.say(words.say("say.stopped", { text }));
  else if (text !== "") announcer.say(words.say("say.answer", { text }));
}

function redraw() {
  sayPage(document, words);
  theme.apply();
  models.redraw();
  showPageFailure(false);
  byId("connect-slot", HTMLElement).replaceChildren(renderConnect(words, sayCopied));
  transcript?.redraw(chat.path);
  sidebar.redraw();
  showConversation();
}

/** The relay may describe its models in the new language too. */
function onLanguage() {
  redraw();
  if (chat.model !== null) void loadRest();
}

/** @param {string} type @param {(detail: any) => void} react */
function onChat(type, react) {
  chat.addEventListener(type, (event) => react(/** @type {CustomEvent} */ (event).detail));
}

function listen() {
  onChat("change", showConversation);
  onChat("history", showHistory);
  onChat("start", () => announcer.say(words.say("say.generating")));
  onChat("progress", (answer) => transcript?.update(answer));
  onChat("end", onEnd);
  onChat("head", showSimulator);
  onChat("access", (answer) => askForKey(answer.failure));
  words.addEventListener("change", onLanguage);
  store.addEventListener("full", (event) => sayFull(/** @type {CustomEvent} */ (event).detail));
  store.addEventListener("keep", () => void drafts.rewrite());
  window.addEventListener("hashchange", () => void onVisit());
  window.addEventListener("storage", onStorage);
  window.addEventListener("beforeunload", () => chat.expectToLeave());
  window.addEventListener("pagehide", () => chat.leave());
  for (const type of ["pagehide", "visibilitychange"]) window.addEventListener(type, () => void drafts.flush());
  document.addEventListener("keydown", onEscape);
}

/** @param {{removed: number, isKept: boolean}} outcome */
function sayFull({ removed, isKept }) {
  const key = isKept ? "history.full" : "history.full.unkept";
  toast.show(words.say(key, { count: words.number(removed) }));
}

/** Another tab has changed what is set. */
function onStorage() {
  preferences.read();
  void store.setKeep(preferences.current.keepHistory);
  showHistory();
}

/** Esc closes what is open; with nothing open it stops the answer. @param {KeyboardEvent} event */
function onEscape(event) {
  if (event.key !== "Escape" || isComposing(event)) return;
  if (sidebar.isOpen) sidebar.close();
  else chat.stop();
}

function bindButtons() {
  byId("latest", HTMLButtonElement).querySelector(".icon-slot")?.append(icon("down"));
  byId("missing-new", HTMLButtonElement).addEventListener("click", startNew);
  for (const button of byId("starters", HTMLElement).querySelectorAll("button")) {
    button.addEventListener("click", () => {
      send(button.textContent ?? "");
      composer.focus();
    });
  }
  // Following the link would replace the conversation's address.
  document.querySelector(".skip")?.addEventListener("click", (event) => {
    event.preventDefault();
    byId("prompt", HTMLElement).focus();
  });
}

listen();
fillLanguages(preferences, words);
bindButtons();
void visit();
redraw();
void loadRest();

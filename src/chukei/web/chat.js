/**
 * The conversations and the answers that are being written into them. No DOM here: views listen.
 *
 * Events: `change` (the current conversation is another one, or its messages changed), `start`,
 * `progress` and `end` of an answer (`event.detail` is the answer), `history` (the list changed),
 * `head` (`event.detail` says whether a simulator answers), `access` (a key is needed).
 */

import { addChange, isRunning, newAnswer } from "./answer.js";
import { isAbort } from "./api.js";
import { newConversation, newId } from "./conversations/shape.js";
import { add, alternativesOf, choose, pathOf } from "./conversations/tree.js";
import { RelayError } from "./errors.js";
import { outputLimit } from "./limits.js";

/** @typedef {import("./answer.js").Answer} Answer */
/** @typedef {import("./attachments/attachment.js").Attachment} Attachment */
/** @typedef {import("./conversations/shape.js").Conversation} Conversation */
/** @typedef {import("./conversations/shape.js").Message} Message */
/** @typedef {import("./conversations/shape.js").UserMessage} UserMessage */

/** How long after the first sign of leaving a broken connection is the leaving itself, in milliseconds. */
const LEAVING_MS = 3000;

/** As many earlier prompts can be recalled. */
const MOST_PROMPTS = 100;

export class Chat extends EventTarget {
  #relay;
  #store;
  #preferences;
  /** One answer at a time in each conversation; leaving a conversation does not stop its answer. */
  #running = /** @type {Map<string, {controller: AbortController, answer: Answer}>} */ (new Map());
  #leavingUntil = 0;
  /** The one that nothing was asked in yet. @type {Conversation} */
  #blank;
  /** The conversation that is wanted while the kept ones are not there yet. @type {string | null} */
  #wanted = null;

  /**
   * @param {import("./api.js").Relay} relay
   * @param {import("./storage/conversations.js").ConversationStore} store
   * @param {import("./storage/preferences.js").PreferenceStore} preferences
   */
  constructor(relay, store, preferences) {
    super();
    this.#relay = relay;
    this.#store = store;
    this.#preferences = preferences;
    this.current = this.#blank = newConversation(preferences.current.system);
    /** Whether the current conversation is an empty one in place of one that is not there (yet). @type {"opening" | "missing" | null} */
    this.instead = null;
    /** What to ask for; null leaves the choice to the relay. */
    this.model = /** @type {import("./wire/prompt.js").Model | null} */ (null);
    this.#listen();
  }

  /** The messages that are shown, in order. */
  get path() {
    return pathOf(this.current);
  }

  /** The id of the conversation that is shown or being opened; null for one in which nothing was asked. */
  get place() {
    if (this.instead === "opening") return this.#wanted;
    return this.current.messages.length === 0 ? null : this.current.id;
  }

  /** Whether an answer is being written into the current conversation, in this tab or in another one. */
  get busy() {
    return this.current.messages.some((message) => message.role === "assistant" && isRunning(message));
  }

  conversations() {
    return this.#store.list();
  }

  /** @param {"opening" | "missing" | null} [instead] of which conversation, if any */
  startNew(instead = null) {
    const { system } = this.#preferences.current;
    if (this.#blank.messages.length > 0) this.#blank = newConversation(system);
    else if (this.#blank !== this.current) this.#blank.system = system; // it may have been set meanwhile
    this.#show(this.#blank, instead);
  }

  /**
   * Shows a conversation, at once if its messages are in memory.
   * @param {string} id
   */
  async open(id) {
    const conversation = this.#store.get(id);
    if (conversation !== undefined) return this.#show(conversation);
    this.#wanted = id;
    this.startNew(this.#store.isReady && !this.#store.has(id) ? "missing" : "opening");
    const read = await this.#store.read(id);
    if (this.#wanted !== id || this.instead !== "opening") return; // the reader has gone on
    if (read === undefined) this.startNew("missing");
    else this.#show(read);
  }

  /**
   * @param {string} id
   * @returns {Promise<Conversation | undefined>} with all its messages
   */
  read(id) {
    return this.#store.read(id);
  }

  /**
   * @param {string[]} ids
   * @returns {Promise<Conversation[]>} what was deleted
   */
  delete(ids) {
    for (const id of ids) this.#running.get(id)?.controller.abort();
    const deleted = this.#store.delete(ids);
    if (ids.includes(this.current.id)) this.startNew();
    this.#tell("history");
    return deleted;
  }

  /**
   * Keeps conversations that were deleted, or come from elsewhere.
   * @param {Conversation[]} conversations
   */
  restore(conversations) {
    for (const conversation of conversations) this.#store.save(conversation, conversation.messages);
    this.#tell("history");
  }

  /**
   * @param {Conversation} conversation
   * @param {string} title empty: the first line of the first question
   */
  rename(conversation, title) {
    conversation.title = title;
    this.#store.save(conversation, []);
    this.#tell("history");
  }

  /** @param {string} text the system message of the current conversation */
  setSystem(text) {
    this.current.system = text;
    if (this.current.messages.length > 0) this.#store.save(this.current, []);
  }

  /**
   * @param {string} text
   * @param {Attachment[]} [attachments]
   * @returns {boolean} false when there is nothing to send, an answer is still being written, or the conversation read
   */
  send(text, attachments = []) {
    if (this.instead === "opening") return false;
    if ((text.trim() === "" && attachments.length === 0) || this.busy) return false;
    this.#ask(this.path.at(-1)?.id ?? null, text, attachments);
    return true;
  }

  /** Asks again for the last answer; the one that is there stays as an alternative. */
  regenerate() {
    const question = this.path.findLast(({ role }) => role === "user");
    if (question !== undefined && !this.busy) void this.#answer(this.current, question);
  }

  /**
   * Asks another question in place of one, which stays as an alternative with everything after it.
   * @param {UserMessage} message
   * @param {string} text
   */
  edit(message, text) {
    if (!this.busy) this.#ask(message.parent, text, message.attachments ?? []);
  }

  /**
   * Where a message is among its alternatives.
   * @param {Message} message
   * @returns {[index: number, count: number]} the index counts from 0
   */
  alternatives(message) {
    const alternatives = alternativesOf(this.current, message);
    return [alternatives.indexOf(message), alternatives.length];
  }

  /**
   * Shows another alternative.
   * @param {Message} message
   * @param {number} step
   * @returns {Message | undefined} the one that is shown now
   */
  choose(message, step) {
    const chosen = choose(this.current, message, step);
    if (chosen === undefined) return undefined;
    this.#store.save(this.current, []);
    this.#tell("change");
    return chosen;
  }

  /** What was asked before, newest first, in as many of the newest conversations as it takes. @returns {Promise<string[]>} */
  async past() {
    await this.#store.readTexts(() => this.#asked().length >= MOST_PROMPTS);
    return this.#asked().slice(0, MOST_PROMPTS);
  }

  #asked() {
    const texts = this.#store.list().flatMap((conversation) => this.#store.textsOf(conversation));
    const asked = texts.filter(({ role, content }) => role === "user" && content !== "");
    return [...new Set(asked.sort((a, b) => (a.id < b.id ? 1 : -1)).map(({ content }) => content))];
  }

  stop() {
    const running = this.#running.get(this.current.id);
    if (running !== undefined) running.controller.abort();
    else if (this.busy) this.#stopElsewhere();
  }

  /** The reader may be leaving: browsers break connections before they say that the page is gone. */
  expectToLeave() {
    this.#leavingUntil = performance.now() + LEAVING_MS;
  }

  /** The page goes away: what has arrived is kept. */
  leave() {
    for (const [id, { controller, answer }] of this.#running) {
      const conversation = this.#store.get(id);
      answer.state = "closed";
      if (conversation !== undefined) this.#store.save(conversation, [answer]);
      controller.abort();
    }
    void this.#store.flush();
  }

  #listen() {
    const store = this.#store;
    store.addEventListener("change", () => this.#onList());
    store.addEventListener("arrived", (event) => this.#onArrived(/** @type {CustomEvent} */ (event).detail));
    store.addEventListener("gone", (event) => this.#onGone(/** @type {CustomEvent} */ (event).detail));
    store.addEventListener("hello", () => this.#sayRunning());
    store.addEventListener("stop", (event) => {
      this.#running.get(/** @type {CustomEvent} */ (event).detail)?.controller.abort();
    });
  }

  #onList() {
    if (this.instead === "missing" && this.#wanted !== null && this.#store.has(this.#wanted)) void this.open(this.#wanted);
    this.#tell("history");
  }

  /** @param {{conversation: Conversation, grown: Answer[]}} arrival */
  #onArrived({ conversation, grown }) {
    if (conversation !== this.current) return;
    this.#tell("change");
    for (const answer of grown) this.#tell(isRunning(answer) ? "progress" : "end", answer);
  }

  /** @param {string[]} ids */
  #onGone(ids) {
    for (const id of ids) this.#running.get(id)?.controller.abort();
    if (ids.includes(this.current.id)) void this.open(this.current.id);
  }

  #sayRunning() {
    for (const [id, { answer }] of this.#running) {
      const conversation = this.#store.get(id);
      if (conversation !== undefined) this.#store.save(conversation, [answer]);
    }
  }

  /** If the other tab is gone too, nobody else says that the answer has ended. */
  #stopElsewhere() {
    this.#store.stopElsewhere(this.current.id);
    for (const message of this.current.messages) {
      if (message.role !== "assistant" || !isRunning(message)) continue;
      message.state = "stopped";
      this.#tell("end", message);
    }
  }

  /**
   * @param {string | null} parent
   * @param {string} text
   * @param {Attachment[]} attachments
   */
  #ask(parent, text, attachments) {
    /** @type {UserMessage} */
    const question = { id: newId(), parent, role: "user", content: text };
    if (attachments.length > 0) question.attachments = attachments;
    add(this.current, question);
    this.instead = null;
    void this.#answer(this.current, question);
  }

  /**
   * @param {Conversation} conversation
   * @param {Message} question
   */
  async #answer(conversation, question) {
    const controller = new AbortController();
    const request = this.#request(conversation);
    /** @type {Answer} */
    const answer = { ...newAnswer(this.model?.id ?? "", performance.now()), id: newId(), parent: question.id };
    add(conversation, answer);
    this.#running.set(conversation.id, { controller, answer });
    this.#save(conversation, [question, answer]);
    this.#tell("change");
    this.#tell("start", answer);
    await this.#read(request, conversation, answer, controller.signal);
    this.#running.delete(conversation.id);
    if (this.#isKept(conversation)) this.#save(conversation, [answer]);
    this.#tell("end", answer);
    if (answer.failure?.kind === "access") this.#tell("access", answer);
  }

  /**
   * @param {import("./wire/prompt.js").Request} request
   * @param {Conversation} conversation
   * @param {Answer} answer
   * @param {AbortSignal} signal
   */
  async #read(request, conversation, answer, signal) {
    try {
      for await (const change of this.#relay.stream(request, signal, (head) => this.#onHead(answer, head))) {
        addChange(answer, change, performance.now());
        if (this.#isKept(conversation)) this.#store.saveSoon(conversation, answer);
        this.#tell("progress", answer);
      }
      answer.state = "finished";
    } catch (error) {
      if (!isAbort(error)) this.#fail(answer, error);
      else if (isRunning(answer)) answer.state = "stopped";
    }
  }

  /**
   * @param {Answer} answer
   * @param {unknown} error
   */
  #fail(answer, error) {
    if (!(error instanceof RelayError)) throw error;
    if (["cut", "network"].includes(error.failure.kind) && performance.now() < this.#leavingUntil) {
      answer.state = "closed";
      return;
    }
    answer.state = "failed";
    answer.failure = error.failure;
  }

  /**
   * @param {Answer} answer
   * @param {import("./api.js").AnswerHead} head
   */
  #onHead(answer, head) {
    answer.requestId = head.requestId;
    answer.simulator = head.simulator;
    this.#tell("head", head.simulator);
  }

  /**
   * What is asked for after the question that ends the path.
   * @param {Conversation} conversation
   * @returns {import("./wire/prompt.js").Request}
   */
  #request(conversation) {
    const { temperature, maxOutputTokens } = this.#preferences.current;
    const path = pathOf(conversation);
    const messages = path.slice(0, path.findLastIndex(({ role }) => role === "user") + 1);
    const { model } = this;
    return { model, messages, system: conversation.system, temperature, maxOutputTokens: outputLimit(maxOutputTokens, model) };
  }

  /** One that was deleted while its answer was being written must not come back. @param {Conversation} conversation */
  #isKept(conversation) {
    return this.#store.get(conversation.id) === conversation;
  }

  /**
   * @param {Conversation} conversation
   * @param {"opening" | "missing" | null} [instead]
   */
  #show(conversation, instead = null) {
    this.current = conversation;
    this.instead = instead;
    this.#tell("change");
  }

  /**
   * @param {Conversation} conversation
   * @param {Message[]} messages
   */
  #save(conversation, messages) {
    conversation.updatedAt = Date.now();
    this.#store.save(conversation, messages);
    this.#tell("history");
  }

  /**
   * @param {string} type
   * @param {unknown} [detail]
   */
  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

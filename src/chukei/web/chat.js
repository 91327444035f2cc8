/**
 * The conversations and the answers that are being written into them. No DOM here: views listen.
 *
 * Events: `change` (the current conversation is another one, or its messages changed), `start`,
 * `progress` and `end` of an answer (`event.detail` is the answer), `history` (the list changed),
 * `head` (`event.detail` says whether a simulator answers), `access` (a key is needed).
 */

import { addChunk, isRunning, newAnswer } from "./answer.js";
import { isAbort } from "./api.js";
import { RelayError } from "./errors.js";

/** @typedef {import("./answer.js").Answer} Answer */
/** @typedef {import("./storage.js").Conversation} Conversation */
/** @typedef {import("./storage.js").UserMessage} UserMessage */
/** @typedef {import("./api.js").ChatMessage} ChatMessage */

/** How long after the first sign of leaving a broken connection is the leaving itself, in milliseconds. */
const LEAVING_MS = 3000;

export class Chat extends EventTarget {
  #relay;
  #store;
  #preferences;
  /** One answer at a time in each conversation; leaving a conversation does not stop its answer. */
  #running = /** @type {Map<string, AbortController>} */ (new Map());
  #leavingUntil = 0;

  /**
   * @param {import("./api.js").Relay} relay
   * @param {import("./storage.js").ConversationStore} store
   * @param {import("./storage.js").PreferenceStore} preferences
   */
  constructor(relay, store, preferences) {
    super();
    this.#relay = relay;
    this.#store = store;
    this.#preferences = preferences;
    this.current = newConversation();
    /** What to ask for; empty leaves the choice to the relay. */
    this.model = "";
  }

  get busy() {
    return this.#running.has(this.current.id);
  }

  conversations() {
    return this.#store.list();
  }

  startNew() {
    if (this.current.messages.length > 0) this.#show(newConversation());
  }

  /** @param {string} id */
  open(id) {
    const conversation = this.#store.get(id);
    if (conversation !== undefined) this.#show(conversation);
  }

  /** @param {string} id */
  delete(id) {
    this.#running.get(id)?.abort();
    this.#store.delete(id);
    if (id === this.current.id) this.#show(newConversation());
    this.#tell("history");
  }

  clearHistory() {
    for (const controller of this.#running.values()) controller.abort();
    this.#store.clear();
    this.#show(newConversation());
    this.#tell("history");
  }

  /**
   * @param {string} text
   * @returns {boolean} false when there is nothing to send, or an answer is still being written
   */
  send(text) {
    if (text.trim() === "" || this.busy) return false;
    this.current.messages.push({ role: "user", content: text });
    void this.#answer(this.current);
    return true;
  }

  /** Asks again for the last answer. */
  regenerate() {
    if (this.busy) return;
    const { messages } = this.current;
    if (messages.at(-1)?.role === "assistant") messages.pop();
    if (messages.at(-1)?.role === "user") void this.#answer(this.current);
  }

  /**
   * Replaces a question; everything after it goes.
   * @param {UserMessage} message
   * @param {string} text
   */
  edit(message, text) {
    const index = this.current.messages.indexOf(message);
    if (index < 0 || this.busy) return;
    this.current.messages.length = index;
    this.send(text);
  }

  stop() {
    this.#running.get(this.current.id)?.abort();
  }

  /** The reader may be leaving: browsers break connections before they say that the page is gone. */
  expectToLeave() {
    this.#leavingUntil = performance.now() + LEAVING_MS;
  }

  /** The page goes away: what has arrived is kept, as stopped. */
  stopAll() {
    for (const [id, controller] of this.#running) {
      const conversation = this.#store.get(id);
      const last = conversation?.messages.at(-1);
      if (last?.role === "assistant") last.state = "stopped";
      if (conversation !== undefined) this.#store.save(conversation);
      controller.abort();
    }
  }

  /** @param {Conversation} conversation */
  async #answer(conversation) {
    const controller = new AbortController();
    const answer = newAnswer(this.model, performance.now());
    const request = this.#request(conversation);
    conversation.messages.push(answer);
    this.#running.set(conversation.id, controller);
    this.#save(conversation);
    this.#tell("change");
    this.#tell("start", answer);
    await this.#read(request, answer, controller.signal);
    this.#running.delete(conversation.id);
    // A conversation that was deleted meanwhile must not come back.
    if (this.#store.get(conversation.id) === conversation) this.#save(conversation);
    this.#tell("end", answer);
    if (answer.failure?.kind === "access") this.#tell("access", answer);
  }

  /**
   * @param {import("./api.js").ChatRequest} request
   * @param {Answer} answer
   * @param {AbortSignal} signal
   */
  async #read(request, answer, signal) {
    try {
      for await (const chunk of this.#relay.stream(request, signal, (head) => this.#onHead(answer, head))) {
        addChunk(answer, chunk, performance.now());
        this.#tell("progress", answer);
      }
      answer.state = "finished";
    } catch (error) {
      if (isAbort(error)) answer.state = "stopped";
      else this.#fail(answer, error);
    }
  }

  /**
   * @param {Answer} answer
   * @param {unknown} error
   */
  #fail(answer, error) {
    if (!(error instanceof RelayError)) throw error;
    if (["cut", "network"].includes(error.failure.kind) && performance.now() < this.#leavingUntil) {
      answer.state = "stopped";
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
   * @param {Conversation} conversation
   * @returns {import("./api.js").ChatRequest}
   */
  #request(conversation) {
    const { system, temperature } = this.#preferences.current;
    /** @type {ChatMessage[]} */
    const messages = system.trim() === "" ? [] : [{ role: "system", content: system }];
    for (const { role, content } of conversation.messages) {
      if (content !== "") messages.push({ role, content }); // an answer that failed at once says nothing
    }
    return {
      ...(this.model === "" ? {} : { model: this.model }),
      messages,
      ...(temperature === null ? {} : { temperature }),
    };
  }

  /** @param {Conversation} conversation */
  #show(conversation) {
    for (const message of conversation.messages) {
      // Left over from a page that was closed in mid-answer.
      if (message.role === "assistant" && isRunning(message) && !this.#running.has(conversation.id)) {
        message.state = "stopped";
      }
    }
    this.current = conversation;
    this.#tell("change");
  }

  /** @param {Conversation} conversation */
  #save(conversation) {
    conversation.updatedAt = Date.now();
    this.#store.save(conversation);
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

/** @returns {Conversation} */
function newConversation() {
  // crypto.randomUUID() exists in secure contexts only; the page may be served over plain HTTP in a LAN.
  const random = crypto.getRandomValues(new Uint32Array(3));
  return { id: [...random].map((part) => part.toString(36)).join(""), updatedAt: 0, messages: [] };
}

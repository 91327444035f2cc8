/**
 * The conversation on the page: one view for each message, kept as long as the message is there.
 */

import { AnswerView } from "./answer.js";
import { QuestionView } from "./question.js";

/** @typedef {import("../answer.js").Answer} Answer */
/** @typedef {import("../storage.js").UserMessage} UserMessage */
/** @typedef {import("./answer.js").AnswerContext & import("./question.js").QuestionContext} TranscriptContext */

export class Transcript {
  #root;
  #context;
  /** @type {Map<UserMessage | Answer, QuestionView | AnswerView>} */
  #views = new Map();

  /**
   * @param {HTMLElement} root
   * @param {TranscriptContext} context
   */
  constructor(root, context) {
    this.#root = root;
    this.#context = context;
  }

  /** @param {(UserMessage | Answer)[]} messages */
  show(messages) {
    const wanted = new Set(messages);
    for (const [message, view] of this.#views) {
      if (wanted.has(message)) continue;
      view.root.remove();
      this.#views.delete(message);
    }
    for (const message of messages) {
      if (!this.#views.has(message)) this.#add(message);
    }
  }

  /**
   * Shows everything anew, in another language.
   * @param {(UserMessage | Answer)[]} messages
   */
  redraw(messages) {
    this.show([]);
    this.show(messages);
  }

  /** @param {boolean} busy */
  setBusy(busy) {
    this.#root.toggleAttribute("data-busy", busy);
  }

  /** @param {Answer} answer */
  update(answer) {
    this.#answerView(answer)?.update();
  }

  /**
   * @param {Answer} answer
   * @returns {string} what a screen reader is told
   */
  end(answer) {
    const view = this.#answerView(answer);
    view?.end(true);
    return view?.spokenText() ?? "";
  }

  /** @param {Answer} answer */
  #answerView(answer) {
    const view = this.#views.get(answer);
    return view instanceof AnswerView ? view : null;
  }

  /** @param {UserMessage | Answer} message */
  #add(message) {
    const view =
      message.role === "user" ? new QuestionView(message, this.#context) : new AnswerView(message, this.#context);
    this.#views.set(message, view);
    this.#root.append(view.root);
  }
}

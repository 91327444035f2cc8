/**
 * The conversation on the page: one view for each message that is shown, kept as long as it is.
 */

import { AnswerView } from "./answer.js";
import { QuestionView } from "./question.js";

/** @typedef {import("../answer.js").Answer} Answer */
/** @typedef {import("../conversations/shape.js").Message} Message */
/** @typedef {import("./answer.js").AnswerContext & import("./question.js").QuestionContext} TranscriptContext */

export class Transcript {
  #root;
  #context;
  /** @type {Map<Message, QuestionView | AnswerView>} */
  #views = new Map();

  /**
   * @param {HTMLElement} root
   * @param {TranscriptContext} context
   */
  constructor(root, context) {
    this.#root = root;
    this.#context = context;
  }

  /** @param {Message[]} messages */
  show(messages) {
    const shown = [...this.#views.keys()];
    const firstOther = shown.findIndex((message, index) => message !== messages[index]);
    for (const message of firstOther < 0 ? [] : shown.slice(firstOther)) {
      this.#views.get(message)?.root.remove();
      this.#views.delete(message);
    }
    for (const message of messages.slice(this.#views.size)) this.#add(message);
  }

  /**
   * Shows everything anew, in another language.
   * @param {Message[]} messages
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

  /**
   * Gives the focus to the way on from an alternative.
   * @param {Message} message
   * @param {number} step
   */
  focusAlternatives(message, step) {
    const button = this.#views.get(message)?.root.querySelector(`.alternatives [data-step="${step}"]`);
    if (button instanceof HTMLElement) button.focus();
  }

  /** @param {Answer} answer */
  #answerView(answer) {
    const view = this.#views.get(answer);
    return view instanceof AnswerView ? view : null;
  }

  /** @param {Message} message */
  #add(message) {
    const view =
      message.role === "user" ? new QuestionView(message, this.#context) : new AnswerView(message, this.#context);
    this.#views.set(message, view);
    this.#root.append(view.root);
  }
}

/**
 * The model menu: a button with a list of what the relay offers. A select-only combobox as the ARIA
 * Authoring Practices describe it: the focus stays on the button, the list shows what is active.
 */

import { byId, element, icon } from "../dom.js";
import { TypeAhead } from "./type_ahead.js";

/** @typedef {import("../api.js").Model} Model */
/** @typedef {import("../i18n.js").Words} Words */

/** How far Page Up and Page Down go. */
const PAGE = 10;

const LABELLED = { "aria-labelledby": "model-label" };

export class ModelMenu {
  #words;
  #onPick;
  #root = byId("model-slot", HTMLElement);
  #name = element("span", { class: "model-name" });
  #button = element(
    "button",
    { id: "model", type: "button", class: "model-button", role: "combobox", ...LABELLED, "aria-haspopup": "listbox", "aria-controls": "model-list" },
    this.#name,
    icon("chevron"),
  );
  #list = element("div", { id: "model-list", class: "model-list", role: "listbox", ...LABELLED, hidden: true });
  /** What is said about the choice; there from the beginning, so that a change is announced. */
  #note = element("p", { class: "model-note", role: "status" });
  /** In the order of the list; null leaves the choice to the relay. @type {(Model | null)[]} */
  #models = [null];
  /** @type {Model | null} */
  #chosen = null;
  #wantedId = "";
  /** @type {HTMLElement[]} */
  #options = [];
  #active = 0;
  #typed = new TypeAhead();

  /** @param {{words: Words, onPick: (model: Model | null) => void}} context */
  constructor({ words, onPick }) {
    this.#words = words;
    this.#onPick = onPick;
    const label = element("span", { class: "visually-hidden", id: "model-label", "data-say": "model" });
    this.#root.append(label, this.#button, this.#list, this.#note);
    this.#listen();
    this.redraw();
  }

  /**
   * Shows the models that answer in a chat; with none of them the choice stays the relay's.
   * @param {Model[]} offered the first one is the relay's default
   * @param {string} wantedId what the reader chose before, or an empty string
   * @returns {Model | null} the model that is chosen now
   */
  show(offered, wantedId) {
    const models = offered.filter(({ apis }) => apis.length > 0);
    const ordinary = models.filter(({ failure }) => !failure);
    this.#models = models.length === 0 ? [null] : [...ordinary, ...models.filter(({ failure }) => failure)];
    this.#wantedId = wantedId;
    this.#chosen = this.#models.find((model) => model?.id === wantedId) ?? models[0] ?? null;
    this.redraw();
    return this.#chosen;
  }

  /** Draws everything anew, in another language for instance. */
  redraw() {
    this.#close();
    const parts = this.#models.map((model, index) => renderOption(model, index, this.#words));
    this.#options = parts;
    const failures = parts.filter((_, index) => this.#models[index]?.failure);
    const groups = failures.length === 0 ? parts : this.#groups(parts, failures);
    this.#list.replaceChildren(...groups);
    this.#showChosen();
  }

  /**
   * @param {HTMLElement[]} options
   * @param {HTMLElement[]} failures
   */
  #groups(options, failures) {
    const ordinary = options.filter((option) => !failures.includes(option));
    return [
      ordinary.length > 0 && renderGroup("model.group", ordinary, this.#words),
      renderGroup("model.group.failures", failures, this.#words),
    ].filter((group) => group !== false);
  }

  #showChosen() {
    const chosen = this.#chosen;
    const gone = chosen !== null && this.#wantedId !== "" && this.#wantedId !== chosen.id;
    this.#name.textContent = chosen === null ? this.#wantedId || this.#words.say("model.default") : nameOf(chosen, this.#words);
    this.#button.title = chosen?.id ?? "";
    this.#note.textContent = gone ? this.#words.say("model.gone", { wanted: this.#wantedId }) : "";
    const at = this.#models.indexOf(chosen);
    for (const [index, option] of this.#options.entries()) option.setAttribute("aria-selected", String(index === at));
    this.#activate(Math.max(at, 0));
  }

  #listen() {
    this.#button.addEventListener("click", () => (this.#list.hidden ? this.#open() : this.#close()));
    this.#button.addEventListener("keydown", (event) => this.#onKey(event));
    // Space is for onKey; a browser would press the button with it once more when it is released.
    this.#button.addEventListener("keyup", (event) => event.key === " " && event.preventDefault());
    this.#button.addEventListener("blur", () => this.#close());
    // The focus stays on the button, also when the list is scrolled or pressed beside an option.
    this.#list.addEventListener("pointerdown", (event) => event.preventDefault());
    this.#list.addEventListener("mousedown", (event) => event.preventDefault());
    this.#list.addEventListener("click", (event) => {
      const option = event.target instanceof Element ? event.target.closest('[role="option"]') : null;
      if (option instanceof HTMLElement) this.#pick(this.#options.indexOf(option));
    });
    this.#list.addEventListener("pointermove", (event) => {
      const option = event.target instanceof Element ? event.target.closest('[role="option"]') : null;
      if (option instanceof HTMLElement) this.#activate(this.#options.indexOf(option), false);
    });
    document.addEventListener("pointerdown", (event) => {
      if (event.target instanceof Node && !this.#root.contains(event.target)) this.#close();
    });
  }

  #open() {
    this.#list.hidden = false;
    this.#button.setAttribute("aria-expanded", "true");
    this.#activate(Math.max(this.#models.indexOf(this.#chosen), 0));
  }

  #close() {
    this.#list.hidden = true;
    this.#button.setAttribute("aria-expanded", "false");
    this.#button.removeAttribute("aria-activedescendant");
  }

  /**
   * @param {number} index
   * @param {boolean} [scroll] false where the pointer shows what is active
   */
  #activate(index, scroll = true) {
    this.#options[this.#active]?.classList.remove("active");
    this.#active = Math.min(Math.max(index, 0), this.#options.length - 1);
    const option = this.#options[this.#active];
    option.classList.add("active");
    if (this.#list.hidden) return;
    this.#button.setAttribute("aria-activedescendant", option.id);
    if (scroll) option.scrollIntoView({ block: "nearest" });
  }

  /** @param {number} index */
  #pick(index) {
    this.#close();
    this.#chosen = this.#models[index];
    this.#wantedId = this.#chosen?.id ?? "";
    this.#showChosen();
    this.#onPick(this.#chosen);
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    if (event.ctrlKey || event.metaKey) return;
    const handled = this.#list.hidden ? this.#onKeyClosed(event) : this.#onKeyOpen(event);
    if (!handled) return;
    event.preventDefault();
    event.stopPropagation(); // Esc closes the list, and does not stop an answer
  }

  /** @param {KeyboardEvent} event */
  #onKeyClosed(event) {
    const { key } = event;
    const opens = [" ", "Enter", "ArrowDown", "ArrowUp"].includes(key);
    const goes = !opens && (key === "Home" || key === "End" || isCharacter(event));
    if (opens || goes) this.#open();
    if (goes) this.#onKeyOpen(event);
    return opens || goes;
  }

  /** @param {KeyboardEvent} event */
  #onKeyOpen(event) {
    const { key, altKey } = event;
    const target = this.#targetOf(key);
    if (key === "Escape") this.#close();
    else if (key === "Enter" || key === " " || (altKey && key === "ArrowUp")) this.#pick(this.#active);
    else if (target !== undefined) this.#activate(target);
    else if (isCharacter(event)) this.#activate(this.#typed.find(key, this.#names(), this.#active, event.timeStamp));
    else if (key === "Tab") {
      this.#pick(this.#active);
      return false; // the focus moves on
    } else return false;
    return true;
  }

  /**
   * @param {string} key
   * @returns {number | undefined} the option that a key leads to
   */
  #targetOf(key) {
    const targets = {
      ArrowDown: this.#active + 1,
      ArrowUp: this.#active - 1,
      PageDown: this.#active + PAGE,
      PageUp: this.#active - PAGE,
      Home: 0,
      End: this.#options.length - 1,
    };
    return /** @type {Record<string, number | undefined>} */ (targets)[key];
  }

  #names() {
    return this.#models.map((model) => (model === null ? "" : nameOf(model, this.#words)));
  }
}

/** @param {KeyboardEvent} event */
function isCharacter({ key, altKey }) {
  return [...key].length === 1 && !altKey;
}

/**
 * A failure is named in words; its id follows as a fact.
 * @param {Model} model
 * @param {Words} words
 */
function nameOf({ id, failure }, words) {
  const [, fault] = /--(\d{3}|[a-z-]+?)(?:-after-.*|-\d.*)?$/.exec(id) ?? [];
  const key = `fault.${fault}`;
  return failure && words.has(key) ? words.say(key) : id;
}

/**
 * @param {string} heading
 * @param {HTMLElement[]} options
 * @param {Words} words
 */
function renderGroup(heading, options, words) {
  const id = heading.replaceAll(".", "-");
  return element(
    "div",
    { role: "group", "aria-labelledby": id },
    element("p", { id, class: "eyebrow", role: "presentation" }, words.say(heading)),
    ...options,
  );
}

/**
 * @param {Model | null} model
 * @param {number} index
 * @param {Words} words
 */
function renderOption(model, index, words) {
  const name = model === null ? words.say("model.default") : nameOf(model, words);
  const description = model === null ? words.say("model.default.explained") : model.description;
  const facts = model === null ? [] : factsOf(model, words).filter((fact) => fact !== name);
  return element(
    "div",
    { id: `model-option-${index}`, class: "model-option", role: "option" },
    element("span", { class: "model-option-name" }, name),
    icon("done"),
    element(
      "span",
      { class: "model-option-about" },
      description !== "" && element("span", {}, description),
      facts.length > 0 && element("span", { class: "model-option-facts" }, facts.join(" · ")),
    ),
  );
}

/**
 * What helps to choose a model; of a failure, which has a name in words, the id.
 * @param {Model} model
 * @param {Words} words
 */
function factsOf({ id, contextTokens, input, failure }, words) {
  if (failure) return [id];
  const compact = /** @type {const} */ ({ notation: "compact", maximumFractionDigits: 1 });
  return [
    contextTokens === null ? "" : words.say("model.context", { tokens: words.format(contextTokens, compact) }),
    input?.includes("image") ? words.say("model.pictures") : "",
  ].filter((fact) => fact !== "");
}

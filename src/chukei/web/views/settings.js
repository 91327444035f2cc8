/**
 * The settings, as a modal dialog. It is built anew each time, in the reader's language and with what is in
 * force; what is entered applies at once, and what is not valid does not and says so.
 */

import { byId, element, iconButton } from "../dom.js";
import { TEMPERATURE, outputBounds, outputLimit, readNumber } from "../limits.js";

/** @typedef {import("../limits.js").Bounds} Bounds */
/** @typedef {import("../i18n.js").Words} Words */

/**
 * @typedef {object} SettingsContext
 * @property {Words} words
 * @property {import("../storage/preferences.js").PreferenceStore} preferences
 * @property {import("../storage/access_key.js").AccessKey} key
 * @property {() => import("../api.js").Model | null} model the chosen one
 * @property {() => {system: string}} conversation the current one
 * @property {(text: string) => void} onSystem the system message of the current conversation
 * @property {() => void} onKey another key is to be entered
 * @property {(keep: boolean) => void} onKeep
 */

export class Settings {
  #context;
  #button;
  /** Whether the relay has asked for a key since the page was loaded. */
  #keyWanted = false;

  /** @param {SettingsContext} context */
  constructor(context) {
    this.#context = context;
    this.#button = iconButton("settings", context.words.say("settings"), () => this.#open());
    this.#button.id = "settings-button";
    this.#button.dataset.sayLabel = "settings";
    this.#button.setAttribute("aria-haspopup", "dialog");
    byId("settings-slot", HTMLElement).append(this.#button);
  }

  /** From now on there is a section for the access key, also while none is in use. */
  wantKey() {
    this.#keyWanted = true;
  }

  #open() {
    const dialog = new SettingsDialog(this.#context, this.#keyWanted);
    dialog.root.addEventListener("close", () => {
      dialog.root.remove();
      // An access form that a button of the dialog has opened keeps the focus.
      if (document.activeElement === document.body) this.#button.focus();
    });
    document.body.append(dialog.root);
    dialog.root.showModal();
  }
}

class SettingsDialog {
  #context;
  /** @type {NumberField[]} */
  #numbers;

  /**
   * @param {SettingsContext} context
   * @param {boolean} keyWanted
   */
  constructor(context, keyWanted) {
    this.#context = context;
    const { words, preferences, key, model } = context;
    const { temperature, maxOutputTokens } = preferences.current;
    const bounds = outputBounds(model());
    this.#numbers = [
      new NumberField("temperature", TEMPERATURE, temperature, words, (value) => preferences.set({ temperature: value })),
      new NumberField("output", bounds, outputLimit(maxOutputTokens, model()), words, (value) =>
        preferences.set({ maxOutputTokens: value }),
      ),
    ];
    const close = iconButton("close", words.say("settings.close"), () => this.#close());
    const content = element(
      "div",
      { class: "dialog-content" },
      element("header", { class: "dialog-head" }, element("h2", { id: "settings-heading" }, words.say("settings")), close),
      renderSection("conversation", words, ...this.#system()),
      renderSection("answers", words, element("div", { class: "field-pair" }, ...this.#numbers.map(({ root }) => root))),
      renderSection("history", words, ...this.#history()),
      (keyWanted || key.value !== "") && renderSection("key", words, ...this.#key()),
    );
    this.root = element("dialog", { id: "settings", class: "settings", "aria-labelledby": "settings-heading" }, content);
    this.#listen();
  }

  #listen() {
    let pressedOutside = false;
    const isOutside = (/** @type {Event} */ { target }) => target === this.root;
    this.root.addEventListener("pointerdown", (event) => (pressedOutside = isOutside(event)));
    // A selection that was drawn out of a field ends with a click on the backdrop too.
    this.root.addEventListener("click", (event) => pressedOutside && isOutside(event) && this.#close());
    this.root.addEventListener("cancel", (event) => this.#mayClose() || event.preventDefault());
    this.root.addEventListener("keydown", (event) => event.key === "Escape" && event.stopPropagation());
  }

  #close() {
    if (this.#mayClose()) this.root.close();
  }

  /** The first field that has to say something keeps the dialog open, once. */
  #mayClose() {
    return this.#numbers.every((field) => field.mayClose());
  }

  #system() {
    const { words, preferences, conversation, onSystem } = this.#context;
    const field = element("textarea", { id: "system", rows: 3, dir: "auto", "aria-describedby": "system-hint" });
    const said = element("p", { class: "hint", role: "status" });
    field.value = conversation().system;
    field.addEventListener("input", () => {
      onSystem(field.value);
      said.textContent = "";
    });
    const keep = () => {
      preferences.set({ system: field.value });
      said.textContent = words.say(field.value.trim() === "" ? "settings.system.none" : "settings.system.kept");
    };
    return [
      renderLabel("system", "settings.system", words),
      field,
      element("p", { id: "system-hint", class: "hint" }, words.say("settings.system.hint")),
      element("div", { class: "field-foot" }, textButton(words.say("settings.system.keep"), keep), said),
    ];
  }

  #history() {
    const { words, preferences, onKeep } = this.#context;
    const { keepHistory } = preferences.current;
    const box = element("input", { id: "keep-history", type: "checkbox", checked: keepHistory, "aria-describedby": "keep-hint" });
    box.addEventListener("change", () => onKeep(box.checked));
    return [
      element("label", { class: "check" }, box, words.say("settings.keep")),
      element("p", { id: "keep-hint", class: "hint" }, words.say("settings.keep.hint")),
    ];
  }

  #key() {
    const { words, key, onKey } = this.#context;
    const state = element("p", { role: "status" });
    const enter = textButton("", () => {
      this.root.close();
      onKey();
    });
    const forget = textButton(words.say("settings.key.forget"), () => {
      key.value = "";
      show();
      enter.focus();
    });
    const show = () => {
      const isUsed = key.value !== "";
      state.textContent = words.say(isUsed ? "settings.key.used" : "settings.key.none");
      enter.textContent = words.say(isUsed ? "settings.key.change" : "settings.key.enter");
      forget.hidden = !isUsed;
    };
    show();
    return [state, element("div", { class: "field-foot" }, enter, forget)];
  }
}

/**
 * A number with its bounds. It is applied when the reader has finished it, not while it is typed: of 25 the
 * 2 would be valid. What is not valid is not applied; the last value stays in force.
 */
class NumberField {
  #field;
  #hint;
  #error;
  #bounds;
  #value;
  #words;
  #onValue;
  /** The invalid text that has already kept the dialog open once. */
  #insistedOn = "";

  /**
   * @param {string} name of the field and of its words
   * @param {Bounds} bounds
   * @param {number | null} value null for the model's own
   * @param {Words} words
   * @param {(value: number | null) => void} onValue
   */
  constructor(name, bounds, value, words, onValue) {
    this.#bounds = bounds;
    this.#value = value;
    this.#words = words;
    this.#onValue = onValue;
    const properties = { id: name, type: "text", inputmode: bounds.whole ? "numeric" : "decimal", autocomplete: "off" };
    this.#field = element("input", { ...properties, "aria-describedby": `${name}-hint ${name}-error` });
    this.#hint = element("p", { id: `${name}-hint`, class: "hint" }, this.#sayHint());
    this.#field.value = value === null ? "" : String(value);
    this.#error = element("p", { id: `${name}-error`, class: "field-error", role: "alert" });
    this.root = element(
      "div",
      { class: "field" },
      renderLabel(name, `settings.${name}`, words),
      this.#field,
      this.#hint,
      this.#error,
    );
    this.#field.addEventListener("input", () => this.#read() !== undefined && this.#say(""));
    this.#field.addEventListener("change", () => this.#commit());
  }

  /** @returns {boolean} false where the reader must first see that the value is not applied */
  mayClose() {
    if (this.#commit() || this.#insistedOn === this.#field.value) return true;
    this.#insistedOn = this.#field.value;
    this.#field.focus();
    return false;
  }

  /** @returns {boolean} whether the value is valid and applied */
  #commit() {
    const read = this.#read();
    if (read === undefined) {
      const kept = this.#value === null ? "settings.number.kept.none" : "settings.number.kept";
      this.#say(`${this.#sayBounds()} ${this.#words.say(kept, { value: String(this.#value) })}`);
      return false;
    }
    this.#say("");
    if (read !== this.#value) this.#onValue(read);
    this.#value = read;
    return true;
  }

  #read() {
    return readNumber(this.#field.value, this.#bounds);
  }

  #sayHint() {
    return `${this.#sayBounds()} ${this.#words.say("settings.number.empty")}`;
  }

  #sayBounds() {
    const { least, most, whole } = this.#bounds;
    const key = `settings.number${whole ? ".whole" : ""}${most === Infinity ? ".open" : ""}`;
    return this.#words.say(key, { least: this.#words.number(least), most: this.#words.number(most) });
  }

  /** An error has the bounds too, and stands in place of the hint. @param {string} error */
  #say(error) {
    if (this.#error.textContent !== error) this.#error.textContent = error;
    this.#hint.textContent = error === "" ? this.#sayHint() : "";
    if (error === "") this.#field.removeAttribute("aria-invalid");
    else this.#field.setAttribute("aria-invalid", "true");
  }
}

/**
 * @param {string} name
 * @param {Words} words
 * @param {...import("../dom.js").Child} children
 */
function renderSection(name, words, ...children) {
  const id = `settings-${name}`;
  const heading = element("h3", { id }, words.say(`settings.section.${name}`));
  return element("section", { class: "settings-section", "aria-labelledby": id }, heading, ...children);
}

/**
 * @param {string} id
 * @param {string} key
 * @param {Words} words
 */
function renderLabel(id, key, words) {
  return element("label", { class: "field-label", for: id }, words.say(key));
}

/**
 * @param {string} text
 * @param {() => void} onclick
 */
function textButton(text, onclick) {
  return element("button", { type: "button", class: "outline-button", onclick }, text);
}

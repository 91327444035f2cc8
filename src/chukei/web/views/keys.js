/**
 * What the Enter key means. While an input method is composing (Japanese, Chinese, Korean), Enter
 * accepts a candidate and must not send; Safari ends the composition before the key event and marks it
 * only by key code 229.
 */

/**
 * @param {KeyboardEvent} event
 * @param {boolean} [enterSends] false where Enter begins a new line, as on touch keyboards
 */
export function isSendKey(event, enterSends = true) {
  if (event.key !== "Enter" || isComposing(event)) return false;
  if (event.ctrlKey || event.metaKey) return true;
  return enterSends && !event.shiftKey && !event.altKey;
}

/** @param {KeyboardEvent} event */
export function isComposing(event) {
  return event.isComposing || event.keyCode === 229;
}

/** Whether the main pointer is a finger: then there is a touch keyboard, without a handy Shift. */
export function isTouch() {
  return window.matchMedia("(pointer: coarse)").matches;
}

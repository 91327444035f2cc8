/**
 * Server-sent events, parsed from bytes as the WHATWG HTML standard says
 * (section 9.2.6, "Interpreting an event stream").
 *
 * Pure: bytes in, events out. It makes no difference where the bytes are cut: inside a character,
 * between CR and LF, inside a field name, or after every byte.
 */

/**
 * @typedef {object} ServerSentEvent
 * @property {string} type "message" unless the stream named another
 * @property {string} data the data lines, joined by LF
 * @property {string} lastEventId
 */

export class EventStreamParser {
  /** Decodes across cuts and drops one leading byte-order mark, as "UTF-8 decode" asks. */
  #decoder = new TextDecoder("utf-8");
  /** Pieces of the line that has not ended yet; joined once, so that a giant line costs linear time. */
  #pieces = /** @type {string[]} */ ([]);
  #sawCarriageReturn = false;
  #data = /** @type {string[]} */ ([]);
  #type = "";
  #lastEventId = "";

  /** The reconnection time in milliseconds, when the stream asked for one. */
  retry = /** @type {number | null} */ (null);

  /**
   * @param {Uint8Array} bytes
   * @returns {ServerSentEvent[]} the events that these bytes completed
   */
  push(bytes) {
    return this.#read(this.#decoder.decode(bytes, { stream: true }));
  }

  /**
   * @param {string} text
   * @returns {ServerSentEvent[]}
   */
  #read(text) {
    /** @type {ServerSentEvent[]} */
    const events = [];
    let start = this.#skipLineFeed(text);
    for (const end of lineEnds(text)) {
      if (end < start) continue; // the LF of a CRLF that has been counted
      this.#pieces.push(text.slice(start, end));
      start = end + 1;
      if (text[end] === "\r") {
        if (text[start] === "\n") start += 1;
        this.#sawCarriageReturn = start === text.length && text[start - 1] === "\r";
      }
      this.#line(this.#pieces.join(""), events);
      this.#pieces = [];
    }
    if (start < text.length) this.#pieces.push(text.slice(start));
    return events;
  }

  /** A line that ended with CR at a cut was already taken; an LF that follows belongs to it. */
  #skipLineFeed(/** @type {string} */ text) {
    if (text === "" || !this.#sawCarriageReturn) return 0;
    this.#sawCarriageReturn = false;
    return text[0] === "\n" ? 1 : 0;
  }

  /**
   * @param {string} line
   * @param {ServerSentEvent[]} events
   */
  #line(line, events) {
    if (line === "") {
      this.#dispatch(events);
      return;
    }
    const colon = line.indexOf(":");
    if (colon === 0) return; // a comment: the relay's heartbeat
    const name = colon < 0 ? line : line.slice(0, colon);
    let value = colon < 0 ? "" : line.slice(colon + 1);
    if (value.startsWith(" ")) value = value.slice(1);
    this.#field(name, value);
  }

  /**
   * @param {string} name
   * @param {string} value
   */
  #field(name, value) {
    if (name === "data") this.#data.push(value);
    else if (name === "event") this.#type = value;
    else if (name === "id" && !value.includes("\0")) this.#lastEventId = value;
    else if (name === "retry" && /^[0-9]+$/.test(value)) this.retry = Number(value);
  }

  /** @param {ServerSentEvent[]} events */
  #dispatch(events) {
    if (this.#data.length > 0) {
      events.push({
        type: this.#type || "message",
        data: this.#data.join("\n"),
        lastEventId: this.#lastEventId,
      });
    }
    this.#data = [];
    this.#type = "";
  }
}

/** @param {string} text */
function* lineEnds(text) {
  for (const match of text.matchAll(/[\r\n]/g)) yield match.index;
}

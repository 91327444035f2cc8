// Reads streams as the page does, from bytes that arrive in pieces.

import { addChange, newAnswer } from "../../src/chukei/web/answer.js";
import { Relay } from "../../src/chukei/web/api.js";

export const MODEL = {
  id: "chat",
  description: "",
  apis: ["chat"],
  input: null,
  contextTokens: null,
  outputTokens: null,
  maxImages: null,
  failure: false,
};

export function request(changes = {}) {
  const messages = [{ role: "user", content: "Hello?" }];
  return { model: MODEL, messages, system: "", temperature: null, maxOutputTokens: null, ...changes };
}

/** A relay whose answers are these, in order, and what was asked of it. */
export function relayOf(...responses) {
  const asked = [];
  const relay = new Relay(
    () => "",
    async (path, init) => {
      asked.push({ path, body: init.body === undefined ? null : JSON.parse(init.body) });
      return responses.shift();
    },
  );
  return { relay, asked };
}

/** An answer whose body arrives in these pieces. */
export function streamOf(pieces, headers = {}) {
  const waiting = [...pieces];
  const body = new ReadableStream({
    pull(controller) {
      if (waiting.length === 0) controller.close();
      else controller.enqueue(waiting.shift());
    },
  });
  return new Response(body, { headers: { "content-type": "text/event-stream", "x-request-id": "req-1", ...headers } });
}

export function json(value, status = 200) {
  return new Response(JSON.stringify(value), { status, headers: { "content-type": "application/json" } });
}

/** Every byte by itself. */
export function bytesOf(bytes) {
  return Array.from(bytes, (_, at) => bytes.subarray(at, at + 1));
}

/** The answer that a stream makes, and the failure that ended it. */
export async function answerOf(response, model = MODEL) {
  const { relay } = relayOf(response);
  const answer = newAnswer(model.id, 0);
  let now = 0;
  try {
    for await (const change of relay.stream(request({ model }), new AbortController().signal, () => {})) {
      addChange(answer, change, (now += 1));
    }
    answer.state = "finished";
  } catch (error) {
    if (error.failure === undefined) throw error;
    answer.state = "failed";
    answer.failure = error.failure;
  }
  return answer;
}

/** Server-sent events as text: chat completions have no names, the Responses API names each by its type. */
export function eventsOf(events) {
  const lines = events.map((event) => {
    const name = event.type === undefined ? "" : `event: ${event.type}\n`;
    return `${name}data: ${typeof event === "string" ? event : JSON.stringify(event)}\n\n`;
  });
  return new TextEncoder().encode(lines.join(""));
}

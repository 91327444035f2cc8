// What OpenAI's npm package and the Agents SDK do with kept objects and WebSockets, for tests/live/test_surface_node.py.
//
// Reads {url, secure, key} from standard input: the relay's address, its address with TLS (realtime has no other), and
// a key. Runs all cases side by side, and writes {CASE: {value} or {error}}. The test compares what a case returns.

import {
  Agent,
  OpenAIConversationsSession,
  OpenAIProvider,
  Runner,
  setTracingDisabled,
  withResponsesWebSocketSession,
} from "@openai/agents";
import OpenAI, { AzureOpenAI, toFile } from "openai";
import { OpenAIRealtimeWebSocket } from "openai/realtime/websocket";
import { OpenAIRealtimeWS } from "openai/realtime/ws";
import { ResponsesWS } from "openai/resources/responses/ws";
import { WebSocket } from "ws";

setTracingDisabled(true);
globalThis.WebSocket ??= WebSocket; // Node has one of its own since version 22

const WORDS = "one two three four five six";
const ENDED = new Set(["completed", "failed", "cancelled", "incomplete"]);

/** Polls a job until it has ended. */
async function ended(retrieve) {
  for (let turn = 0; turn < 100; turn += 1) {
    const job = await retrieve();
    if (ENDED.has(job.status)) return job;
  }
  throw new Error("the job does not end");
}

/** Gives the ids of a list, over all its pages. */
async function ids(list) {
  const found = [];
  for await (const each of list) found.push(each.id);
  return found;
}

/** The status with which something that is gone is refused. */
const gone = (promise) => promise.then(() => 200, (error) => error.status);

const openai = {
  async stored(client) {
    const first = await client.responses.create({ model: "chat", input: "repeat: one" });
    const asked = { model: "chat", input: "repeat: two", previous_response_id: first.id };
    const second = await client.responses.create(asked);
    const again = await client.responses.retrieve(second.id);
    const items = await ids(client.responses.inputItems.list(first.id));
    await client.responses.delete(first.id);
    return [again.output_text, items.length, await gone(client.responses.retrieve(first.id))];
  },

  async background(client) {
    const made = await client.responses.create({ model: "chat", input: `repeat: ${WORDS}`, background: true });
    const done = await ended(() => client.responses.retrieve(made.id));
    const other = await client.responses.create({ model: "chat", input: "count to 500", background: true });
    return [done.output_text, (await client.responses.cancel(other.id)).status];
  },

  async resumed(client) {
    let [text, last, id] = ["", -1, ""];
    const asked = { model: "chat", input: `repeat: ${WORDS}`, background: true, stream: true };
    for await (const event of await client.responses.create(asked)) {
      last = event.sequence_number;
      if (event.type === "response.created") id = event.response.id;
      if (event.type !== "response.output_text.delta") continue;
      text += event.delta;
      break; // leaves the stream
    }
    for await (const event of await client.responses.retrieve(id, { stream: true, starting_after: last })) {
      if (event.type === "response.output_text.delta") text += event.delta;
    }
    const seen = [];
    const helper = client.responses.stream({ response_id: id, starting_after: last });
    for await (const event of helper) seen.push(event.type);
    return [text, seen.at(-1)];
  },

  async conversation(client) {
    const { id } = await client.conversations.create({ metadata: { about: "words" } });
    await client.responses.create({ model: "chat", input: "repeat: one", conversation: id });
    const answer = await client.responses.create({ model: "chat", input: "repeat: two", conversation: id });
    const items = await ids(client.conversations.items.list(id, { limit: 3 }));
    await client.conversations.delete(id);
    return [answer.output_text, items.length, await gone(client.conversations.retrieve(id))];
  },

  async chat(client) {
    const messages = [{ role: "user", content: "repeat: kept" }];
    const { id } = await client.chat.completions.create({ model: "chat", messages, store: true });
    const kept = await client.chat.completions.retrieve(id);
    const listed = (await ids(client.chat.completions.list())).includes(id);
    await client.chat.completions.delete(id);
    return [kept.choices[0].message.content, listed, await gone(client.chat.completions.retrieve(id))];
  },

  async files(client) {
    const content = Buffer.alloc(300_000, "relay ");
    const file = await client.files.create({ file: await toFile(content, "über.txt"), purpose: "user_data" });
    const down = Buffer.from(await (await client.files.content(file.id)).arrayBuffer());
    const upload = await client.uploads.create({
      bytes: 10, filename: "parts.txt", mime_type: "text/plain", purpose: "user_data",
    });
    const parts = [];
    for (const data of ["hello", "world"]) {
      parts.push((await client.uploads.parts.create(upload.id, { data: await toFile(Buffer.from(data)) })).id);
    }
    const whole = await client.uploads.complete(upload.id, { part_ids: parts });
    const listed = (await ids(client.files.list({ limit: 1 }))).includes(file.id);
    return [down.equals(content), await (await client.files.content(whole.file.id)).text(), listed];
  },

  async vectors(client) {
    const { id } = await client.vectorStores.create({ name: "facts" });
    const text = await toFile(Buffer.from("Bees make honey."), "facts.txt");
    const file = await client.vectorStores.files.uploadAndPoll(id, text, { pollIntervalMs: 1 });
    const found = await client.vectorStores.search(id, { query: "honey" });
    await client.vectorStores.delete(id);
    return [file.status, found.data[0].content[0].text, await gone(client.vectorStores.retrieve(id))];
  },

  async batch(client) {
    const body = { model: "chat", messages: [{ role: "user", content: "repeat: in a batch" }] };
    const line = JSON.stringify({ custom_id: "first", method: "POST", url: "/v1/chat/completions", body });
    const file = await client.files.create({ file: await toFile(Buffer.from(line), "b.jsonl"), purpose: "batch" });
    const asked = { input_file_id: file.id, endpoint: "/v1/chat/completions", completion_window: "24h" };
    const made = await client.batches.create(asked);
    const done = await ended(() => client.batches.retrieve(made.id));
    const answers = JSON.parse(await (await client.files.content(done.output_file_id)).text());
    return [answers.response.body.choices[0].message.content, (await ids(client.batches.list())).includes(made.id)];
  },

  async socket(client) {
    const socket = new ResponsesWS(client);
    const said = [];
    let previous;
    for (const text of ["one two", "three"]) {
      said.push("");
      const asked = { model: "chat", input: `repeat: ${text}`, store: false, previous_response_id: previous };
      socket.send({ type: "response.create", ...asked });
      for await (const { type, message, error } of socket) {
        if (type === "error") throw error;
        if (message?.type === "response.output_text.delta") said.push(said.pop() + message.delta);
        if (message?.type !== "response.completed") continue;
        previous = message.response.id;
        break;
      }
    }
    socket.close();
    return said;
  },
};

/** Asks over a realtime connection for a text, as text and as sound. */
function spoken(connection) {
  const events = [];
  return new Promise((resolve, reject) => {
    const item = { type: "message", role: "user", content: [{ type: "input_text", text: "repeat: one two" }] };
    const ask = (modality) => {
      connection.send({ type: "session.update", session: { type: "realtime", output_modalities: [modality] } });
      connection.send({ type: "conversation.item.create", item });
      connection.send({ type: "response.create" });
    };
    connection.on("session.created", () => ask("text"));
    connection.on("response.output_text.done", (event) => events.push(event.text));
    connection.on("response.output_audio_transcript.done", (event) => events.push(event.transcript));
    connection.on("response.done", (event) => {
      if (event.response.status !== "completed") reject(new Error(JSON.stringify(event.response)));
      if (events.length < 2) return ask("audio");
      connection.close();
      return resolve(events);
    });
    connection.on("error", reject);
  });
}

const realtime = {
  async ws({ secure, key }) {
    const client = new OpenAI({ baseURL: `${secure}/v1`, apiKey: key });
    return spoken(new OpenAIRealtimeWS({ model: "voice" }, client));
  },
  async azure({ secure, key }) {
    const options = { endpoint: secure, apiKey: key, apiVersion: "2025-04-01-preview", deployment: "voice" };
    return spoken(await OpenAIRealtimeWS.azure(new AzureOpenAI(options)));
  },
  // As in a browser, which can send no header fields: with a key that the relay made.
  async web({ secure, key }) {
    const maker = new OpenAI({ baseURL: `${secure}/v1`, apiKey: key });
    const session = { type: "realtime", model: "voice" };
    const { value } = await maker.realtime.clientSecrets.create({ session });
    const guest = new OpenAI({ baseURL: `${secure}/v1`, apiKey: value });
    return spoken(new OpenAIRealtimeWebSocket({ model: "voice" }, guest));
  },
};

const agent = new Agent({ name: "Helper", instructions: "Be brief.", model: "chat" });
const agents = {
  async conversation({ url, key }) {
    const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: key });
    const session = new OpenAIConversationsSession({ client });
    const runner = new Runner({ modelProvider: new OpenAIProvider({ openAIClient: client }) });
    const first = await runner.run(agent, "repeat: one", { session });
    const second = await runner.run(agent, "repeat: two", { session });
    const kept = await session.getItems();
    await session.clearSession();
    return [first.finalOutput, second.finalOutput, kept.length];
  },
  async socket({ url, key }) {
    const providerOptions = { apiKey: key, baseURL: `${url}/v1`, useResponses: true };
    return withResponsesWebSocketSession(
      async ({ run }) => {
        const first = await run(agent, "repeat: one");
        const second = await run(agent, "repeat: two", { previousResponseId: first.lastResponseId });
        return [first.finalOutput, second.finalOutput];
      },
      { providerOptions },
    );
  },
};

const task = JSON.parse(await new Response(process.stdin).text());
const { url, key } = task;
const shapes = {
  openai: new OpenAI({ baseURL: `${url}/v1`, apiKey: key, maxRetries: 0 }),
  azure: new AzureOpenAI({ endpoint: url, apiKey: key, apiVersion: "2025-04-01-preview", maxRetries: 0 }),
};
const cases = [
  ...Object.entries(shapes).flatMap(([shape, client]) =>
    Object.entries(openai).map(([name, run]) => [`${shape} ${name}`, () => run(client)]),
  ),
  ...Object.entries(realtime).map(([name, run]) => [`realtime ${name}`, () => run(task)]),
  ...Object.entries(agents).map(([name, run]) => [`agents ${name}`, () => run(task)]),
];

async function perform([name, run]) {
  const late = new Promise((_, reject) => setTimeout(reject, 100_000, new Error("it does not end")));
  try {
    return [name, { value: await Promise.race([run(), late]) }];
  } catch (error) {
    return [name, { error: String(error.stack ?? error) }];
  }
}

process.stdout.write(JSON.stringify(Object.fromEntries(await Promise.all(cases.map(perform)))));
process.exit(0); // connections that are kept alive would delay it

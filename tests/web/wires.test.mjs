import assert from "node:assert/strict";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";
import * as completions from "../../src/chukei/web/wire/completions.js";
import { turnsOf } from "../../src/chukei/web/wire/prompt.js";
import * as responses from "../../src/chukei/web/wire/responses.js";
import { MODEL, answerOf, bytesOf, eventsOf, json, relayOf, request, streamOf } from "./streams.mjs";

const SERVES_BOTH = { ...MODEL, apis: ["chat", "responses"] };
const PICTURE = { kind: "image", name: "cat.png", type: "image/png", size: 3, data: "data:image/png;base64,AAAA" };
const FILE = { kind: "text", name: "a.csv", type: "text/csv", size: 3, data: "x,y" };

function question(content, ...attachments) {
  return { role: "user", content, attachments };
}

function said(content) {
  return { role: "assistant", content };
}

/** A body as it is sent: without what is undefined. */
function sent(wire, asked, summarise = false, maxBytes = Infinity) {
  return JSON.parse(JSON.stringify(wire.body(asked, turnsOf(asked, maxBytes), summarise)));
}

// Bodies

test("chat completions: the least that is sent", () => {
  assert.deepEqual(sent(completions, request({ model: null })), {
    messages: [{ role: "user", content: "Hello?" }],
    stream: true,
    stream_options: { include_usage: true },
  });
});

test("chat completions: everything that may be sent", () => {
  const messages = [question("What is it?", FILE, PICTURE), said("A cat."), question("Sure?")];
  const body = sent(completions, request({ messages, system: "Be brief.", temperature: 0, maxOutputTokens: 9 }));
  assert.equal(body.model, "chat");
  assert.equal(body.temperature, 0);
  assert.equal(body.max_completion_tokens, 9);
  assert.deepEqual(body.messages, [
    { role: "system", content: "Be brief." },
    {
      role: "user",
      content: [
        { type: "text", text: 'File "a.csv":\n```\nx,y\n```\n\nWhat is it?' },
        { type: "image_url", image_url: { url: PICTURE.data } },
      ],
    },
    { role: "assistant", content: "A cat." },
    { role: "user", content: "Sure?" },
  ]);
});

test("responses: everything that may be sent", () => {
  const messages = [question("What is it?", PICTURE), said("A cat."), question("Sure?")];
  const body = sent(responses, request({ messages, system: "Be brief.", temperature: 0.5, maxOutputTokens: 9 }), true);
  assert.deepEqual(body, {
    model: "chat",
    instructions: "Be brief.",
    input: [
      { role: "user", content: [{ type: "input_text", text: "What is it?" }, { type: "input_image", image_url: PICTURE.data }] },
      { role: "assistant", content: [{ type: "output_text", text: "A cat." }] },
      { role: "user", content: [{ type: "input_text", text: "Sure?" }] },
    ],
    temperature: 0.5,
    max_output_tokens: 9,
    reasoning: { summary: "auto" },
    store: false,
    stream: true,
  });
});

test("responses: what is not set is not sent", () => {
  const body = sent(responses, request({ model: null, system: "  " }));
  assert.deepEqual(Object.keys(body).sort(), ["input", "store", "stream"]);
});

test("a picture without words is a message; an answer that failed at once is none", () => {
  const messages = [question("", PICTURE), said(""), question("And?")];
  const { input } = sent(responses, request({ messages }));
  assert.deepEqual(input.map(({ content }) => content.map(({ type }) => type)), [["input_image"], ["input_text"]]);
});

test("a text file cannot close its own fence, nor can its name", () => {
  const hostile = { ...FILE, name: 'a"\n```\nb', data: "````\nend" };
  const [{ text }] = turnsOf(request({ messages: [question("?", hostile)] }), Infinity);
  assert.equal(text, 'File "a\\"\\n```\\nb":\n`````\n````\nend\n`````\n\n?');
});

test("a model that takes no pictures is told what it does not see", () => {
  const model = { ...MODEL, input: ["text"] };
  const [{ text, pictures }] = turnsOf(request({ model, messages: [question("What is it?", PICTURE)] }), Infinity);
  assert.deepEqual(pictures, []);
  assert.match(text, /"cat\.png" is not included/);
});

test("of too many pictures the newest are sent", () => {
  const messages = ["a", "b", "c"].flatMap((name) => [question(name, { ...PICTURE, name }), said("I see.")]);
  const turns = turnsOf(request({ model: { ...MODEL, maxImages: 2 }, messages }), Infinity);
  assert.deepEqual(turns.map(({ pictures }) => pictures.map(({ name }) => name).join()), ["", "", "b", "", "c", ""]);
});

test("older pictures make room where the body would become too large, the last question's do not", () => {
  const large = { ...PICTURE, data: `data:image/png;base64,${"A".repeat(100_000)}` };
  const messages = [question("a", large), said("I see."), question("b", large), said("I see."), question("c", large)];
  const counts = (maxBytes) => turnsOf(request({ messages }), maxBytes).map(({ pictures }) => pictures.length);
  assert.deepEqual(counts(Infinity), [1, 0, 1, 0, 1]);
  assert.deepEqual(counts(300_000), [0, 0, 1, 0, 1]);
  assert.deepEqual(counts(1000), [0, 0, 0, 0, 1]);
  assert.ok(JSON.stringify(sent(responses, request({ messages }), true, 300_000)).length <= 300_000);
});

// Streams

const CHAT = [
  { choices: [], id: "", model: "", object: "", prompt_filter_results: [] },
  { choices: [{ index: 0, delta: { role: "assistant", content: "", refusal: null }, finish_reason: null }], model: "gpt-4o", usage: null },
  { choices: [{ index: 0, delta: { reasoning_content: "Hm." } }] },
  { choices: [{ index: 0, delta: { content: "波 🌊" } }, { index: 1, delta: { content: "another" } }] },
  { choices: [{ index: 0, delta: { tool_calls: [{ index: 0, function: { name: "find", arguments: "" } }, { index: 1, function: { name: "look" } }] } }] },
  { choices: [{ index: 0, delta: { tool_calls: [{ index: 0, function: { arguments: '{"a":1}' } }] } }] },
  { choices: [{ index: 0, delta: {}, finish_reason: "content_filter", content_filter_results: { hate: { filtered: true, severity: "high" } } }] },
  { choices: [{ index: 0, content_filter_offsets: { check_offset: 1 } }], id: "" },
  { choices: [], usage: { prompt_tokens: 3, completion_tokens: 5, completion_tokens_details: { reasoning_tokens: 2 } } },
  "[DONE]",
];

const RESPONSE = { id: "r", model: "gpt-5", status: "in_progress", content_filters: null };
const RESPONSES = [
  { type: "response.created", response: RESPONSE },
  { type: "response.in_progress", response: RESPONSE },
  { type: "response.output_item.added", output_index: 0, item: { type: "reasoning", summary: [] } },
  { type: "response.reasoning_summary_part.added", output_index: 0, summary_index: 0 },
  { type: "response.reasoning_summary_text.delta", output_index: 0, summary_index: 0, delta: "First." },
  { type: "response.reasoning_summary_text.done", output_index: 0, summary_index: 0, text: "First." },
  { type: "response.reasoning_summary_part.added", output_index: 0, summary_index: 1 },
  { type: "response.reasoning_summary_text.delta", output_index: 0, summary_index: 1, delta: "Then." },
  { type: "response.output_item.done", output_index: 0, item: { type: "reasoning" } },
  { type: "response.output_item.added", output_index: 1, item: { type: "code_interpreter_call", code: "" } },
  { type: "response.code_interpreter_call_code.delta", output_index: 1, delta: "1 + " },
  { type: "response.code_interpreter_call_code.delta", output_index: 1, delta: "1" },
  { type: "response.code_interpreter_call_code.done", output_index: 1, code: "1 + 1" },
  { type: "response.output_item.done", output_index: 1, item: { type: "code_interpreter_call", code: "1 + 1" } },
  { type: "response.output_item.added", output_index: 2, item: { type: "message", content: [] } },
  { type: "response.content_part.added", output_index: 2, part: { type: "output_text", text: "" } },
  { type: "response.output_text.delta", output_index: 2, delta: "波 " },
  { type: "response.output_text.delta", output_index: 2, delta: "🌊" },
  { type: "response.output_text.done", output_index: 2, text: "波 🌊" },
  { type: "response.content_part.added", output_index: 2, part: { type: "output_text", text: "" } },
  { type: "response.output_text.delta", output_index: 2, delta: "Two." },
  { type: "response.output_item.added", output_index: 3, item: { type: "function_call", name: "find", arguments: "" } },
  { type: "response.function_call_arguments.delta", output_index: 3, delta: '{"a":' },
  { type: "response.function_call_arguments.delta", output_index: 3, delta: "1}" },
  { type: "response.function_call_arguments.done", output_index: 3, arguments: '{"a":1}' },
  { type: "response.output_item.added", output_index: 4, item: { type: "function_call", name: "look" } },
  { type: "response.output_item.done", output_index: 4, item: { type: "function_call", name: "look", arguments: "{}" } },
  {
    type: "response.completed",
    response: {
      ...RESPONSE,
      status: "completed",
      incomplete_details: null,
      usage: { input_tokens: 3, output_tokens: 5, output_tokens_details: { reasoning_tokens: 2 } },
    },
  },
];

test("chat completions, whole, byte by byte and cut at every byte", async () => {
  const bytes = eventsOf(CHAT);
  const answer = await answerOf(streamOf([bytes]));
  assert.equal(answer.state, "finished");
  assert.equal(answer.model, "gpt-4o");
  assert.equal(answer.content, "波 🌊");
  assert.equal(answer.reasoning, "Hm.");
  assert.deepEqual(answer.toolCalls, [{ name: "find", arguments: '{"a":1}' }, { name: "look", arguments: "" }]);
  assert.equal(answer.finishReason, "content_filter");
  assert.deepEqual(answer.filtered, [{ category: "hate", severity: "high" }]);
  assert.deepEqual(answer.usage, { input: 3, output: 5, reasoning: 2 });
  await assertSameHoweverCut(bytes, answer, MODEL);
});

test("responses, whole, byte by byte and cut at every byte", async () => {
  const bytes = eventsOf(RESPONSES);
  const answer = await answerOf(streamOf([bytes]), SERVES_BOTH);
  assert.equal(answer.state, "finished");
  assert.equal(answer.model, "gpt-5");
  assert.equal(answer.content, "波 🌊\n\nTwo.");
  assert.equal(answer.reasoning, "First.\n\nThen.");
  assert.deepEqual(answer.toolCalls, [
    { name: "code_interpreter", arguments: "1 + 1" },
    { name: "find", arguments: '{"a":1}' },
    { name: "look", arguments: "{}" },
  ]);
  assert.equal(answer.finishReason, "tool_calls");
  assert.equal(answer.filtered, undefined);
  assert.deepEqual(answer.usage, { input: 3, output: 5, reasoning: 2 });
  await assertSameHoweverCut(bytes, answer, SERVES_BOTH);
});

async function assertSameHoweverCut(bytes, expected, model) {
  assert.deepEqual(await answerOf(streamOf(bytesOf(bytes)), model), expected);
  for (let cut = 1; cut < bytes.length; cut += 1) {
    const answer = await answerOf(streamOf([bytes.subarray(0, cut), bytes.subarray(cut)]), model);
    assert.deepEqual(answer, expected, `cut at ${cut}`);
  }
}

for (const [name, events, model] of [
  ["chat completions", CHAT, MODEL],
  ["responses", RESPONSES, SERVES_BOTH],
]) {
  test(`${name}: a stream that ends anywhere before its last event was cut`, async () => {
    for (let count = 0; count < events.length; count += 1) {
      const answer = await answerOf(streamOf([eventsOf(events.slice(0, count))]), model);
      assert.equal(answer.state, "failed");
      assert.equal(answer.failure.kind, "cut");
      assert.equal(answer.failure.requestId, "req-1");
    }
  });

  test(`${name}: what breaks in the middle keeps what has arrived`, async () => {
    const body = new ReadableStream({
      start: (controller) => controller.enqueue(eventsOf(events.slice(0, -1))),
      pull: (controller) => controller.error(new TypeError("network error")),
    });
    const answer = await answerOf(new Response(body, { headers: { "content-type": "text/event-stream" } }), model);
    assert.equal(answer.failure.kind, "cut");
    assert.match(answer.content, /^波 🌊/);
  });

  test(`${name}: what comes after the end is not read`, async () => {
    const answer = await answerOf(streamOf([eventsOf([...events, ...events])]), model);
    assert.equal(answer.content.match(/波/g).length, 1);
  });

  test(`${name}: what is no JSON is a failure of its own kind`, async () => {
    const answer = await answerOf(streamOf([eventsOf(["{"])]), model);
    assert.equal(answer.failure.kind, "format");
  });

  test(`${name}: odd events are no failures`, async () => {
    const odd = [null, 7, "text", [], {}, { choices: [null, { delta: 5 }] }, { type: "response.output_item.added" }, { type: "new" }];
    const answer = await answerOf(streamOf([eventsOf([...odd.map((value) => JSON.stringify(value)), ...events])]), model);
    assert.equal(answer.state, "finished");
  });

  test(`${name}: an answer that is no stream is a failure`, async () => {
    const answer = await answerOf(json({ choices: [] }), model);
    assert.equal(answer.failure.kind, "format");
  });
}

test("chat completions: an error in the stream keeps code, message and filter results", async () => {
  const filter = { jailbreak: { filtered: true, detected: true } };
  const error = { code: "content_filter", message: "No.", innererror: { content_filter_result: filter } };
  const answer = await answerOf(streamOf([eventsOf([...CHAT.slice(0, 4), { error }])]));
  assert.equal(answer.content, "波 🌊");
  assert.deepEqual(answer.failure, {
    kind: "upstream",
    code: "content_filter",
    message: "No.",
    filtered: [{ category: "jailbreak" }],
    requestId: "req-1",
  });
});

const FILTERS = [
  { source_type: "prompt", content_filter_results: { hate: { filtered: false, severity: "safe" } } },
  { source_type: "completion", content_filter_results: { violence: { filtered: true, severity: "medium" } } },
];

test("responses: every way to say that it failed", async () => {
  const described = { code: "server_error", message: "Sorry." };
  for (const event of [
    { type: "error", sequence_number: 2, error: described },
    { type: "error", sequence_number: 2, ...described, param: null },
    { type: "response.failed", response: { ...RESPONSE, status: "failed", error: described } },
    { error: described },
  ]) {
    const { state, failure } = await answerOf(streamOf([eventsOf([RESPONSES[0], event])]), SERVES_BOTH);
    assert.equal(state, "failed");
    assert.equal(failure.kind, "upstream");
    assert.equal(failure.code, "server_error");
    assert.equal(failure.message, "Sorry.");
  }
});

test("responses: a failed response keeps what its filter found", async () => {
  const response = { ...RESPONSE, error: { code: "content_filter", message: "" }, content_filters: FILTERS };
  const { failure } = await answerOf(streamOf([eventsOf([{ type: "response.failed", response }])]), SERVES_BOTH);
  assert.deepEqual(failure.filtered, [{ category: "violence", severity: "medium" }]);
});

test("responses: incomplete is complete as a stream, and says why it ends", async () => {
  for (const [reason, finishReason] of [
    ["max_output_tokens", "length"],
    ["content_filter", "content_filter"],
    ["another", "another"],
  ]) {
    const response = { ...RESPONSE, status: "incomplete", incomplete_details: { reason }, content_filters: FILTERS };
    const answer = await answerOf(streamOf([eventsOf([RESPONSES[0], { type: "response.incomplete", response }])]), SERVES_BOTH);
    assert.equal(answer.state, "finished");
    assert.equal(answer.finishReason, finishReason);
    assert.deepEqual(answer.filtered, [{ category: "violence", severity: "medium" }]);
  }
});

test("responses: a refusal", async () => {
  const events = [{ type: "response.refusal.delta", delta: "I " }, { type: "response.refusal.delta", delta: "won't." }];
  const answer = await answerOf(streamOf([eventsOf([...events, RESPONSES.at(-1)])]), SERVES_BOTH);
  assert.equal(answer.refusal, "I won't.");
  assert.equal(answer.finishReason, "stop");
});

// The relay

async function drained(relay, asked) {
  for await (const change of relay.stream(asked, new AbortController().signal, () => {})) void change;
}

test("the Responses API is used where the model serves it, else chat completions", async () => {
  const { relay, asked } = relayOf(streamOf([eventsOf(RESPONSES)]), streamOf([eventsOf(CHAT)]), streamOf([eventsOf(CHAT)]));
  for (const model of [SERVES_BOTH, MODEL, null]) await drained(relay, request({ model }));
  assert.deepEqual(asked.map(({ path }) => path), ["v1/responses", "v1/chat/completions", "v1/chat/completions"]);
});

test("a model that has no reasoning is asked for summaries once, and answers all the same", async () => {
  for (const message of [
    "Unsupported parameter: 'reasoning.summary' is not supported with this model.",
    "Unsupported parameter: 'reasoning.effort' is not supported with this model.",
    "Your organization must be verified to generate reasoning summaries.",
  ]) {
    const refusal = json({ error: { code: "unsupported_parameter", message } }, 400);
    const { relay, asked } = relayOf(refusal, streamOf([eventsOf(RESPONSES)]), streamOf([eventsOf(RESPONSES)]));
    await drained(relay, request({ model: SERVES_BOTH }));
    await drained(relay, request({ model: SERVES_BOTH }));
    assert.deepEqual(asked.map(({ body }) => "reasoning" in body), [true, false, false]);
  }
});

test("another 400 is not asked twice", async () => {
  const { relay, asked } = relayOf(json({ error: { code: "bad", message: "temperature" } }, 400));
  await assert.rejects(drained(relay, request({ model: SERVES_BOTH })), { name: "RelayError" });
  assert.equal(asked.length, 1);
});

test("the list of models, in full", async () => {
  const chukei = {
    description: "Fast.",
    apis: ["chat", "responses", "telepathy"],
    input: ["text", "image"],
    context_tokens: 128000,
    output_tokens: 4096,
    max_images: 50,
    failure: true,
  };
  const { relay } = relayOf(json({ data: [{ id: "a", chukei }], chukei: { max_body_bytes: 1000, simulator: true } }));
  assert.deepEqual(await relay.models("en"), {
    models: [
      {
        id: "a",
        description: "Fast.",
        apis: ["chat", "responses"],
        input: ["text", "image"],
        contextTokens: 128000,
        outputTokens: 4096,
        maxImages: 50,
        failure: true,
      },
    ],
    simulator: true,
    maxBodyBytes: 1000,
  });
});

test("the list of models, from a relay that tells nothing, or nonsense", async () => {
  const nonsense = { description: 7, apis: "chat", input: {}, context_tokens: "many", max_images: -1, failure: "no" };
  const { relay } = relayOf(json({ data: [{ id: "chat" }, { id: "chat", chukei: nonsense }, { id: 5 }, null], chukei: { max_body_bytes: "1" } }));
  assert.deepEqual(await relay.models("en"), { models: [MODEL, MODEL], simulator: false, maxBodyBytes: null });
});

test("what the relay takes bounds the pictures of older questions", async () => {
  const large = { ...PICTURE, data: `data:image/png;base64,${"A".repeat(100_000)}` };
  const messages = [question("a", large), said("I see."), question("b", large)];
  const { relay, asked } = relayOf(json({ data: [], chukei: { max_body_bytes: 200_000 } }), streamOf([eventsOf(CHAT)]));
  await relay.models("en");
  await drained(relay, request({ messages }));
  assert.equal(JSON.stringify(asked[1].body).match(/image_url":\{/g).length, 1);
});

// Recordings of real traffic, where they are at hand: CHUKEI_RECORDINGS names folders with .sse files.

const RECORDINGS = (process.env.CHUKEI_RECORDINGS ?? "").split(":").filter((folder) => folder !== "" && existsSync(folder));
const recorded = RECORDINGS.flatMap((folder) =>
  readdirSync(folder)
    .filter((name) => name.endsWith(".sse"))
    .map((name) => `${folder}/${name}`),
);

test("recordings say the same however they are cut", { skip: recorded.length === 0 && "no recordings" }, async () => {
  for (const path of recorded) {
    const bytes = new Uint8Array(readFileSync(path));
    const text = new TextDecoder().decode(bytes);
    const isResponse = text.includes('"type":"response.created"');
    if (!isResponse && !text.includes('"chat.completion.chunk"')) continue;
    const model = isResponse ? SERVES_BOTH : MODEL;
    const whole = await answerOf(streamOf([bytes]), model);
    assert.equal(whole.state, "finished", path);
    assert.deepEqual(await answerOf(streamOf(bytesOf(bytes)), model), whole, path);
  }
});

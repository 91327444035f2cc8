// Runs OpenAI's npm package for tests/live/test_openai_node.py.
//
// Started as `node client.mjs PACKAGE`. Reads one JSON object a line from standard input: {client, options, scenario,
// model, ...}; writes one a line to standard output: {value} or {error}. Unknown scenarios are errors.

import { createInterface } from "node:readline";

const sdk = await import(process.argv[2]);
const messages = [{ role: "user", content: "repeat: Streams flow,\n 中継 🌊." }];

const scenarios = {
  async chat(client, { model }) {
    const { data, response, request_id } = await client.chat.completions.create({ model, messages }).withResponse();
    return {
      text: data.choices[0].message.content,
      usage: data.usage,
      requestId: request_id,
      headers: Object.fromEntries(response.headers),
    };
  },

  async stream(client, { model, usage = false }) {
    const options = usage ? { stream_options: { include_usage: true } } : {};
    const seen = { text: "", reasons: [], usages: 0, chunks: 0 };
    try {
      for await (const chunk of await client.chat.completions.create({ model, messages, stream: true, ...options })) {
        seen.chunks += 1;
        seen.usages += chunk.usage ? 1 : 0;
        for (const choice of chunk.choices) {
          seen.text += choice.delta?.content ?? "";
          if (choice.finish_reason) seen.reasons.push(choice.finish_reason);
        }
      }
    } catch (error) {
      return { ...seen, error: described(error) };
    }
    return seen;
  },

  async responses(client, { model }) {
    const seen = { text: "", types: [] };
    try {
      for await (const event of await client.responses.create({ model, input: messages[0].content, stream: true })) {
        seen.types.push(event.type);
        if (event.type === "response.output_text.delta") seen.text += event.delta;
      }
    } catch (error) {
      return { ...seen, error: described(error) };
    }
    return seen;
  },

  async embeddings(client, { model }) {
    const packed = await client.embeddings.create({ model, input: ["one"] });
    const plain = await client.embeddings.create({ model, input: ["one"], encoding_format: "float" });
    return { packed: packed.data[0].embedding.slice(0, 8), plain: plain.data[0].embedding.slice(0, 8) };
  },

  async transcription(client, { model }) {
    const file = await sdk.toFile(Buffer.alloc(5000, 7), "sound.wav");
    return (await client.audio.transcriptions.create({ model, file })).text;
  },

  async models(client) {
    const names = [];
    for await (const model of client.models.list()) names.push(model.id);
    return names;
  },

  async abort(client, { model }) {
    const stream = await client.chat.completions.create({ model, messages, stream: true });
    for await (const chunk of stream) {
      if (chunk.choices[0]?.delta?.content) break; // leaving the loop aborts the request
    }
    return stream.controller.signal.aborted;
  },
};

function described(error) {
  return {
    class: error.constructor.name,
    status: error.status ?? null,
    code: error.code ?? null,
    message: error.message,
    requestId: error.requestID ?? null,
    inner: error.error?.innererror ?? null,
  };
}

for await (const line of createInterface({ input: process.stdin })) {
  const { client, options, scenario, ...rest } = JSON.parse(line);
  let answer;
  try {
    answer = { value: await scenarios[scenario](new sdk[client]({ maxRetries: 0, ...options }), rest) };
  } catch (error) {
    answer = { error: described(error) };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}

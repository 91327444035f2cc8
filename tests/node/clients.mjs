// Runs clients that are npm packages, for tests/live/test_clients_node.py.
//
// Reads one JSON array from standard input: tasks {client, scenario, url, key, model}. Runs them side by side, and writes
// for each, in their order, {value} or {error}. Unknown clients and scenarios are errors.

import { createAzure } from "@ai-sdk/azure";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { tool as langchainTool } from "@langchain/core/tools";
import { AzureChatOpenAI, ChatOpenAI } from "@langchain/openai";
import { Agent, OpenAIChatCompletionsModel, OpenAIResponsesModel, run, setTracingDisabled, tool } from "@openai/agents";
import { generateText, isStepCount, Output, streamText, tool as aiTool } from "ai";
import OpenAI from "openai";
import { z } from "zod";

setTracingDisabled(true);

const PROMPT = "repeat: one two three four five six seven eight";
const QUESTION = "What is the weather in Kyoto?";
const City = z.object({ city: z.string() });
const Recipe = z.object({ name: z.string(), minutes: z.number() });
const description = "The weather in a city.";
const weather = async ({ city }) => `sunny in ${city}`;

// What is asked of each family of clients: the text of a stream, the answer after a tool's result, an object of a schema,
// and whether a stream that its reader leaves is given up.

const vercel = {
  async stream(model) {
    let text = "";
    for await (const part of streamText({ model, prompt: PROMPT, onError: () => {} }).fullStream) {
      if (part.type === "error") throw Object.assign(part.error, { seen: text });
      if (part.type === "text-delta") text += part.text;
    }
    return text;
  },
  async tool(model) {
    const tools = { weather: aiTool({ description, inputSchema: City, execute: weather }) };
    return (await generateText({ model, prompt: QUESTION, tools, stopWhen: isStepCount(3) })).text;
  },
  async object(model) {
    return (await generateText({ model, prompt: "A recipe, please.", output: Output.object({ schema: Recipe }) })).output;
  },
  async abort(model) {
    const leaving = new AbortController();
    for await (const part of streamText({ model, prompt: PROMPT, abortSignal: leaving.signal }).fullStream) {
      if (part.type === "text-delta") leaving.abort();
      if (part.type === "abort") return true;
    }
    return false;
  },
};

const langchain = {
  async stream(model) {
    let text = "";
    for await (const chunk of await model.stream(PROMPT)) text += chunk.text;
    return text;
  },
  async tool(model) {
    const bound = model.bindTools([langchainTool(weather, { name: "weather", description, schema: City })]);
    const asked = await bound.invoke(QUESTION);
    const [call] = asked.tool_calls;
    const told = { role: "tool", tool_call_id: call.id, content: await weather(call.args) };
    return (await bound.invoke([{ role: "user", content: QUESTION }, asked, told])).text;
  },
  async object(model) {
    return model.withStructuredOutput(Recipe).invoke("A recipe, please.");
  },
  async abort(model) {
    const leaving = new AbortController();
    try {
      for await (const chunk of await model.stream(PROMPT, { signal: leaving.signal })) {
        if (chunk.text) leaving.abort();
      }
    } catch (error) {
      return leaving.signal.aborted && /abort/i.test(`${error.name} ${error.message}`);
    }
    return leaving.signal.aborted;
  },
};

const agent = (model, more = {}) => new Agent({ name: "Helper", instructions: "Be brief.", model, ...more });
const agents = {
  async stream(model) {
    let text = "";
    const running = await run(agent(model), PROMPT, { stream: true });
    for await (const part of running.toTextStream()) text += part;
    await running.completed;
    return text;
  },
  async tool(model) {
    const tools = [tool({ name: "weather", description, parameters: City, execute: weather })];
    return (await run(agent(model, { tools }), QUESTION)).finalOutput;
  },
  async object(model) {
    return (await run(agent(model, { outputType: Recipe }), "A recipe, please.")).finalOutput;
  },
  async abort(model) {
    const leaving = new AbortController();
    const running = await run(agent(model), PROMPT, { stream: true, signal: leaving.signal });
    for await (const _ of running.toTextStream()) leaving.abort();
    return leaving.signal.aborted;
  },
};

const openai = ({ url, key }) => createOpenAI({ baseURL: `${url}/v1`, apiKey: key });
const azure = ({ url, key }) => createAzure({ baseURL: `${url}/openai`, apiKey: key });
const plain = ({ url, key }) => new OpenAI({ baseURL: `${url}/v1`, apiKey: key });
const chatOpenAI = ({ url, key, model }, more) =>
  new ChatOpenAI({ model, apiKey: key, maxRetries: 2, configuration: { baseURL: `${url}/v1` }, ...more });

const clients = {
  "ai-sdk-responses": [vercel, (task) => openai(task)(task.model)],
  "ai-sdk-chat": [vercel, (task) => openai(task).chat(task.model)],
  "ai-sdk-azure-responses": [vercel, (task) => azure(task)(task.model)],
  "ai-sdk-azure-chat": [vercel, (task) => azure(task).chat(task.model)],
  "ai-sdk-compatible": [
    vercel,
    ({ url, key, model }) =>
      createOpenAICompatible({ name: "chukei", baseURL: `${url}/v1`, apiKey: key, supportsStructuredOutputs: true })(model),
  ],
  "langchain-chat": [langchain, (task) => chatOpenAI(task)],
  "langchain-responses": [langchain, (task) => chatOpenAI(task, { useResponsesApi: true })],
  "langchain-azure": [
    langchain,
    ({ url, key, model }) =>
      new AzureChatOpenAI({
        azureOpenAIApiKey: key,
        azureOpenAIEndpoint: url,
        azureOpenAIApiDeploymentName: model,
        azureOpenAIApiVersion: "2024-10-21",
        maxRetries: 2,
      }),
  ],
  "agents-responses": [agents, (task) => new OpenAIResponsesModel(plain(task), task.model)],
  "agents-chat": [agents, (task) => new OpenAIChatCompletionsModel(plain(task), task.model)],
};

async function perform(task) {
  try {
    const [family, model] = clients[task.client];
    return { value: await family[task.scenario](model(task)) };
  } catch (error) {
    const status = error.status ?? error.statusCode ?? error.lastError?.statusCode ?? null;
    return { error: { name: error.name, status, message: String(error.message) } };
  }
}

let input = "";
for await (const part of process.stdin) input += part;
const answers = await Promise.all(JSON.parse(input).map(perform));
process.stdout.write(JSON.stringify(answers));
process.exit(0); // connections that are kept alive would delay it

// Conversations of Vercel's AI SDK and the Agents SDK, whose turns ask different relays, for
// tests/live/test_turns_at_two_resources.py.
//
// Reads {urls, key, conversations} from standard input. Runs so many conversations of each kind side by side, each of
// whose turns asks the next relay; writes {KIND: [what the last turn said or the error, ...]}.

import { createOpenAI } from "@ai-sdk/openai";
import { Agent, OpenAIConversationsSession, OpenAIProvider, Runner, setTracingDisabled } from "@openai/agents";
import { generateText, isStepCount, streamText, tool } from "ai";
import OpenAI from "openai";
import { z } from "zod";

setTracingDisabled(true);

const { urls, key, conversations } = JSON.parse(await new Response(process.stdin).text());
const providers = urls.map((url) => createOpenAI({ baseURL: `${url}/v1`, apiKey: key }));
const clients = urls.map((baseURL) => new OpenAI({ baseURL: `${baseURL}/v1`, apiKey: key }));

const TURNS = ["repeat: one", "repeat: two", "repeat: three"];
const tools = {
  weather: tool({
    description: "The weather in a city.",
    inputSchema: z.object({ city: z.string() }),
    execute: async ({ city }) => `sunny in ${city}`,
  }),
};

/** Has a conversation with the SDK's defaults: what the service keeps is named by its id. */
async function talk(number, name, options = {}) {
  const messages = [];
  let said;
  for (const [turn, content] of TURNS.entries()) {
    messages.push({ role: "user", content });
    const model = providers[(number + turn) % providers.length](name);
    const { text, response } = await generateText({ model, messages, ...options });
    messages.push(...response.messages);
    said = text;
  }
  return said;
}

const kinds = {
  plain: (number) => talk(number, "chat"),
  reasoning: (number) => talk(number, "gpt-5-mini"),
  sealed: (number) => talk(number, "gpt-5-mini", { providerOptions: { openai: { store: false } } }),

  async streamed(number) {
    const messages = [];
    let said;
    for (const [turn, content] of TURNS.entries()) {
      messages.push({ role: "user", content });
      const model = providers[(number + turn) % providers.length]("gpt-5-mini");
      const answer = streamText({ model, messages, onError: () => {} });
      said = "";
      for await (const part of answer.fullStream) {
        if (part.type === "error") throw part.error;
        if (part.type === "text-delta") said += part.text;
      }
      messages.push(...(await answer.response).messages);
    }
    return said;
  },

  async tool(number) {
    const model = providers[number % providers.length]("gpt-5-mini");
    const asked = { model, tools, stopWhen: isStepCount(3) };
    return (await generateText({ ...asked, prompt: "What is the weather in Kyoto?" })).text;
  },

  async previous(number) {
    let previousResponseId;
    let said;
    for (const [turn, prompt] of TURNS.entries()) {
      const model = providers[(number + turn) % providers.length]("chat");
      const asked = { model, prompt, providerOptions: { openai: { previousResponseId } } };
      const { text, providerMetadata } = await generateText(asked);
      previousResponseId = providerMetadata.openai.responseId;
      said = text;
    }
    return said;
  },

  async session(number) {
    const agent = new Agent({ name: "Helper", instructions: "Be brief.", model: "chat" });
    let conversationId;
    let said;
    for (const [turn, prompt] of TURNS.entries()) {
      const client = clients[(number + turn) % clients.length];
      const session = new OpenAIConversationsSession({ client, conversationId });
      const runner = new Runner({ modelProvider: new OpenAIProvider({ openAIClient: client }) });
      said = (await runner.run(agent, prompt, { session })).finalOutput;
      conversationId = await session.getSessionId();
    }
    return said;
  },
};

async function perform(run, number) {
  try {
    return await run(number);
  } catch (error) {
    return `${error.name}: ${error.message}`;
  }
}

const numbers = Array.from({ length: conversations }, (_, number) => number);
const said = {};
for (const [kind, run] of Object.entries(kinds)) {
  said[kind] = await Promise.all(numbers.map((number) => perform(run, number)));
}
process.stdout.write(JSON.stringify(said));
process.exit(0); // connections that are kept alive would delay it

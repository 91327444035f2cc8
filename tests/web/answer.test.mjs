import assert from "node:assert/strict";
import { test } from "node:test";
import { addChange, figures, isRunning, newAnswer } from "../../src/chukei/web/answer.js";

function grown(...changes) {
  const answer = newAnswer("chat", 1000);
  changes.forEach((change, at) => addChange(answer, change, 2000 + at * 1000));
  return answer;
}

test("texts are appended, each to its own", () => {
  const answer = grown({ reasoning: "Hm" }, { reasoning: "m." }, { text: "Yes" }, { text: "!" }, { refusal: "No." });
  assert.equal(answer.reasoning, "Hmm.");
  assert.equal(answer.content, "Yes!");
  assert.equal(answer.refusal, "No.");
  assert.equal(answer.pieces, 5);
});

test("an answer waits until something is there to see", () => {
  const answer = newAnswer("chat", 0);
  addChange(answer, { model: "gpt", text: "" }, 5);
  assert.equal(answer.state, "waiting");
  assert.equal(answer.firstAt, null);
  addChange(answer, { text: "a" }, 7);
  assert.equal(answer.state, "streaming");
  assert.equal(answer.firstAt, 7);
  assert.ok(isRunning(answer));
});

test("an empty value does not overwrite what is known", () => {
  const answer = grown({ model: "gpt", finishReason: "stop", usage: { input: 1, output: 2 } }, { model: "", finishReason: "" });
  assert.equal(answer.model, "gpt");
  assert.equal(answer.finishReason, "stop");
  assert.deepEqual(answer.usage, { input: 1, output: 2 });
});

test("tool calls are continued at their index", () => {
  const answer = grown(
    { toolCall: { index: 1, name: "b" } },
    { toolCall: { index: 0, name: "a", arguments: "{" } },
    { toolCall: { index: 0, arguments: "}" } },
  );
  assert.deepEqual(answer.toolCalls, [{ name: "a", arguments: "{}" }, { name: "b", arguments: "" }]);
});

test("a stream cannot make room for as many tool calls as it likes", () => {
  assert.equal(grown({ toolCall: { index: 2 ** 40, name: "a" } }).toolCalls.length, 128);
});

test("the speed is that of what was seen: reasoning that was not shown came before the first token", () => {
  const usage = { input: 10, output: 105, reasoning: 100 };
  assert.equal(figures(grown({ text: "a" }, { text: "b" }, { usage })).tokensPerSecond, 4);
  assert.equal(figures(grown({ reasoning: "a" }, { text: "b" }, { usage })).tokensPerSecond, 104);
  assert.equal(figures(grown({ text: "a", usage })).reasoningTokens, 100);
});

test("without usage the pieces stand in, and the figures say so", () => {
  const { outputTokens, inputTokens, exact, firstTokenSeconds } = figures(grown({ text: "a" }, { text: "b" }));
  assert.deepEqual([outputTokens, inputTokens, exact, firstTokenSeconds], [2, null, false, 1]);
});

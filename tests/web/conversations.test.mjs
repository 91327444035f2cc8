/** The tree, the groups, the search and the files of conversations. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { addressOf, conversationAt } from "../../src/chukei/web/address.js";
import { newAnswer } from "../../src/chukei/web/answer.js";
import { fileName, fromJson, toJson, toMarkdown } from "../../src/chukei/web/conversations/export.js";
import { groupByDay, nameOfMonth } from "../../src/chukei/web/conversations/groups.js";
import { find as findIn } from "../../src/chukei/web/conversations/search.js";
import { assemble, closeAnswers, newConversation, newId, readConversation, readMessage, titleOf } from "../../src/chukei/web/conversations/shape.js";
import { add, alternativesOf, choose, pathOf } from "../../src/chukei/web/conversations/tree.js";
import { Words } from "../../src/chukei/web/i18n.js";
import { CHAT_WORDS } from "../../src/chukei/web/words/chat.js";

const words = new Words("en", ...CHAT_WORDS);

const question = (id, parent, content = id) => ({ id, parent, role: "user", content });
const answer = (id, parent, content = id, more = {}) => ({ ...newAnswer("m", 0), state: "finished", id, parent, content, ...more });
const find = (conversations, query) => findIn(conversations, ({ messages }) => messages, query);
const of = (...messages) => ({ ...newConversation(""), messages });
const ids = (messages) => messages.map(({ id }) => id);

test("addresses name conversations and nothing else", () => {
  for (const id of ["abc", "ä/ö", "%", "日本"]) assert.equal(conversationAt(addressOf(id)), id);
  assert.equal(conversationAt("#/c/%"), "%");
  for (const hash of ["", "#", "#/", "#prompt", "#/d/abc"]) assert.equal(conversationAt(hash), null);
  assert.equal(conversationAt(addressOf(null)), null);
});

test("ids sort by the time of their making, even within a millisecond", () => {
  const made = Array.from({ length: 500 }, () => newId(5));
  assert.deepEqual(made.toSorted(), made);
  assert.equal(new Set(made).size, made.length);
});

test("the newest alternative is shown until another is chosen, and a new one again", () => {
  const chat = of(question("q1", null), answer("a1", "q1"), answer("a2", "q1"), question("q2", "a1"), question("q3", "a2"));
  assert.deepEqual(ids(pathOf(chat)), ["q1", "a2", "q3"]);
  assert.equal(choose(chat, chat.messages[2], -1)?.id, "a1");
  assert.deepEqual(ids(pathOf(chat)), ["q1", "a1", "q2"]);
  assert.equal(choose(chat, chat.messages[1], -1), undefined);
  add(chat, answer("a3", "q1"));
  assert.deepEqual(ids(pathOf(chat)), ["q1", "a3"]);
  assert.deepEqual(ids(alternativesOf(chat, chat.messages[1])), ["a1", "a2", "a3"]);
  choose(chat, chat.messages.at(-1), -2);
  choose(chat, chat.messages[1], 2);
  assert.deepEqual(chat.chosen, []); // the newest is shown anyway
});

test("an attempt that brought nothing is no alternative once there is a newer one", () => {
  const failed = { state: "failed", failure: { kind: "http", message: "" } };
  const chat = of(question("q", null), answer("a1", "q"), answer("a2", "q", "", failed));
  assert.deepEqual(ids(alternativesOf(chat, chat.messages[1])), ["a1", "a2"]);
  assert.equal(pathOf(chat).at(-1).id, "a2"); // the reader sees that it failed
  add(chat, answer("a3", "q"));
  assert.deepEqual(ids(alternativesOf(chat, chat.messages[1])), ["a1", "a3"]);
});

test("messages that name each other as parents do no harm", () => {
  const chat = assemble(newConversation(""), [question("a", "b"), question("b", "a"), question("c", "c"), question("d", "none")]);
  assert.deepEqual(ids(pathOf(chat)), ["d"]);
  const circle = assemble(newConversation(""), [question("a", "c"), answer("b", "a"), question("c", "b"), answer("d", "b")]);
  assert.deepEqual(ids(pathOf(circle)), ["a", "b", "d"]);
  assert.deepEqual(ids(alternativesOf(circle, circle.messages[3])), ["c", "d"]);
});

test("a long conversation is walked in linear time", () => {
  const lookUps = (length) => {
    let count = 0;
    const messages = Array.from({ length }, (_, index) => ({
      ...question(String(index), null),
      get parent() {
        count += 1;
        return index === 0 ? null : String(index - 1);
      },
    }));
    assert.equal(pathOf(of(...messages)).length, length);
    return count;
  };
  assert.ok(lookUps(4000) <= 2.1 * lookUps(2000));
});

test("conversations of before are read as a chain, the same each time", () => {
  const before = {
    id: "old",
    updatedAt: 1000,
    messages: [
      { role: "user", content: "Hello?" },
      { role: "assistant", content: "Hi.", state: "streaming", toolCalls: "none", usage: { input: 1, output: 2 } },
      null,
      { role: "system", content: "?" },
      { role: "user", content: "And now?" },
    ],
  };
  const read = readConversation(before);
  assert.deepEqual(pathOf(read).map(({ content }) => content), ["Hello?", "Hi.", "And now?"]);
  assert.deepEqual(read, readConversation(structuredClone(before)));
  assert.deepEqual(read.messages[1].toolCalls, []);
  assert.deepEqual(read.messages[1].usage, { input: 1, output: 2 });
  closeAnswers(read.messages);
  assert.equal(read.messages[1].state, "closed");
});

test("what is no conversation and no message is nothing", () => {
  for (const value of [null, 5, "x", [], {}, { id: "" }, { id: "a" }, { id: "a", updatedAt: "1", messages: [] }, { id: "a", updatedAt: 1e300, messages: [] }, { id: "a", updatedAt: 1 }]) {
    assert.equal(readConversation(value), null);
  }
  for (const value of [null, [], { id: 1 }, { id: "a" }, { id: "a", role: "tool" }, { id: "a", role: "user", content: 5 }]) {
    assert.equal(readMessage(value), null);
  }
});

test("fields of another kind than a view expects are not taken over", () => {
  const odd = { state: "dancing", content: {}, failure: { kind: "new", message: "" }, filtered: [{}], usage: { input: "1" }, requestId: 5, firstAt: "now", later: 1 };
  const read = readMessage({ id: "a", parent: 5, role: "assistant", ...odd });
  assert.deepEqual(read, { ...newAnswer("", 0), id: "a", parent: null, later: 1 });
  const script = { kind: "image", name: "x", type: "image/png", size: 1, data: "https://elsewhere.test/x.png" };
  assert.equal(readMessage({ ...question("a", null), attachments: [script, null, 5] }).attachments, undefined);
});

test("the title is the reader's, or the first line, or the name of a file", () => {
  assert.equal(titleOf(of(question("q", null, "\n  First line \nsecond"))), "First line ");
  assert.equal(titleOf({ ...of(question("q", null)), title: "Mine" }), "Mine");
  assert.equal(titleOf(of({ ...question("q", null, ""), attachments: [{ name: "cat.png" }] })), "cat.png");
  assert.equal(titleOf(of()), "");
  assert.equal(titleOf(of(question("q", null, "x".repeat(500)))).length, 80);
});

test("conversations are grouped by the reader's days, also where a day has 23 hours", () => {
  const now = new Date(2026, 10, 29, 0, 30);
  const times = [[2027, 0, 1], [2026, 10, 29], [2026, 10, 28, 23, 59], [2026, 10, 28], [2026, 10, 27, 23, 59], [2026, 10, 22], [2026, 10, 21, 23, 59], [2026, 2, 1], [2025, 10, 30]];
  const groups = groupByDay(times.map((parts) => ({ updatedAt: new Date(...parts).getTime() })), now);
  assert.deepEqual(groups.map(([name, members]) => [name, members.length]), [["today", 2], ["yesterday", 2], ["week", 2], ["2026-11", 1], ["2026-03", 1], ["2025-11", 1]]);
  assert.equal(nameOfMonth("2026-03", now, "en"), "March");
  assert.equal(nameOfMonth("2025-11", now, "en"), "November 2025");
  assert.equal(nameOfMonth("2025-11", now, "ja"), "2025年11月");
});

test("search finds every word anywhere, without regard to case, width and accents, and marks it", () => {
  const one = of(question("q", null, "Über Züge"), answer("a", "q", `${"x ".repeat(200)}The ＴＲＡＩＮ leaves at noon. ${"y ".repeat(200)}`));
  const other = of(question("p", null, "Trains"));
  assert.deepEqual(find([one, other], "  ").length, 2);
  assert.deepEqual(find([one, other], "nothing"), []);
  const [found] = find([one, other], "uber train");
  assert.equal(found.conversation, one);
  assert.deepEqual(found.title, [["Über", true], [" Züge", false]]);
  assert.deepEqual(found.excerpt.filter(([, isMatch]) => isMatch), [["ＴＲＡＩＮ", true]]);
  assert.ok(found.excerpt.map(([text]) => text).join("").startsWith("…x x"));
  assert.deepEqual(find([other], "TRAIN")[0].excerpt, []);
  assert.deepEqual(find([of(question("q", null, "か"))], "が"), []);
});

test("search reads an answer again after it has grown", () => {
  const growing = answer("a", "q", "One");
  const chat = of(question("q", null), growing);
  assert.equal(find([chat], "two").length, 0);
  growing.content += " two";
  assert.equal(find([chat], "two").length, 1);
});

test("file names are taken by every system", () => {
  assert.equal(fileName("What is 5/3: a “test”?", "md"), "What is 5 3 a “test”.md");
  assert.equal(fileName("../../etc/passwd", "json"), "etc passwd.json");
  for (const title of ["", "...", "\u202e", "CON", "nul.txt", "///"]) assert.equal(fileName(title, "md"), "chukei.md");
  assert.equal(fileName("\u202egnp.exe\n", "md"), "gnp.exe.md");
  assert.equal([...fileName("😀".repeat(300), "md")].length, 83);
});

const picture = { kind: "image", name: "a](x) <cat>.png", type: "image/png", size: 3, data: "data:image/png;base64,AAAA" };
const text = { kind: "text", name: "notes.md", type: "text/markdown", size: 9, data: "````\nfour\n````\n" };

test("Markdown has what the reader sees: attachments, reasoning, failures", () => {
  const chat = {
    ...of(
      { ...question("q", null, "Look"), attachments: [picture, text] },
      answer("a0", "q", "Other"),
      answer("a", "q", "I *see*.", { reasoning: "Hm.\nYes.", toolCalls: [{ name: "f", arguments: "{}" }] }),
      question("q2", "a"),
      answer("a2", "q2", "Half", { state: "failed", failure: { kind: "http", message: "Too *many*", status: 429, code: "busy" } }),
      question("q3", "a2"),
      answer("a3", "q3", "", { state: "closed" }),
    ),
    title: "A # title",
    system: "Be brief.",
  };
  assert.equal(
    toMarkdown(chat, words),
    `# A \\# title

> **System message**
>${" "}
> Be brief.

## You

Look

![Picture: a\\](x) \\<cat\\>.png][picture-1]

**File: notes.md**

\`\`\`\`\`
\`\`\`\`
four
\`\`\`\`
\`\`\`\`\`

## Assistant · m

> **Reasoning**
>${" "}
> Hm.
> Yes.

I *see*.

**Tool call: f**

\`\`\`
{}
\`\`\`

> *One of 2 versions*

## You

q2

## Assistant · m

Half

> *This answer failed: Too \\*many\\* · HTTP status 429 · busy*

## You

q3

## Assistant · m

> *The page was closed while this answer was being written.*

[picture-1]: data:image/png;base64,AAAA
`,
  );
});

test("JSON brings a conversation back whole, beside the one that is there", () => {
  const chat = { ...of({ ...question("a", null), attachments: [picture, text] }, answer("b", "a"), answer("c", "a")), chosen: ["b"], title: "Mine" };
  const read = fromJson(toJson(chat));
  assert.notEqual(read.id, chat.id);
  assert.deepEqual({ ...read, id: "", updatedAt: 0 }, { ...chat, id: "", updatedAt: 0 });
  for (const other of ["", "{", "[]", "null", '{"format":"x","version":1}', '{"format":"chukei-conversation","version":1}', toJson(of())]) assert.equal(fromJson(other), "other");
  for (const version of [2, 0, "1", null, undefined]) assert.equal(fromJson(JSON.stringify({ ...JSON.parse(toJson(chat)), version })), "version");
});

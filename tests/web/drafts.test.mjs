/** Drafts, with a database and other tabs that are played. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { newId } from "../../src/chukei/web/conversations/shape.js";
import { ConversationStore } from "../../src/chukei/web/storage/conversations.js";
import { DraftStore } from "../../src/chukei/web/storage/drafts.js";
import { FakeDatabase, channels, fakeLocal } from "./fake_storage.mjs";

/** The list of conversations, with their database. */
async function opened(database) {
  const store = new ConversationStore({ database: Promise.resolve(database), channel: null, local: null, keep: true });
  await store.ready;
  return store;
}

/** How many drafts a database has. */
const count = ({ messages }) => new Set([...messages.values()].map(({ conversation }) => conversation)).size;

const file = (data = "x") => ({ kind: "text", name: "a.txt", type: "text/plain", size: 1, data });

/** The drafts of a tab; `session` is what the browser remembers of it, and without it the tab is a new one. */
function draftsOf(database, { session = fakeLocal({ "chukei:tab": newId() }), channel = null, keep = true } = {}) {
  return new DraftStore({ database: Promise.resolve(database), session, channel, keeps: () => keep });
}

test("a draft is there again after a reload, with its files, and a sent one is not", async () => {
  const database = new FakeDatabase();
  const session = fakeLocal();
  const before = draftsOf(database, { session });
  await before.read(null);
  const attachments = [file()];
  before.set(null, { text: "new", attachments });
  before.set("a", { text: "", attachments });
  before.set("b", { text: "sent", attachments: [] });
  await before.flush();
  before.set("b", { text: "", attachments: [] });
  await before.flush();
  const after = draftsOf(database, { session });
  assert.equal(after.get("a"), undefined);
  after.set("a", { text: "", attachments: [] }); // the field is empty until the draft is read
  await after.flush();
  assert.deepEqual(await after.read(null), { text: "new", attachments });
  assert.deepEqual(await after.read("a"), { text: "", attachments });
  assert.equal(await after.read("b"), undefined);
  assert.equal(count(database), 2);
  const other = draftsOf(database); // another tab begins its new chat without it
  assert.equal(await other.read(null), undefined);
  assert.deepEqual(await other.read("a"), { text: "", attachments });
});

test("a new tab finds the draft of a closed one, once, and leaves that of one that is there", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const database = new FakeDatabase();
  const [here, there, elsewhere] = channels(3);
  const closed = draftsOf(database);
  const open = draftsOf(database, { channel: here });
  for (const [drafts, text] of [[closed, "of the closed"], [open, "of the open"]]) {
    await drafts.read("a");
    drafts.set(null, { text, attachments: [] });
    await drafts.flush();
  }
  const found = [];
  for (const channel of [there, elsewhere]) {
    const drafts = draftsOf(database, { channel, session: fakeLocal() });
    const reading = drafts.read(null);
    for (let turn = 0; turn < 10; turn += 1) await null; // until it waits
    context.mock.timers.tick(300);
    found.push((await reading)?.text);
    await drafts.flush();
  }
  assert.deepEqual(found, ["of the closed", undefined]);
  assert.equal(database.messages.size, 2);
  assert.equal((await open.read(null)).text, "of the open");
});

test("a new tab in which something is written at once leaves the draft of a closed one to the next", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const database = new FakeDatabase();
  const closed = draftsOf(database);
  await closed.read(null);
  closed.set(null, { text: "of the closed", attachments: [] });
  await closed.flush();
  const found = [];
  for (const text of ["before it is looked for", "while it is taken", ""]) {
    const drafts = draftsOf(database, { session: fakeLocal() });
    const reading = drafts.read(null);
    for (let turn = 0; turn < 10; turn += 1) await null; // until it waits
    if (text.startsWith("before")) drafts.set(null, { text, attachments: [] });
    context.mock.timers.tick(300);
    if (text.startsWith("while")) drafts.set(null, { text, attachments: [] });
    found.push((await reading).text);
    drafts.set(null, { text: "", attachments: [] });
    await drafts.flush();
  }
  assert.deepEqual(found, ["before it is looked for", "while it is taken", "of the closed"]);
});

test("the draft that is written is kept, however old its conversation is", async () => {
  const database = new FakeDatabase();
  const drafts = draftsOf(database);
  await drafts.read("a");
  const places = Array.from({ length: 51 }, (_, index) => `c${10 + index}`);
  for (const place of places.toReversed()) {
    drafts.set(place, { text: place, attachments: [] });
    await drafts.flush();
  }
  assert.equal(database.messages.size, 50);
  assert.deepEqual([(await draftsOf(database).read("c10"))?.text, await draftsOf(database).read("c11")], ["c10", undefined]);
});

test("drafts are no conversations, to no version of the page", async () => {
  const database = new FakeDatabase();
  const drafts = draftsOf(database);
  await drafts.read(null);
  drafts.set("a", { text: "secret", attachments: [] });
  await drafts.flush();
  const store = await opened(database);
  assert.deepEqual(store.list(), []);
  assert.equal(database.all.size, 0);
});

test("a draft is written once in a while, and not when nothing has changed", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const database = new FakeDatabase();
  const drafts = draftsOf(database);
  await drafts.read("a");
  const attachments = [];
  for (let length = 1; length <= 100; length += 1) {
    drafts.set("a", { text: "x".repeat(length), attachments });
    drafts.set("a", { text: "x".repeat(length), attachments: [] });
    context.mock.timers.tick(10);
  }
  assert.equal(database.writes, 2);
  context.mock.timers.tick(10_000);
  assert.equal(database.writes, 2);
});

test("what is written while a draft is being read goes after it", async () => {
  const database = new FakeDatabase();
  const before = draftsOf(database);
  await before.read("a");
  before.set("a", { text: "old", attachments: [] });
  await before.flush();
  const after = draftsOf(database);
  const reading = after.read("a");
  after.set("a", { text: " newer", attachments: [] });
  assert.equal((await reading).text, "old newer");
  await after.flush();
  assert.equal((await draftsOf(database).read("a")).text, "old newer");
});

test("drafts are not kept without a wish to, and erased with the history", async () => {
  const database = new FakeDatabase();
  const kept = draftsOf(database);
  await kept.read("a");
  kept.set("a", { text: "secret", attachments: [] });
  await kept.flush();
  const store = await opened(database);
  await store.setKeep(false);
  assert.equal(database.messages.size, 0);
  const unkept = draftsOf(database, { keep: false });
  await unkept.read("a");
  unkept.set("a", { text: "secret", attachments: [] });
  await unkept.flush();
  assert.equal(database.messages.size, 0);
  assert.equal(unkept.get("a").text, "secret");
});

test("deleted drafts are gone and can come back: those in memory, those that were not read, and all", async () => {
  const database = new FakeDatabase();
  const before = draftsOf(database);
  await before.read("a");
  for (const place of ["a", "b", "c", null]) before.set(place, { text: `of ${place}`, attachments: [] });
  await before.flush();
  const drafts = draftsOf(database);
  await drafts.read("a");
  const some = await drafts.delete(["a", "b", "none"]);
  assert.deepEqual(some.map(([place, { text }]) => [place, text]).sort(), [["a", "of a"], ["b", "of b"]]);
  assert.equal(database.messages.size, 2);
  drafts.restore(some);
  await drafts.flush();
  assert.equal(database.messages.size, 4);
  const all = await drafts.delete();
  assert.deepEqual([all.length, database.messages.size], [4, 0]);
  drafts.restore(all);
  await drafts.flush();
  assert.equal((await draftsOf(database).read("c")).text, "of c");
});

test("drafts are bounded in number and size, and a full or failing database does no harm", async () => {
  const database = new FakeDatabase();
  const drafts = draftsOf(database);
  await drafts.read("a");
  for (let count = 100; count < 170; count += 1) drafts.set(`id${count}`, { text: "x", attachments: [] });
  await drafts.flush();
  assert.deepEqual((await database.keys("draft ")).slice(0, 1), [["draft id120", "draft"]]);
  const large = file("x".repeat(12_000_000));
  drafts.set("id169", { text: "y", attachments: [large, large, file()] });
  await drafts.flush();
  assert.deepEqual((await draftsOf(database).read("id169")).attachments.map(({ data }) => data.length), [12_000_000, 1]);
  database.room = 0;
  drafts.set("id168", { text: "z", attachments: [] });
  await drafts.flush();
  assert.equal(drafts.get("id168").text, "z");
  const none = draftsOf(null);
  none.set("a", { text: "z", attachments: [] });
  await none.flush();
  assert.equal((await none.read("a")).text, "z");
  assert.deepEqual((await none.delete()).length, 1);
});

test("a file is written when it is attached, not with the text, and goes when it is removed", async () => {
  const database = new FakeDatabase();
  const drafts = draftsOf(database);
  await drafts.read("a");
  const [one, two] = [file("1".repeat(1_000_000)), file("2".repeat(1_000_000))];
  const ids = () => [...database.messages.values()].map(({ message }) => message.file?.data[0] ?? message.content).sort();
  const write = async (text, attachments) => {
    const before = database.written;
    drafts.set("a", { text, attachments });
    await drafts.flush();
    return Math.round((database.written - before) / 1_000_000);
  };
  assert.deepEqual([await write("", [one, two]), await write("h", [one, two]), await write("hi", [one, two])], [2, 0, 0]);
  assert.deepEqual(ids(), ["1", "2", "hi"]);
  assert.equal(await write("hi", [two]), 0);
  assert.deepEqual(ids(), ["2", "hi"]);
  const reloaded = draftsOf(database);
  assert.deepEqual(await reloaded.read("a"), { text: "hi", attachments: [two] });
  const before = database.written;
  reloaded.set("a", { text: "hi!", attachments: reloaded.get("a").attachments });
  await reloaded.flush();
  assert.ok(database.written - before < 1000);
  reloaded.set("a", { text: "", attachments: [] });
  await reloaded.flush();
  assert.equal(database.messages.size, 0);
});

test("a draft of the version before, whose files are in the text's row, is taken over", async () => {
  const database = new FakeDatabase();
  await database.write({ headings: [], rows: [{ conversation: "draft a", message: { id: "draft", role: "draft", content: "old", attachments: [file()] } }] });
  const drafts = draftsOf(database);
  const { text, attachments } = await drafts.read("a");
  assert.deepEqual([text, attachments], ["old", [file()]]);
  drafts.set("a", { text: "new", attachments });
  await drafts.flush();
  assert.deepEqual(await draftsOf(database).read("a"), { text: "new", attachments });
  assert.equal(database.messages.size, 2);
});

test("of two tabs with one draft, the one that writes last keeps all that it shows", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const database = new FakeDatabase();
  const [one, other] = [draftsOf(database), draftsOf(database)];
  await one.read("a");
  one.set("a", { text: "one", attachments: [file("1"), file("2")] });
  await one.flush();
  const { attachments } = await other.read("a");
  for (const left of [[], [...attachments, file("3")]]) {
    other.set("a", { text: "other", attachments: left });
    await other.flush();
    one.set("a", { text: `one after ${left.length}`, attachments: one.get("a").attachments });
    await one.flush();
    await one.flush(); // what was found to be missing
    const kept = await draftsOf(database).read("a");
    assert.deepEqual([kept.text, kept.attachments.map(({ data }) => data)], [`one after ${left.length}`, ["1", "2"]]);
    assert.equal(database.messages.size, 3);
  }
});

test("where files have no room the text has, and they are not tried again", async () => {
  const database = new FakeDatabase(10_000);
  const drafts = draftsOf(database);
  await drafts.read("a");
  const attachments = [file("small"), file("x".repeat(20_000))];
  drafts.set("a", { text: "", attachments: attachments.slice(0, 1) });
  await drafts.flush();
  drafts.set("a", { text: "t", attachments });
  await drafts.flush();
  assert.equal((await draftsOf(database).read("a")).text, "t");
  const { writes } = database;
  drafts.set("a", { text: "text", attachments });
  await drafts.flush();
  assert.equal(database.writes, writes + 1);
  assert.deepEqual(await draftsOf(database).read("a"), { text: "text", attachments: attachments.slice(0, 1) });
  assert.deepEqual(drafts.get("a").attachments, attachments);
});

test("files that had no room are tried again when something was deleted", async () => {
  const database = new FakeDatabase(10_000);
  const drafts = draftsOf(database);
  for (const place of ["a", "b"]) {
    drafts.set(place, { text: place, attachments: [file(place.repeat(6_000))] });
    await drafts.flush();
  }
  assert.deepEqual((await draftsOf(database).read("b")).attachments, []);
  await drafts.delete(["a"]);
  drafts.set("b", { ...drafts.get("b"), text: "later" });
  await drafts.flush();
  assert.equal((await draftsOf(database).read("b")).attachments.length, 1);
});

for (const moment of ["before the draft is read", "while it is read", "when it was read"]) {
  test(`a tab that is duplicated shares what was begun, and goes on alone: ${moment}`, async () => {
    const database = new FakeDatabase();
    const [here, there] = channels(2);
    const session = fakeLocal({ "chukei:tab": "t" });
    const original = draftsOf(database, { session, channel: here });
    await original.read(null);
    original.set(null, { text: "begun", attachments: [file()] });
    await original.flush();
    const copied = fakeLocal({ ...session });
    // The claim of the other tab comes when this says so.
    const late = Object.assign(new EventTarget(), { postMessage: () => {} });
    const copy = draftsOf(database, { session: copied, channel: late });
    const claim = () => {
      there.addEventListener("message", ({ data }) => late.dispatchEvent(Object.assign(new Event("message"), { data })));
      there.postMessage({ type: "tabs" });
    };
    if (moment.startsWith("before")) claim();
    const reading = copy.read(null);
    if (moment.startsWith("while")) for (let turn = 0; turn < 2; turn += 1) await null;
    if (moment.startsWith("while")) claim();
    assert.deepEqual(await reading, { text: "begun", attachments: [file()] });
    if (moment.startsWith("when")) claim();
    assert.deepEqual(copy.get(null), { text: "begun", attachments: [file()] });
    await copy.flush();
    assert.equal(count(database), 2);
    copy.set(null, { text: "changed in the copy", attachments: [] });
    for (const drafts of [copy, original]) await drafts.flush();
    const texts = await Promise.all([session, copied].map(async (one) => (await draftsOf(database, { session: one }).read(null)).text));
    assert.deepEqual(texts, ["begun", "changed in the copy"]);
  });
}

test("a tab is no copy of one that was loaded after it, as is one of the version before that does not say when", () => {
  const claims = [[() => newId(), true], [() => undefined, false]];
  for (const [born, isOriginal] of claims) {
    const session = fakeLocal({ "chukei:tab": "t" });
    const channel = Object.assign(new EventTarget(), { postMessage: () => {} });
    draftsOf(new FakeDatabase(), { session, channel });
    channel.dispatchEvent(Object.assign(new Event("message"), { data: { type: "tab", place: "new t", born: born() } }));
    assert.equal(session["chukei:tab"] === "t", isOriginal);
  }
});

test("a draft that was emptied meanwhile comes back, and one that was written stays", async () => {
  const drafts = draftsOf(null);
  for (const place of ["a", "b"]) drafts.set(place, { text: `of ${place}`, attachments: [] });
  const deleted = await drafts.delete();
  drafts.set("a", { text: "x", attachments: [] });
  drafts.set("a", { text: "", attachments: [] });
  drafts.set("b", { text: "newer", attachments: [] });
  drafts.restore(deleted);
  assert.deepEqual(["a", "b"].map((place) => drafts.get(place).text), ["of a", "newer"]);
});

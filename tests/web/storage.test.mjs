/** What is kept, with a database and other tabs that are played. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { newAnswer } from "../../src/chukei/web/answer.js";
import { find } from "../../src/chukei/web/conversations/search.js";
import { newConversation, newId, titleOf } from "../../src/chukei/web/conversations/shape.js";
import { pathOf } from "../../src/chukei/web/conversations/tree.js";
import { AccessKey } from "../../src/chukei/web/storage/access_key.js";
import { ConversationStore } from "../../src/chukei/web/storage/conversations.js";
import { PreferenceStore } from "../../src/chukei/web/storage/preferences.js";
import { FakeDatabase, channels, fakeLocal } from "./fake_storage.mjs";

async function open({ database = null, channel = null, local = null, keep = true } = {}) {
  const store = new ConversationStore({ database: Promise.resolve(database), channel, local, keep });
  store.heard = [];
  for (const type of ["change", "arrived", "gone", "full", "hello", "stop"]) {
    store.addEventListener(type, ({ detail }) => store.heard.push([type, detail]));
  }
  await store.ready;
  return store;
}

const settle = () => new Promise((resolve) => setTimeout(resolve));
const user = (content, parent = null) => ({ id: newId(), parent, role: "user", content });
const assistant = (content, parent, state = "finished") => ({ ...newAnswer("m", 0), id: newId(), parent, content, state });

/** A database with so many conversations, the last one newest. */
async function filled(count) {
  const database = new FakeDatabase();
  const store = await open({ database });
  for (let index = 1; index <= count; index += 1) {
    const conversation = talk(`talk ${index}`, index);
    store.save(conversation, conversation.messages);
  }
  await settle();
  return database;
}

function talk(text, updatedAt = 1) {
  const question = user(text);
  return { ...newConversation(""), updatedAt, messages: [question, assistant(`about ${text}`, question.id)] };
}

/** All conversations with their messages, newest first. */
const whole = async (store) => (await Promise.all(store.list().map(({ id }) => store.read(id)))).filter((one) => one !== undefined);
/** The same without what is noted for the list. */
const plain = (conversations) => conversations.map((conversation) => ({ ...conversation, opening: "" }));
const texts = (conversation) => conversation.messages.map(({ content }) => content);

test("a conversation is there again, and newer ones come first", async () => {
  const database = new FakeDatabase();
  const store = await open({ database });
  const [one, two] = [talk("one", 1), talk("two", 2)];
  for (const conversation of [one, two]) store.save(conversation, conversation.messages);
  await settle();
  const again = await open({ database });
  assert.deepEqual(plain(await whole(again)), [two, one]);
  again.delete([one.id]);
  await settle();
  assert.deepEqual(plain(await whole(await open({ database }))), [two]);
  assert.equal(database.messages.size, 2);
});

test("only what has changed is written, and a growing answer once in a while", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const database = new FakeDatabase();
  const store = await open({ database });
  const conversation = talk("one");
  store.save(conversation, conversation.messages);
  const [, answer] = conversation.messages;
  const batches = [];
  database.write = async (batch) => void batches.push(structuredClone(batch));
  for (let piece = 0; piece < 500; piece += 1) {
    answer.content += ".";
    store.saveSoon(conversation, answer);
    context.mock.timers.tick(10);
  }
  assert.equal(batches.length, 5);
  assert.deepEqual(batches.map(({ rows }) => rows.map(({ message }) => message.id)), Array(5).fill([answer.id]));
  answer.content += "!";
  store.saveSoon(conversation, answer);
  store.flush();
  assert.equal(batches.at(-1).rows[0].message.content, answer.content);
  context.mock.timers.tick(5000);
  assert.equal(batches.length, 6);
});

test("conversations of before are taken over once, and go only when they are kept", async () => {
  const before = JSON.stringify({ id: "old", updatedAt: 5, messages: [{ role: "user", content: "Hello?" }] });
  const local = fakeLocal({ "chukei:conversation:old": before, "chukei:conversation:bad": "{", "chukei:preferences": "{}" });
  const unkept = await open({ local });
  assert.deepEqual(unkept.list().map(({ id }) => id), ["old"]);
  assert.ok("chukei:conversation:old" in local);
  const database = new FakeDatabase();
  const stores = await Promise.all([open({ database, local }), open({ database, local })]);
  for (const store of stores) assert.deepEqual(texts(await store.read("old")), ["Hello?"]);
  assert.deepEqual(Object.keys(local), ["chukei:preferences"]);
  assert.deepEqual(texts(await (await open({ database, local })).read("old")), ["Hello?"]);
});

test("rows of unknown shape are passed over", async () => {
  const database = new FakeDatabase();
  const good = talk("good");
  await database.write({ headings: [good], rows: good.messages.map((message) => ({ conversation: good.id, message })) });
  database.headings = async () => [null, 5, { id: 5 }, { id: "x" }, ...database.all.values()];
  const odd = [null, {}, { conversation: "x" }, { conversation: good.id, message: { id: "y", role: "?" } }];
  database.rows = async () => [...odd, ...database.messages.values()];
  const store = await open({ database });
  assert.deepEqual((await whole(store)).map(texts), [["good", "about good"]]);
  await store.readTexts();
});

test("when the space is used up, the oldest go and the reader is told", async () => {
  const database = new FakeDatabase(8000);
  const store = await open({ database });
  for (let count = 1; count <= 30; count += 1) {
    const conversation = talk(`${count} ${"x".repeat(300)}`, count);
    store.save(conversation, conversation.messages);
    await settle();
  }
  const told = store.heard.filter(([type]) => type === "full").map(([, detail]) => detail);
  assert.ok(told.length > 0);
  assert.ok(told.every(({ removed, isKept }) => removed > 0 && isKept));
  const kept = store.list().map(({ updatedAt }) => updatedAt);
  assert.deepEqual(kept, Array.from(kept, (_, index) => 30 - index));
  assert.deepEqual((await open({ database })).list().map(({ updatedAt }) => updatedAt), kept);
});

test("what finds no room at all stays until the page closes, and little else goes for it", async () => {
  const database = new FakeDatabase(4000);
  const store = await open({ database });
  const small = [talk("1", 1), talk("2", 2)];
  for (const conversation of small) store.save(conversation, conversation.messages);
  await settle();
  const large = talk("x".repeat(10_000), 3);
  store.save(large, large.messages);
  await settle();
  assert.deepEqual(store.heard.at(-1)[0] === "change" ? store.heard.at(-2) : store.heard.at(-1), ["full", { removed: 2, isKept: false }]);
  assert.equal(store.get(large.id), large);
});

test("a database that fails is done without", async () => {
  const database = new FakeDatabase();
  const store = await open({ database });
  assert.ok(store.keeps);
  database.write = async () => {
    throw new DOMException("closed", "InvalidStateError");
  };
  const conversation = talk("one");
  store.save(conversation, conversation.messages);
  await settle();
  assert.ok(!store.keeps);
  assert.deepEqual(store.list(), [conversation]);
  database.headings = async () => {
    throw new DOMException("broken", "UnknownError");
  };
  assert.deepEqual((await open({ database })).list(), []);
});

test("without a wish to keep nothing is kept, and what was is erased", async () => {
  const database = new FakeDatabase();
  const local = fakeLocal({ "chukei:conversation:old": "{}" });
  const [here, there] = channels(2);
  const other = await open({ channel: there });
  const store = await open({ database, local, channel: here });
  const conversation = talk("one");
  store.save(conversation, conversation.messages);
  assert.equal(other.list().length, 1);
  void store.setKeep(false);
  const secret = talk("secret");
  store.save(secret, secret.messages);
  await settle();
  assert.equal(database.all.size + database.messages.size, 0);
  assert.deepEqual(Object.keys(local), []);
  assert.equal(other.list().length, 1);
  assert.equal(store.list().length, 2);
  await store.setKeep(true);
  await settle();
  assert.equal((await open({ database })).list().length, 2);
});

test("two tabs in one conversation lose nothing of each other", async () => {
  const database = new FakeDatabase();
  const [a, b] = channels(2);
  const left = await open({ database, channel: a });
  const conversation = talk("one");
  left.save(conversation, conversation.messages);
  const right = await open({ database, channel: b });
  const copy = await right.read(conversation.id);
  assert.deepEqual(plain([copy]), [conversation]);
  const end = conversation.messages[1].id;
  for (const [store, own, text] of [[left, conversation, "from left"], [right, copy, "from right"]]) {
    const message = user(text, end);
    own.messages.push(message);
    store.save(own, [message]);
  }
  copy.title = "Renamed";
  right.save(copy, []);
  await settle();
  for (const store of [left, right, await open({ database })]) {
    const found = await store.read(conversation.id);
    assert.deepEqual(texts(found).toSorted(), ["about one", "from left", "from right", "one"]);
    assert.equal(found.title, "Renamed");
  }
});

test("what another tab shows does not change what is shown here", async () => {
  const [a, b] = channels(2);
  const left = await open({ channel: a });
  const right = await open({ channel: b });
  const conversation = talk("one");
  left.save(conversation, conversation.messages);
  conversation.chosen = ["x"];
  left.save(conversation, []);
  assert.deepEqual(right.get(conversation.id).chosen, []);
});

test("an answer that another tab is writing goes on here; one that nobody writes was cut", async () => {
  const database = new FakeDatabase();
  const [a, b] = channels(2);
  const left = await open({ database, channel: a });
  const conversation = talk("one");
  const answer = conversation.messages[1];
  answer.state = "streaming";
  left.save(conversation, conversation.messages);
  await settle();
  assert.equal((await (await open({ database })).read(conversation.id)).messages[1].state, "closed");
  left.addEventListener("hello", () => left.save(conversation, [answer]));
  const right = await open({ database, channel: b });
  const copy = (await right.read(conversation.id)).messages[1];
  assert.equal(copy.state, "streaming");
  answer.content += " and more";
  answer.state = "finished";
  left.save(conversation, [answer]);
  assert.equal(right.get(conversation.id).messages[1], copy);
  assert.deepEqual([copy.state, copy.content], ["finished", "about one and more"]);
});

test("what another tab says before all is loaded is not lost and loses nothing", async () => {
  const database = new FakeDatabase();
  const [a, b] = channels(2);
  const left = await open({ database, channel: a });
  const conversation = talk("one");
  left.save(conversation, conversation.messages);
  await settle();
  let opened;
  const right = new ConversationStore({ database: new Promise((resolve) => (opened = resolve)), channel: b, local: null, keep: true });
  const answer = assistant("second", conversation.messages[0].id);
  conversation.messages.push(answer);
  left.save(conversation, [answer]);
  opened(database);
  await right.ready;
  assert.deepEqual(texts(await right.read(conversation.id)), ["one", "about one", "second"]);
  assert.deepEqual(pathOf(right.get(conversation.id)).map(({ content }) => content), ["one", "second"]);
});

test("what is saved before all is loaded is written then", async () => {
  const database = new FakeDatabase();
  let opened;
  const store = new ConversationStore({ database: new Promise((resolve) => (opened = resolve)), channel: null, local: null, keep: true });
  const conversation = talk("early");
  store.save(conversation, conversation.messages);
  assert.equal(database.writes, 0);
  opened(database);
  await store.ready;
  await settle();
  assert.deepEqual((await whole(await open({ database }))).map(texts), [["early", "about early"]]);
});

test("a deleted conversation is gone everywhere, and comes back whole", async () => {
  const database = new FakeDatabase();
  const [a, b] = channels(2);
  const left = await open({ database, channel: a });
  const right = await open({ database, channel: b });
  const conversation = talk("one");
  left.save(conversation, conversation.messages);
  left.delete([conversation.id]);
  assert.deepEqual(right.list(), []);
  assert.deepEqual(right.heard.find(([type]) => type === "gone")[1], [conversation.id]);
  await settle();
  assert.equal(database.messages.size, 0);
  left.save(conversation, []);
  await settle();
  for (const store of [right, await open({ database })]) assert.deepEqual(plain(await whole(store)), [conversation]);
});

test("the list reads headings, and an opened conversation its own messages, once", async () => {
  const database = await filled(50);
  const store = await open({ database });
  await settle();
  assert.deepEqual(database.read, { headings: 50, rows: 0 });
  assert.deepEqual(store.list().map(titleOf), Array.from({ length: 50 }, (_, index) => `talk ${50 - index}`));
  const [{ id }] = store.list();
  assert.equal(store.get(id), undefined);
  const [one, same] = await Promise.all([store.read(id), store.read(id)]);
  assert.equal(one, same);
  assert.equal(store.get(id), one);
  assert.deepEqual(texts(one), ["talk 50", "about talk 50"]);
  await store.read(id);
  assert.equal(database.read.rows, 4); // two readings were under way at once
});

test("a search reads everything once, without pictures, and finds what was read and what is new", async () => {
  const database = await filled(50);
  const picture = { kind: "image", name: "cat.png", type: "image/png", size: 3, data: "data:image/png;base64,AAAA" };
  const before = await open({ database });
  const pictured = { ...talk("Look", 99), messages: [{ ...user("Look"), attachments: [picture] }] };
  before.save(pictured, pictured.messages);
  await settle();
  const [here, there] = channels(2);
  const other = await open({ database, channel: there });
  database.read.rows = 0;
  const store = await open({ database, channel: here });
  const found = (query) => find(store.list(), (conversation) => store.textsOf(conversation), query).map(({ conversation }) => titleOf(conversation));
  await Promise.all([store.readTexts(), store.readTexts()]);
  assert.equal(database.read.rows, 101);
  assert.deepEqual(found("about 17"), ["talk 17"]);
  assert.deepEqual(found("cat.png"), ["Look"]);
  assert.equal(JSON.stringify(store.list().map((one) => store.textsOf(one))).includes("AAAA"), false);
  const far = await other.read(store.list()[20].id);
  const more = user("something new", far.messages.at(-1).id);
  far.messages.push(more);
  other.save(far, [more]);
  assert.deepEqual(found("something new"), [titleOf(far)]);
  assert.deepEqual(texts(await store.read(far.id)), texts(far));
  await store.readTexts();
  assert.equal(database.read.rows, 101 + 2 + 3);
});

test("what was asked lately is found without reading everything", async () => {
  const database = await filled(200);
  const store = await open({ database });
  await store.readTexts(() => store.list().flatMap((one) => store.textsOf(one)).length >= 50);
  assert.equal(database.read.rows, 80);
});

test("headings of the version before are completed, from where an interruption has left them", async () => {
  const database = await filled(30);
  database.forgetOpenings();
  const { amend } = database;
  let count = 0;
  database.amend = async (...parts) => {
    count += 1;
    if (count > 7) throw new DOMException("gone", "AbortError");
    return amend.apply(database, parts);
  };
  await open({ database });
  await settle();
  assert.equal([...database.all.values()].filter(({ opening }) => opening !== undefined).length, 7);
  Object.assign(database, { amend, read: { headings: 0, rows: 0 } });
  const stores = await Promise.all([open({ database }), open({ database })]); // two tabs
  await settle();
  for (const store of stores) assert.deepEqual(store.list().map(titleOf), Array.from({ length: 30 }, (_, index) => `talk ${30 - index}`));
  assert.equal(database.read.rows, 2 * 2 * 23);
  Object.assign(database, { read: { headings: 0, rows: 0 } });
  const later = await open({ database });
  await settle();
  assert.equal(database.read.rows, 0);
  assert.deepEqual((await whole(later)).map(({ messages }) => messages.length), Array(30).fill(2));
});

test("a tab of the version before, which tells no openings, takes none away", async () => {
  const database = await filled(1);
  const [here, there] = channels(2);
  const store = await open({ database, channel: here });
  const [{ opening, ...heading }] = database.all.values();
  there.postMessage({ type: "saved", headings: [{ ...heading, updatedAt: 7 }], rows: [], removed: [] });
  assert.deepEqual(store.list().map((one) => [titleOf(one), one.updatedAt]), [[opening, 7]]);
});

test("a conversation that cannot be read takes no other with it", async () => {
  const database = await filled(30);
  const { rows } = database;
  const broken = [...database.all.keys()][3];
  database.rows = async (ids) => {
    if (ids.includes(broken)) throw new DOMException("damaged", "DataError");
    return rows.call(database, ids);
  };
  const store = await open({ database });
  assert.equal(await store.read(broken), undefined);
  assert.equal((await whole(store)).length, 29);
  await store.readTexts();
  assert.ok(store.keeps);
  assert.equal(store.list().length, 30);
});

test("conversations that were not opened are deleted, erased and thrown out whole", async () => {
  const database = await filled(3);
  const [here, there] = channels(2);
  const [store, other] = [await open({ database, channel: here }), await open({ database, channel: there })];
  const [newest] = store.list();
  const [deleted] = await store.delete([newest.id]);
  assert.deepEqual(texts(deleted), ["talk 3", "about talk 3"]);
  store.save(deleted, deleted.messages);
  await settle();
  assert.equal(database.messages.size, 6);
  for (const tab of [store, other]) void tab.setKeep(false);
  for (const tab of [store, other]) assert.deepEqual((await whole(tab)).map(texts), [3, 2, 1].map((count) => [`talk ${count}`, `about talk ${count}`]));
  assert.equal(database.all.size + database.messages.size, 0);
  await store.setKeep(true);
  await settle();
  assert.equal(database.messages.size, 6);
});

test("messages of other pages on the channel do no harm", async () => {
  const [here, there] = channels(2);
  const store = await open({ channel: here });
  for (const data of [null, 5, "x", {}, { type: "saved" }, { type: "saved", headings: 5, rows: [] }, { type: "saved", headings: [{ id: "a", updatedAt: 1 }], rows: [null, {}] }, { type: "deleted" }, { type: "later" }]) {
    there.postMessage(data);
  }
  assert.deepEqual(store.list().map(({ messages }) => messages), [[]]);
});

test("preferences of another kind than expected are not taken over", () => {
  const local = fakeLocal({ "chukei:preferences": '{"language":5,"theme":"pink","temperature":"1","system":"Be brief.","keepHistory":0,"other":1}' });
  const { current } = new PreferenceStore(local);
  assert.deepEqual([current.language, current.theme, current.temperature, current.system, current.keepHistory], ["", "auto", null, "Be brief.", true]);
  for (const text of ["", "null", "[]", "5", '"x"']) assert.equal(new PreferenceStore(fakeLocal({ "chukei:preferences": text })).current.theme, "auto");
});

test("a tab that sets one preference leaves those that another has set", () => {
  const local = fakeLocal();
  const [one, other] = [new PreferenceStore(local), new PreferenceStore(local)];
  one.set({ theme: "dark" });
  other.set({ temperature: 0.5 });
  const { theme, temperature } = new PreferenceStore(local).current;
  assert.deepEqual([theme, temperature], ["dark", 0.5]);
});

test("the access key is in the session only while there is one", () => {
  const session = fakeLocal();
  const key = new AccessKey(session);
  key.value = "k";
  assert.equal(new AccessKey(session).value, "k");
  key.value = "";
  assert.deepEqual(Object.keys(session), []);
  assert.equal(new AccessKey(null).value, "");
});

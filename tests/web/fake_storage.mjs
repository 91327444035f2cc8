/** What a browser keeps, and its tabs, played. */

/** A database of so many characters, which counts the rows that are read and the characters that are written. */
export class FakeDatabase {
  all = new Map();
  messages = new Map();
  writes = 0;
  written = 0;
  read = { headings: 0, rows: 0 };

  constructor(room = Infinity) {
    this.room = room;
  }

  async headings() {
    this.read.headings += this.all.size;
    return structuredClone([...this.all.values()]);
  }

  async rows(ids) {
    const rows = [...this.messages.values()].filter(({ conversation }) => ids.includes(conversation));
    this.read.rows += rows.length;
    return structuredClone(rows);
  }

  async amend(id, complete) {
    const rows = await this.rows([id]);
    if (this.all.has(id)) this.all.set(id, structuredClone(complete(structuredClone(this.all.get(id)), rows)));
  }

  async write(batch) {
    const { headings, rows, gone = [] } = structuredClone(batch);
    this.writes += 1;
    this.written += JSON.stringify(batch).length;
    const before = [new Map(this.all), new Map(this.messages)];
    for (const heading of headings) this.all.set(heading.id, heading);
    for (const row of rows) this.messages.set(`${row.conversation} ${row.message.id}`, row);
    for (const key of gone) this.messages.delete(key.join(" "));
    if (JSON.stringify([...this.all.values(), ...this.messages.values()]).length <= this.room) return;
    [this.all, this.messages] = before;
    throw new DOMException("full", "QuotaExceededError");
  }

  async take(ids) {
    const taken = [...this.messages].filter(([, { conversation }]) => ids.includes(conversation));
    for (const id of ids) this.all.delete(id);
    for (const [key] of taken) this.messages.delete(key);
    return structuredClone(taken.map(([, row]) => row));
  }

  async clear() {
    const taken = [...this.messages.values()];
    this.all.clear();
    this.messages.clear();
    return structuredClone(taken);
  }

  async keys(prefix) {
    const keys = [...this.messages.values()].map(({ conversation, message }) => [conversation, message.id]);
    return keys.filter(([conversation]) => conversation.startsWith(prefix)).sort((a, b) => (a.join(" ") < b.join(" ") ? -1 : 1));
  }

  /** The version before this one wrote headings without openings. */
  forgetOpenings() {
    for (const heading of this.all.values()) delete heading.opening;
  }
}

/** Tabs hear each other at once, as copies; none hears itself. */
export function channels(count) {
  const tabs = Array.from({ length: count }, () => new EventTarget());
  for (const tab of tabs) {
    tab.postMessage = (data) => {
      for (const other of tabs) {
        if (other !== tab) other.dispatchEvent(Object.assign(new Event("message"), { data: structuredClone(data) }));
      }
    };
  }
  return tabs;
}

/** `Storage`, whose entries are its own properties. */
export function fakeLocal(entries = {}) {
  const storage = Object.create({
    getItem: (key) => (Object.hasOwn(storage, key) ? storage[key] : null),
    setItem: (key, value) => void (storage[key] = value),
    removeItem: (key) => void delete storage[key],
  });
  return Object.assign(storage, entries);
}

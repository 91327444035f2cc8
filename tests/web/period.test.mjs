import assert from "node:assert/strict";
import { test } from "node:test";
import { MOST_DAYS, SPANS, isDay, periodOf } from "../../src/chukei/web/admin/period.js";

const NOW = Date.parse("2026-03-01T09:30:00Z");

test("24 hours are whole hours, the current one the last", () => {
  const { since, until, by, starts, cut } = periodOf("24h", "", NOW);
  assert.deepEqual([since, until, by, cut], ["2026-02-28T10:00:00Z", "2026-03-01T10:00:00Z", "hour", false]);
  assert.equal(starts.length, 24);
  assert.deepEqual([starts[0], starts[14], starts.at(-1)], ["2026-02-28T10:00:00Z", "2026-03-01T00:00:00Z", "2026-03-01T09:00:00Z"]);
});

test("yesterday is the whole day before today, by hour", () => {
  const { since, until, by, starts } = periodOf("yesterday", "", NOW);
  assert.deepEqual([since, until, by, starts.length], ["2026-02-28", "2026-03-01", "hour", 24]);
  assert.equal(starts[0], "2026-02-28T00:00:00Z");
});

test("longer spans are days up to today", () => {
  for (const [span, days] of [["7d", 7], ["30d", 30], ["90d", 90]]) {
    const { until, by, starts } = periodOf(span, "", NOW);
    assert.deepEqual([until, by, starts.length, starts.at(-1)], ["2026-03-02", "day", days, "2026-03-01"]);
  }
  assert.equal(periodOf("30d", "", NOW).since, "2026-01-31");
});

test("every span that can be chosen is one, and anything else is 30 days", () => {
  const usual = periodOf("30d", "", NOW);
  for (const span of SPANS) assert.equal(JSON.stringify(periodOf(span, "", NOW)) === JSON.stringify(usual), span === "30d");
  for (const odd of ["", "31d", "2026-02-30", "toString", "x".repeat(10_000)]) assert.deepEqual(periodOf(odd, "", NOW), usual);
});

test("days from one to another, the last included; few of them by hour", () => {
  const few = periodOf("2026-02-27", "2026-03-01", NOW);
  assert.deepEqual([few.by, few.starts.length, few.until], ["hour", 72, "2026-03-02"]);
  const more = periodOf("2026-02-26", "2026-03-01", NOW);
  assert.deepEqual([more.by, more.starts], ["day", ["2026-02-26", "2026-02-27", "2026-02-28", "2026-03-01"]]);
  assert.equal(periodOf("2026-02-26", "", NOW).until, "2026-03-02");
  assert.equal(periodOf("2026-03-02", "2026-03-01", NOW), null);
});

test("more days than can be drawn are cut, and all are asked for", () => {
  const { since, until, starts, cut } = periodOf("2020-01-01", "2026-03-01", NOW);
  assert.deepEqual([since, until, starts.length, cut], ["2020-01-01", "2026-03-02", MOST_DAYS, true]);
});

test("what a day is", () => {
  for (const day of ["2024-02-29", "2026-12-31"]) assert.equal(isDay(day), true);
  for (const other of ["2026-02-29", "2026-13-01", "26-01-01", "2026-1-1", "2026-01-01T00:00", "9999-01-01", "0000-01-01", ""]) assert.equal(isDay(other), false);
});

test("the zone of whoever looks moves no day, drops none and counts none twice", () => {
  const evening = Date.parse("2026-03-01T02:00:00Z"); // the day before in America
  for (const zone of ["UTC", "Asia/Kolkata", "America/Los_Angeles", "Pacific/Kiritimati"]) {
    process.env.TZ = zone;
    const week = periodOf("7d", "", evening);
    assert.deepEqual([week.since, week.until, week.starts.at(-1)], ["2026-02-23", "2026-03-02", "2026-03-01"], zone);
    let next = week.since;
    for (const day of week.starts) {
      const single = periodOf(day, day, evening);
      assert.equal(single.since, next, zone);
      next = single.until;
    }
    assert.equal(next, week.until, zone);
  }
  delete process.env.TZ;
});

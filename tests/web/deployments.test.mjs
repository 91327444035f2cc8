import assert from "node:assert/strict";
import { test } from "node:test";

import { byName } from "../../src/chukei/web/admin/views/deployments/list.js";

test("a deployment of several models is listed once, and those in trouble come first", () => {
  const each = (deployment, status) => ({ deployment, status });
  const models = {
    chat: [each("east", "ready"), each("west", "cooling")],
    fast: [each("east", "ready"), each("north", "open"), each("south", "drained"), each("full", "full")],
  };
  const found = byName(models);
  assert.deepEqual(found.map(({ deployment }) => deployment), ["north", "west", "full", "east", "south"]);
  assert.deepEqual(found.find(({ deployment }) => deployment === "east").models, ["chat", "fast"]);
});

import assert from "node:assert/strict";
import { test } from "node:test";

import { flattened, found } from "../../src/chukei/web/admin/views/configuration/settings.js";

const CONFIGURATION = {
  settings: {
    server: { port: 7000, host: "127.0.0.1", cors_origins: [] },
    models: { "gpt-4.1": { deployments: ["east", "west"], parameters: { tools: [{ type: "x" }], top_p: 1 } } },
    upstream: { proxies: {}, ca_file: null, plain_http: false },
  },
  places: [
    { path: ["server", "port"], place: "CHUKEI_SERVER__PORT" },
    { path: ["models", "gpt-4.1", "deployments"], place: "relay.toml" },
    { path: ["models", "gpt-4.1", "parameters"], place: "relay.toml" },
  ],
  restart: ["server.port", "server.host"],
};

const lines = Object.fromEntries(flattened(CONFIGURATION).map((each) => [each.path.join(" "), each]));

test("every value is a line with its place", () => {
  assert.deepEqual(lines["server port"], { path: ["server", "port"], value: "7000", place: "CHUKEI_SERVER__PORT", restart: true });
  assert.deepEqual(lines["server host"], { path: ["server", "host"], value: "127.0.0.1", place: null, restart: true });
  assert.equal(lines["models gpt-4.1 deployments"].value, "east, west");
  assert.equal(lines["upstream plain_http"].value, "false");
});

test("what lies in a table that was set comes from the same place", () => {
  assert.equal(lines["models gpt-4.1 parameters top_p"].place, "relay.toml");
  assert.equal(lines["models gpt-4.1 parameters tools"].value, '{"type":"x"}');
});

test("empty lists and tables are not set", () => {
  for (const name of ["server cors_origins", "upstream proxies", "upstream ca_file"]) assert.equal(lines[name].value, null);
});

test("a search looks at names, values and places, for all of its words", () => {
  const names = (search, all) => found(flattened(CONFIGURATION), search, all).map(({ path }) => path.join("."));
  assert.deepEqual(names("", false).length, 4);
  assert.deepEqual(names("", true).length, 9);
  assert.deepEqual(names("SERVER 127", true), ["server.host"]);
  assert.deepEqual(names("chukei_server", true), ["server.port"]);
  assert.deepEqual(names("models.gpt-4.1 west", true), ["models.gpt-4.1.deployments"]);
  assert.deepEqual(names("nothing like it", true), []);
});

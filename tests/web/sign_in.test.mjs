import assert from "node:assert/strict";
import { test } from "node:test";
import { KeyCredential, TokenCredential } from "../../src/chukei/web/admin/credentials.js";
import { SignIn, challengeOf, takeReturn } from "../../src/chukei/web/admin/sign_in.js";

const PROVIDER = { authorize: "https://login.example/authorize", token: "https://login.example/token", client_id: "app", scope: "app/Use" };
const PAGE = "https://relay.example/admin";

function fakeStorage() {
  const kept = new Map();
  return {
    getItem: (name) => kept.get(name) ?? null,
    setItem: (name, value) => kept.set(name, value),
    removeItem: (name) => kept.delete(name),
    kept,
  };
}

/** The page comes back with a fragment; returns what it took, and the address that it left behind. */
function back(storage, hash) {
  const left = [];
  const found = takeReturn(storage, { hash }, { replaceState: (_state, _title, address) => left.push(address) });
  return { found, left };
}

/** Answers of the token endpoint, in order; `sent` has what was asked. */
async function redeeming(answers, work) {
  const sent = [];
  const real = globalThis.fetch;
  globalThis.fetch = async (url, init) => {
    sent.push({ url, ...Object.fromEntries(init.body) });
    const [status, body] = answers.shift();
    return new Response(typeof body === "string" ? body : JSON.stringify(body), { status });
  };
  try {
    return { sent, result: await work() };
  } finally {
    globalThis.fetch = real;
  }
}

const idToken = (nonce) => `x.${Buffer.from(JSON.stringify({ nonce })).toString("base64url")}.y`;
const code = (expected) => (error) => error.failure.kind === "access" && error.failure.code === expected;

test("the challenge is that of RFC 7636, appendix B", async () => {
  assert.equal(await challengeOf("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
});

test("each question has a state, a nonce and a verifier of its own, and only a digest of the last goes along", async () => {
  const signIn = new SignIn(PROVIDER, PAGE);
  const seen = new Set();
  for (let round = 0; round < 20; round++) {
    const storage = fakeStorage();
    const query = new URL(await signIn.begin(storage, "#/keys", false)).searchParams;
    const { state, nonce, verifier, address } = JSON.parse([...storage.kept.values()][0]);
    assert.equal(address, "#/keys");
    assert.match(verifier, /^[A-Za-z0-9_-]{43}$/);
    assert.deepEqual([query.get("state"), query.get("nonce"), query.get("code_challenge")], [state, nonce, await challengeOf(verifier)]);
    assert.ok(!query.toString().includes(verifier));
    for (const each of [state, nonce, verifier]) seen.add(each);
  }
  assert.equal(seen.size, 60);
});

test("what the login service put into the address is taken once, and removed", async () => {
  const storage = fakeStorage();
  await new SignIn(PROVIDER, PAGE).begin(storage, "#/audit", false);
  const first = back(storage, "#code=c&state=s");
  assert.deepEqual(first.left, ["#/audit"]);
  assert.equal(first.found.asked.address, "#/audit");
  assert.equal(storage.kept.size, 0);
  assert.equal(back(storage, "#code=c&state=s").found.asked, null);
});

test("addresses of views are left alone, whatever they hold", () => {
  for (const hash of ["", "#", "#/usage", "#/usage?code=429&state=active", "#content", "#code=c", "#state=s"]) {
    assert.deepEqual(back(fakeStorage(), hash), { found: null, left: [] }, hash);
  }
});

test("storage that is missing or holds nonsense is nothing that was asked", () => {
  const storage = fakeStorage();
  storage.setItem("chukei:sign-in", "{");
  for (const each of [storage, null]) assert.equal(back(each, "#error=access_denied&state=s").found.asked, null);
});

test("a code is redeemed with its verifier, and only for its own state and nonce", async () => {
  const signIn = new SignIn(PROVIDER, PAGE);
  const asked = { state: "s", nonce: "n", verifier: "v", address: "" };
  const fields = new URLSearchParams({ code: "c", state: "s" });
  const tokens = { access_token: "a", refresh_token: "r", expires_in: 3600, id_token: idToken("n") };
  const { sent, result } = await redeeming([[200, tokens]], () => signIn.finish({ fields, asked }));
  assert.deepEqual(result, { access: "a", refresh: "r", seconds: 3600 });
  assert.deepEqual(sent, [
    {
      url: PROVIDER.token,
      client_id: "app",
      scope: "openid profile offline_access app/Use",
      grant_type: "authorization_code",
      code: "c",
      redirect_uri: PAGE,
      code_verifier: "v",
    },
  ]);
  for (const wrong of [{ ...asked, state: "other" }, null]) await assert.rejects(signIn.finish({ fields, asked: wrong }), code("sign_in_state"));
  for (const id of [idToken("other"), "", "x", undefined, "x.%%.y"]) {
    await assert.rejects(redeeming([[200, { ...tokens, id_token: id }]], () => signIn.finish({ fields, asked })), code("sign_in_state"));
  }
});

test("errors are sorted by what a reader can do, with the first line of the login service's words", async () => {
  const signIn = new SignIn(PROVIDER, PAGE);
  const asked = { state: "s", nonce: "n", verifier: "v", address: "" };
  const denied = new URLSearchParams({ error: "access_denied", state: "s", error_description: "AADSTS65004: No.\r\nTrace ID: 1" });
  await assert.rejects(signIn.finish({ fields: denied, asked }), (error) => code("sign_in_denied")(error) && error.failure.message === "AADSTS65004: No.");
  const cases = [
    [400, { error: "invalid_grant" }, "sign_in_ended"],
    [400, { error: "invalid_client" }, "sign_in_registration"],
    [503, "<html>", "sign_in_later"],
    [200, { token_type: "Bearer" }, "sign_in_registration"],
    [200, "<html>", "sign_in_registration"],
  ];
  for (const [status, body, expected] of cases) await assert.rejects(redeeming([[status, body]], () => signIn.renew("r")), code(expected));
});

test("a key that no header can carry is not sent", async () => {
  assert.equal(await new KeyCredential("key").token(), "key");
  assert.equal(await new KeyCredential("key").renew(), false);
  for (const key of ["", "two words", "鍵", "a\nb"]) await assert.rejects(new KeyCredential(key).token(), (error) => error.failure.kind === "access");
});

test("a token is renewed shortly before its end, once for all who ask at the same time", async () => {
  let now = 0;
  const asked = [];
  const refresh = async (token) => {
    asked.push(token);
    return { access: `access-${asked.length}`, refresh: asked.length === 1 ? "second" : null, seconds: 3600 };
  };
  const credential = new TokenCredential({ access: "access-0", refresh: "first", seconds: 3600 }, refresh, () => now);
  now = 3479_000;
  assert.equal(await credential.token(), "access-0");
  now = 3481_000;
  assert.deepEqual(await Promise.all([credential.token(), credential.token(), credential.token()]), ["access-1", "access-1", "access-1"]);
  assert.deepEqual(asked, ["first"]);
  assert.equal(await credential.renew(), true);
  assert.equal(await credential.renew(), true);
  assert.deepEqual(asked, ["first", "second", "second"], "a refresh token that is not replaced still holds");
});

test("while a token still holds, a renewal that fails is no failure", async () => {
  let now = 0;
  const refresh = async () => {
    throw new TypeError("offline");
  };
  const credential = new TokenCredential({ access: "a", refresh: "r", seconds: 3600 }, refresh, () => now);
  now = 3500_000;
  assert.equal(await credential.token(), "a");
  now = 3600_000;
  await assert.rejects(credential.token(), TypeError);
  const without = new TokenCredential({ access: "a", refresh: null, seconds: 0 }, refresh, () => now);
  await assert.rejects(without.token(), code("sign_in_ended"));
});

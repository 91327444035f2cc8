"""What stock clients, browsers and plugins send without being told to: spare slashes, other prefixes, made-up
credentials, handshakes, and where a page comes from."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from openai import AzureOpenAI
from tests.live.both_hosts import KINDS, Host, Hosts, Setup, resource
from tests.live.plain_http import CHAT, JSON, ask, post
from tests.live.simulated import Upstream
from tests.live.test_keys_of_callers import PEPPER, Commands

pytestmark = pytest.mark.anyio

Fields = Sequence[tuple[str, str]]

KEY = "relay-key-0123456789"
KEYED = Setup("keyed", resource({"CHUKEI_API_KEY": KEY}))
LOOPBACK = Setup("loopback", resource({"CHUKEI_SERVER__CORS_ORIGINS": "https://app.example"}))
DATED = "?api-version=2024-10-21"

AT = [
    f"//openai/deployments/gpt-4o/chat/completions{DATED}",
    f"/openai//deployments/gpt-4o/chat/completions{DATED}",
    f"/openai/deployments/gpt-4o/chat/completions/{DATED}",
    f"/openai/chat/completions{DATED}",
    "/openai/chat/completions",
    "//v1//chat/completions",
    "/models/chat/completions?api-version=2024-05-01-preview",
    "//models/chat/completions",
]
"""Where chats are asked for: by base URLs that end in a slash, @ai-sdk/azure, and the client of Azure AI Foundry."""


@pytest.mark.parametrize("target", AT)
async def test_a_chat_is_served_wherever_clients_look_for_it(host: Host, upstream: Upstream, target: str) -> None:
    answer = await post(host.url, target, CHAT, [("extra-parameters", "pass-through")])
    assert answer.status == 200, answer
    assert answer.json()["choices"][0]["message"]["content"] == "one two"
    assert upstream.only.path.endswith("/chat/completions")
    assert "extra-parameters" not in upstream.only.headers


NOT_HERE = [
    ("GET", "/v1/threads/thread_1", "route_not_served", "call the resource itself"),
    ("GET", "/v1/files", "route_not_served", "setting objects.model"),
    ("POST", f"/openai/files{DATED}", "route_not_served", "setting objects.model"),
    ("POST", "/v1/moderations", "route_not_served", "call the resource itself"),
    ("POST", f"/openai/deployments/gpt-4o/images/variations{DATED}", "route_not_served", "call the resource itself"),
    ("GET", "/models/info", "route_not_served", "call the resource itself"),
    ("POST", "/v1/v1/chat/completions", "unknown_route", "leave it out of its base URL"),
    ("POST", f"/openai/deployments//chat/completions{DATED}", "unknown_route", "name is empty"),
    ("POST", "/chat/completions", "unknown_route", "Did you mean /v1/chat/completions?"),
    ("GET", "//admin/keys", "unknown_route", "no route '//admin/keys'"),
]


@pytest.mark.parametrize(("method", "target", "code", "advice"), NOT_HERE)
async def test_what_is_not_served_is_told_apart_from_a_wrong_address(
    host: Host, upstream: Upstream, method: str, target: str, code: str, advice: str
) -> None:
    answer = await ask(host.url, method, target, [JSON], CHAT if method == "POST" else b"")
    assert (answer.status, answer.error["code"]) == (404, code)
    assert advice in answer.error["message"]
    assert upstream.exchanges == []


HANDSHAKE = [
    ("connection", "Upgrade"),
    ("upgrade", "websocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
]


@pytest.mark.parametrize("path", ["/v1/responses", "/openai/v1/responses", "//v1/responses", "/v1/realtime"])
async def test_a_handshake_of_websocket_is_refused_for_good(hosts: Hosts, path: str) -> None:
    """Where they are switched off, before any credential is looked at: then clients that can do so use HTTP at once."""
    off = replace(KEYED, name="without-sockets", environment={**KEYED.environment, "CHUKEI_SOCKETS__ENABLED": "false"})
    answer = await ask(hosts.get("server", off).url, "GET", f"{path}?model=gpt-4o", HANDSHAKE)
    assert (answer.status, answer.error["code"]) == (426, "websocket_not_supported")
    assert answer.header("upgrade") == "HTTP/1.1"


SITES = [("cross-site", 403), ("same-site", 403), ("same-origin", 200), ("none", 200), ("nonsense", 403)]


@pytest.mark.parametrize(("site", "status"), SITES)
async def test_a_plain_get_of_another_sites_page(hosts: Hosts, site: str, status: int) -> None:
    """It has no Origin, but browsers say where it comes from. On Functions nobody is served without a key."""
    for path in ("/v1/models", "/v1/usage", "/health/deployments", "//v1/models"):
        answer = await ask(hosts.get("server", LOOPBACK).url, "GET", path, [("sec-fetch-site", site)])
        if status == 403:
            assert (answer.status, answer.error["code"]) == (403, "origin_not_allowed"), path
        else:
            assert answer.status in (200, 404), path
    answer = await ask(hosts.get("functions", LOOPBACK).url, "GET", "/v1/models", [("sec-fetch-site", site)])
    assert (answer.status, answer.error["code"]) == (401, "invalid_api_key")


async def test_with_a_key_it_does_not_matter_where_a_request_comes_from(hosts: Hosts) -> None:
    for site in ("cross-site", "same-site"):
        fields = [("sec-fetch-site", site), ("api-key", KEY)]
        assert (await ask(hosts.get("server", KEYED).url, "GET", "/v1/models", fields)).status == 200


@pytest.mark.parametrize(("kind", "slash"), [("server", ""), ("functions", "/")])
def test_the_azure_client_with_a_made_up_bearer_token(hosts: Hosts, kind: str, slash: str) -> None:
    client = AzureOpenAI(
        azure_endpoint=hosts.get(kind, KEYED).url + slash,
        api_key=KEY,
        api_version="2024-10-21",
        default_headers={"authorization": "Bearer dummy"},
        max_retries=0,
    )
    with client:
        answer = client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "repeat: a"}])
    assert answer.choices[0].message.content == "a"


async def test_models_began_when_the_relay_did(hosts: Hosts) -> None:
    """Clients sort by `created`, and some refuse 0."""
    began = [
        (await ask(hosts.get(kind, KEYED).url, "GET", "/v1/models", [("api-key", KEY)])).json()["data"][0]["created"]
        for kind in KINDS
    ]
    assert all(1_764_000_000 < each <= time.time() for each in began)


# Keys that only the database knows.


class Keyring:
    """Relays of both kinds on one database that holds one key."""

    def __init__(self, hosts: Hosts, folder: Path) -> None:
        stores = {"CHUKEI_STORES__LEDGER": f"sqlite:///{folder}/keys.db", "CHUKEI_AUTH__PEPPER": PEPPER}
        commands = Commands(stores)
        self.key = commands.run("create", "team-a")
        self.other = commands.run("create", "team-b")
        self._hosts = hosts
        self._setup = Setup("keys-of-the-database", resource(stores | {"CHUKEI_AUTH__FAILURES_PER_MINUTE": "0"}))

    def url(self, kind: str) -> str:
        """Return the address of the relay of that kind."""
        return self._hosts.get(kind, self._setup).url


@pytest.fixture(scope="module")
def keyring(hosts: Hosts, tmp_path_factory: pytest.TempPathFactory) -> Keyring:
    return Keyring(hosts, tmp_path_factory.mktemp("keyring"))


# Credentials, in which {key} and {other} are keys of two callers; status and code on the machine itself; on Functions.
SENT: list[tuple[Fields, tuple[int, str], tuple[int, str]]] = [
    ([], (200, ""), (401, "invalid_api_key")),
    ([("authorization", "Bearer {key}")], (200, ""), (200, "")),
    ([("api-key", "{key}")], (200, ""), (200, "")),
    ([("api-key", "{key}"), ("authorization", "Bearer dummy")], (200, ""), (200, "")),
    ([("x-api-key", "{key}"), ("authorization", "Basic dTpw")], (200, ""), (200, "")),
    ([("api-key", "dummy")], (401, "invalid_api_key"), (401, "invalid_api_key")),
    ([("authorization", "Bearer unused")], (401, "invalid_api_key"), (401, "invalid_api_key")),
    ([("authorization", "Basic dTpw")], (401, "invalid_api_key"), (401, "invalid_api_key")),
    ([("api-key", "{key}x")], (401, "invalid_api_key"), (401, "invalid_api_key")),
    (
        [("api-key", "{key}"), ("authorization", "Bearer {other}")],
        (400, "ambiguous_credentials"),
        (400, "ambiguous_credentials"),
    ),
]


@pytest.mark.parametrize(("fields", "server", "functions"), SENT)
async def test_a_credential_that_is_sent_must_be_right_once_a_key_exists(
    keyring: Keyring, upstream: Upstream, fields: Fields, server: tuple[int, str], functions: tuple[int, str]
) -> None:
    sent = [(name, value.format(key=keyring.key, other=keyring.other)) for name, value in fields]
    served = 0
    for kind, (status, code) in (("server", server), ("functions", functions)):
        answer = await post(keyring.url(kind), "/v1/chat/completions", CHAT, sent)
        assert answer.status == status, (kind, answer)
        if code:
            assert answer.error["code"] == code
        served += status == 200
    assert len(upstream.exchanges) == served

"""Access to the relay: pages of other sites, local callers, the shared key, host names."""

import asyncio
from collections.abc import Sequence

import pytest
from tests.live.both_hosts import UPSTREAM_KEY, Host, Hosts, Setup, resource
from tests.live.plain_http import CHAT, Answer, ask, post
from tests.live.simulated import Upstream

pytestmark = pytest.mark.anyio

Fields = Sequence[tuple[str, str]]

KEY = "relay-key-0123456789"
KEYED = Setup("keyed", resource({"CHUKEI_API_KEY": KEY}))
LOOPBACK = Setup("loopback", resource({"CHUKEI_SERVER__CORS_ORIGINS": "https://app.example"}))
HOSTED = Setup(
    "hosted", resource({"CHUKEI_AUTH__ANONYMOUS": "true", "CHUKEI_SERVER__ALLOWED_HOSTS": "relay.example,127.0.0.1"})
)


@pytest.fixture
def keyed(hosts: Hosts) -> Host:
    """The relay with one key for all."""
    return hosts.get("server", KEYED)


def preflight(origin: str) -> Fields:
    return [
        ("origin", origin),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "authorization,content-type,x-stainless-os"),
    ]


class TestOtherSites:
    async def test_preflight_of_an_allowed_one(self, host: Host) -> None:
        answer = await ask(host.url, "OPTIONS", "/v1/chat/completions", preflight("https://app.example"))
        assert answer.status == 204
        assert answer.header("access-control-allow-origin") == "https://app.example"
        assert "POST" in (answer.header("access-control-allow-methods") or "")
        assert answer.header("access-control-allow-headers") == "authorization,content-type,x-stainless-os"
        assert answer.header("access-control-allow-credentials") is None
        assert "origin" in (answer.header("vary") or "")

    @pytest.mark.parametrize("origin", ["https://evil.example", "https://app.example.evil.example", "null", ""])
    async def test_preflight_of_another(self, host: Host, origin: str) -> None:
        answer = await ask(host.url, "OPTIONS", "/v1/chat/completions", preflight(origin))
        assert (answer.status, answer.error["code"]) == (403, "origin_not_allowed")
        assert not any(name.startswith("access-control-") for name in answer.names)

    @pytest.mark.parametrize("model", ["gpt-4o", "fault-429"])
    async def test_answers_to_an_allowed_one(self, host: Host, model: str) -> None:
        body = CHAT.replace(b"{", b'{"model":"%s",' % model.encode(), 1)
        answer = await post(host.url, "/v1/chat/completions", body, [("origin", "https://app.example")])
        assert answer.header("access-control-allow-origin") == "https://app.example"
        assert "x-request-id" in (answer.header("access-control-expose-headers") or "")
        assert answer.header("vary") == "origin"

    async def test_answers_to_another(self, host: Host) -> None:
        answer = await post(host.url, "/v1/chat/completions", CHAT, [("origin", "https://evil.example")])
        assert "access-control-allow-origin" not in answer.names
        assert answer.header("vary") == "origin"


class TestOnThisMachineOnly:
    """Without a key and without `anonymous`, only this machine's own users are served, and not through a page of
    another site, a proxy or a name that was rebound to the loopback address. On Functions nobody is local."""

    async def call(self, hosts: Hosts, kind: str, headers: Fields = (), path: str = "/v1/chat/completions") -> Answer:
        return await post(hosts.get(kind, LOOPBACK).url, path, CHAT, headers)

    async def test_a_local_caller_is_served(self, hosts: Hosts) -> None:
        assert (await self.call(hosts, "server")).status == 200

    async def test_a_caller_of_http_1_0_may_be_a_proxy(self, hosts: Hosts) -> None:
        """nginx's own default; it sends the address it connects to as Host and adds no field of its own."""
        host, port = hosts.get("server", LOOPBACK).url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        head = f"POST /v1/chat/completions HTTP/1.0\r\nhost: {host}:{port}\r\ncontent-type: application/json\r\n"
        writer.write(head.encode() + b"content-length: %d\r\n\r\n" % len(CHAT) + CHAT)
        assert (await reader.read()).startswith(b"HTTP/1.1 401 ")
        writer.close()
        await writer.wait_closed()

    @pytest.mark.parametrize("name", ["localhost:{port}", "LOCALHOST", "127.0.0.1", "[::1]:{port}"])
    async def test_by_any_of_its_names(self, hosts: Hosts, name: str) -> None:
        port = hosts.get("server", LOOPBACK).url.rpartition(":")[2]
        assert (await self.call(hosts, "server", [("host", name.format(port=port))])).status == 200

    async def test_on_functions_nobody_is_local(self, hosts: Hosts, upstream: Upstream) -> None:
        for path in ("/v1/chat/completions", "/api/chat-stream"):
            answer = await self.call(hosts, "functions", path=path)
            assert (answer.status, answer.error["code"]) == (401, "invalid_api_key")
            assert "CHUKEI_API_KEY" in answer.error["message"]
        assert upstream.exchanges == []

    @pytest.mark.parametrize(
        "field",
        [
            ("x-forwarded-for", "127.0.0.1"),
            ("forwarded", "for=127.0.0.1"),
            ("x-forwarded-host", "localhost"),
            ("x-real-ip", "127.0.0.1"),
            ("via", "1.1 nginx"),
            ("host", "attacker.example"),
            ("host", "localhost.attacker.example"),
            ("host", "127.0.0.1.nip.io:80"),
        ],
    )
    async def test_not_through_a_proxy_or_another_name(
        self, hosts: Hosts, upstream: Upstream, field: tuple[str, str]
    ) -> None:
        answer = await self.call(hosts, "server", [field])
        assert answer.status == 401
        assert upstream.exchanges == []

    @pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:1", "http://127.0.0.1"])
    async def test_not_through_another_sites_page(self, hosts: Hosts, upstream: Upstream, origin: str) -> None:
        """A page can post without a preflight, so the refusal must come before the upstream is asked."""
        answer = await self.call(hosts, "server", [("origin", origin), ("content-type", "text/plain")])
        assert (answer.status, answer.error["code"]) == (403, "origin_not_allowed")
        answer = await self.call(hosts, "server", [("origin", origin)])
        assert answer.status == 403
        assert upstream.exchanges == []

    async def test_through_its_own_page_and_an_allowed_site(self, hosts: Hosts) -> None:
        own = hosts.get("server", LOOPBACK).url
        for origin in (own, "https://app.example"):
            assert (await self.call(hosts, "server", [("origin", origin)])).status == 200


def refused(answer: Answer) -> None:
    assert answer.status == 401
    assert (answer.error["type"], answer.error["code"]) == ("authentication_error", "invalid_api_key")
    assert answer.header("www-authenticate") == 'Bearer realm="chukei"'
    assert answer.header("x-request-id")
    assert KEY.encode() not in answer.body


class TestSharedKey:
    @pytest.mark.parametrize(
        "field",
        [
            ("authorization", f"Bearer {KEY}"),
            ("authorization", f"bearer  {KEY}"),
            ("api-key", KEY),
            ("x-api-key", KEY),
        ],
    )
    async def test_right(self, keyed: Host, upstream: Upstream, field: tuple[str, str]) -> None:
        assert (await post(keyed.url, "/v1/chat/completions", CHAT, [field])).status == 200
        assert (await ask(keyed.url, "GET", "/v1/models", [field])).status == 200
        assert KEY not in f"{upstream.only.headers}"

    async def test_the_same_key_twice(self, keyed: Host) -> None:
        """The AzureOpenAI client with a token sends one, others both; the same key is no contradiction."""
        fields = [("authorization", f"Bearer {KEY}"), ("api-key", KEY)]
        assert (await post(keyed.url, "/v1/chat/completions", CHAT, fields)).status == 200

    @pytest.mark.parametrize(
        "fields",
        [
            [],
            [("api-key", "")],
            [("api-key", KEY[:-1])],
            [("api-key", KEY + "0")],
            [("api-key", KEY.upper())],
            [("authorization", f"Bearer {KEY}x")],
            [("authorization", "Bearer")],
            [("authorization", "Bearer ")],
            [("authorization", f"Basic {KEY}")],
            [("authorization", KEY)],
            [("cookie", f"api-key={KEY}")],
            [("x-functions-key", KEY)],
            [("api-key", "k" * 20_000)],
            [("api-key", "\xff")],
        ],
    )
    async def test_wrong(self, keyed: Host, upstream: Upstream, fields: Fields) -> None:
        for path in ("/v1/chat/completions", "/openai/deployments/x/chat/completions"):
            refused(await post(keyed.url, path, CHAT, fields))
        assert upstream.exchanges == []

    async def test_on_functions_as_well(self, hosts: Hosts, upstream: Upstream) -> None:
        """The fields are those that the platform hands on; what is compared is the same code."""
        url = hosts.get("functions", KEYED).url
        for fields in ([("authorization", f"bearer  {KEY}")], [("authorization", "Bearer x"), ("api-key", KEY)]):
            assert (await post(url, "/v1/chat/completions", CHAT, fields)).status == 200
            assert KEY not in f"{upstream.exchanges[-1].headers}"
        for fields in ([], [("api-key", KEY.upper())], [("x-functions-key", KEY)], [("api-key", "\xff")]):
            refused(await post(url, "/v1/chat/completions", CHAT, fields))
        assert (await ask(url, "GET", "/health/ready")).status == 200
        assert len(upstream.exchanges) == 2

    async def test_not_in_the_address(self, keyed: Host) -> None:
        answer = await post(keyed.url, f"/v1/chat/completions?api-key={KEY}&code={KEY}", CHAT)
        assert answer.status == 401

    @pytest.mark.parametrize(
        "fields",
        [
            [("authorization", "Bearer other"), ("api-key", KEY)],
            [("authorization", f"Bearer {KEY}"), ("api-key", "other")],
            [("authorization", "Basic dTpw"), ("x-api-key", KEY)],
            [("authorization", "Bearer"), ("api-key", ""), ("x-api-key", KEY)],
        ],
    )
    async def test_what_is_none_beside_it(self, keyed: Host, upstream: Upstream, fields: Fields) -> None:
        """Many clients fill every carrier with something."""
        answer = await post(keyed.url, "/v1/chat/completions", CHAT, fields)
        assert answer.status == 200
        assert not {"other", "Basic dTpw", KEY} & set(upstream.only.headers.values())

    async def test_only_such_that_are_none(self, keyed: Host, upstream: Upstream) -> None:
        fields = [("authorization", "Bearer other"), ("api-key", KEY + "0")]
        answer = await post(keyed.url, "/v1/chat/completions", CHAT, fields)
        assert (answer.status, answer.error["code"]) == (401, "invalid_api_key")
        assert upstream.exchanges == []

    @pytest.mark.parametrize("name", ["authorization", "api-key"])
    async def test_one_field_twice(self, keyed: Host, upstream: Upstream, name: str) -> None:
        fields = [(name, f"Bearer {KEY}" if name == "authorization" else KEY)] * 2
        answer = await post(keyed.url, "/v1/chat/completions", CHAT, fields)
        assert (answer.status, answer.error["code"]) == (400, "ambiguous_request")
        assert upstream.exchanges == []

    async def test_what_needs_none(self, keyed: Host) -> None:
        """The page must load to ask for the key, and probes have none."""
        for path in ("/", "/web/main.js", "/health/live", "/health/ready"):
            assert (await ask(keyed.url, "GET", path)).status == 200
        for path in ("/v1/models", "/v1/models/gpt-4o", "/api/test-stream", "/health/deployments"):
            assert (await ask(keyed.url, "GET", path)).status == 401

    async def test_the_state_of_deployments(self, keyed: Host, upstream: Upstream) -> None:
        fields = [("authorization", f"Bearer {KEY}")]
        assert (await post(keyed.url, "/v1/chat/completions", CHAT, fields)).status == 200
        answer = await ask(keyed.url, "GET", "/health/deployments", fields)
        assert (answer.status, answer.header("cache-control")) == (200, "no-store")
        [shown] = answer.json()["models"]["gpt-4o"]
        assert (shown["deployment"], shown["status"], shown["outstanding"]) == ("azure", "ready", 0)
        assert shown["answered"] >= 1
        for hidden in (KEY, UPSTREAM_KEY, "127.0.0.1", "http"):
            assert hidden.encode() not in answer.body


class TestAllowedHosts:
    @pytest.mark.parametrize(
        ("name", "status"),
        [("relay.example", 200), ("RELAY.example:8443", 200), ("evil.example", 421), ("relay.example.evil", 421)],
    )
    async def test_names(self, hosts: Hosts, name: str, status: int) -> None:
        answer = await post(hosts.get("server", HOSTED).url, "/v1/chat/completions", CHAT, [("host", name)])
        assert answer.status == status

    async def test_anonymous_needs_no_name(self, host: Host) -> None:
        fields = [("host", "whatever.example"), ("x-forwarded-for", "203.0.113.9")]
        assert (await post(host.url, "/v1/chat/completions", CHAT, fields)).status == 200

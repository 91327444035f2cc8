"""What the relay does around a call, the same on both hosts: routes, headers in both directions, access, pages."""

import asyncio
import re
from collections.abc import Sequence

import pytest
from tests.live.both_hosts import CLIENT_KEY, KINDS, NAMED, OPEN, UPSTREAM_KEY, Host, Hosts, Setup, resource
from tests.live.functions_host import ROOT
from tests.live.plain_http import CHAT, JSON, STREAM, Answer, ask, connection, parse, post, receive, request
from tests.live.simulated import Upstream

pytestmark = pytest.mark.anyio

Fields = Sequence[tuple[str, str]]

KEY = "relay-key-0123456789"
KEYED = Setup("keyed", resource({"CHUKEI_API_KEY": KEY}))
LOOPBACK = Setup("loopback", resource({"CHUKEI_SERVER__CORS_ORIGINS": "https://app.example"}))
HOSTED = Setup(
    "hosted", resource({"CHUKEI_AUTH__ANONYMOUS": "true", "CHUKEI_SERVER__ALLOWED_HOSTS": "relay.example,127.0.0.1"})
)
SIMULATED = Setup("simulated", {"CHUKEI_AUTH__ANONYMOUS": "true"})

NEW_ID = re.compile(r"req_[0-9a-f]{32}")


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


FORM = [("content-type", "multipart/form-data; boundary=b")]
FORM_BODY = (
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\nRIFF\r\n'
    b'--b\r\nContent-Disposition: form-data; name="prompt"\r\n\r\nhello\r\n'
    b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\nPNG\r\n--b--\r\n'
)
OPERATIONS = {
    "chat/completions": ([JSON], CHAT),
    "responses": ([JSON], b'{"input":"repeat: one two"}'),
    "completions": ([JSON], b'{"prompt":"repeat: one two"}'),
    "embeddings": ([JSON], b'{"input":"one"}'),
    "images/generations": ([JSON], b'{"prompt":"one"}'),
    "images/edits": (FORM, FORM_BODY),
    "audio/transcriptions": (FORM, FORM_BODY),
    "audio/translations": (FORM, FORM_BODY),
    "audio/speech": ([JSON], b'{"input":"one","voice":"alloy"}'),
}


class TestRoutes:
    @pytest.mark.parametrize("slash", ["", "/"])
    @pytest.mark.parametrize("operation", OPERATIONS)
    @pytest.mark.parametrize("prefix", ["/v1", "/openai/v1"])
    async def test_openai_shaped(self, host: Host, upstream: Upstream, prefix: str, operation: str, slash: str) -> None:
        headers, body = OPERATIONS[operation]
        answer = await ask(host.url, "POST", f"{prefix}/{operation}{slash}?api-version=preview", headers, body)
        assert answer.status == 200
        assert upstream.only.path == f"/openai/v1/{operation}"
        assert upstream.only.query == {}
        assert upstream.only.deployment == "gpt-4o"

    @pytest.mark.parametrize("operation", [name for name in OPERATIONS if name != "responses"])
    async def test_azure_shaped(self, host: Host, upstream: Upstream, operation: str) -> None:
        headers, body = OPERATIONS[operation]
        target = f"/openai/deployments/my-deployment/{operation}?api-version=2025-04-01-preview"
        answer = await ask(host.url, "POST", target, headers, body)
        assert answer.status == 200
        assert upstream.only.path == f"/openai/deployments/my-deployment/{operation}"
        assert upstream.only.query == {"api-version": "2025-04-01-preview"}
        assert upstream.only.body == body, "the path names the model: nothing is to be added"

    async def test_azure_shaped_responses(self, host: Host, upstream: Upstream) -> None:
        headers, body = OPERATIONS["responses"]
        answer = await ask(host.url, "POST", "/openai/responses?api-version=2025-04-01-preview", headers, body)
        assert answer.status == 200
        assert upstream.only.path == "/openai/responses"
        assert upstream.only.deployment == "gpt-4o"

    @pytest.mark.parametrize("path", ["/v1/models", "/openai/v1/models", "/openai/models?api-version=2024-10-21"])
    async def test_models(self, hosts: Hosts, kind: str, path: str) -> None:
        """The default comes first, then the others in the order of the configuration."""
        host = hosts.get(kind, NAMED)
        answer = await ask(host.url, "GET", path)
        assert answer.status == 200
        assert answer.json()["object"] == "list"
        names = [model["id"] for model in answer.json()["data"]]
        assert names == ["chat", "zebra", "plain", "v1", "classic", "old", "capped", "team a/chat b"]
        one = await ask(host.url, "GET", path.replace("models", "models/team%20a%2Fchat%20b"))
        assert one.json()["id"] == "team a/chat b"
        missing = await ask(host.url, "GET", path.replace("models", "models/nonsense"))
        assert (missing.status, missing.error["code"]) == (404, "model_not_found")

    @pytest.mark.parametrize(
        "path",
        [
            "/v2/chat/completions",
            "/v1",
            "/v1/",
            "/v1/chat",
            "/v1//chat/completions",
            "/v1/chat/completions/x",
            "/V1/chat/completions",
            "/openai",
            "/openai/deployments",
            "/openai/deployments/",
            "/openai/deployments//chat/completions",
            "/openai/deployments/a/b/chat/completions",
            "/openai/deployments/gpt-4o",
            "/openai/chat/completions",
            "/v1/files",
            "/docs",
            "/redoc",
            "/openapi.json",
            "/favicon.ico",
            "/health",
            "/.env",
            "/%2e%2e/v1/models",
            "/" + "a" * 5000,
        ],
    )
    async def test_unknown(self, host: Host, upstream: Upstream, path: str) -> None:
        answer = await post(host.url, path, CHAT)
        assert (answer.status, answer.error["code"]) == (404, "unknown_route")
        assert len(answer.body) < 1000
        assert answer.header("x-request-id")
        assert upstream.exchanges == []

    @pytest.mark.parametrize(
        ("method", "path", "allow"),
        [
            ("GET", "/v1/chat/completions", "POST, OPTIONS"),
            ("HEAD", "/v1/chat/completions", "POST, OPTIONS"),
            ("PUT", "/v1/embeddings", "POST, OPTIONS"),
            ("DELETE", "/openai/deployments/x/chat/completions", "POST, OPTIONS"),
            ("PATCH", "/api/chat-stream", "POST, OPTIONS"),
            ("POST", "/", "GET, HEAD, OPTIONS"),
            ("POST", "/v1/models", "GET, HEAD, OPTIONS"),
            ("DELETE", "/v1/models/gpt-4o", "GET, HEAD, OPTIONS"),
            ("POST", "/health/live", "GET, HEAD, OPTIONS"),
            ("POST", "/web/main.js", "GET, HEAD, OPTIONS"),
        ],
    )
    async def test_wrong_method(self, host: Host, method: str, path: str, allow: str) -> None:
        answer = await ask(host.url, method, path)
        assert answer.status == 405
        assert answer.header("allow") == allow
        assert answer.header("x-request-id")
        if method != "HEAD":
            assert answer.error["code"] == "method_not_allowed"

    async def test_health(self, host: Host) -> None:
        for path, status in (("/health/live", "live"), ("/health/ready", "ready")):
            answer = await ask(host.url, "GET", path)
            assert (answer.status, answer.json()) == (200, {"status": status})

    @pytest.mark.parametrize("path", ["/", "/health/live", "/v1/models", "/api/test-stream", "/web/main.js"])
    async def test_head(self, host: Host, path: str) -> None:
        """HEAD gets the headers of GET and no body, at once: it does not play the test stream."""
        async with asyncio.timeout(2):
            head = await ask(host.url, "HEAD", path)
        assert head.status == 200
        assert head.body == b""
        if path != "/api/test-stream":
            whole = await ask(host.url, "GET", path)
            assert head.header("content-length") == str(len(whole.body))
            assert head.header("content-type") == whole.header("content-type")


class TestRequestId:
    @pytest.mark.parametrize("own", ["a", "Job-7:part_2.b/c+d=e", "x" * 128])
    async def test_a_sane_one_is_echoed(self, host: Host, upstream: Upstream, own: str) -> None:
        for body in (CHAT, STREAM):
            answer = await post(host.url, "/v1/chat/completions", body, [("x-request-id", own)])
            assert answer.header("x-request-id") == own
        assert [exchange.headers["x-ms-client-request-id"] for exchange in upstream.exchanges] == [own, own]

    @pytest.mark.parametrize("own", ["", "x" * 129, "two words", "a\tb", "é", "a;b", "<script>", '{"a":1}'])
    async def test_an_insane_one_is_replaced(self, host: Host, own: str) -> None:
        answer = await post(host.url, "/v1/chat/completions", CHAT, [("x-request-id", own)])
        assert NEW_ID.fullmatch(answer.header("x-request-id") or "")

    @pytest.mark.parametrize(
        ("method", "path", "body"),
        [
            ("GET", "/", b""),
            ("GET", "/web/nothing.js", b""),
            ("GET", "/v1/models", b""),
            ("GET", "/nowhere", b""),
            ("POST", "/v1/chat/completions", b"{"),
            ("POST", "/v1/chat/completions", CHAT.replace(b"{", b'{"model":"fault-500",', 1)),
            ("OPTIONS", "/v1/chat/completions", b""),
        ],
    )
    async def test_every_answer_has_one(self, host: Host, method: str, path: str, body: bytes) -> None:
        ids = {(await ask(host.url, method, path, [JSON], body)).header("x-request-id") for _ in range(2)}
        assert len(ids) == 2
        assert all(NEW_ID.fullmatch(found or "") for found in ids)

    async def test_it_is_in_the_log(self, host: Host) -> None:
        answer = await post(host.url, "/v1/chat/completions", CHAT)
        async with asyncio.timeout(5):
            while (answer.header("x-request-id") or "?") not in host.log():
                await asyncio.sleep(0.01)


PRIVATE: Fields = [
    ("authorization", f"Bearer {CLIENT_KEY}"),
    ("api-key", CLIENT_KEY),
    ("x-api-key", CLIENT_KEY),
    ("proxy-authorization", f"Basic {CLIENT_KEY}"),
    ("cookie", "session=1"),
    ("connection", "close, x-hop"),
    ("x-hop", "1"),
    ("te", "trailers"),
    ("trailer", "expires"),
    ("keep-alive", "timeout=5"),
    ("proxy-connection", "keep-alive"),
    ("accept-encoding", "gzip, br"),
    ("expect", "100-continue"),
    ("via", "1.1 front"),
    ("forwarded", "for=10.0.0.1"),
    ("x-forwarded-for", "10.0.0.1"),
    ("x-forwarded-host", "internal.example"),
    ("x-forwarded-proto", "https"),
    ("x-real-ip", "10.0.0.1"),
    ("x-original-url", "/admin"),
    ("x-client-ip", "10.0.0.1"),
    ("x-azure-clientip", "10.0.0.1"),
    ("x-azure-fdid", "00000000-0000-0000-0000-000000000000"),
    ("x-arr-ssl", "2048"),
    ("x-ms-client-principal", "e30="),
    ("x-ms-client-principal-id", "id"),
    ("x-ms-client-principal-name", "name"),
    ("x-ms-client-principal-idp", "aad"),
    ("x-ms-token-aad-access-token", "token"),
    ("x-functions-key", "function-key"),
    ("x-ms-spillover-deployment", "expensive"),
    ("x-ms-client-request-id", "forged"),
    ("x-ms-useragent", "x"),
    ("x-stainless-lang", "python"),
    ("openai-organization", "org"),
    ("openai-project", "project"),
    ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ("origin", "https://app.example"),
    ("referer", "https://app.example/page"),
    ("user-agent", "browser/1"),
    ("range", "bytes=0-1"),
    ("if-none-match", '"x"'),
]


class TestHeaders:
    async def test_up(self, host: Host, upstream: Upstream) -> None:
        """The upstream learns what it needs and nothing about the client, however the client words it."""
        wanted = [("accept", "text/event-stream"), ("openai-beta", "assistants=v2")]
        answer = await post(host.url, "/v1/chat/completions", STREAM, [*PRIVATE, *wanted])
        assert answer.status == 200
        request_id = answer.header("x-request-id")
        received = dict(upstream.only.headers)
        assert int(received.pop("content-length")) == len(upstream.only.body)
        assert re.fullmatch(r"127\.0\.0\.1:\d+", received.pop("host"))
        assert received == {
            "accept": "text/event-stream",
            "accept-encoding": "identity",
            "api-key": UPSTREAM_KEY,
            "content-type": "application/json",
            "openai-beta": "assistants=v2",
            "user-agent": "chukei",
            "x-ms-client-request-id": request_id,
        }

    @pytest.mark.parametrize("name", ["", "fault-429-3", "fault-401", "fault-500", "fault-html-502"])
    @pytest.mark.parametrize("stream", [False, True])
    async def test_down(self, host: Host, upstream: Upstream, name: str, stream: bool) -> None:
        """Nothing of the resource's own affairs comes down, on success or failure."""
        body = STREAM if stream else CHAT
        answer = await post(host.url, f"/openai/deployments/{name or 'd'}/chat/completions", body)
        ours = {
            *{"date", "content-type", "x-request-id", "x-chukei-simulator", "connection", "vary"},
            *{"content-length", "transfer-encoding", "apim-request-id", "x-ms-region"},
            *{"cache-control", "x-accel-buffering", "x-content-type-options"},
            *{"retry-after", "retry-after-ms", "x-should-retry"},
        }
        if host.kind == "functions":
            ours.add("server")  # the platform's worker names itself
            assert answer.header("server") in (None, "uvicorn")
        assert {name for name in answer.names if not name.startswith("x-ratelimit-")} <= ours
        assert answer.header("x-request-id") == upstream.only.headers["x-ms-client-request-id"]
        assert answer.header("apim-request-id")
        assert answer.header("x-ms-region") == "East US 2"
        assert answer.header("x-chukei-simulator") == "true"
        assert UPSTREAM_KEY.encode() not in answer.body

    async def test_a_stream_tells_proxies_not_to_buffer(self, host: Host) -> None:
        for path in ("/v1/chat/completions", "/api/chat-stream"):
            answer = await post(host.url, path, STREAM)
            assert answer.header("content-type") == "text/event-stream; charset=utf-8"
            assert answer.header("cache-control") == "no-cache, no-transform"
            assert answer.header("x-accel-buffering") == "no"
            assert answer.header("transfer-encoding") == "chunked"

    async def test_the_built_in_simulator_says_what_it_is(self, hosts: Hosts, kind: str) -> None:
        host = hosts.get(kind, SIMULATED)
        answer = await post(host.url, "/v1/chat/completions", CHAT)
        assert (answer.status, answer.header("x-chukei-simulator")) == (200, "true")
        for path in ("/", "/v1/models", "/health/ready"):
            assert (await ask(host.url, "GET", path)).header("x-chukei-simulator") == "true"

    async def test_keys_are_in_no_log(self, host: Host) -> None:
        for name in ("gpt-4o", "fault-401", "fault-reset-0"):
            await post(host.url, f"/openai/deployments/{name}/chat/completions", STREAM, [("api-key", CLIENT_KEY)])
        await asyncio.sleep(0)
        assert UPSTREAM_KEY not in host.log()
        assert CLIENT_KEY not in host.log()


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

    @pytest.mark.parametrize("name", ["localhost:{port}", "LOCALHOST", "127.0.0.1", "[::1]:{port}"])
    async def test_by_any_of_its_names(self, hosts: Hosts, name: str) -> None:
        port = hosts.get("server", LOOPBACK).url.rpartition(":")[2]
        assert (await self.call(hosts, "server", [("host", name.format(port=port))])).status == 200

    @pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/chat-stream"])
    async def test_on_functions_nobody_is_local(self, hosts: Hosts, upstream: Upstream, path: str) -> None:
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
    async def test_right(self, hosts: Hosts, kind: str, upstream: Upstream, field: tuple[str, str]) -> None:
        host = hosts.get(kind, KEYED)
        assert (await post(host.url, "/v1/chat/completions", CHAT, [field])).status == 200
        assert (await ask(host.url, "GET", "/v1/models", [field])).status == 200
        assert KEY not in f"{upstream.only.headers}"

    async def test_the_same_key_twice(self, hosts: Hosts, kind: str) -> None:
        """The AzureOpenAI client with a token sends one, others both; the same key is no contradiction."""
        fields = [("authorization", f"Bearer {KEY}"), ("api-key", KEY)]
        assert (await post(hosts.get(kind, KEYED).url, "/v1/chat/completions", CHAT, fields)).status == 200

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
    @pytest.mark.parametrize("path", ["/v1/chat/completions", "/openai/deployments/x/chat/completions"])
    async def test_wrong(self, hosts: Hosts, kind: str, upstream: Upstream, fields: Fields, path: str) -> None:
        answer = await post(hosts.get(kind, KEYED).url, path, CHAT, fields)
        assert answer.status == 401
        assert (answer.error["type"], answer.error["code"]) == ("authentication_error", "invalid_api_key")
        assert answer.header("www-authenticate") == 'Bearer realm="chukei"'
        assert answer.header("x-request-id")
        assert KEY.encode() not in answer.body
        assert upstream.exchanges == []

    async def test_not_in_the_address(self, hosts: Hosts, kind: str) -> None:
        answer = await post(hosts.get(kind, KEYED).url, f"/v1/chat/completions?api-key={KEY}&code={KEY}", CHAT)
        assert answer.status == 401

    async def test_two_different_ones(self, hosts: Hosts, kind: str, upstream: Upstream) -> None:
        fields = [("authorization", "Bearer other"), ("api-key", KEY)]
        answer = await post(hosts.get(kind, KEYED).url, "/v1/chat/completions", CHAT, fields)
        assert (answer.status, answer.error["code"]) == (400, "ambiguous_credentials")
        assert upstream.exchanges == []

    @pytest.mark.parametrize("name", ["authorization", "api-key"])
    async def test_one_field_twice(self, hosts: Hosts, kind: str, upstream: Upstream, name: str) -> None:
        fields = [(name, f"Bearer {KEY}" if name == "authorization" else KEY)] * 2
        answer = await post(hosts.get(kind, KEYED).url, "/v1/chat/completions", CHAT, fields)
        assert (answer.status, answer.error["code"]) == (400, "ambiguous_request")
        assert upstream.exchanges == []

    async def test_what_needs_none(self, hosts: Hosts, kind: str) -> None:
        """The page must load to ask for the key, and probes have none."""
        host = hosts.get(kind, KEYED)
        for path in ("/", "/web/main.js", "/health/live", "/health/ready"):
            assert (await ask(host.url, "GET", path)).status == 200
        for path in ("/v1/models", "/v1/models/gpt-4o", "/api/test-stream"):
            assert (await ask(host.url, "GET", path)).status == 401


class TestAllowedHosts:
    @pytest.mark.parametrize(
        ("name", "status"),
        [("relay.example", 200), ("RELAY.example:8443", 200), ("evil.example", 421), ("relay.example.evil", 421)],
    )
    async def test_names(self, hosts: Hosts, kind: str, name: str, status: int) -> None:
        answer = await post(hosts.get(kind, HOSTED).url, "/v1/chat/completions", CHAT, [("host", name)])
        assert answer.status == status

    async def test_anonymous_needs_no_name(self, host: Host) -> None:
        fields = [("host", "whatever.example"), ("x-forwarded-for", "203.0.113.9")]
        assert (await post(host.url, "/v1/chat/completions", CHAT, fields)).status == 200


class TestPage:
    async def test_policy(self, host: Host) -> None:
        answer = await ask(host.url, "GET", "/")
        parts = (answer.header("content-security-policy") or "").split("; ")
        policy = {name: value for name, _, value in (part.partition(" ") for part in parts)}
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
        assert policy["frame-ancestors"] == "'none'"
        assert answer.header("x-content-type-options") == "nosniff"
        assert answer.header("referrer-policy") == "no-referrer"
        assert "https://" not in answer.body.decode().replace("https://www.w3.org", "")

    async def test_every_file_has_its_type(self, host: Host) -> None:
        folder = ROOT / "src" / "chukei" / "web"
        types = {
            ".js": "text/javascript; charset=utf-8",
            ".css": "text/css; charset=utf-8",
            ".svg": "image/svg+xml",
            ".html": "text/html; charset=utf-8",
        }
        files = [path for path in sorted(folder.rglob("*")) if path.suffix in types]
        assert len(files) > 20
        answers = await asyncio.gather(
            *(ask(host.url, "GET", f"/web/{path.relative_to(folder).as_posix()}") for path in files)
        )
        for path, answer in zip(files, answers, strict=True):
            assert answer.status == 200, path
            assert answer.header("content-type") == types[path.suffix]
            assert answer.header("x-content-type-options") == "nosniff"
            assert answer.header("content-security-policy")

    @pytest.mark.parametrize(
        "name",
        [
            "../gateway.py",
            "..%2fgateway.py",
            "%2e%2e/gateway.py",
            "%2e%2e%2fgateway.py",
            "..%5cgateway.py",
            "../../../../../../etc/passwd",
            "..%252f..%252fetc/passwd",
            "/etc/passwd",
            "%2fetc%2fpasswd",
            "views/../main.js",
            "views/../../gateway.py",
            "./main.js",
            "main.js%00.css",
            "main.js::$DATA",
            "views",
            "views/",
            "",
            "..",
            "../__init__.py",
            "MAIN.JS",
        ],
    )
    async def test_nothing_else_is_served(self, host: Host, name: str) -> None:
        answer = await ask(host.url, "GET", f"/web/{name}")
        assert (answer.status, answer.error["code"]) == (404, "unknown_route")


async def test_the_buffering_test(hosts: Hosts) -> None:
    """Every character arrives as an event of its own, before the next is sent: the first does not wait for the last."""
    await asyncio.gather(*(watch_the_test_stream(hosts.get(kind, OPEN)) for kind in KINDS))


async def watch_the_test_stream(host: Host) -> None:
    seen = b""
    async with connection(host.url) as (reader, writer):
        writer.write(request(host.url, "GET", "/api/test-stream"))
        while part := await reader.read(65536):
            assert part.count(b"data: ") < 20, "half of it at once: something buffers"
            seen += part
    events = re.findall(rb"data: (.*?)\n\n", parse(seen).body)
    assert b"".join(events[:-1]).decode() == "chukei 中継 relays every character as it comes."
    assert events[-1] == b"[DONE]"


async def test_connections_are_kept(host: Host, upstream: Upstream) -> None:
    fields = [JSON, ("connection", "keep-alive")]
    async with connection(host.url) as (reader, writer):
        for number in range(3):
            writer.write(request(host.url, "POST", "/v1/embeddings", fields, b'{"input":"%d"}' % number))
            assert parse(await receive(reader)).status == 200
    assert len(upstream.exchanges) == 3

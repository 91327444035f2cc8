"""What the relay does around a call, the same on both hosts: routes, headers in both directions, pages."""

import asyncio
import re
from collections.abc import Sequence

import pytest
from tests.live.both_hosts import CLIENT_KEY, KINDS, NAMED, OPEN, UPSTREAM_KEY, Host, Hosts, Setup
from tests.live.functions_host import ROOT
from tests.live.plain_http import CHAT, JSON, STREAM, ask, connection, parse, post, receive, request
from tests.live.simulated import Upstream

pytestmark = pytest.mark.anyio

Fields = Sequence[tuple[str, str]]

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
        boundary = upstream.only.headers["content-type"].partition("boundary=")[2] or "b"
        received = upstream.only.body.replace(boundary.encode(), b"b")
        assert received == body, "the path names the model: nothing is to be added"

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
            "/V1/chat/completions",
            "/openai",
            "/openai/deployments",
            "/openai/deployments/",
            "/openai/deployments//chat/completions",
            "/openai/deployments/a/b/chat/completions",
            "/openai/deployments/gpt-4o",
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
        async with asyncio.timeout(60):
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
        async with asyncio.timeout(60):
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
            "accept": "*/*",
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

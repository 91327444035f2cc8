"""What the relay does around a call: routes, headers in both directions, pages; test_hosts.py has what hosts do."""

import re

import pytest
from tests.live.both_hosts import NAMED, UPSTREAM_KEY, Host, Hosts
from tests.live.plain_http import CHAT, JSON, STREAM, ask, post
from tests.live.simulated import Upstream

pytestmark = pytest.mark.anyio

NEW_ID = re.compile(r"req_[0-9a-f]{32}")


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


UNKNOWN = [
    "/v2/chat/completions",
    "/v1",
    "/v1/",
    "/openai",
    "/openai/deployments",
    "/openai/deployments/",
    "/openai/deployments/a/b/chat/completions",
    "/openai/deployments/gpt-4o",
    "/health",
    "/.env",
]


class TestRoutes:
    # The path is split before the operation is looked up, so prefix and slash need no product.
    @pytest.mark.parametrize(("prefix", "slash"), [("/v1", ""), ("/openai/v1", "/")])
    @pytest.mark.parametrize("operation", OPERATIONS)
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
    async def test_models(self, hosts: Hosts, path: str) -> None:
        """The default comes first, then the others in the order of the configuration."""
        host = hosts.get("server", NAMED)
        answer = await ask(host.url, "GET", path)
        assert answer.status == 200
        assert answer.json()["object"] == "list"
        names = [model["id"] for model in answer.json()["data"]]
        assert names == ["chat", "zebra", "plain", "v1", "classic", "old", "capped", "team a/chat b"]
        one = await ask(host.url, "GET", path.replace("models", "models/team%20a%2Fchat%20b"))
        assert one.json()["id"] == "team a/chat b"
        missing = await ask(host.url, "GET", path.replace("models", "models/nonsense"))
        assert (missing.status, missing.error["code"]) == (404, "model_not_found")

    async def test_unknown(self, host: Host, upstream: Upstream) -> None:
        for path in UNKNOWN:
            answer = await post(host.url, path, CHAT)
            assert (answer.status, answer.error["code"]) == (404, "unknown_route"), path
            assert len(answer.body) < 1000
            assert answer.header("x-request-id")
        assert upstream.exchanges == []

    async def test_wrong_method(self, host: Host) -> None:
        for method, path in [
            ("POST", "/v1/models"),
            ("DELETE", "/v1/models/gpt-4o"),
            ("POST", "/health/live"),
        ]:
            answer = await ask(host.url, method, path)
            assert (answer.status, answer.header("allow")) == (405, "GET, HEAD, OPTIONS"), path
            assert answer.header("x-request-id")
            assert answer.error["code"] == "method_not_allowed"

    async def test_health(self, host: Host) -> None:
        for path, status in (("/health/live", "live"), ("/health/ready", "ready")):
            answer = await ask(host.url, "GET", path)
            assert (answer.status, answer.json()) == (200, {"status": status})


class TestRequestId:
    @pytest.mark.parametrize("own", ["a", "Job-7:part_2.b/c+d=e", "x" * 128])
    async def test_a_sane_one_is_echoed(self, host: Host, upstream: Upstream, own: str) -> None:
        for body in (CHAT, STREAM):
            answer = await post(host.url, "/v1/chat/completions", body, [("x-request-id", own)])
            assert answer.header("x-request-id") == own
        assert [exchange.headers["x-ms-client-request-id"] for exchange in upstream.exchanges] == [own, own]

    async def test_an_insane_one_is_replaced(self, host: Host) -> None:
        for own in ("", "x" * 129, "two words", "a\tb", "é", "a;b", "<script>", '{"a":1}'):
            answer = await post(host.url, "/v1/chat/completions", CHAT, [("x-request-id", own)])
            assert NEW_ID.fullmatch(answer.header("x-request-id") or ""), own

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


class TestHeaders:
    # A refusal has the same fields whether a stream was asked for or not.
    @pytest.mark.parametrize(
        ("name", "stream"),
        [
            ("", False),
            ("", True),
            ("fault-429-3", True),
            ("fault-401", False),
            ("fault-500", True),
            ("fault-html-502", False),
        ],
    )
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


NO_FILES = [
    "%2e%2e%2fgateway.py",
    "..%5cgateway.py",
    "../../../../../../etc/passwd",
    "/etc/passwd",
    "%2fetc%2fpasswd",
    "views/../main.js",
    "views/../../gateway.py",
    "./main.js",
    "main.js::$DATA",
    "views",
    "",
    "..",
    "../__init__.py",
    "MAIN.JS",
]


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

    async def test_nothing_else_is_served(self, host: Host) -> None:
        for name in NO_FILES:
            answer = await ask(host.url, "GET", f"/web/{name}")
            assert (answer.status, answer.error["code"]) == (404, "unknown_route"), name

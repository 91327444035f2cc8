"""What a host does itself, on each of them: the server, and Azure Functions.

Behind the two ports, ``Incoming`` and ``Reply``, the code is one and is tested on the server. Here is what each host
has of its own: how it reads paths, fields and bodies, how it writes status, fields, parts and the end of an answer, and
how it starts. test_disconnect.py has how it notices that a client has left, test_curl.py HTTP/1.0 and ``Expect``.
"""

import asyncio
import gzip
import json
import re
from collections.abc import Sequence

import pytest
from tests.live.both_hosts import CLIENT_KEY, KINDS, NAMED, OPEN, UPSTREAM_KEY, Host, Hosts, Setup, resource
from tests.live.functions_host import ROOT
from tests.live.plain_http import (
    CHAT,
    JSON,
    STREAM,
    Answer,
    ask,
    assert_serves,
    connection,
    parse,
    post,
    receive,
    request,
    send,
)
from tests.live.raw_client import RawClient
from tests.live.simulated import Upstream

pytestmark = pytest.mark.anyio

Fields = Sequence[tuple[str, str]]

COMPLETIONS = "/v1/chat/completions"
MEBIBYTE = 1024 * 1024
NEW_ID = re.compile(r"req_[0-9a-f]{32}")
BEAT = b": keep-alive\n\n"

HASTY = Setup(
    "hasty",
    resource(
        {
            "CHUKEI_AUTH__ANONYMOUS": "true",
            "CHUKEI_SERVER__BODY_SECONDS": "0.3",
            "CHUKEI_SERVER__MAX_BODY_BYTES": "5000",
            "CHUKEI_SERVER__MAX_HEADER_BYTES": "4096",
            "CHUKEI_STREAM__HEARTBEAT_SECONDS": "0.02",
        }
    ),
)
"""Small limits, and a heartbeat at once."""
SIMULATED = Setup("simulated", {"CHUKEI_AUTH__ANONYMOUS": "true"})


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def hasty(kind: str, hosts: Hosts) -> Host:
    return hosts.get(kind, HASTY)


def named(model: str, body: bytes = CHAT) -> bytes:
    """Return a request for a model, at which the simulator may fail as the name says."""
    return body.replace(b"{", b'{"model":"%s",' % model.encode(), 1)


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

NOWHERE = [
    "/docs",
    "/redoc",
    "/openapi.json",
    "/favicon.ico",
    "/V1/chat/completions",
    "/openai/deployments//chat/completions",
    "/%2e%2e/v1/models",
    "/v1/%0Achat/completions",
    "/web/../gateway.py",
    "/web/..%2fgateway.py",
    "/web/%2e%2e/gateway.py",
    "/web/..%252f..%252fetc/passwd",
    "/web/main.js%00.css",
    "/web/views/",
    "/" + "a" * 5000,
]
"""Paths that a framework in between could answer itself, or decode before the relay reads them."""

WRONG_METHODS = [
    ("GET", "/v1/responses", "POST, OPTIONS"),
    ("HEAD", COMPLETIONS, "POST, GET, OPTIONS"),
    ("PUT", "/v1/embeddings", "POST, OPTIONS"),
    ("DELETE", "/openai/deployments/x/chat/completions", "POST, OPTIONS"),
    ("PATCH", "/api/chat-stream", "POST, OPTIONS"),
    ("POST", "/", "GET, HEAD, OPTIONS"),
    ("POST", "/web/main.js", "GET, HEAD, OPTIONS"),
]


class TestHeads:
    """Request lines and fields, as the host hands them on."""

    async def test_fields_that_go_up(self, each_host: Host, upstream: Upstream) -> None:
        """The upstream learns what it needs and nothing about the client, however the client words it."""
        wanted = [("accept", "text/event-stream"), ("openai-beta", "assistants=v2")]
        answer = await post(each_host.url, COMPLETIONS, STREAM, [*PRIVATE, *wanted])
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

    async def test_a_path_that_is_percent_encoded(self, kind: str, hosts: Hosts, upstream: Upstream) -> None:
        """It is read as it came: an encoded slash ends no segment, and the query is not a part of it."""
        target = "/openai/deployments/team%20a%2Fchat%20b/chat/completions?api-version=2024-10-21"
        answer = await post(hosts.get(kind, NAMED).url, target, CHAT)
        assert answer.status == 200
        assert upstream.only.path == "/openai/deployments/gpt%204o%2F%CE%B2/chat/completions"
        assert upstream.only.query == {"api-version": "2024-10-21"}

    async def test_paths_that_lead_nowhere(self, each_host: Host, upstream: Upstream) -> None:
        for path in NOWHERE:
            answer = await ask(each_host.url, "GET" if path.startswith("/web") else "POST", path, [JSON])
            assert (answer.status, answer.error["code"]) == (404, "unknown_route"), path
            assert len(answer.body) < 1000
            assert NEW_ID.fullmatch(answer.header("x-request-id") or "")
        assert upstream.exchanges == []

    async def test_wrong_methods(self, each_host: Host) -> None:
        for method, path, allow in WRONG_METHODS:
            answer = await ask(each_host.url, method, path)
            assert (answer.status, answer.header("allow")) == (405, allow), (method, path)
            if method != "HEAD":
                assert answer.error["code"] == "method_not_allowed"

    async def test_preflights(self, each_host: Host) -> None:
        for origin, status in [("https://app.example", 204), ("https://evil.example", 403), ("null", 403)]:
            fields = [
                ("origin", origin),
                ("access-control-request-method", "POST"),
                ("access-control-request-headers", "authorization,content-type,x-stainless-os"),
            ]
            answer = await ask(each_host.url, "OPTIONS", COMPLETIONS, fields)
            assert answer.status == status
            assert answer.header("access-control-allow-origin") == (origin if status == 204 else None)

    async def test_request_ids(self, each_host: Host, upstream: Upstream) -> None:
        """A sane one is echoed and goes up; one that is none, whatever its bytes, is replaced."""
        for own in ("Job-7:part_2.b/c+d=e", "x" * 128):
            answer = await post(each_host.url, COMPLETIONS, CHAT, [("x-request-id", own)])
            assert answer.header("x-request-id") == own
            assert upstream.exchanges[-1].headers["x-ms-client-request-id"] == own
        for own in ("", "x" * 129, "a\tb", "é", "\xff\xfe", '{"a":1}'):
            answer = await post(each_host.url, COMPLETIONS, CHAT, [("x-request-id", own)])
            assert NEW_ID.fullmatch(answer.header("x-request-id") or ""), own

    async def test_fields_twice(self, each_host: Host, upstream: Upstream) -> None:
        """A host that joined them, or took one, would hide that the request is ambiguous."""
        for name in ("content-type", "authorization", "api-key", "origin", "x-request-id"):
            fields = [(name, "application/json"), (name, "application/json")]
            answer = await ask(each_host.url, "POST", COMPLETIONS, fields, CHAT)
            assert (answer.status, answer.error["code"]) == (400, "ambiguous_request"), name
        assert upstream.exchanges == []

    @pytest.mark.parametrize("size", [5000, 70_000, 3_000_000, None])
    async def test_too_much_of_a_head(self, hasty: Host, upstream: Upstream, size: int | None) -> None:
        """In one field, or in many."""
        fields = [("x-giant", "a" * size)] if size else [(f"x-{number}", "a") for number in range(150)]
        answer = await ask(hasty.url, "POST", COMPLETIONS, [JSON, *fields], CHAT)
        assert answer.status == 431
        # Before Functions stands the platform, whose own refusal of giant heads has no body.
        if hasty.kind == "server" or answer.header("content-length") != "0":
            assert answer.error["code"] == "headers_too_large"
        assert upstream.exchanges == []


class TestBodies:
    """Bodies of requests, as the host reads them."""

    async def test_json_byte_for_byte(self, each_host: Host, upstream: Upstream) -> None:
        odd = (
            b' \r\n{\t"messages" : [ {"role":"user","content":"caf\\u00e9 \\ud83c\\udf0a \\/ \xe4\xb8\xad\\n"} ] ,\n'
            b'  "top_p":1.0E+0,"seed":-0,"user":"a\\"}{b" , "x":[{"model":"y"}] }\n'
        )
        assert (await post(each_host.url, COMPLETIONS, odd)).status == 200
        assert upstream.only.body == odd.replace(b"{", b'{"model":"gpt-4o",', 1)

    async def test_a_form(self, each_host: Host, upstream: Upstream) -> None:
        file = bytes(range(256)) * 400
        form = (
            b'--b--x\r\nContent-Disposition: form-data; name="file"; filename="b--x"\r\n\r\n' + file + b"\r\n--b--x--"
        )
        fields = [("content-type", 'multipart/form-data; charset=utf-8; boundary="b--x"')]
        answer = await ask(each_host.url, "POST", "/v1/audio/transcriptions", fields, form)
        assert answer.status == 200
        assert file in upstream.only.body

    async def test_chunks_of_a_byte(self, each_host: Host, upstream: Upstream) -> None:
        body = named("gpt-4o", CHAT.replace(b"}]}", b'}],"user":"' + b"a" * 4000 + b'"}'))
        chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
        answer = await ask(each_host.url, "POST", COMPLETIONS, [JSON, ("transfer-encoding", "chunked")], chunks)
        assert answer.status == 200
        assert upstream.only.body == body

    async def test_a_compressed_one(self, each_host: Host, upstream: Upstream) -> None:
        answer = await post(each_host.url, COMPLETIONS, gzip.compress(CHAT), [("content-encoding", "gzip")])
        assert answer.status == 200
        assert json.loads(upstream.only.body)["messages"] == json.loads(CHAT)["messages"]

    async def test_what_is_no_json(self, each_host: Host, upstream: Upstream) -> None:
        for body in (b"", b'{"messages":[{"role":"user",', b"\x00\xff\xfe", b"[" * 1_000_000):
            answer = await post(each_host.url, COMPLETIONS, body, [("content-length", str(len(body)))])
            assert (answer.status, answer.error["code"]) == (400, "invalid_json")
        assert upstream.exchanges == []
        await assert_serves(each_host.url)

    async def test_the_default_limit(self, each_host: Host, upstream: Upstream) -> None:
        """32 MiB pass; one byte more is refused before it is read, even before it is sent."""
        fits = CHAT.replace(b"}]}", b'}],"x":"' + b"a" * (32 * MEBIBYTE - len(CHAT) - 7) + b'"}')
        assert len(fits) == 32 * MEBIBYTE
        answer = await post(each_host.url, COMPLETIONS, fits)
        assert answer.status == 200
        assert len(upstream.only.body) == 32 * MEBIBYTE + len(b'"model":"gpt-4o",')
        fields = [JSON, ("content-length", str(32 * MEBIBYTE + 1))]
        early = await ask(each_host.url, "POST", COMPLETIONS, fields)
        assert (early.status, early.error["code"]) == (413, "request_too_large")
        assert "max_body_bytes" in early.error["message"]
        answer = await post(each_host.url, COMPLETIONS, fits + b" ")
        assert (answer.status, answer.error["code"]) == (413, "request_too_large")
        assert len(upstream.exchanges) == 1
        await assert_serves(each_host.url)

    @pytest.mark.parametrize("chunked", [False, True])
    async def test_a_configured_limit(self, hasty: Host, upstream: Upstream, chunked: bool) -> None:
        body = CHAT.replace(b"}]}", b'","x":"' + b"a" * 6000 + b'"}]}')
        fields = [JSON]
        if chunked:
            body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:3000], body[3000:])) + b"0\r\n\r\n"
            fields.append(("transfer-encoding", "chunked"))
        answer = await ask(hasty.url, "POST", COMPLETIONS, fields, body)
        assert (answer.status, answer.error["code"]) == (413, "request_too_large")
        assert upstream.exchanges == []

    async def test_one_that_never_ends(self, hasty: Host, upstream: Upstream) -> None:
        """Chunk after chunk: refused at the limit, not held until memory ends."""
        piece = b"4000\r\n" + b" " * 0x4000 + b"\r\n"
        sent = request(hasty.url, "POST", COMPLETIONS, [JSON, ("transfer-encoding", "chunked")], piece * 200)
        async with connection(hasty.url) as (reader, writer):
            sending = asyncio.create_task(send(writer, sent))
            answer = parse(await receive(reader))
            sending.cancel()
        assert (answer.status, answer.error["code"]) == (413, "request_too_large")
        assert upstream.exchanges == []
        await assert_serves(hasty.url)

    @pytest.mark.parametrize("sent", ["nothing", "length", "chunked"])
    async def test_one_that_stops(self, hasty: Host, upstream: Upstream, sent: str) -> None:
        framing = ("transfer-encoding", "chunked") if sent == "chunked" else ("content-length", "500")
        half = {"nothing": b"", "length": CHAT[:20], "chunked": b"5\r\n" + CHAT[:5] + b"\r\n"}[sent]
        answer = await ask(hasty.url, "POST", COMPLETIONS, [JSON, framing], half)
        assert (answer.status, answer.error["code"]) == (408, "request_timeout")
        assert upstream.exchanges == []


OURS = {
    *{"date", "content-type", "x-request-id", "x-chukei-simulator", "connection", "vary"},
    *{"content-length", "transfer-encoding", "apim-request-id", "x-ms-region"},
    *{"cache-control", "x-accel-buffering", "x-content-type-options"},
    *{"retry-after", "retry-after-ms", "x-should-retry"},
}
"""Fields that an answer may have, besides ``x-ratelimit-*``."""


class TestAnswers:
    """Status, fields, parts and end of an answer, as the host writes them."""

    # A stream or not, a success or not: how it failed is the gateway's affair.
    @pytest.mark.parametrize(
        ("model", "stream"), [("gpt-4o", False), ("gpt-4o", True), ("fault-429-3", True), ("fault-html-502", False)]
    )
    async def test_fields_that_come_down(self, each_host: Host, upstream: Upstream, model: str, stream: bool) -> None:
        """Nothing of the resource's own affairs comes down, on success or failure."""
        answer = await post(each_host.url, COMPLETIONS, named(model, STREAM if stream else CHAT))
        ours = OURS
        if each_host.kind == "functions":
            ours = OURS | {"server"}  # the platform's worker names itself
            assert answer.header("server") in (None, "uvicorn")
        assert {name for name in answer.names if not name.startswith("x-ratelimit-")} <= ours
        assert answer.header("x-request-id") == upstream.only.headers["x-ms-client-request-id"]
        assert answer.header("x-ms-region") == "East US 2"
        assert UPSTREAM_KEY.encode() not in answer.body
        if stream and model == "gpt-4o":
            assert answer.header("content-type") == "text/event-stream; charset=utf-8"
            assert answer.header("cache-control") == "no-cache, no-transform"
            assert answer.header("x-accel-buffering") == "no"
            assert answer.header("transfer-encoding") == "chunked"
        else:
            assert answer.header("content-type") == "application/json"

    async def test_an_answer_byte_for_byte(self, each_host: Host, upstream: Upstream) -> None:
        """As a whole and as a stream that wants its usage, so that the relay takes nothing away."""
        wanted = b'{"stream_options":{"include_usage":true},'
        for number, body in enumerate((CHAT, STREAM.replace(b"{", wanted, 1)), 1):
            answer = await post(each_host.url, COMPLETIONS, body)
            exchange = upstream.exchanges[-1]
            assert len(upstream.exchanges) == number
            assert upstream.ending(exchange) == "completed"
            assert answer.body == bytes(exchange.sent)

    async def test_an_error(self, each_host: Host) -> None:
        answer = await post(each_host.url, COMPLETIONS, named("fault-429-3", STREAM))
        assert (answer.status, answer.json()["error"]["code"]) == (429, "RateLimitReached")
        assert (answer.header("retry-after"), answer.header("retry-after-ms")) == ("3", "3000")
        assert answer.header("content-length") == str(len(answer.body))

    async def test_a_stream_that_breaks_ends_in_an_error_and_properly(self, each_host: Host) -> None:
        """Its last event tells; the body ends as its framing says, else clients would throw away what they have."""
        answer = await post(each_host.url, COMPLETIONS, named("fault-truncate-4", STREAM))
        assert answer.status == 200
        last = answer.body.rstrip().rpartition(b"\n\n")[2]
        assert json.loads(last.removeprefix(b"data: "))["error"]["code"] == "stream_incomplete"
        assert b"[DONE]" not in answer.body

    async def test_heartbeats(self, hasty: Host, upstream: Upstream) -> None:
        """They leave while the upstream is silent, one by one."""
        async with RawClient(hasty.url) as client:
            await client.post(COMPLETIONS, named("fault-stall-before-first", STREAM))
            assert await client.head() == 200
            for _ in range(3):
                assert (await client.part()).replace(BEAT, b"") == b""
        assert await asyncio.to_thread(upstream.ending) == "client_left"

    async def test_head(self, each_host: Host) -> None:
        """HEAD gets the headers of GET and no body, at once: it does not play the test stream."""
        old = f"/web/{'0' * 20}/main.js"
        for path in ("/", "/health/live", "/v1/models", "/api/test-stream", "/web/main.js", old):
            head = await ask(each_host.url, "HEAD", path)
            assert (head.status, head.body) == (200, b"")
            if path != "/api/test-stream":
                whole = await ask(each_host.url, "GET", path)
                assert head.header("content-length") == str(len(whole.body))
                for name in ("content-type", "cache-control"):
                    assert head.header(name) == whole.header(name)

    async def test_connections_are_kept(self, each_host: Host, upstream: Upstream) -> None:
        fields = [JSON, ("connection", "keep-alive")]
        async with connection(each_host.url) as (reader, writer):
            for number in range(3):
                writer.write(request(each_host.url, "POST", "/v1/embeddings", fields, b'{"input":"%d"}' % number))
                assert parse(await receive(reader)).status == 200
        assert len(upstream.exchanges) == 3

    async def test_every_file_of_the_page(self, each_host: Host) -> None:
        folder = ROOT / "src" / "chukei" / "web"
        types = {
            ".js": "text/javascript; charset=utf-8",
            ".css": "text/css; charset=utf-8",
            ".svg": "image/svg+xml",
        }
        files = [path for path in sorted(folder.rglob("*")) if path.suffix in types]
        assert len(files) > 20
        page = await ask(each_host.url, "GET", "/")
        assert page.header("cache-control") == "no-cache"
        (start,) = set(re.findall(rb"\"(web/[0-9a-f]{20})/", page.body))
        answers: list[Answer] = await asyncio.gather(
            *(ask(each_host.url, "GET", f"/{start.decode()}/{path.relative_to(folder).as_posix()}") for path in files)
        )
        for path, answer in zip(files, answers, strict=True):
            assert answer.status == 200, path
            assert answer.header("cache-control") == "public, max-age=31536000, immutable"
            assert answer.header("content-type") == types[path.suffix]
            assert answer.header("x-content-type-options") == "nosniff"
            assert answer.header("content-security-policy")


async def test_the_test_stream_is_not_buffered(hosts: Hosts) -> None:
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


async def test_without_a_configuration_it_simulates(hosts: Hosts, kind: str) -> None:
    host = hosts.get(kind, SIMULATED)
    answer = await post(host.url, COMPLETIONS, CHAT)
    assert (answer.status, answer.header("x-chukei-simulator")) == (200, "true")
    for path in ("/", "/v1/models", "/health/ready"):
        assert (await ask(host.url, "GET", path)).header("x-chukei-simulator") == "true"


async def test_metrics_are_for_the_own_machine_of_which_functions_has_none(each_host: Host) -> None:
    answer = await ask(each_host.url, "GET", "/metrics")
    if each_host.kind == "server":
        assert answer.status == 200
        assert b"chukei_workers 1.0\n" in answer.body
    else:
        assert (answer.status, answer.error["code"]) == (403, "metrics_not_open")


async def test_the_log_has_the_request_and_no_key(each_host: Host) -> None:
    for name in ("gpt-4o", "fault-401", "fault-reset-0"):
        target = f"/openai/deployments/{name}/chat/completions"
        answer = await post(each_host.url, target, STREAM, [("api-key", CLIENT_KEY)])
        async with asyncio.timeout(60):
            while (answer.header("x-request-id") or "?") not in each_host.log():
                await asyncio.sleep(0.01)
    assert UPSTREAM_KEY not in each_host.log()
    assert CLIENT_KEY not in each_host.log()

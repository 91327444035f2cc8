"""Bad requests, over both hosts: each gets a clear error, and the process keeps serving."""

import asyncio
import gzip
import json
from collections.abc import Iterator

import pytest
from tests.live.both_hosts import KINDS, NAMED, Host, Hosts, Setup, resource
from tests.live.plain_http import (
    CHAT,
    JSON,
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
from tests.live.simulated import Upstream

pytestmark = pytest.mark.anyio

HASTY = Setup(
    "hasty",
    resource(
        {
            "CHUKEI_AUTH__ANONYMOUS": "true",
            "CHUKEI_SERVER__BODY_SECONDS": "0.3",
            "CHUKEI_SERVER__MAX_BODY_BYTES": "5000",
            "CHUKEI_SERVER__MAX_HEADER_BYTES": "4096",
        }
    ),
)
MEBIBYTE = 1024 * 1024
HELLO = b'[{"role":"user","content":"a"}]'


@pytest.fixture
def serving(host: Host) -> Iterator[Host]:
    """The host; afterwards it must still serve."""
    yield host
    asyncio.run(assert_serves(host.url))


@pytest.fixture(params=KINDS)
def hasty(request: pytest.FixtureRequest, hosts: Hosts) -> Iterator[Host]:
    """A host with small limits; afterwards it must still serve."""
    host = hosts.get(request.param, HASTY)
    yield host
    asyncio.run(assert_serves(host.url))


NOT_JSON = {
    "empty": b"",
    "white space": b"  \r\n ",
    "half": b'{"messages":[{"role":"user",',
    "words": b"hello",
    "a form": b"model=gpt-4o&messages=hello",
    "an array": b"[" + CHAT + b"]",
    "a string": b'"hello"',
    "a number": b"12",
    "null": b"null",
    "true": b"true",
    "two objects": CHAT + CHAT,
    "something behind": CHAT + b"x",
    "a trailing comma": b'{"messages":' + HELLO + b",}",
    "a comment": b'{"messages":' + HELLO + b"/**/}",
    "single quotes": b"{'messages':[]}",
    "a bare name": b"{messages:[]}",
    "NaN": b'{"temperature":NaN,"messages":' + HELLO + b"}",
    "Infinity": b'{"temperature":Infinity,"messages":' + HELLO + b"}",
    "minus infinity": b'{"temperature":-Infinity,"messages":' + HELLO + b"}",
    "a hexadecimal number": b'{"n":0x1,"messages":' + HELLO + b"}",
    "a number with a leading zero": b'{"n":01,"messages":' + HELLO + b"}",
    "a raw newline in a string": b'{"user":"a\nb","messages":' + HELLO + b"}",
    "a NUL": b'{"messages":' + HELLO + b"}\x00",
    "invalid UTF-8": b'{"messages":[{"role":"user","content":"\xff\xfe"}]}',
    "invalid UTF-8 in a name": b'{"\xff":1,"messages":' + HELLO + b"}",
    "an overlong encoding": b'{"messages":[{"role":"user","content":"\xc0\xaf"}]}',
    "an encoded surrogate": b'{"messages":[{"role":"user","content":"\xed\xa0\x80"}]}',
    "UTF-16": CHAT.decode().encode("utf-16"),
    "a byte-order mark": b"\xef\xbb\xbf" + CHAT,
    "compressed": gzip.compress(CHAT),
    "deep nesting": b'{"messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep objects": b'{"messages":' + HELLO + b',"x":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001,
    "unclosed nesting": b"[" * 1_000_000,
}


class TestJson:
    @pytest.mark.parametrize("name", NOT_JSON)
    @pytest.mark.parametrize("path", ["/v1/chat/completions", "/openai/deployments/gpt-4o/embeddings"])
    async def test_that_is_none(self, serving: Host, upstream: Upstream, name: str, path: str) -> None:
        answer = await post(serving.url, path, NOT_JSON[name], [("content-length", str(len(NOT_JSON[name])))])
        assert (answer.status, answer.error["code"]) == (400, "invalid_json")
        assert answer.error["type"] == "invalid_request_error"
        assert len(answer.body) < 500
        assert upstream.exchanges == []

    @pytest.mark.parametrize(
        "body",
        [
            b'{"model":"a","model":"b","messages":%s}',
            b'{"model":"a","messages":%s,"model":"a"}',
            b'{"messages":[],"messages":%s}',
            b'{"stream":true,"messages":%s,"stream":false}',
            b'{"m\\u006fdel":"a","model":"b","messages":%s}',
            b'{"x":1,"x":1,"messages":%s}',
            b'{"x":{"a":1},"messages":%s,"x":{"a":1}}',
            b'{"messages":%s,"":1,"":2}',
            b'{"messages":%s,"x":"\\"x\\":1","x":"\\"x\\":1"}',
        ],
    )
    async def test_with_a_field_twice(self, host: Host, upstream: Upstream, body: bytes) -> None:
        answer = await post(host.url, "/v1/chat/completions", body % HELLO)
        assert (answer.status, answer.error["code"]) == (400, "duplicate_field")
        assert upstream.exchanges == []

    async def test_with_too_many_fields(self, serving: Host, upstream: Upstream) -> None:
        body = json.dumps({f"x{number}": 1 for number in range(200_000)}).encode()
        answer = await post(serving.url, "/v1/chat/completions", body)
        assert (answer.status, answer.error["code"]) == (400, "too_many_fields")
        assert upstream.exchanges == []

    @pytest.mark.parametrize(
        ("body", "param"),
        [
            (b"{}", "messages"),
            (b'{"messages":null}', "messages"),
            (b'{"messages":[]}', "messages"),
            (b'{"messages":[ \n ]}', "messages"),
            (b'{"messages":"hello"}', "messages"),
            (b'{"messages":{"role":"user"}}', "messages"),
            (b'{"messages":1}', "messages"),
            (b'{"model":1,"messages":%s}' % HELLO, "model"),
            (b'{"model":["gpt-4o"],"messages":%s}' % HELLO, "model"),
            (b'{"model":{},"messages":%s}' % HELLO, "model"),
            (b'{"model":true,"messages":%s}' % HELLO, "model"),
            (b'{"model":"","messages":%s}' % HELLO, "model"),
            (b'{"model":"  ","messages":%s}' % HELLO, "model"),
            (b'{"stream":"yes","messages":%s}' % HELLO, "stream"),
            (b'{"stream":1,"messages":%s}' % HELLO, "stream"),
            (b'{"stream":[true],"messages":%s}' % HELLO, "stream"),
            (b'{"stream":true,"stream_options":true,"messages":%s}' % HELLO, "stream_options"),
            (b'{"stream":true,"stream_options":[],"messages":%s}' % HELLO, "stream_options"),
            (b'{"stream":true,"stream_options":{"include_usage":1},"messages":%s}' % HELLO, "include_usage"),
            (b'{"stream":true,"stream_options":{"a":1,"a":2},"messages":%s}' % HELLO, "a"),
        ],
    )
    async def test_of_the_wrong_types(self, host: Host, upstream: Upstream, body: bytes, param: str) -> None:
        answer = await post(host.url, "/v1/chat/completions", body)
        assert (answer.status, answer.error["param"]) == (400, param)
        assert f"'{param}'" in answer.error["message"]
        assert upstream.exchanges == []

    @pytest.mark.parametrize("messages", [b"[1]", b'["a"]', b"[[]]", b"[null]", b'[{"role":1}]'])
    @pytest.mark.parametrize("kind", KINDS)
    async def test_with_messages_that_are_none(
        self, hosts: Hosts, kind: str, upstream: Upstream, messages: bytes
    ) -> None:
        """Where a system message is to be added, the relay has to look into the messages, and so judges them."""
        answer = await post(hosts.get(kind, NAMED).url, "/v1/chat/completions", b'{"messages":' + messages + b"}")
        assert (answer.status, answer.error["param"]) == (400, "messages")
        assert upstream.exchanges == []

    @pytest.mark.parametrize(
        ("body", "param"),
        [
            (b'{"messages":%s,"stream":false}' % HELLO, "stream"),
            (b'{"messages":%s,"n":2}' % HELLO, "n"),
            (b'{"messages":%s,"n":"1"}' % HELLO, "n"),
            (b"{}", "messages"),
        ],
    )
    async def test_in_the_simple_form(self, host: Host, upstream: Upstream, body: bytes, param: str) -> None:
        answer = await post(host.url, "/api/chat-stream", body)
        assert (answer.status, answer.error["param"]) == (400, param)
        assert upstream.exchanges == []


class TestModel:
    @pytest.mark.parametrize(
        "name",
        ["a b", "a/b", "..", ".", "...", "a?x=1", "a#b", "a%2Fb", "é", "a\\u0000", "a\\n", "x" * 129, "a;b", "@"],
    )
    async def test_that_can_be_no_deployment(self, host: Host, upstream: Upstream, name: str) -> None:
        body = b'{"model":"%s","messages":%s}' % (name.encode(), HELLO)
        answer = await post(host.url, "/v1/chat/completions", body)
        assert (answer.status, answer.error["code"]) == (400, "invalid_model")
        assert upstream.exchanges == []

    @pytest.mark.parametrize("name", ["a%20b", "a%2Fb", "..", "%2e%2e", "%00", "%0d%0ax", "%ff", "%E9", "a%252Fb", "%"])
    async def test_that_can_be_no_deployment_in_the_path(self, host: Host, upstream: Upstream, name: str) -> None:
        answer = await post(host.url, f"/openai/deployments/{name}/chat/completions?api-version=2024-10-21", CHAT)
        assert (answer.status, answer.error["code"]) == (400, "invalid_model")
        assert upstream.exchanges == []

    @pytest.mark.parametrize("kind", KINDS)
    async def test_that_is_unknown(self, hosts: Hosts, kind: str, upstream: Upstream) -> None:
        host = hosts.get(kind, NAMED)
        long = "x" * 50_000
        for name in ("gpt-9", "Chat", "chat ", long):
            answer = await post(
                host.url, "/v1/chat/completions", b'{"model":"%s","messages":%s}' % (name.encode(), HELLO)
            )
            assert (answer.status, answer.error["code"]) == (404, "model_not_found")
            assert "Known models: chat, zebra" in answer.error["message"]
            assert len(answer.body) < 1000
        assert upstream.exchanges == []


class TestContentType:
    @pytest.mark.parametrize(
        "kind",
        [
            None,
            "",
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=b",
            "application/json-patch+json",
            "application/jsonx",
            "json",
            "text/json",
        ],
    )
    async def test_other_than_json(self, host: Host, upstream: Upstream, kind: str | None) -> None:
        """A page of another site can send some of these without a preflight."""
        headers = [("content-type", kind)] if kind is not None else []
        answer = await ask(host.url, "POST", "/v1/chat/completions", headers, CHAT)
        assert (answer.status, answer.error["code"]) == (415, "unsupported_media_type")
        assert "application/json" in answer.error["message"]
        assert upstream.exchanges == []

    @pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "APPLICATION/JSON", "application/json ;x=y"])
    async def test_json_in_other_words(self, host: Host, kind: str) -> None:
        assert (await post(host.url, "/v1/chat/completions", CHAT, [("content-type", kind)])).status == 200

    @pytest.mark.parametrize("path", ["audio/transcriptions", "audio/translations"])
    async def test_other_than_a_form(self, host: Host, upstream: Upstream, path: str) -> None:
        answer = await post(host.url, f"/v1/{path}", CHAT)
        assert answer.status == 415
        assert "multipart/form-data" in answer.error["message"]
        assert upstream.exchanges == []

    @pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip", "gzip, identity", "aes128gcm"])
    @pytest.mark.parametrize("compressed", [False, True])
    async def test_compressed(self, serving: Host, upstream: Upstream, coding: str, compressed: bool) -> None:
        """Other codings are refused, and nothing compressed is passed on as if it were plain."""
        body = gzip.compress(CHAT) if compressed else CHAT
        answer = await post(serving.url, "/v1/chat/completions", body, [("content-encoding", coding)])
        assert (answer.status, answer.error["code"]) == (415, "unsupported_content_encoding")
        assert answer.header("accept-encoding") == "gzip, deflate, identity"
        assert upstream.exchanges == []

    async def test_identity_is_no_compression(self, host: Host) -> None:
        answer = await post(host.url, "/v1/chat/completions", CHAT, [("content-encoding", "identity")])
        assert answer.status == 200


PART = b'--b\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n'
FORMS = {
    "no boundary": ("multipart/form-data", PART % (b"model", b"a") + b"--b--\r\n"),
    "an empty boundary": ("multipart/form-data; boundary=", PART % (b"model", b"a") + b"--b--\r\n"),
    "another boundary": ("multipart/form-data; boundary=c", PART % (b"model", b"a") + b"--b--\r\n"),
    "no end": ("multipart/form-data; boundary=b", PART % (b"model", b"a")),
    "an end in a part": ("multipart/form-data; boundary=b", (PART % (b"model", b"a"))[:-2]),
    "an end in a part's head": ("multipart/form-data; boundary=b", b"--b\r\nContent-Disposition: form"),
    "nothing": ("multipart/form-data; boundary=b", b""),
    "json": ("multipart/form-data; boundary=b", CHAT),
    "too many parts": ("multipart/form-data; boundary=b", PART % (b"x", b"y") * 1000 + b"--b--\r\n"),
    "two models": ("multipart/form-data; boundary=b", PART % (b"model", b"a") + PART % (b"model", b"b") + b"--b--\r\n"),
    "a giant model": ("multipart/form-data; boundary=b", PART % (b"model", b"a" * 5000) + b"--b--\r\n"),
    "a model that is not UTF-8": ("multipart/form-data; boundary=b", PART % (b"model", b"\xff") + b"--b--\r\n"),
}


@pytest.mark.parametrize("name", FORMS)
async def test_forms_that_are_none(serving: Host, upstream: Upstream, name: str) -> None:
    kind, body = FORMS[name]
    fields = [("content-type", kind), ("content-length", str(len(body)))]
    answer = await ask(serving.url, "POST", "/v1/audio/transcriptions", fields, body)
    assert answer.status == 400
    assert answer.error["type"] == "invalid_request_error"
    assert upstream.exchanges == []


class TestSize:
    async def test_the_default_limit(self, serving: Host, upstream: Upstream) -> None:
        """32 MiB pass; one byte more is refused before it is read, even before it is sent."""
        fits = CHAT.replace(b"}]}", b'}],"x":"' + b"a" * (32 * MEBIBYTE - len(CHAT) - 7) + b'"}')
        assert len(fits) == 32 * MEBIBYTE
        answer = await post(serving.url, "/v1/chat/completions", fits)
        assert answer.status == 200
        assert len(upstream.only.body) == 32 * MEBIBYTE + len(b'"model":"gpt-4o",')
        fields = [JSON, ("content-length", str(32 * MEBIBYTE + 1))]
        early = await ask(serving.url, "POST", "/v1/chat/completions", fields)
        assert (early.status, early.error["code"]) == (413, "request_too_large")
        assert "max_body_bytes" in early.error["message"]
        answer = await post(serving.url, "/v1/chat/completions", fits + b" ")
        assert (answer.status, answer.error["code"]) == (413, "request_too_large")
        assert len(upstream.exchanges) == 1

    @pytest.mark.parametrize("chunked", [False, True])
    async def test_a_configured_limit(self, hasty: Host, upstream: Upstream, chunked: bool) -> None:
        body = CHAT.replace(b"}]}", b'","x":"' + b"a" * 6000 + b'"}]}')
        fields = [JSON]
        if chunked:
            body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:3000], body[3000:])) + b"0\r\n\r\n"
            fields.append(("transfer-encoding", "chunked"))
        answer = await ask(hasty.url, "POST", "/v1/chat/completions", fields, body)
        assert (answer.status, answer.error["code"]) == (413, "request_too_large")
        assert upstream.exchanges == []

    async def test_a_body_that_never_ends(self, hasty: Host, upstream: Upstream) -> None:
        """Chunk after chunk: refused at the limit, not held until memory ends."""
        piece = b"4000\r\n" + b" " * 0x4000 + b"\r\n"
        sent = request(hasty.url, "POST", "/v1/chat/completions", [JSON, ("transfer-encoding", "chunked")], piece * 200)
        async with connection(hasty.url) as (reader, writer):
            sending = asyncio.create_task(send(writer, sent))
            answer = parse(await receive(reader))
            sending.cancel()
        assert (answer.status, answer.error["code"]) == (413, "request_too_large")
        assert upstream.exchanges == []

    @pytest.mark.parametrize("size", [5000, 40_000, 70_000, 3_000_000])
    async def test_giant_heads(self, hasty: Host, upstream: Upstream, size: int) -> None:
        answer = await self.refused(hasty, [JSON, ("x-giant", "a" * size)])
        assert answer is None or answer.status == 431
        assert upstream.exchanges == []

    @pytest.mark.parametrize("count", [150, 1000])
    async def test_too_many_fields(self, serving: Host, upstream: Upstream, count: int) -> None:
        answer = await self.refused(serving, [JSON, *((f"x-{number}", "a") for number in range(count))])
        assert answer is None or answer.status == 431
        assert upstream.exchanges == []

    async def refused(self, host: Host, headers: list[tuple[str, str]]) -> Answer | None:
        """Return the answer. Before Functions stands the platform, whose own refusal of giant heads has no body."""
        answer = await ask(host.url, "POST", "/v1/chat/completions", headers, CHAT)
        if host.kind == "functions" and answer.header("content-length") == "0":
            assert answer.status == 431
            return None
        assert answer.error["code"] == "headers_too_large"
        return answer


class TestBodiesThatStop:
    @pytest.mark.parametrize("chunked", [False, True])
    async def test_halfway(self, hasty: Host, upstream: Upstream, chunked: bool) -> None:
        framing = ("transfer-encoding", "chunked") if chunked else ("content-length", "500")
        half = b"5\r\n" + CHAT[:5] + b"\r\n" if chunked else CHAT[:20]
        answer = await ask(hasty.url, "POST", "/v1/chat/completions", [JSON, framing], half)
        assert (answer.status, answer.error["code"]) == (408, "request_timeout")
        assert upstream.exchanges == []

    async def test_before_it_begins(self, hasty: Host, upstream: Upstream) -> None:
        answer = await ask(hasty.url, "POST", "/v1/chat/completions", [JSON, ("content-length", "500")])
        assert answer.status == 408
        assert upstream.exchanges == []

    async def test_because_the_client_left(self, serving: Host, upstream: Upstream) -> None:
        own = f"left-{serving.kind}"
        fields = [JSON, ("content-length", "500"), ("x-request-id", own)]
        async with connection(serving.url) as (_, writer):
            await send(writer, request(serving.url, "POST", "/v1/chat/completions", fields, CHAT[:20]))
        async with asyncio.timeout(60):
            while own not in serving.log():
                await asyncio.sleep(0.01)
        line = next(line for line in serving.log().splitlines() if own in line)
        assert '"end":"client_aborted"' in line
        assert upstream.exchanges == []


class TestHeads:
    @pytest.mark.parametrize("name", ["content-type", "authorization", "api-key", "origin", "x-request-id"])
    async def test_fields_twice(self, host: Host, upstream: Upstream, name: str) -> None:
        fields = [(name, "application/json"), (name, "application/json")]
        answer = await ask(host.url, "POST", "/v1/chat/completions", fields, CHAT)
        assert (answer.status, answer.error["code"]) == (400, "ambiguous_request")
        assert upstream.exchanges == []

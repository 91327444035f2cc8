"""Bad requests: each gets a clear error, and the process keeps serving; test_hosts.py has what each host reads."""

import asyncio
import gzip
import json
from collections.abc import Iterator

import pytest
from tests.live.both_hosts import NAMED, Host, Hosts
from tests.live.plain_http import CHAT, ask, assert_serves, post
from tests.live.simulated import Upstream

pytestmark = pytest.mark.anyio

HELLO = b'[{"role":"user","content":"a"}]'


@pytest.fixture
def serving(host: Host) -> Iterator[Host]:
    """The host; afterwards it must still serve."""
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


TWICE = [
    b'{"model":"a","model":"b","messages":%s}',
    b'{"model":"a","messages":%s,"model":"a"}',
    b'{"messages":[],"messages":%s}',
    b'{"stream":true,"messages":%s,"stream":false}',
    b'{"m\\u006fdel":"a","model":"b","messages":%s}',
    b'{"x":1,"x":1,"messages":%s}',
    b'{"x":{"a":1},"messages":%s,"x":{"a":1}}',
    b'{"messages":%s,"":1,"":2}',
    b'{"messages":%s,"x":"\\"x\\":1","x":"\\"x\\":1"}',
]
WRONG_TYPES = [
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
]


class TestJson:
    # All operations read their fields by the same code.
    @pytest.mark.parametrize("path", ["/v1/chat/completions", "/openai/deployments/gpt-4o/embeddings"])
    async def test_that_is_none(self, serving: Host, upstream: Upstream, path: str) -> None:
        for name, body in NOT_JSON.items():
            answer = await post(serving.url, path, body, [("content-length", str(len(body)))])
            assert (answer.status, answer.error["code"]) == (400, "invalid_json"), name
            assert answer.error["type"] == "invalid_request_error"
            assert len(answer.body) < 500
        assert upstream.exchanges == []

    async def test_with_a_field_twice(self, host: Host, upstream: Upstream) -> None:
        for body in TWICE:
            answer = await post(host.url, "/v1/chat/completions", body % HELLO)
            assert (answer.status, answer.error["code"]) == (400, "duplicate_field"), body
        assert upstream.exchanges == []

    async def test_with_too_many_fields(self, serving: Host, upstream: Upstream) -> None:
        body = json.dumps({f"x{number}": 1 for number in range(200_000)}).encode()
        answer = await post(serving.url, "/v1/chat/completions", body)
        assert (answer.status, answer.error["code"]) == (400, "too_many_fields")
        assert upstream.exchanges == []

    async def test_of_the_wrong_types(self, host: Host, upstream: Upstream) -> None:
        for body, param in WRONG_TYPES:
            answer = await post(host.url, "/v1/chat/completions", body)
            assert (answer.status, answer.error["param"]) == (400, param), body
            assert f"'{param}'" in answer.error["message"]
        assert upstream.exchanges == []

    async def test_with_messages_that_are_none(self, hosts: Hosts, upstream: Upstream) -> None:
        """Where a system message is to be added, the relay has to look into the messages, and so judges them."""
        url = hosts.get("server", NAMED).url
        for messages in (b"[1]", b'["a"]', b"[[]]", b"[null]", b'[{"role":1}]'):
            answer = await post(url, "/v1/chat/completions", b'{"messages":' + messages + b"}")
            assert (answer.status, answer.error["param"]) == (400, "messages"), messages
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
    async def test_that_can_be_no_deployment(self, host: Host, upstream: Upstream) -> None:
        for name in (
            "a b",
            "a/b",
            "..",
            ".",
            "...",
            "a?x=1",
            "a#b",
            "a%2Fb",
            "é",
            "a\\u0000",
            "a\\n",
            "x" * 129,
            "a;b",
            "@",
        ):
            body = b'{"model":"%s","messages":%s}' % (name.encode(), HELLO)
            answer = await post(host.url, "/v1/chat/completions", body)
            assert (answer.status, answer.error["code"]) == (400, "invalid_model"), name
        assert upstream.exchanges == []

    async def test_that_can_be_no_deployment_in_the_path(self, host: Host, upstream: Upstream) -> None:
        for name in ("a%20b", "a%2Fb", "..", "%2e%2e", "%00", "%0d%0ax", "%ff", "%E9", "a%252Fb", "%"):
            answer = await post(host.url, f"/openai/deployments/{name}/chat/completions?api-version=2024-10-21", CHAT)
            assert (answer.status, answer.error["code"]) == (400, "invalid_model"), name
        assert upstream.exchanges == []

    async def test_that_is_unknown(self, hosts: Hosts, upstream: Upstream) -> None:
        host = hosts.get("server", NAMED)
        long = "x" * 50_000
        for name in ("gpt-9", "Chat", "chat ", long):
            answer = await post(
                host.url, "/v1/chat/completions", b'{"model":"%s","messages":%s}' % (name.encode(), HELLO)
            )
            assert (answer.status, answer.error["code"]) == (404, "model_not_found")
            assert "Known models: chat, zebra" in answer.error["message"]
            assert len(answer.body) < 1000
        assert upstream.exchanges == []


NO_JSON = [
    None,
    "",
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=b",
    "application/json-patch+json",
    "application/jsonx",
    "json",
    "text/json",
]


class TestContentType:
    async def test_other_than_json(self, host: Host, upstream: Upstream) -> None:
        """A page of another site can send some of these without a preflight."""
        for kind in NO_JSON:
            headers = [("content-type", kind)] if kind is not None else []
            answer = await ask(host.url, "POST", "/v1/chat/completions", headers, CHAT)
            assert (answer.status, answer.error["code"]) == (415, "unsupported_media_type"), kind
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
    async def test_compressed(self, serving: Host, upstream: Upstream, coding: str) -> None:
        """Other codings are refused, and nothing compressed is passed on as if it were plain."""
        body = gzip.compress(CHAT) if "gzip" in coding else CHAT  # it is refused unread
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


async def test_forms_that_are_none(serving: Host, upstream: Upstream) -> None:
    for name, (kind, body) in FORMS.items():
        fields = [("content-type", kind), ("content-length", str(len(body)))]
        answer = await ask(serving.url, "POST", "/v1/audio/transcriptions", fields, body)
        assert answer.status == 400, name
        assert answer.error["type"] == "invalid_request_error"
    assert upstream.exchanges == []

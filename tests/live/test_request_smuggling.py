"""Requests that two parsers could read differently, sent byte for byte to the server.

The rule: what is ambiguous never reaches the upstream. It is answered with a 4xx in OpenAI's shape and the connection
is closed, or it is closed without a word; what is accepted is accepted for a reason that stands beside it, and then
exactly one request with exactly the intended body has gone up. The cases are in framings.py.
"""

import asyncio
import re
import time

import pytest
from tests.live.both_hosts import Host, Hosts, Setup, resource
from tests.live.framings import ACCEPTED, BODY, CHUNKED, LENGTH, REFUSED, SMUGGLED, chunked, post
from tests.live.plain_http import CHAT, assert_serves, connection, parse, raw, receive, rest
from tests.live.simulated import Upstream

pytestmark = pytest.mark.anyio

STRICT = Setup(
    "strict",
    resource(
        {
            "CHUKEI_AUTH__ANONYMOUS": "true",
            "CHUKEI_SERVER__HEADER_SECONDS": "0.4",
            "CHUKEI_SERVER__BODY_SECONDS": "0.4",
            "CHUKEI_SERVER__KEEPALIVE_SECONDS": "1",
        }
    ),
)


@pytest.fixture
def server(hosts: Hosts) -> Host:
    return hosts.get("server", STRICT)


@pytest.mark.parametrize("name", REFUSED)
async def test_refused(server: Host, upstream: Upstream, name: str) -> None:
    """The bytes are refused, and so is a plain request behind them on the same connection."""
    received = await raw(server.url, REFUSED[name] + SMUGGLED)
    if received:
        answer = parse(received)
        assert 400 <= answer.status < 500
        assert answer.error["type"] == "invalid_request_error"
        assert re.fullmatch(r"req_[0-9a-f]{32}", answer.header("x-request-id") or "")
        assert received.count(b"HTTP/1.1 ") == 1, "a second answer: what followed was read as another request"
    assert upstream.exchanges == []
    await assert_serves(server.url)


@pytest.mark.parametrize("name", ACCEPTED)
async def test_accepted(server: Host, upstream: Upstream, name: str) -> None:
    case = ACCEPTED[name]
    assert case.why
    async with connection(server.url) as (reader, writer):
        writer.write(case.sent)
        answer = parse(await receive(reader))
    assert answer.status == 200, answer
    assert upstream.only.body == CHAT.replace(b"{", b'{"model":"gpt-4o",', 1)
    assert "transfer-encoding" not in upstream.only.headers
    assert upstream.only.headers["content-length"] == str(len(upstream.only.body))


async def answers(url: str, data: bytes) -> list[int]:
    """Send everything at once and return the statuses of all that comes back."""
    received = await raw(url, data)
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", received)]


class TestPipelining:
    """Several requests in one write (§9.3.2): each is answered in order, and a bad one answers nobody else."""

    async def test_two_good_ones(self, server: Host, upstream: Upstream) -> None:
        last = SMUGGLED.replace(b"Host: a\r\n", b"Host: a\r\nConnection: close\r\n")
        assert await answers(server.url, post() + last) == [200, 200]
        assert [exchange.operation for exchange in upstream.exchanges] == ["chat/completions", "embeddings"]

    async def test_a_bad_one_after_a_good_one(self, server: Host, upstream: Upstream) -> None:
        """The first may be served or cut; its place must not be taken by the answer to the second."""
        received = await raw(server.url, post() + post(LENGTH + CHUNKED, BODY) + SMUGGLED)
        statuses = [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", received)]
        assert statuses in ([], [200], [200, 400])
        assert len(upstream.exchanges) <= 1

    async def test_garbage_after_a_good_one(self, server: Host, upstream: Upstream) -> None:
        received = await raw(server.url, post() + b"\x00\x01garbage\r\n\r\n")
        statuses = [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", received)]
        assert statuses in ([], [200], [200, 400])
        assert len(upstream.exchanges) <= 1

    async def test_more_than_the_length_says(self, server: Host, upstream: Upstream) -> None:
        """A body longer than its Content-Length: the rest is another request's beginning, and not a good one."""
        received = await raw(server.url, post(b"Content-Length: %d\r\n" % (len(CHAT) - 1)) + SMUGGLED)
        assert b" 200 " not in received.split(b"\r\n", 1)[0]
        assert upstream.exchanges == []

    async def test_a_request_in_a_body(self, server: Host, upstream: Upstream) -> None:
        """The body is a body, whatever it looks like."""
        assert (
            await answers(server.url, post(b"Content-Length: %d\r\nConnection: close\r\n" % len(SMUGGLED), SMUGGLED))
        ) == [400]
        assert upstream.exchanges == []

    @pytest.mark.parametrize(("fields", "body"), [(LENGTH, CHAT), (CHUNKED, BODY)], ids=["length", "chunked"])
    async def test_offers_to_upgrade(self, server: Host, upstream: Upstream, fields: bytes, body: bytes) -> None:
        """Java's client makes one with each first request; they are declined by going on in HTTP/1.1."""
        offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAB\r\n"
        look = b"GET /health/live HTTP/1.1\r\nHost: a\r\n" + offer + b"\r\n"
        last = SMUGGLED.replace(b"Host: a\r\n", b"Host: a\r\nConnection: close\r\n")
        async with connection(server.url) as (reader, writer):
            for part in (look, post(offer + fields, body), last):
                writer.write(part)
                assert parse(await receive(reader)).status == 200
        assert [exchange.operation for exchange in upstream.exchanges] == ["chat/completions", "embeddings"]
        assert await answers(server.url, look + post(offer + fields, body) + last) == [200, 200, 200]


async def test_a_refusal_arrives_although_the_rest_is_not_read(server: Host) -> None:
    """Closing with unread bytes sends a reset, which can overtake the answer; so the rest is read for a moment."""
    async with connection(server.url) as (reader, writer):
        writer.write(post(LENGTH + b"X-A : b\r\n"))
        received = await receive(reader)
        for _ in range(20):
            writer.write(b" " * 65536)
            await writer.drain()  # a reset would raise here
        received += await rest(reader)
    assert parse(received).status == 400


class TestTrailers:
    async def test_a_trailer_is_no_header(self, server: Host, upstream: Upstream) -> None:
        """RFC 9110 §6.5.1: a late field must not count as one that the head was judged by."""
        sent = chunked(BODY[:-2] + b"Openai-Beta: smuggled\r\nApi-Key: k\r\n\r\n")
        await raw(server.url, sent)
        assert upstream.exchanges == []

    async def test_giant_trailers_cost_nothing(self, server: Host) -> None:
        received = await raw(server.url, chunked(BODY[:-2] + b"X: " + b"a" * 4_000_000))
        assert b" 200 " not in received[:20]
        await assert_serves(server.url)


class TestSlowness:
    """Slow heads and bodies end, but not early: silent ones, and those which drip a byte now and then."""

    async def drip(self, url: str, sent: bytes, more: bytes) -> tuple[float, bytes]:
        """Send, then one byte at a time; return the seconds until the server closed, and what it said."""
        started = time.monotonic()
        async with connection(url) as (reader, writer):
            writer.write(sent)
            reading = asyncio.create_task(rest(reader))
            for byte in more:
                done, _ = await asyncio.wait({reading}, timeout=0.05)
                if done:
                    break
                writer.write(bytes([byte]))
            received = await reading
        return time.monotonic() - started, received

    @pytest.mark.parametrize("more", [b"", b"a" * 200], ids=["silent", "dripping"])
    async def test_a_head(self, server: Host, more: bytes) -> None:
        seconds, received = await self.drip(server.url, b"POST /v1/chat/completions HTTP/1.1\r\nX-A: ", more)
        assert seconds > 0.3
        assert (parse(received).status, parse(received).error["code"]) == (408, "request_timeout")

    async def test_a_connection_without_a_word(self, server: Host) -> None:
        seconds, received = await self.drip(server.url, b"", b"")
        assert seconds > 0.3
        assert received == b""

    @pytest.mark.parametrize("more", [b"", b"a" * 200], ids=["silent", "dripping"])
    async def test_a_second_head(self, server: Host, more: bytes) -> None:
        sent = post() + b"POST /v1/chat/completions HTTP/1.1\r\nX-A: "
        seconds, received = await self.drip(server.url, sent, more)
        assert seconds > 0.3
        assert received.startswith(b"HTTP/1.1 200 ")

    @pytest.mark.parametrize("more", [b"", b" " * 200], ids=["silent", "dripping"])
    async def test_a_body(self, server: Host, upstream: Upstream, more: bytes) -> None:
        seconds, received = await self.drip(server.url, post(b"Content-Length: 5000\r\n", CHAT[:10]), more)
        assert seconds > 0.3
        assert (parse(received).status, parse(received).error["code"]) == (408, "request_timeout")
        assert upstream.exchanges == []

    @pytest.mark.parametrize("more", [b"", b"1\r\n \r\n" * 40], ids=["silent", "dripping"])
    async def test_a_chunked_body(self, server: Host, upstream: Upstream, more: bytes) -> None:
        seconds, received = await self.drip(server.url, chunked(b"5\r\nabcde\r\n"), more)
        assert seconds > 0.3
        assert parse(received).status == 408
        assert upstream.exchanges == []

    @pytest.mark.parametrize("more", [b"", b" " * 200], ids=["silent", "dripping"])
    async def test_a_body_that_was_answered_already(self, server: Host, more: bytes) -> None:
        """The rest is read for a moment, so that the answer arrives whole, and no longer."""
        sent = post(b"Content-Length: 5000\r\n", CHAT[:10], line=b"POST /nowhere HTTP/1.1\r\n")
        seconds, received = await self.drip(server.url, sent, more)
        assert seconds > 1
        assert parse(received).status == 404


async def test_a_body_that_was_answered_already_does_not_end_the_connection(server: Host, upstream: Upstream) -> None:
    async with connection(server.url) as (reader, writer):
        writer.write(post(LENGTH, CHAT[:10], line=b"POST /nowhere HTTP/1.1\r\n"))
        assert parse(await receive(reader)).status == 404
        writer.write(CHAT[10:] + SMUGGLED)
        assert parse(await receive(reader)).status == 200
        writer.write(SMUGGLED)
        assert parse(await receive(reader)).status == 200
    assert len(upstream.exchanges) == 2

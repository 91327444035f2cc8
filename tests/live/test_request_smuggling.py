"""Requests that two parsers could read differently, sent byte for byte to the server.

The rule: what is ambiguous never reaches the upstream. It is answered with a 4xx in OpenAI's shape and the connection
is closed, or it is closed without a word; what is accepted is accepted for a reason that stands beside it, and then
exactly one request with exactly the intended body has gone up. Sources: RFC 9112 (sections named in the table),
RFC 9110 §5.5 and §6.5, and the differences between parsers that the http-garden project collects.
"""

import asyncio
import re
from dataclasses import dataclass

import pytest
from tests.live.both_hosts import Host, Hosts, Setup, resource
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


LENGTH = b"Content-Length: %d\r\n" % len(CHAT)
TYPE = b"Content-Type: application/json\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
BODY = b"%x\r\n%s\r\n0\r\n\r\n" % (len(CHAT), CHAT)
SMUGGLED = b"POST /v1/embeddings HTTP/1.1\r\nHost: a\r\n" + TYPE + b'Content-Length: 13\r\n\r\n{"input":"x"}'


def post(
    fields: bytes = LENGTH,
    body: bytes = CHAT,
    *,
    line: bytes = b"POST /v1/chat/completions HTTP/1.1\r\n",
    host: bytes = b"Host: 127.0.0.1\r\n",
    kind: bytes = TYPE,
) -> bytes:
    """Write a request of which one part is not as it should be."""
    return line + host + kind + fields + b"\r\n" + body


def chunked(body: bytes) -> bytes:
    return post(CHUNKED, body)


def piece(size: bytes, end: bytes = b"\r\n", tail: bytes = b"\r\n") -> bytes:
    """A chunked request with its first size line spelt differently."""
    return chunked(size + end + CHAT + tail + b"0\r\n\r\n")


SIZE = b"%x" % len(CHAT)

REFUSED: dict[str, bytes] = {
    # Length and coding together, RFC 9112 §6.3: the classic CL.TE and TE.CL.
    "CL and TE": post(LENGTH + CHUNKED, BODY),
    "TE and CL": post(CHUNKED + LENGTH, BODY),
    "CL.TE with a request behind": post(b"Content-Length: 4\r\n" + CHUNKED, b"0\r\n\r\n" + SMUGGLED),
    "TE.CL with a request behind": post(CHUNKED + b"Content-Length: 5\r\n", b"0\r\n\r\n" + SMUGGLED),
    "CL zero and TE": post(b"Content-Length: 0\r\n" + CHUNKED, BODY),
    # Lengths that are none, §6.2 and §6.3.
    "two different CL": post(LENGTH + b"Content-Length: 1\r\n"),
    "two equal CL": post(LENGTH + LENGTH),
    "a CL list": post(b"Content-Length: %d, %d\r\n" % (len(CHAT), len(CHAT))),
    "a CL with a sign": post(b"Content-Length: +%d\r\n" % len(CHAT)),
    "a negative CL": post(b"Content-Length: -5\r\n"),
    "a hexadecimal CL": post(b"Content-Length: 0x3a\r\n"),
    "a CL with an underscore": post(b"Content-Length: 5_8\r\n"),
    "a CL with a space in it": post(b"Content-Length: 5 8\r\n"),
    "a CL with a fraction": post(b"Content-Length: 58.0\r\n"),
    "a CL with an exponent": post(b"Content-Length: 1e2\r\n"),
    "an empty CL": post(b"Content-Length: \r\n"),
    "a CL beyond 64 bits": post(b"Content-Length: 18446744073709551674\r\n"),
    "a CL of other digits": post("Content-Length: ٥٨\r\n".encode()),
    "a CL with a vertical tab": post(b"Content-Length: \x0b%d\r\n" % len(CHAT)),
    "a CL folded": post(b"Content-Length:\r\n %d\r\n" % len(CHAT)),
    # Codings that are not chunked alone, §6.1 and §7.
    "two TE": post(CHUNKED + CHUNKED, BODY),
    "two TE, the first unknown": post(b"Transfer-Encoding: x\r\n" + CHUNKED, BODY),
    "two TE, the last unknown": post(CHUNKED + b"Transfer-Encoding: x\r\n", BODY),
    "TE gzip, chunked": post(b"Transfer-Encoding: gzip, chunked\r\n", BODY),
    "TE chunked, chunked": post(b"Transfer-Encoding: chunked, chunked\r\n", BODY),
    "TE chunked, identity": post(b"Transfer-Encoding: chunked, identity\r\n", BODY),
    "TE identity": post(b"Transfer-Encoding: identity\r\n" + LENGTH),
    "TE xchunked": post(b"Transfer-Encoding: xchunked\r\n", BODY),
    "TE quoted": post(b'Transfer-Encoding: "chunked"\r\n', BODY),
    "TE with a parameter": post(b"Transfer-Encoding: chunked;q=1\r\n", BODY),
    "TE with a comma": post(b"Transfer-Encoding: ,chunked\r\n", BODY),
    "TE with a vertical tab": post(b"Transfer-Encoding: \x0bchunked\r\n", BODY),
    "TE empty": post(b"Transfer-Encoding: \r\n" + LENGTH),
    "TE folded": post(b"Transfer-Encoding:\r\n chunked\r\n", BODY),
    "TE with a space before the colon": post(b"Transfer-Encoding : chunked\r\n", BODY),
    "TE in HTTP/1.0": post(CHUNKED, BODY, line=b"POST /v1/chat/completions HTTP/1.0\r\n"),
    "TE after a bare LF": post(b"X-A: b\nTransfer-Encoding: chunked\r\n", BODY),
    "TE after a bare CR": post(b"X-A: b\rTransfer-Encoding: chunked\r\n", BODY),
    # Chunk framing, §7.1.
    "a chunk size with 0x": piece(b"0x" + SIZE),
    "a chunk size with a sign": piece(b"+" + SIZE),
    "a negative chunk size": piece(b"-" + SIZE),
    "a chunk size with an underscore": piece(b"0_" + SIZE),
    "a chunk size after a space": piece(b" " + SIZE),
    "a chunk size beyond 64 bits": piece(b"1" + b"0" * 16 + SIZE),
    "no chunk size": piece(b""),
    "a chunk size that ends in a bare LF": piece(SIZE, end=b"\n"),
    "a chunk size that ends in a bare CR": piece(SIZE, end=b"\r"),
    "a chunk too short": chunked(b"5\r\n" + CHAT + b"\r\n0\r\n\r\n"),
    "a chunk too long": chunked(b"fff\r\n" + CHAT + b"\r\n0\r\n\r\n"),
    "a chunk that does not end in CR LF": piece(SIZE, tail=b"XX"),
    "a chunk that ends in a bare LF": piece(SIZE, tail=b"\n"),
    "a bare LF in a chunk extension": piece(SIZE + b";a\nb"),
    "a trailer": chunked(BODY[:-2] + b"X-Late: 1\r\n\r\n"),
    "a trailer that sets the length": chunked(BODY[:-2] + LENGTH + b"\r\n"),
    "a trailer with a bare LF": chunked(BODY[:-2] + b"X: 1\n\r\n"),
    # Field lines, §5 and RFC 9110 §5.5.
    "a space before the colon": post(LENGTH + b"X-A : b\r\n"),
    "a tab before the colon": post(LENGTH + b"X-A\t: b\r\n"),
    "a field without a colon": post(LENGTH + b"nonsense\r\n"),
    "a field without a name": post(LENGTH + b": b\r\n"),
    "a name with a space": post(LENGTH + b"X A: b\r\n"),
    "a name with other letters": post(LENGTH + "X-É: b\r\n".encode()),
    "a name with a NUL": post(LENGTH + b"X\x00A: b\r\n"),
    "a folded field": post(LENGTH + b"X-A: b\r\n c\r\n"),
    "a first field that is folded": post(LENGTH, host=b" X: y\r\nHost: 127.0.0.1\r\n"),
    "a NUL in a value": post(LENGTH + b"X-A: b\x00c\r\n"),
    "a CR in a value": post(LENGTH + b"X-A: b\rc\r\n"),
    "a bare LF after a field": post(LENGTH + b"X-A: b\nX-B: c\r\n"),
    "an escape in a value": post(LENGTH + b"X-A: b\x1b[2Jc\r\n"),
    "a DEL in a value": post(LENGTH + b"X-A: b\x7f\r\n"),
    "bare LFs throughout": post().replace(b"\r\n", b"\n"),
    "a bare LF before the body": post(LENGTH).replace(b"\r\n\r\n", b"\r\n\n", 1),
    "a bare CR before the body": post(LENGTH).replace(b"\r\n\r\n", b"\r\r\n", 1),
    "two content types": post(LENGTH + b"Content-Type: text/plain\r\n"),
    # Hosts and targets, §3.2 and §3.3.
    "no Host": post(host=b""),
    "two Hosts": post(host=b"Host: 127.0.0.1\r\nHost: 127.0.0.1\r\n"),
    "two different Hosts": post(host=b"Host: 127.0.0.1\r\nHost: evil.example\r\n"),
    "an empty Host": post(host=b"Host: \r\n"),
    "a Host with a path": post(host=b"Host: 127.0.0.1/x\r\n"),
    "a Host with a user": post(host=b"Host: a@127.0.0.1\r\n"),
    "a Host list": post(host=b"Host: 127.0.0.1, evil.example\r\n"),
    "a Host with a space": post(host=b"Host: 127.0.0.1 evil\r\n"),
    "a target with another host": post(line=b"POST http://evil.example/v1/chat/completions HTTP/1.1\r\n"),
    "a target with another port": post(line=b"POST http://127.0.0.1:81/v1/chat/completions HTTP/1.1\r\n"),
    "a target with a user": post(line=b"POST http://u@127.0.0.1/v1/chat/completions HTTP/1.1\r\n"),
    "a target of another scheme": post(line=b"POST file://127.0.0.1/v1/chat/completions HTTP/1.1\r\n"),
    "a target without a slash": post(line=b"POST v1/chat/completions HTTP/1.1\r\n"),
    "a target with a fragment": post(line=b"POST /v1/chat/completions#x HTTP/1.1\r\n"),
    "a target with a space": post(line=b"POST /v1/chat/completions x HTTP/1.1\r\n"),
    "a target with a tab": post(line=b"POST /v1/chat\tcompletions HTTP/1.1\r\n"),
    "a target with a NUL": post(line=b"POST /v1/chat/completions\x00 HTTP/1.1\r\n"),
    "a target with other bytes": post(line="POST /v1/chat/completions?é HTTP/1.1\r\n".encode()),
    "CONNECT": post(line=b"CONNECT 127.0.0.1:443 HTTP/1.1\r\n"),
    # Request lines, §3.
    "HTTP/0.9": b"GET /v1/models\r\n",
    "HTTP/0.9 with a version": post(line=b"POST /v1/chat/completions HTTP/0.9\r\n"),
    "HTTP/1.2": post(line=b"POST /v1/chat/completions HTTP/1.2\r\n"),
    "HTTP/2.0": post(line=b"POST /v1/chat/completions HTTP/2.0\r\n"),
    "HTTP/1.10": post(line=b"POST /v1/chat/completions HTTP/1.10\r\n"),
    "HTTP/ 1.1": post(line=b"POST /v1/chat/completions HTTP/ 1.1\r\n"),
    "http/1.1": post(line=b"POST /v1/chat/completions http/1.1\r\n"),
    "no version": post(line=b"POST /v1/chat/completions\r\n"),
    "HTTP/2's preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a tab instead of a space": post(line=b"POST\t/v1/chat/completions HTTP/1.1\r\n"),
    "a space in front": post(line=b" POST /v1/chat/completions HTTP/1.1\r\n"),
    "a space behind": post(line=b"POST /v1/chat/completions HTTP/1.1 \r\n"),
    "a request line that ends in a bare LF": post(line=b"POST /v1/chat/completions HTTP/1.1\n"),
    "a method in small letters": post(line=b"post /v1/chat/completions HTTP/1.1\r\n"),
    "an unknown method": post(line=b"GPOST /v1/chat/completions HTTP/1.1\r\n"),
    "a huge method": post(line=b"P" * 100_000 + b" /v1/chat/completions HTTP/1.1\r\n"),
    "a huge target": post(line=b"POST /" + b"a" * 100_000 + b" HTTP/1.1\r\n"),
    "a TLS handshake": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
    "SSH": b"SSH-2.0-OpenSSH_9.2\r\n",
    "noise": bytes(range(256)),
}


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


@dataclass(frozen=True)
class Accepted:
    """Bytes that are served, and why that is safe."""

    sent: bytes
    why: str


ACCEPTED = {
    "plain": Accepted(post(), "nothing is wrong with it"),
    "chunked": Accepted(chunked(BODY), "nothing is wrong with it"),
    "Chunked in capitals": Accepted(post(b"Transfer-Encoding: CHUNKED\r\n", BODY), "coding names have no case (§7)"),
    "many chunks": Accepted(
        chunked(b"".join(b"1\r\n%c\r\n" % byte for byte in CHAT) + b"0\r\n\r\n"), "chunks may be of any size (§7.1)"
    ),
    "a chunk size with zeros": Accepted(piece(b"000" + SIZE), "`1*HEXDIG`: leading zeros change nothing (§7.1)"),
    "a chunk size in capitals": Accepted(piece(SIZE.upper()), "HEXDIG has no case (§7.1)"),
    "a chunk extension": Accepted(piece(SIZE + b";a=b"), "recipients must ignore unknown extensions (§7.1.1)"),
    "a CL with zeros": Accepted(post(b"Content-Length: 000%d\r\n" % len(CHAT)), "`1*DIGIT` is decimal always (§6.2)"),
    "a CL with spaces around it": Accepted(
        post(b"Content-Length: \t %d \t\r\n" % len(CHAT)), "optional white space is no part of the value (§5)"
    ),
    "no space after the colon": Accepted(post(LENGTH.replace(b": ", b":")), "the white space is optional (§5)"),
    "names in any case": Accepted(post(LENGTH.upper()), "field names have no case (RFC 9110 §5.1)"),
    "an empty value": Accepted(post(LENGTH + b"X-A:\r\n"), "values may be empty (RFC 9110 §5.5)"),
    "bytes beyond ASCII in a value": Accepted(
        post(LENGTH + b"X-A: \xe9\xff\r\n"), "obs-text is opaque, and the field goes nowhere (RFC 9110 §5.5)"
    ),
    "empty lines in front": Accepted(b"\r\n" + post(), "a server should ignore one before the request line (§2.2)"),
    "the whole address as target": Accepted(
        post(line=b"POST http://127.0.0.1/v1/chat/completions HTTP/1.1\r\n"),
        "servers must accept it (§3.2.2), and it names the host that Host names",
    ),
    "two spaces": Accepted(
        post(line=b"POST  /v1/chat/completions HTTP/1.1\r\n"),
        "a recipient may split the request line at any white space (§3); the framing is untouched",
    ),
    "HTTP/1.0": Accepted(
        post(line=b"POST /v1/chat/completions HTTP/1.0\r\n"), "one length, no coding, and the connection closes"
    ),
    "HTTP/1.0 without Host": Accepted(
        post(line=b"POST /v1/chat/completions HTTP/1.0\r\n", host=b""), "HTTP/1.0 knows no Host (§3.2)"
    ),
    "an offer to upgrade": Accepted(
        post(LENGTH + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"),
        "an upgrade may be ignored (RFC 9110 §7.8); what follows on the connection is not read",
    ),
}


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
    """Slow heads and bodies end in time: silent ones, and those which drip a byte now and then."""

    async def drip(self, url: str, sent: bytes, more: bytes) -> tuple[float, bytes]:
        """Send, then one byte at a time; return the seconds until the server closed, and what it said."""
        started = asyncio.get_running_loop().time()
        async with connection(url) as (reader, writer):
            writer.write(sent)
            reading = asyncio.create_task(rest(reader))
            for byte in more:
                done, _ = await asyncio.wait({reading}, timeout=0.05)
                if done:
                    break
                writer.write(bytes([byte]))
            received = await reading
        return asyncio.get_running_loop().time() - started, received

    @pytest.mark.parametrize("more", [b"", b"a" * 200], ids=["silent", "dripping"])
    async def test_a_head(self, server: Host, more: bytes) -> None:
        seconds, received = await self.drip(server.url, b"POST /v1/chat/completions HTTP/1.1\r\nX-A: ", more)
        assert 0.3 < seconds < 3
        assert (parse(received).status, parse(received).error["code"]) == (408, "request_timeout")

    async def test_a_connection_without_a_word(self, server: Host) -> None:
        seconds, received = await self.drip(server.url, b"", b"")
        assert 0.3 < seconds < 3
        assert received == b""

    @pytest.mark.parametrize("more", [b"", b"a" * 200], ids=["silent", "dripping"])
    async def test_a_second_head(self, server: Host, more: bytes) -> None:
        sent = post() + b"POST /v1/chat/completions HTTP/1.1\r\nX-A: "
        seconds, received = await self.drip(server.url, sent, more)
        assert 0.3 < seconds < 3
        assert received.startswith(b"HTTP/1.1 200 ")

    @pytest.mark.parametrize("more", [b"", b" " * 200], ids=["silent", "dripping"])
    async def test_a_body(self, server: Host, upstream: Upstream, more: bytes) -> None:
        seconds, received = await self.drip(server.url, post(b"Content-Length: 5000\r\n", CHAT[:10]), more)
        assert 0.3 < seconds < 3
        assert (parse(received).status, parse(received).error["code"]) == (408, "request_timeout")
        assert upstream.exchanges == []

    @pytest.mark.parametrize("more", [b"", b"1\r\n \r\n" * 40], ids=["silent", "dripping"])
    async def test_a_chunked_body(self, server: Host, upstream: Upstream, more: bytes) -> None:
        seconds, received = await self.drip(server.url, chunked(b"5\r\nabcde\r\n"), more)
        assert 0.3 < seconds < 3
        assert parse(received).status == 408
        assert upstream.exchanges == []

    @pytest.mark.parametrize("more", [b"", b" " * 200], ids=["silent", "dripping"])
    async def test_a_body_that_was_answered_already(self, server: Host, more: bytes) -> None:
        """The rest is read for a moment, so that the answer arrives whole, and no longer."""
        sent = post(b"Content-Length: 5000\r\n", CHAT[:10], line=b"POST /nowhere HTTP/1.1\r\n")
        seconds, received = await self.drip(server.url, sent, more)
        assert 1 < seconds < 5
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

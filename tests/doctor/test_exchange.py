"""Reading an answer with its times and its flaws."""

import gzip
import time

import pytest
from tests.adapters.servers import LocalServer, Peer
from tests.doctor.ways import answer, way
from tests.rows import rows

from chukei.doctor.exchange import Exchange, get, readable
from chukei.doctor.finding import Kind, Subject
from chukei.doctor.network import reach

pytestmark = pytest.mark.anyio

CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nvia: a\r\nvia: b\r\n\r\n"
ONE = b"5\r\nhello\r\n"
END = b"0\r\n\r\n"
ZIPPED = gzip.compress(b"hello")


async def exchange(*parts: bytes, how: str = "fin", seconds: float = 60.0) -> Exchange:
    """Send a request to a server that answers with these parts and then ends the connection, or stays silent."""

    async def handle(peer: Peer) -> None:
        await peer.head()
        for part in parts:
            await peer.send(part)
        if how == "silent":
            await peer.eof()

    async with LocalServer(handle) as server:
        url = f"http://127.0.0.1:{server.port}"
        _, reached = await reach(Subject(Kind.RELAY, url), url, way())
        assert reached is not None
        return await get(reached, "relay.example", "/x", [("accept", "*/*")], time.monotonic, seconds)


@rows(
    ("parts", "whole", "broken", "version", "body"),
    [
        ([CHUNKED, ONE, END], True, "", "1.1", b"hello"),
        ([CHUNKED, ONE], False, "closed", "1.1", b"hello"),
        ([CHUNKED, ONE, b"zz\r\n"], False, "closed", "1.1", b"hello"),
        ([answer(200, b"hello")], True, "", "1.1", b"hello"),
        ([b"HTTP/1.0 200 OK\r\n\r\nhello"], False, "closed", "1.0", b"hello"),
        ([answer(200, ZIPPED, b"content-encoding: gzip")], True, "", "1.1", b"hello"),
    ],
)
async def test_how_answers_end(parts: list[bytes], whole: bool, broken: str, version: str, body: bytes) -> None:
    got = await exchange(*parts)
    assert (got.status, got.whole, got.broken, got.version, got.body) == (200, whole, broken, version, body)
    assert readable(got)


async def test_an_answer_that_stops() -> None:
    got = await exchange(CHUNKED, how="silent", seconds=0.05)
    assert (got.broken, got.headers["via"]) == ("silent", "a, b")


async def test_what_is_not_http() -> None:
    with pytest.raises(ValueError, match="does not speak HTTP"):
        await exchange(b"220 mail.example ESMTP\r\n")
    with pytest.raises(ConnectionError, match="no answer came"):
        await exchange()


async def test_a_coding_that_cannot_be_read() -> None:
    got = await exchange(answer(200, b"?", b"content-encoding: br"))
    assert (got.coding, readable(got), got.body) == ("br", False, b"?")
    assert (await exchange(answer(200, b"?", b"content-encoding: identity"))).coding == ""
    assert (await exchange(answer(200, b"?", b"content-encoding: gzip"))).body == b""

"""Chunks that bypass the parser: only if it is between two chunks, for any bytes."""

import asyncio
import gc
import weakref

import pytest
from tests.rows import rows

from chukei.adapters.http.connection import Connection
from chukei.model import Dialect
from chukei.stream.stream import Stream

pytestmark = pytest.mark.anyio

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}\n\n'


class Nowhere(asyncio.Transport):
    """A transport of which nothing is asked."""

    def write(self, data: object) -> None:
        return None

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        return None

    def is_closing(self) -> bool:
        return False

    def abort(self) -> None:
        return None


class Greedy:
    """Takes whatever it is offered."""

    def __init__(self) -> None:
        self.chunks: list[bytes] = []
        self.parts: list[bytes] = []

    def whole(self, framed: bytes, begin: int) -> bool:
        self.chunks.append(framed[begin:-2])
        return True

    def some(self, data: bytes) -> bool:
        self.parts.append(data)
        return True


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def taken(*reads: bytes) -> Greedy:
    """Return what a reader that waits all the time is offered."""
    connection, taker = Connection(lambda _: None, lambda _: None), Greedy()
    connection.connection_made(Nowhere())
    answer = connection.send(b"", b"")
    answer.divert(taker)
    reading = asyncio.create_task(answer.read())
    await asyncio.sleep(0)
    for data in reads:
        connection.data_received(data)
    reading.cancel()
    return taker


async def test_a_chunk_behind_a_chunk() -> None:
    taker = await taken(HEAD + chunk(EVENT), chunk(EVENT), chunk(EVENT))
    assert taker.parts == [EVENT]
    assert taker.chunks == [EVENT, EVENT]


INSIDE = chunk(EVENT)
"""What looks like a chunk and is a part of one."""


@rows(
    "first",
    [
        pytest.param(b"%x\r\n" % len(INSIDE), id="the size line"),
        pytest.param(b"%x\r\n\r\n" % (2 + len(INSIDE)), id="CRLF at a chunk's beginning"),
        pytest.param(b"%x\r\n\r\n\r\n" % (4 + len(INSIDE)), id="two"),
        pytest.param(b"%x\r\n\n\n" % (2 + len(INSIDE)), id="LFs at a chunk's beginning"),
        pytest.param(b"%x\r\n\n\n\r\n" % (4 + len(INSIDE)), id="LFs and CRLF"),
        pytest.param(b"%x\r\n" % (len(EVENT) + len(INSIDE)) + EVENT, id="an event"),
        pytest.param(b"%x\r\n" % (len(EVENT) + 2 + len(INSIDE)) + EVENT + b"\r\n", id="an event and CRLF"),
    ],
)
async def test_what_looks_like_a_chunk_inside_one(first: bytes) -> None:
    taker = await taken(HEAD + chunk(EVENT) + first, INSIDE, b"\r\n" + chunk(EVENT))
    assert taker.chunks == []
    assert b"".join(taker.parts).count(INSIDE) == 1


async def test_what_looks_like_a_chunk_in_a_body_without_any() -> None:
    for body in (b"\r\n", b"\r\n\r\n", EVENT, EVENT + b"\r\n"):
        taker = await taken(b"HTTP/1.1 200 OK\r\n\r\n" + body, INSIDE)
        assert taker.chunks == []
        assert b"".join(taker.parts) == body + INSIDE


@rows("end", [b"\r\r", b"\n\n", b"\r\n\r\n", b"\r"])
def test_no_event_hides_between_quotation_marks(end: bytes) -> None:
    """Two line ends of any kind end an event, even where JSON would be in the middle of a string."""
    stream = Stream(Dialect.CHAT, strip_usage=False, cap=1 << 20)
    stream.feed(EVENT)
    hidden = EVENT.replace(b'"a"', b'"a' + end + b"data: [DONE]" + end + b'"')
    framed = chunk(hidden)
    assert stream.count_known(framed, framed.index(b"\n") + 1, len(framed) - 2) == (0, 0)
    stream.feed(hidden)
    assert stream.complete is (len(end) > 1)


async def test_a_lost_connection_leaves_nothing_to_collect() -> None:
    """What a connection held is gone with it, and does not wait for the garbage collector."""
    connection = Connection(lambda _: None, lambda _: None)
    connection.connection_made(Nowhere())
    connection.send(b"", b"")
    connection.data_received(HEAD + chunk(EVENT))
    kept = weakref.ref(connection)
    gc.disable()
    try:
        connection.connection_lost(None)
        del connection
        assert kept() is None
    finally:
        gc.enable()

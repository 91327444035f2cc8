"""One HTTP/1.1 connection and the answer that arrives on it.

The parser is llhttp (through httptools), in its strict default mode. Bytes wait in the answer until someone reads;
above a high-water mark the socket is not read, so that a slow client slows its upstream and no buffer grows.

What a stream is made of most of the time, a read that is one whole chunk while a taker stands ready, is recognised
without the parser, which stands between two chunks before and after it.
"""

import asyncio
from collections.abc import Callable
from typing import cast

import httptools

from chukei.errors import UpstreamError
from chukei.model import End, Headers
from chukei.ports import Taker

HIGH_WATER = 64 * 1024
"""Bytes that may wait to be read. One event is about half a kilobyte, so this is a hundred events or more."""

_SIZE_LINE = 12
"""So long may the line be that begins a chunk if it is to be recognised without the parser."""

MAX_HEADER_BYTES = 64 * 1024
"""Azure OpenAI sends about 2 KB of headers; a server that sends this much is not one."""

LINGER = 1.0
"""Seconds that a finished answer may take to end its body before its connection is closed instead of reused."""


class Connection(asyncio.Protocol):
    """A connection to one endpoint. ``on_idle`` and ``on_lost`` tell its pool when it is free, and when it is gone."""

    def __init__(self, on_idle: Callable[["Connection"], None], on_lost: Callable[["Connection"], None]) -> None:
        self._on_idle = on_idle
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._body: list[bytes] = []
        self.on_body = self._body.append  # what the parser calls for each part of a body, without a frame of Python
        self._parser = httptools.HttpResponseParser(self)
        self._parts = 0  # of the body that belong to the answer
        self._between_chunks = False
        self._answer: HttpAnswer | None = None
        self._spoiled = False
        self._keep_alive = False
        self._head_bytes = 0
        self.closed = False
        self.expiry: asyncio.TimerHandle | None = None

    def send(self, head: bytes, body: bytes) -> "HttpAnswer":
        """Write a request and return its answer, which has not arrived yet."""
        assert self._transport is not None
        assert self._answer is None
        self._answer = HttpAnswer(self)
        self._head_bytes = 0
        self._transport.writelines((head, body)) if body else self._transport.write(head)
        return self._answer

    def abort(self) -> None:
        """Close at once, dropping what is not yet sent."""
        self.closed = True
        if self._transport is not None:
            self._transport.abort()

    def pause(self, paused: bool) -> None:
        """Stop or resume reading from the socket."""
        if self._transport is not None and not self.closed:
            self._transport.pause_reading() if paused else self._transport.resume_reading()

    def release(self) -> None:
        """Give the connection back after a complete answer."""
        self._answer = None
        if self.closed or self._spoiled or not self._keep_alive:
            self.abort()
        else:
            self._on_idle(self)

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport; after a TLS upgrade it comes a second time."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transports are no subclasses of it

    def data_received(self, data: bytes) -> None:
        """Take one read."""
        answer = self._answer
        if answer is None or answer.complete:
            self.abort()  # nothing was asked, so this is not an answer
            return
        if self._between_chunks and answer.taker is not None:
            begin = data.find(b"\n", 0, _SIZE_LINE) + 1
            size = len(data) - begin - 2
            whole = size > 0 and data.startswith(b"%x\r\n" % size) and data.endswith(b"\r\n")
            if whole and answer.taker.whole(data, begin):
                return
        self._parse(answer, data)

    def _parse(self, answer: "HttpAnswer", data: bytes) -> None:
        """Parse one read. What stands before a framing error is kept."""
        answer.received = True
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            answer.fail("The upstream's answer broke the rules of HTTP.", self.ending(End.UNEXPECTED_ANSWER))
            self.abort()
        if not answer.status:  # the parser itself would collect an endless field
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEADER_BYTES:
                answer.fail("The upstream's answer has too many headers.", End.UNEXPECTED_ANSWER)
                self.abort()
        body = self._body
        if body:
            # A part that is followed by a line end which is not in it ends its chunk; one that ends in a line end
            # itself cannot be mistaken for the size line of a next chunk (RFC 9112 §7.1).
            last = body[-1]
            self._between_chunks = last.endswith(b"\n") and data.endswith(last + b"\r\n")
            if answer.complete:
                del body[self._parts :]
            answer.add_body(body[0] if len(body) == 1 else b"".join(body))
            body.clear()
        else:
            self._between_chunks = False
        answer.notify()

    def ending(self, before_output: End) -> End:
        """Return the end that a break means now: before or after the answer's headers."""
        return End.UPSTREAM_LOST if self._answer is not None and self._answer.status else before_output

    def eof_received(self) -> bool:
        """Take the upstream's end of data: a clean end for a body that nothing else delimits."""
        if self._answer is not None and self._answer.until_close:
            self._answer.complete = True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the answer and the pool."""
        self.closed = True
        answer, self._answer = self._answer, None
        if answer is not None and not answer.complete:
            answer.fail("The upstream closed the connection before its answer was complete.", End.UPSTREAM_LOST)
        if answer is not None:
            answer.notify()
        self._on_lost(self)

    # What the parser calls.

    def on_message_begin(self) -> None:
        """Notice a second answer to one request: such a connection is not reused."""
        if self._answer is None:
            self.abort()  # it comes in the same read as the end of the first one, which has been let go
        elif self._answer.complete:
            self._spoiled = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header field; trailers come here too and are dropped."""
        if self._answer is not None and not self._answer.complete:
            self._answer.add_header(name.lower(), value)

    def on_headers_complete(self) -> None:
        """Note the status; an interim answer (1xx) is not the answer."""
        if self._answer is not None and not self._answer.complete:
            self._answer.begin(self._parser.get_status_code())

    def on_message_complete(self) -> None:
        """Note the end of the answer."""
        if self._answer is not None and not self._answer.complete:
            self._parts = len(self._body)
        self._keep_alive = self._parser.should_keep_alive()  # afterwards the parser has forgotten
        if self._answer is not None:
            self._answer.end()


class HttpAnswer:
    """An answer that arrives. Implements the Answer port."""

    __slots__ = (
        "_chunks",
        "_connection",
        "_error",
        "_header_bytes",
        "_lingering",
        "_paused",
        "_size",
        "_taker",
        "_waiter",
        "complete",
        "headers",
        "received",
        "status",
        "taker",
        "until_close",
    )

    def __init__(self, connection: Connection) -> None:
        self._connection: Connection | None = connection
        self._chunks: list[bytes] = []
        self._size = 0
        self._paused = False
        self._header_bytes = 0
        self._waiter: asyncio.Future[None] | None = None
        self._taker: Taker | None = None
        self.taker: Taker | None = None  # while it stands ready
        self._error: UpstreamError | None = None
        self._lingering: asyncio.TimerHandle | None = None
        self.status = 0
        self.headers: Headers = []
        self.complete = False
        self.received = False
        self.until_close = False

    async def head(self) -> None:
        """Wait for status and headers."""
        while not self.status:
            if self._error is not None:
                raise self._error
            await self._wait()

    async def read(self) -> bytes | None:
        """See the Answer port."""
        if not self._chunks and not self.complete and self._error is None:
            await self._wait()
        if self._chunks:
            data = self._take()
            if self._paused:
                self._paused = False
                self._connection_pause(False)
            return data
        if self.complete:
            return b""
        if self._error is not None:
            raise self._error
        return None

    def _take(self) -> bytes:
        chunks = self._chunks
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        self._size = 0
        return data

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        self.taker = self._taker
        try:
            await self._waiter
        finally:
            self._waiter = self.taker = None

    def wake(self) -> None:
        """See the Answer port."""
        self.taker = None
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def divert(self, taker: Taker | None) -> None:
        """See the Answer port."""
        self._taker = taker

    def notify(self) -> None:
        """Let a waiting reader look again, unless what has come is settled without it."""
        taker = self.taker
        if taker is not None:
            plain = self._chunks and not self.complete and self._error is None and not self._paused
            if plain and taker.some(self._take()):
                return
        self.wake()

    def finish(self) -> None:
        """See the Answer port."""
        connection = self._connection
        if connection is None or self._lingering is not None:
            return
        if self.complete:
            self._connection = None
            connection.release()
        elif self._error is not None or self.until_close:
            self.abort()
        else:
            self._chunks.clear()
            self._connection_pause(False)
            self._lingering = asyncio.get_running_loop().call_later(LINGER, self.abort)

    def abort(self) -> None:
        """See the Answer port."""
        connection, self._connection = self._connection, None
        if self._lingering is not None:
            self._lingering.cancel()
        if connection is not None:
            connection.abort()

    def _connection_pause(self, paused: bool) -> None:
        if self._connection is not None:
            self._connection.pause(paused)

    # What the connection calls.

    def fail(self, message: str, end: End) -> None:
        """Note that the answer broke; bytes that came before are still read first."""
        if self._error is None and not self.complete:
            fresh = not self.received
            self._error = UpstreamError(end.value, message, end=end, fresh=fresh)
        if self._lingering is not None:
            self.abort()

    def add_header(self, name: bytes, value: bytes) -> None:
        """Keep one header field."""
        self._header_bytes += len(name) + len(value)
        if self._header_bytes > MAX_HEADER_BYTES:
            self.fail("The upstream's answer has too many headers.", End.UNEXPECTED_ANSWER)
            self.abort()
        elif not self.status:
            self.headers.append((name, value))

    def begin(self, status: int) -> None:
        """Take the status that ends the headers."""
        if status < 200 or self._error is not None:
            self.headers.clear()
            return
        names = {name for name, _ in self.headers}
        self.until_close = names.isdisjoint({b"content-length", b"transfer-encoding"}) and status not in (204, 304)
        self.status = status

    def add_body(self, data: bytes) -> None:
        """Keep body bytes until they are read."""
        if self._lingering is not None:
            self.abort()  # more than the end was still to come
            return
        self._chunks.append(data)
        self._size += len(data)
        if self._size > HIGH_WATER and not self._paused:
            self._paused = True
            self._connection_pause(True)

    def end(self) -> None:
        """Take the end of the message; that of an interim answer means nothing."""
        if not self.status:
            return
        self.complete = True
        if self._lingering is not None:
            self._lingering.cancel()
            self._lingering = None
            self.finish()

    def __repr__(self) -> str:
        state = "complete" if self.complete else "broken" if self._error else "arriving"
        return f"<HttpAnswer {self.status or '-'} {state}>"

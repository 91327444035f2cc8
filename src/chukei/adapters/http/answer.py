"""The response that arrives on a connection.

It buffers bytes until they are read. Above a high-water mark it pauses the socket, so that a slow client slows its
upstream and the buffer stays small.
"""

import asyncio
from typing import Protocol

from chukei.errors import UpstreamError
from chukei.model import End, Headers, header
from chukei.ports import Taker

HIGH_WATER = 64 * 1024
"""Buffered bytes above which the socket is paused. One event has about half a kilobyte, so this is about 100 events."""

MAX_HEADER_BYTES = 64 * 1024
"""Limit of a response's header bytes. Azure OpenAI sends about 2 KB."""

SWITCHING_PROTOCOLS = 101
"""The status that ends HTTP on a connection (RFC 9110 §15.2.2)."""

LINGER = 1.0
"""Seconds for which a finished answer waits for the end of the body; then its connection is closed, not reused."""


class Carrier(Protocol):
    """The part of a connection that an answer uses."""

    def pause(self, paused: bool) -> None:
        """Stop or resume reading."""
        ...

    def release(self) -> None:
        """Take the connection back after a complete answer."""
        ...

    def abort(self) -> None:
        """Close at once."""
        ...


class HttpAnswer:
    """Implements the Answer port. ``upgrades`` says that the request asked for another protocol.

    ``rest`` has the bytes of that protocol that came with the answer's head.
    """

    __slots__ = (
        "_chunks",
        "_connection",
        "_error",
        "_lingering",
        "_paused",
        "_size",
        "_taker",
        "_waiter",
        "complete",
        "headers",
        "received",
        "rest",
        "status",
        "taker",
        "until_close",
        "upgrades",
    )

    def __init__(self, connection: Carrier) -> None:
        self._connection: Carrier | None = connection
        self._chunks: list[bytes] = []
        self._size = 0
        self._paused = False
        self._waiter: asyncio.Future[None] | None = None
        self._taker: Taker | None = None
        self.taker: Taker | None = None  # set only while a reader waits
        self._error: UpstreamError | None = None
        self._lingering: asyncio.TimerHandle | None = None
        self.status = 0
        self.headers: Headers = []
        self.complete = False
        self.received = False
        self.until_close = False
        self.upgrades = False
        self.rest = b""

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
        """Wake a waiting reader, unless its taker takes the data."""
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

    def fail(self, message: str, end: End, *, unsent: bool = False) -> None:
        """Record that the answer broke. Bytes that arrived before are read first.

        ``unsent`` says that a part of the request was not sent.
        """
        if self._error is None and not self.complete:
            fresh = unsent and not self.received
            self._error = UpstreamError(end.value, message, end=end, fresh=fresh)
        if self._lingering is not None:
            self.abort()

    def begin(self, status: int) -> None:
        """Record the status once the headers are complete; those of an interim response are dropped."""
        if (status < 200 and not (self.upgrades and status == SWITCHING_PROTOCOLS)) or self._error is not None:
            self.headers.clear()
            return
        self.until_close = (
            header(self.headers, b"content-length") is None
            and header(self.headers, b"transfer-encoding") is None
            and status not in (204, 304)
        )
        self.status = status

    def add_body(self, data: bytes) -> None:
        """Buffer body bytes until they are read."""
        if self._lingering is not None:
            self.abort()  # the body had not ended yet
            return
        self._chunks.append(data)
        self._size += len(data)
        if self._size > HIGH_WATER and not self._paused:
            self._paused = True
            self._connection_pause(True)

    def end(self) -> None:
        """Record the end of the message. The end of an interim response is ignored."""
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

"""One request on a client's connection and the answer to it: the Incoming and Reply ports on the relay's own server."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from functools import partial
from http import HTTPStatus
from typing import Protocol, TypeVar

from chukei.errors import CallerError
from chukei.hosts.body import SLOWEST_UPLOAD, UPLOADS, WORTH_COPYING, BodyParts, check_length, too_large, too_slow
from chukei.hosts.http.parsing import Head
from chukei.model import Headers
from chukei.ports import ClientGone, Socket, SocketLimits

Successor = TypeVar("Successor", bound=asyncio.Protocol)
"""The protocol that follows HTTP on a connection."""

UNREAD_BYTES = 64 * 1024
"""Bytes of a body that are buffered before the application reads it."""

_PHRASES = {status.value: status.phrase for status in HTTPStatus}
_STATUS_LINES = {code: f"HTTP/1.1 {code} {_PHRASES.get(code, '')}\r\n".encode() for code in range(100, 600)}


def refusal(error: CallerError, request_id: str) -> bytes:
    """Return the whole response to a malformed request. The connection closes after it."""
    lines = [
        b"content-type: application/json",
        b"content-length: %d" % len(error.body),
        b"connection: close",
        b"x-request-id: " + request_id.encode(),
        b"",
        error.body,
    ]
    return _STATUS_LINES[error.status] + b"\r\n".join(lines)


class Client(Protocol):
    """The part of a connection that a cycle uses."""

    local: bool
    source: str
    writable: bool

    @property
    def date(self) -> bytes:
        """The header fields of every answer, as lines."""
        ...

    @property
    def write_all(self) -> Callable[[Iterable[bytes]], None]:
        """A function that sends several parts, without joining them if possible."""
        ...

    @property
    def write(self) -> Callable[[bytes], None]:
        """A function that sends data; data that the kernel does not accept is buffered."""
        ...

    async def drained(self) -> None:
        """Wait until the client has read most of the buffered data, or has disconnected."""
        ...

    def let_read(self, reading: bool) -> None:
        """Pause or resume reading."""
        ...

    def answered(self, cycle: "Cycle") -> None:
        """Called when an answer is complete."""
        ...

    def hand_over(self, make: Callable[[Callable[[Exception | None], None]], Successor]) -> Successor:
        """Let another protocol have the connection. ``make`` gets what to call when it is lost."""
        ...

    def close(self) -> None:
        """Close after what was written."""
        ...

    def abort(self) -> None:
        """Close at once."""
        ...


class Cycle:
    """Implements the Incoming and Reply ports. ``gone`` says that the client has disconnected."""

    __slots__ = (
        "_bodiless",
        "_chunked",
        "_client",
        "_continue",
        "_head",
        "_left",
        "_parts",
        "_size",
        "_socket",
        "_unsent",
        "_waiter",
        "complete",
        "gone",
        "headers",
        "http_version",
        "keep_alive",
        "local",
        "method",
        "query",
        "raw_path",
        "received",
        "source",
        "started",
        "upgrades",
    )

    def __init__(self, client: Client, head: Head, *, keep_alive: bool) -> None:
        self.method = head.method
        self.raw_path = head.path
        self.query = head.query
        self.http_version = head.version
        self.headers = head.headers
        # By default nginx uses HTTP/1.0 towards its upstream; a client on this machine does not.
        self.local = client.local and head.version != "1.0"
        self.source = client.source
        self.upgrades = head.upgrades
        self.keep_alive = keep_alive
        self.received = False
        self.gone = False
        self.started = False
        self.complete = False
        self._client = client
        self._continue = head.expects
        self._parts = BodyParts()
        self._size = 0
        self._waiter: asyncio.Future[None] | None = None
        self._left: Callable[[], None] | None = None
        self._head = b""
        self._bodiless = False
        self._chunked = False
        self._socket: Socket | None = None
        self._unsent: int | None = None  # remaining bytes of a body with a content-length

    # What the connection calls.

    def add_body(self, data: bytes) -> None:
        """Add a part of the body."""
        self._parts.add(data)
        self._size += len(data)
        if self._waiter is not None:
            self._wake()
        elif self._size > UNREAD_BYTES:
            self._client.let_read(False)

    def end_body(self) -> None:
        """Record that the body is complete."""
        self.received = True
        self._wake()

    def leave(self) -> None:
        """Record that the client has disconnected."""
        self.gone = True
        self._wake()
        if self._left is not None and not self.complete:
            self._left()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # The request.

    async def body(self, limit: int, seconds: float, arrived: Callable[[int], None] = lambda size: None) -> bytes:
        """See the Incoming port. The time limit grows with the bytes received, so only slow senders reach it."""
        check_length(self.headers, limit)
        if not self.received:
            await self._collect(limit, seconds, arrived)
        self._client.let_read(True)  # needed to notice a disconnect
        arrived(self._size)
        if self.gone:
            raise ClientGone
        if self._size > limit:
            self._parts.take()
            raise too_large(limit)
        return self._parts.take()

    async def _collect(self, limit: int, seconds: float, arrived: Callable[[int], None]) -> None:
        if self._continue and not self.gone:
            self._client.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while not (self.received or self.gone or self._size > limit):
            try:
                async with asyncio.timeout_at(deadline + self._size / SLOWEST_UPLOAD):
                    await self._arrival()
            except TimeoutError:
                self._parts.take()
                raise too_slow(self._size, seconds) from None
            arrived(self._size)

    async def parts(self, limit: int, seconds: float) -> AsyncIterator[bytes]:
        """See the Incoming port. Between two parts reading is paused once ``UNREAD_BYTES`` are buffered."""
        check_length(self.headers, limit, UPLOADS)
        if self._continue and not (self.gone or self.received):
            self._client.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        clock, patience, size = asyncio.get_running_loop().time, seconds, 0
        while True:
            if part := self._parts.take():
                self._size, size = self._size - len(part), size + len(part)
                if size > limit:
                    raise too_large(limit, UPLOADS)
                yield part
                continue
            if self.gone or self.received:
                break
            begun = clock()
            try:
                async with asyncio.timeout(patience + size / SLOWEST_UPLOAD):
                    await self._arrival()
            except TimeoutError:
                raise too_slow(size, seconds) from None
            patience -= clock() - begun
        if self.gone:
            raise ClientGone

    async def _arrival(self) -> None:
        """Wait for more of the body, or its end."""
        self._waiter = asyncio.get_running_loop().create_future()
        self._client.let_read(True)
        try:
            await self._waiter
        finally:
            self._waiter = None

    def watch(self, gone: Callable[[], None]) -> None:
        """See the Incoming port."""
        self._left = gone
        if self.gone:
            gone()

    def unwatch(self) -> None:
        """See the Incoming port."""
        self._left = None

    # The answer.

    async def start(self, status: int, headers: Headers) -> None:
        """See the Reply port. The head waits for the first part of the body, so that both are one packet."""
        length: int | None = None
        fields = [_STATUS_LINES[status], self._client.date]
        closing = False
        for name, value in headers:
            if name == b"content-length":
                length = int(value)
            elif name == b"connection":
                closing = value == b"close"
            fields.append(b"%b: %b\r\n" % (name, value))
        if closing:
            self.keep_alive = False
        self._unsent = length
        self._bodiless = self.method == "HEAD" or status in (204, 304)
        self._chunked = not (self._bodiless or length is not None)
        if self._chunked:
            if self.http_version == "1.0":
                self._chunked = self.keep_alive = False  # HTTP/1.0 has no chunks: the close ends the answer
            else:
                fields.append(b"transfer-encoding: chunked\r\n")
        if not (self.keep_alive or closing):
            fields.append(b"connection: close\r\n")
        self._head = _joined(fields)
        self.started = True

    async def send(self, data: bytes) -> None:
        """See the Reply port."""
        if not self._client.writable:
            await self._client.drained()
        if not self.gone:
            self._client.write(self._framed(data))

    def send_now(self, data: bytes, begin: int) -> bool:
        """See the Reply port. Data that is framed already is sent unchanged."""
        client = self._client
        if not (self._chunked and client.writable) or self._head or self.gone:
            return False
        if begin:
            client.write(data)
        elif len(data) > WORTH_COPYING:
            client.write_all((b"%x\r\n" % len(data), data, b"\r\n"))
        else:
            client.write(b"%x\r\n%b\r\n" % (len(data), data))
        return True

    async def finish(self, data: bytes = b"") -> None:
        """See the Reply port."""
        if not self._client.writable:
            await self._client.drained()
        if self.gone:
            return
        if self.complete:
            raise RuntimeError("the answer is complete already")
        last = self._framed(data) + (b"0\r\n\r\n" if self._chunked else b"")
        if last:
            self._client.write(last)
        if self._unsent and not self._bodiless:
            raise RuntimeError("the answer is shorter than it said")
        if not self._client.writable and not await self._taken():
            return
        self.complete = True
        self._client.answered(self)

    async def _taken(self) -> bool:
        """Wait until the client has read most of the answer; return whether it has."""
        await self._client.drained()
        return not self.gone

    def _framed(self, data: bytes) -> bytes:
        """Return data with its HTTP framing, after the head if that has not been sent yet."""
        head, self._head = self._head, b""
        if self._chunked:
            return b"%b%x\r\n%b\r\n" % (head, len(data), data) if data else head
        if self._bodiless:
            return head
        if self._unsent is not None:
            self._unsent -= len(data)
            if self._unsent < 0:
                raise RuntimeError("the answer is longer than it said")
        return head + data if head else data

    async def upgrade(self, subprotocol: str | None, headers: Headers, limits: SocketLimits) -> Socket:
        """See the Reply port. The bytes that came after the handshake are the socket's first ones."""
        from chukei.adapters.websocket.connection import SocketConnection
        from chukei.adapters.websocket.handshake import accept

        protocol, handshake = accept(self.raw_path, self.headers, subprotocol, limits)
        if not self._client.writable:
            await self._client.drained()
        if self.gone:
            raise ClientGone
        fields = [b"%b: %b\r\n" % field for field in (*handshake, *headers)]
        self._client.write(_joined([_STATUS_LINES[101], self._client.date, *fields]))
        self.started = True
        self._left = None  # the socket tells its end itself
        self._socket = self._client.hand_over(partial(SocketConnection, protocol, limits))
        return self._socket

    def end(self) -> None:
        """End what the task of the request has left open."""
        if self._socket is None:
            if not (self.complete or self.gone):
                self._client.close()
        elif self._socket.code is None:
            self._socket.abort()

    def abort(self) -> None:
        """See the Reply port. After a complete answer it has no effect: the connection belongs to the next request."""
        if not self.complete:
            self._client.abort()


def _joined(fields: list[bytes]) -> bytes:
    """Return the head of an answer: the status line, the lines of the server's fields, and one line for each other."""
    head = b"".join((*fields, b"\r\n"))
    lines = len(fields) + fields[1].count(b"\n")
    if head.count(b"\n") != lines or head.count(b"\r") != lines:
        raise RuntimeError("a header field of the answer holds a line end")
    return head

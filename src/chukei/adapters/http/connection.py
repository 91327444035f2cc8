"""One HTTP/1.1 connection to an upstream.

The parser is llhttp (through httptools), in its strict default mode. What a stream is made of most of the time, a read
that is one whole chunk while a taker stands ready, is recognised without the parser, which stands between two chunks
before and after it.

``TRANSITIONS`` says what moves a connection from one state to another.
"""

import asyncio
import select
from collections.abc import Callable
from enum import StrEnum
from typing import Any, cast

import httptools

from chukei.adapters.http.answer import MAX_HEADER_BYTES, HttpAnswer
from chukei.model import End, Headers

_LARGEST = 4095


def _size_lines() -> list[bytes]:
    """Return with which line a chunk begins if it is so many bytes long as a whole (RFC 9112 §7.1), if it can be."""
    lines = [b""] * (_LARGEST + 8)
    for size in range(1, _LARGEST + 1):
        line = b"%x\r\n" % size
        lines[len(line) + size + 2] = line
    return lines


_SIZE_LINES = _size_lines()


class State(StrEnum):
    """Where a connection is."""

    NEW = "new"
    ASKING = "asking"
    READING = "reading"
    IDLE = "idle"
    CLOSED = "closed"


class Event(StrEnum):
    """What moves a connection. Both are strings because those are hashed in C."""

    REQUEST = "a request is written"
    HEAD = "the answer's head has arrived, other than an interim one"
    RELEASE = "the answer was complete, and the connection can carry another"
    CLOSE = "either side closes it, or it breaks"


TRANSITIONS = {
    (State.NEW, Event.REQUEST): State.ASKING,
    (State.NEW, Event.CLOSE): State.CLOSED,
    (State.ASKING, Event.HEAD): State.READING,
    (State.ASKING, Event.CLOSE): State.CLOSED,
    (State.READING, Event.RELEASE): State.IDLE,
    (State.READING, Event.CLOSE): State.CLOSED,
    (State.IDLE, Event.REQUEST): State.ASKING,
    (State.IDLE, Event.CLOSE): State.CLOSED,
    (State.CLOSED, Event.REQUEST): State.CLOSED,
    (State.CLOSED, Event.CLOSE): State.CLOSED,
}
"""Every move. A pair that is not listed is a defect: KeyError. A request is written to a CLOSED connection, and lost,
when the client was closed while the connection was being opened."""


class Connection(asyncio.Protocol):
    """A connection to one endpoint. ``on_idle`` and ``on_lost`` tell its pool when it is free, and when it is gone."""

    def __init__(self, on_idle: Callable[["Connection"], None], on_lost: Callable[["Connection"], None]) -> None:
        self.state = State.NEW
        self._on_idle = on_idle
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._body: list[bytes] = []
        self.on_body = self._body.append  # what the parser calls for each part of a body, without a frame of Python
        self._parser: Any = httptools.HttpResponseParser(self)
        self._parts = 0  # of the body that belong to the answer
        self._between_chunks = False
        self._answer: HttpAnswer | None = None
        self._unsent = False  # a part of the request has not left, so nobody can have worked on it
        self._arrivals: select.poll | None = None
        self._spoiled = False
        self._keep_alive = False
        self._head_bytes = 0
        self.expiry: asyncio.TimerHandle | None = None

    def send(self, head: bytes, body: bytes) -> HttpAnswer:
        """Write a request and return its answer, which has not arrived yet."""
        assert self._transport is not None
        assert self._answer is None
        self.state = TRANSITIONS[self.state, Event.REQUEST]
        self._answer = HttpAnswer(self)
        self._head_bytes = 0
        self._unsent = False
        # In one piece: asyncio's writelines went without flow control once (CVE-2024-12254), so nothing said "unsent".
        self._transport.write(head + body)
        if self._transport.is_closing():
            self._unsent = True
        return self._answer

    def is_quiet(self) -> bool:
        """Whether nothing has come on an idle connection that the loop has not seen yet: bytes, an end, a reset.

        Whatever it is, the connection is of no more use.
        """
        return self._arrivals is None or not self._arrivals.poll(0)

    def abort(self) -> None:
        """Close at once, dropping what is not yet sent."""
        self.state = TRANSITIONS[self.state, Event.CLOSE]
        if self._transport is not None:
            self._transport.abort()

    def pause(self, paused: bool) -> None:
        """Stop or resume reading from the socket."""
        if self._transport is not None and self.state is not State.CLOSED:
            self._transport.pause_reading() if paused else self._transport.resume_reading()

    def release(self) -> None:
        """Give the connection back after a complete answer."""
        self._answer = None
        if self.state is State.CLOSED or self._spoiled or self._unsent or not self._keep_alive:
            self.abort()
        else:
            self.state = TRANSITIONS[self.state, Event.RELEASE]
            self._on_idle(self)

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport, and have it say whenever something stays unsent."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transports are no subclasses of it
        self._transport.set_write_buffer_limits(high=0)
        socket = self._transport.get_extra_info("socket")
        if socket is not None and hasattr(select, "poll"):  # Windows has none, and finds out later
            self._arrivals = select.poll()
            self._arrivals.register(socket.fileno(), select.POLLIN)

    def pause_writing(self) -> None:
        """Take note that a part of the request waits for the socket."""
        self._unsent = True

    def resume_writing(self) -> None:
        """Take note that all of it has been handed to the socket."""
        self._unsent = False

    def data_received(self, data: bytes) -> None:
        """Take one read."""
        answer = self._answer
        if answer is None or answer.complete:
            self.abort()  # nothing was asked, so this is not an answer
            return
        if self._between_chunks and answer.taker is not None and len(data) < len(_SIZE_LINES):
            line = _SIZE_LINES[len(data)]
            if line and data.startswith(line) and data.endswith(b"\r\n") and answer.taker.whole(data, len(line)):
                return
        self._parse(answer, data)

    def _parse(self, answer: HttpAnswer, data: bytes) -> None:
        """Parse one read. What stands before a framing error is kept."""
        answer.received = True
        if not answer.status:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            answer.fail("The upstream's answer broke the rules of HTTP.", self.ending(End.UNEXPECTED_ANSWER))
            self.abort()
        if not answer.status:
            self._check_head(answer, self._head_bytes)
        body = self._body
        if body:
            # A part that is followed by a line end which is not in it ends its chunk; one that ends in a blank line
            # of LFs is itself neither that line end nor the size line of a next chunk (RFC 9112 §7.1).
            last = body[-1]
            self._between_chunks = last.endswith(b"\n\n") and data.endswith(last + b"\r\n")
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
        self.state = TRANSITIONS[self.state, Event.CLOSE]
        self._parser = None  # which refers to this object as well
        answer, self._answer = self._answer, None
        if answer is not None and not answer.complete:
            message = "The upstream closed the connection before its answer was complete."
            answer.fail(message, End.UPSTREAM_LOST, unsent=self._unsent)
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
        answer = self._answer
        if answer is None or answer.complete:
            return
        if not answer.status:
            answer.headers.append((name.lower(), value))
        else:
            self._head_bytes += len(name) + len(value)
            self._check_head(answer, self._head_bytes + _size(answer.headers))

    def _check_head(self, answer: HttpAnswer, size: int) -> None:
        """Give up an answer with an endless head or endless trailers; the parser itself would collect them."""
        if size > MAX_HEADER_BYTES:
            answer.fail("The upstream's answer has too many headers.", End.UNEXPECTED_ANSWER)
            self.abort()

    def on_headers_complete(self) -> None:
        """Note the status; an interim answer (1xx) is not the answer."""
        answer = self._answer
        if answer is None or answer.complete:
            return
        if self._head_bytes > MAX_HEADER_BYTES:  # what came may be body too
            self._check_head(answer, _size(answer.headers))
        answer.begin(self._parser.get_status_code())
        if answer.status:
            self.state = TRANSITIONS[self.state, Event.HEAD]
            self._head_bytes = 0  # from here on that of trailers

    def on_message_complete(self) -> None:
        """Note the end of the answer."""
        if self._answer is not None and not self._answer.complete:
            self._parts = len(self._body)
        self._keep_alive = self._parser.should_keep_alive()  # afterwards the parser has forgotten
        if self._answer is not None:
            self._answer.end()

    def __repr__(self) -> str:
        unsent = ", a part of the request has not left" if self._unsent else ""
        return f"<Connection {self.state}{unsent}>"


def _size(headers: Headers) -> int:
    return sum(len(name) + len(value) for name, value in headers)

"""One HTTP/1.1 connection to an upstream.

The parser is llhttp (through httptools), in its strict default mode. Most reads of a stream are exactly one chunk. Such
a read bypasses the parser if a taker is set and the parser is between two chunks; it is still between two afterwards.

``TRANSITIONS`` lists the transitions between a connection's states.
"""

import asyncio
import select
from collections.abc import Callable
from enum import StrEnum
from typing import Any, TypeVar, cast

import httptools

from chukei.adapters.http.answer import MAX_HEADER_BYTES, SWITCHING_PROTOCOLS, HttpAnswer
from chukei.errors import UpstreamError
from chukei.model import End, Headers

_Protocol = TypeVar("_Protocol", bound=asyncio.Protocol)
_LARGEST = 4095


def _size_lines() -> list[bytes]:
    """Return the size line of a chunk by the chunk's total length; empty if no chunk has it (RFC 9112 §7.1)."""
    lines = [b""] * (_LARGEST + 8)
    for size in range(1, _LARGEST + 1):
        line = b"%x\r\n" % size
        lines[len(line) + size + 2] = line
    return lines


_SIZE_LINES = _size_lines()


class State(StrEnum):
    """The state of a connection."""

    NEW = "new"
    ASKING = "asking"
    READING = "reading"
    IDLE = "idle"
    CLOSED = "closed"


class Event(StrEnum):
    """An event that changes the state. Both enums are strings, because strings are hashed in C."""

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
"""Every transition. A pair that is missing is a defect: KeyError. If the client is closed while a connection is being
opened, a request is written to a CLOSED connection and lost."""


class Connection(asyncio.Protocol):
    """A connection to one endpoint. It carries one request at a time, and another protocol after an upgrade.

    ``on_idle`` is called when an answer is complete and the connection can be reused, ``on_lost`` when it has closed.
    """

    def __init__(self, on_idle: Callable[["Connection"], None], on_lost: Callable[["Connection"], None]) -> None:
        self.state = State.NEW
        self._on_idle = on_idle
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._body: list[bytes] = []
        self.on_body = self._body.append  # called by the parser for each part of a body, without a Python frame
        self._parser: Any = httptools.HttpResponseParser(self)
        self._parts = 0  # number of parts in `_body` that belong to the answer
        self._between_chunks = False
        self._answer: HttpAnswer | None = None
        self._unsent = False  # a part of the request was not sent, so the upstream cannot have processed it
        self._arrivals: select.poll | None = None
        self._drained: asyncio.Future[None] | None = None
        self._spoiled = False
        self._keep_alive = False
        self._head_bytes = 0

    def send(self, head: bytes, body: bytes, *, upgrades: bool = False) -> HttpAnswer:
        """Write a request; return its answer, which arrives later. ``upgrades``: it asks for another protocol."""
        assert self._transport is not None
        assert self._answer is None
        self.state = TRANSITIONS[self.state, Event.REQUEST]
        self._answer = HttpAnswer(self)
        self._answer.upgrades = upgrades
        self._head_bytes = 0
        self._unsent = False
        # In one piece: `_unsent` needs flow control, which asyncio's writelines once lacked (CVE-2024-12254).
        self._transport.write(head + body)
        if self._transport.is_closing():
            self._unsent = True
        return self._answer

    async def send_part(self, data: bytes) -> None:
        """Write a part of a request's body once the socket has taken what was written before, or is closed."""
        if self._unsent and self.state is not State.CLOSED:
            self._drained = asyncio.get_running_loop().create_future()
            await self._drained
        if self._transport is not None and self.state is not State.CLOSED:
            self._transport.write(data)

    def spoil(self) -> None:
        """Close after the answer, since a part of the request will not be sent."""
        self._spoiled = True

    def hand_over(self, make: Callable[[Callable[[Exception | None], None]], _Protocol]) -> _Protocol:
        """Let another protocol have the connection after an answer 101. ``make`` gets what to call when it is lost.

        Raises:
            UpstreamError: the connection was lost.
        """
        transport, answer = self._transport, self._answer
        if transport is None or answer is None or transport.is_closing():
            raise UpstreamError(
                End.UPSTREAM_LOST.value, "The upstream closed the connection after its answer.", end=End.UPSTREAM_LOST
            )
        self._answer = self._parser = self._arrivals = None
        made = make(self.connection_lost)
        transport.set_protocol(made)
        made.connection_made(transport)
        transport.resume_reading()
        if answer.rest:
            made.data_received(answer.rest)
        return made

    def is_quiet(self) -> bool:
        """Whether an idle connection has no pending input: bytes, an end or a reset that the loop has not read yet.

        With pending input of any kind the connection cannot be reused.
        """
        return self._arrivals is None or not self._arrivals.poll(0)

    def abort(self) -> None:
        """Close at once, and drop unsent bytes."""
        self.state = TRANSITIONS[self.state, Event.CLOSE]
        if self._transport is not None:
            self._transport.abort()

    def pause(self, paused: bool) -> None:
        """Stop or resume reading from the socket."""
        if self._transport is not None and self.state is not State.CLOSED:
            self._transport.pause_reading() if paused else self._transport.resume_reading()

    def release(self) -> None:
        """Return the connection to the pool after a complete answer, or close it if it cannot be reused."""
        self._answer = None
        if self.state is State.CLOSED or self._spoiled or self._unsent or not self._keep_alive:
            self.abort()
        else:
            self.state = TRANSITIONS[self.state, Event.RELEASE]
            self._on_idle(self)

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the transport. With a limit of 0 it calls ``pause_writing`` whenever bytes stay unsent."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transports do not inherit from it
        self._transport.set_write_buffer_limits(high=0)
        socket = self._transport.get_extra_info("socket")
        if socket is not None and hasattr(select, "poll"):  # Windows has none, and notices it later
            self._arrivals = select.poll()
            self._arrivals.register(socket.fileno(), select.POLLIN)

    def pause_writing(self) -> None:
        """Record that a part of the request waits for the socket."""
        self._unsent = True

    def resume_writing(self) -> None:
        """Record that the whole request, as far as it was given, has been written to the socket."""
        self._unsent = False
        self._wake_sender()

    def _wake_sender(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def data_received(self, data: bytes) -> None:
        """Process one read."""
        answer = self._answer
        if answer is None or answer.complete:
            self.abort()  # no request is open, so this is not an answer
            return
        if self._between_chunks and answer.taker is not None and len(data) < len(_SIZE_LINES):
            line = _SIZE_LINES[len(data)]
            if line and data.startswith(line) and data.endswith(b"\r\n") and answer.taker.whole(data, len(line)):
                return
        self._parse(answer, data)

    def _parse(self, answer: HttpAnswer, data: bytes) -> None:
        """Parse one read. Data before a framing error is kept."""
        answer.received = True
        if not answer.status:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if answer.status == SWITCHING_PROTOCOLS:
                answer.rest = data[upgrade.args[0] :]
                self.pause(True)  # until the other protocol reads
            else:
                self._break(answer)
        except httptools.HttpParserError:
            self._break(answer)
        if not answer.status:
            self._check_head(answer, self._head_bytes)
        body = self._body
        if body:
            # If the read ends with the last part and a line end, that part ends its chunk. The part ends with a blank
            # line of LFs, so it is neither that line end nor the size line of a next chunk (RFC 9112 §7.1).
            last = body[-1]
            self._between_chunks = last.endswith(b"\n\n") and data.endswith(last + b"\r\n")
            if answer.complete:
                del body[self._parts :]
            answer.add_body(body[0] if len(body) == 1 else b"".join(body))
            body.clear()
        else:
            self._between_chunks = False
        answer.notify()

    def _break(self, answer: HttpAnswer) -> None:
        answer.fail("The upstream's answer broke the rules of HTTP.", self.ending(End.UNEXPECTED_ANSWER))
        self.abort()

    def ending(self, before_output: End) -> End:
        """Return the record's end for a break now: ``before_output`` until the headers are complete."""
        return End.UPSTREAM_LOST if self._answer is not None and self._answer.status else before_output

    def eof_received(self) -> bool:
        """Process the upstream's end of data. It completes a body that is delimited by the end of the connection."""
        if self._answer is not None and self._answer.until_close:
            self._answer.complete = True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail an incomplete answer, and notify the pool."""
        self.state = TRANSITIONS[self.state, Event.CLOSE]
        self._parser = None  # it refers to this object, which would be a reference cycle
        self._wake_sender()
        answer, self._answer = self._answer, None
        if answer is not None and not answer.complete:
            message = "The upstream closed the connection before its answer was complete."
            answer.fail(message, End.UPSTREAM_LOST, unsent=self._unsent)
        if answer is not None:
            answer.notify()
        self._on_lost(self)

    # What the parser calls.

    def on_message_begin(self) -> None:
        """Detect a second answer to one request: such a connection is not reused."""
        if self._answer is None:
            self.abort()  # it is in the same read as the end of the first one, which has been released
        elif self._answer.complete:
            self._spoiled = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """Store a header field. Trailers are passed here too, and are dropped."""
        answer = self._answer
        if answer is None or answer.complete:
            return
        if not answer.status:
            answer.headers.append((name.lower(), value))
        else:
            self._head_bytes += len(name) + len(value)
            self._check_head(answer, self._head_bytes + _size(answer.headers))

    def _check_head(self, answer: HttpAnswer, size: int) -> None:
        """Fail an answer whose headers or trailers are too large; the parser has no limit."""
        if size > MAX_HEADER_BYTES:
            answer.fail("The upstream's answer has too many headers.", End.UNEXPECTED_ANSWER)
            self.abort()

    def on_headers_complete(self) -> None:
        """Record the status. Interim responses (1xx) are ignored."""
        answer = self._answer
        if answer is None or answer.complete:
            return
        if self._head_bytes > MAX_HEADER_BYTES:  # the bytes may include a part of the body
            self._check_head(answer, _size(answer.headers))
        answer.begin(self._parser.get_status_code())
        if answer.status:
            self.state = TRANSITIONS[self.state, Event.HEAD]
            self._head_bytes = 0  # from here on it counts trailers

    def on_message_complete(self) -> None:
        """Record the end of the answer."""
        if self._answer is not None and not self._answer.complete:
            self._parts = len(self._body)
        self._keep_alive = self._parser.should_keep_alive()  # the parser resets it afterwards
        if self._answer is not None:
            self._answer.end()

    def __repr__(self) -> str:
        unsent = ", a part of the request has not left" if self._unsent else ""
        return f"<Connection {self.state}{unsent}>"


def _size(headers: Headers) -> int:
    return sum(len(name) + len(value) for name, value in headers)

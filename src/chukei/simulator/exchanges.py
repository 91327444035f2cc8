"""A request, its reply as a sequence of steps, and the record of both. Without I/O.

Operations make the events of a reply, faults change the sequence, and ``sending`` sends it. A test can read a stream
without a socket.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Literal, Protocol, get_args

import msgspec

Kind = Literal["filter", "role", "token", "annotation", "finish", "usage", "done", "body", "other"]
KINDS: tuple[str, ...] = get_args(Kind)
Ending = Literal["completed", "client_left", "fault", "stopped"]

KEPT_BODIES = 64 * 1024 * 1024  # bytes
EVENT_STREAM = "text/event-stream; charset=utf-8"
JSON = "application/json"
DONE = b"data: [DONE]\n\n"
_NO_LINE_ENDS = dict.fromkeys(range(32), " ")


@dataclass(slots=True)
class Head:
    """A request line and its headers. Names are in lower case; repeated headers are joined by ``", "``."""

    method: str
    path: str
    query: dict[str, str]
    http_1_1: bool = True
    keep_alive: bool = True
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def wants_socket(self) -> bool:
        """Whether it is the handshake of a WebSocket (RFC 6455, section 4.1)."""
        return self.method == "GET" and self.headers.get("upgrade", "").lower() == "websocket"


@dataclass(frozen=True, slots=True)
class Event:
    """Bytes of the body, sent as one chunk ``wait`` seconds after the previous step.

    ``events`` is the number of server-sent events that end in it: 1, or 0 for a part of one, or more if merged.
    """

    data: bytes
    wait: float = 0.0
    kind: Kind = "other"
    tokens: int = 0
    events: int = 1


@dataclass(frozen=True, slots=True)
class Stall:
    """A pause of some seconds, or until the client disconnects (None)."""

    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Raw:
    """Bytes that are sent as they are, outside the framing of the body."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Break:
    """The end of the connection before the end of the answer: a TCP reset or a FIN."""

    how: Literal["reset", "fin"]


@dataclass(frozen=True, slots=True)
class Close:
    """A close frame of a WebSocket (RFC 6455, section 5.5.1). Over HTTP it has no effect, like the next two."""

    code: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Mute:
    """From here on the WebSocket stays open, but nothing is sent on it: no event, no pong, no close frame."""


@dataclass(frozen=True, slots=True)
class Deafness:
    """For some seconds, or until the client disconnects (None), nothing is read from the WebSocket."""

    seconds: float | None = None


Step = Event | Stall | Raw | Break | Close | Mute | Deafness


@dataclass(slots=True)
class Reply:
    """One HTTP answer. ``length`` is the Content-Length; None is for a chunked body."""

    status: int
    steps: Iterator[Step]
    headers: dict[str, str] = field(default_factory=dict)
    length: int | None = None
    content_type: str = JSON
    streamed: bool = False
    prompt_tokens: int = 0
    ending: Literal["completed", "fault"] = "completed"  # what to note once all of it was sent
    headless: bool = False  # nothing is sent but what the steps send
    hold: float | None = 0.0  # seconds before the status line goes out; None: until the client leaves
    failure: Callable[[int], bytes] | None = None  # the error in its stream, if it depends on the reply; see Endings
    talk: Opening | None = None  # what makes the talk on the WebSocket that the reply opens


class Socket(Protocol):
    """The simulator's side of a WebSocket, as its connection knows it."""

    def accept(self, head: Head, reply: Reply) -> bool:
        """Answer the handshake; return False if it is invalid, in which case the connection is closed."""

    def feed(self, data: bytes) -> None:
        """Take received bytes."""

    def lost(self, ending: Ending) -> None:
        """Note the end of the connection."""


class Talk(Protocol):
    """What is spoken on a WebSocket."""

    @property
    def socket(self) -> Socket:
        """The socket on which it is spoken."""

    async def hold(self) -> None:
        """Speak until the socket closes."""


def whole(
    data: bytes,
    *,
    status: int = 200,
    content_type: str = JSON,
    wait: float = 0.0,
    tokens: int = 0,
    prompt_tokens: int = 0,
    headers: dict[str, str] | None = None,
) -> Reply:
    """Return a reply with a Content-Length and a body that is sent at once."""
    steps = iter((Event(data, wait, "body", tokens),))
    return Reply(status, steps, headers or {}, len(data), content_type, prompt_tokens=prompt_tokens)


def stream(steps: Iterable[Step], *, prompt_tokens: int, content_type: str = EVENT_STREAM) -> Reply:
    """Return a reply whose body is a sequence of events, each in its own chunk."""
    return Reply(200, iter(steps), content_type=content_type, streamed=True, prompt_tokens=prompt_tokens)


def reason_phrase(status: int) -> bytes:
    """Return the reason phrase of a status; ``Status`` if it has none."""
    try:
        return HTTPStatus(status).phrase.encode()
    except ValueError:
        return b"Status"


def head_bytes(reply: Reply, *, chunked: bool, keep_alive: bool) -> bytes:
    """Write the status line and the headers of a reply."""
    lines = [b"HTTP/1.1 %d %s" % (reply.status, reason_phrase(reply.status))]
    # A deployment's name may hold anything; a header must not.
    fields = (f"{name}: {value}".translate(_NO_LINE_ENDS) for name, value in reply.headers.items())
    lines += [field.encode("latin-1", "replace") for field in fields]
    if reply.length is not None:
        lines.append(b"content-length: %d" % reply.length)
    elif chunked:
        lines.append(b"transfer-encoding: chunked")
    if not keep_alive:
        lines.append(b"connection: close")
    return b"\r\n".join((*lines, b"", b""))


def sorted_json(value: Any) -> bytes:
    """Encode as compact JSON with keys in alphabetical order, as Azure's chat endpoints do."""
    return msgspec.json.encode(value, order="sorted")


def json_reply(value: Any, *, status: int = 200, wait: float = 0.0) -> Reply:
    """Return a reply with a JSON object, its fields in their own order."""
    return whole(msgspec.json.encode(value), status=status, wait=wait)


def data_event(value: Any) -> bytes:
    """Return a chunk of a chat stream as a server-sent event."""
    return b"data: " + sorted_json(value) + b"\n\n"


@dataclass(slots=True, eq=False)
class Exchange:
    """The record of a request and its answer, for tests.

    ``headers`` have lower-case names; repeated ones are joined by ``", "``. ``events``, ``completion_tokens`` and
    ``sent`` grow while the answer runs. ``ended`` is None until the end and then its reason: the answer was complete,
    the client disconnected, a fault ended it, or the simulator stopped.

    A WebSocket has an exchange, which ends with the connection, and each turn on it has another, whose ``socket`` is
    that of the connection and whose ``body`` is the client's event.
    """

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    operation: str | None = None
    deployment: str | None = None
    fault: str | None = None
    streamed: bool = False
    status: int | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    events: int = 0
    sent: bytearray = field(default_factory=bytearray)  # the body before framing; only with record_sent
    ended: Ending | None = None
    socket: Exchange | None = None
    memory: dict[str, Any] | None = None  # the responses that the socket remembers, stored or not, by id
    close_code: int | None = None  # of a WebSocket: the client's code; 1006 if there was no close frame
    messages: list[bytes] = field(default_factory=list)  # from the client of a WebSocket; only with record_sent
    _finished: asyncio.Event = field(default_factory=asyncio.Event)

    def settle(self, ending: Ending) -> None:
        """Note the end. Only the first reason counts."""
        if self.ended is None:
            self.ended = ending
            self._finished.set()

    async def finished(self, timeout: float = 5.0) -> Ending:
        """Wait for the end of the answer and return its reason; TimeoutError after ``timeout`` seconds."""
        async with asyncio.timeout(timeout):
            await self._finished.wait()
        assert self.ended is not None
        return self.ended

    def __repr__(self) -> str:
        return (
            f"<Exchange {self.method} {self.path} {self.status or '-'} {self.ended or 'running'},"
            f" {self.events} events, {self.completion_tokens} tokens>"
        )


Opening = Callable[[asyncio.Transport, asyncio.Event, Exchange], Talk]
"""Makes a talk on a connection. The event is set while the connection can be written to."""


class Exchanges(deque[Exchange]):
    """The last exchanges. Beyond a bound in bytes the oldest lose their bodies."""

    def __init__(self, most: int) -> None:
        super().__init__(maxlen=most)
        self._bytes = 0

    def keep(self, exchange: Exchange) -> None:
        """Add an exchange."""
        if len(self) == self.maxlen:
            self._bytes -= len(self[0].body)
        self.append(exchange)
        self._bytes += len(exchange.body)
        for old in self if self._bytes > KEPT_BODIES else ():
            if self._bytes <= KEPT_BODIES or old is exchange:
                break
            self._bytes -= len(old.body)
            old.body = b""

"""A request, its reply as a sequence of steps, and the record of both. Without I/O.

Operations make the events of a reply, faults change the sequence, and ``server`` sends it. A test can read a stream
without a socket.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Literal, get_args

import msgspec

Kind = Literal["filter", "role", "token", "annotation", "finish", "usage", "done", "body", "other"]
KINDS: tuple[str, ...] = get_args(Kind)
Ending = Literal["completed", "client_left", "fault", "stopped"]

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


Step = Event | Stall | Raw | Break


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


def data_event(value: Any) -> bytes:
    """Return a chunk of a chat stream as a server-sent event."""
    return b"data: " + sorted_json(value) + b"\n\n"


@dataclass(slots=True, eq=False)
class Exchange:
    """The record of a request and its answer, for tests.

    ``headers`` have lower-case names; repeated ones are joined by ``", "``. ``events``, ``completion_tokens`` and
    ``sent`` grow while the answer runs. ``ended`` is None until the end and then its reason: the answer was complete,
    the client disconnected, a fault ended it, or the simulator stopped.
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

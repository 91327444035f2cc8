"""What goes out on the wire, as data: a reply is a head and a lazy row of steps.

Operations make events, faults rearrange the row, and ``server`` carries it out. Nothing here does I/O, so a
stream can be read in a test without a socket.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

Kind = Literal["filter", "role", "token", "annotation", "finish", "usage", "done", "body", "other"]
KINDS: tuple[str, ...] = ("filter", "role", "token", "annotation", "finish", "usage", "done", "body", "other")

EVENT_STREAM = "text/event-stream; charset=utf-8"
JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Event:
    """Bytes of the body, sent as one chunk, ``wait`` seconds after the step before.

    ``events`` is how many server-sent events end in it: 1, or 0 for a piece of one, or more for several merged.
    """

    data: bytes
    wait: float = 0.0
    kind: Kind = "other"
    tokens: int = 0
    events: int = 1


@dataclass(frozen=True, slots=True)
class Stall:
    """Silence: for so many seconds, or until the client leaves (None)."""

    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Raw:
    """Bytes put on the connection as they are, outside the framing of the body."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Break:
    """The end of the connection in the middle of the answer: a TCP reset, or a plain FIN."""

    how: Literal["reset", "fin"]


Step = Event | Stall | Raw | Break


@dataclass(slots=True)
class Reply:
    """One HTTP answer. ``length`` is the Content-Length; None means that the body is chunked."""

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
    """Build a reply whose body is sent at once, with a Content-Length."""
    return Reply(
        status=status,
        steps=iter((Event(data, wait, "body", tokens),)),
        headers=headers or {},
        length=len(data),
        content_type=content_type,
        prompt_tokens=prompt_tokens,
    )


def stream(steps: Iterable[Step], *, prompt_tokens: int, content_type: str = EVENT_STREAM) -> Reply:
    """Build a reply whose body is a row of events, each its own chunk."""
    return Reply(status=200, steps=iter(steps), content_type=content_type, streamed=True, prompt_tokens=prompt_tokens)


def sorted_json(value: Any) -> bytes:
    """Encode compactly with keys in alphabetical order, as Azure's chat endpoints do."""
    return msgspec.json.encode(value, order="sorted")


def data_event(value: Any) -> bytes:
    """Frame one chunk of a chat stream."""
    return b"data: " + sorted_json(value) + b"\n\n"


DONE = b"data: [DONE]\n\n"

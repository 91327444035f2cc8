"""Scripts of an upstream as data: the steps, and the HTTP/1.1 framing for them."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Send:
    """Write bytes and wait until they have been read; ``each`` cuts them into writes of that many bytes."""

    data: bytes
    each: int = 0


@dataclass(frozen=True, slots=True)
class Flood:
    """Write the same bytes so many times, as fast as the other side takes them; ``Visit.accepted`` counts."""

    data: bytes
    times: int
    send_buffer: int | None = None


@dataclass(frozen=True, slots=True)
class Receive:
    """Wait until the other side has sent something: a TLS greeting, say."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Tell the test that this point is reached and wait for its ``release``."""


@dataclass(frozen=True, slots=True)
class Reset:
    """Break the connection: the other side gets a TCP reset (SO_LINGER of zero seconds)."""


@dataclass(frozen=True, slots=True)
class Close:
    """Close the connection: the other side gets a FIN."""


@dataclass(frozen=True, slots=True)
class Stall:
    """Do nothing until the other side leaves."""


Step = Send | Flood | Receive | Hold | Reset | Close | Stall
Script = Sequence[Step]


def chunk(data: bytes) -> bytes:
    """Frame bytes as one chunk (RFC 9112 §7.1)."""
    return b"%x\r\n%b\r\n" % (len(data), data)


LAST_CHUNK = b"0\r\n\r\n"


def head(
    content_type: str = "text/event-stream; charset=utf-8",
    *fields: str,
    status: str = "200 OK",
    length: int | None = None,
) -> bytes:
    """Write a status line and header fields; chunked where there is no ``length``."""
    framing = "transfer-encoding: chunked" if length is None else f"content-length: {length}"
    lines = [f"HTTP/1.1 {status}", f"content-type: {content_type}", framing, *fields, "", ""]
    return "\r\n".join(lines).encode()

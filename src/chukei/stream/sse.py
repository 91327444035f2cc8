"""Server-sent events as bytes: framing, reading and writing.

Rules: WHATWG HTML §9.2 "Server-sent events". Lines end with LF, CRLF or CR; a blank line ends an event. Azure OpenAI
writes LF only, so that case is the fast one. No function does I/O or re-encodes the bytes that it passes on.
"""

import re
from collections.abc import Iterator

HEARTBEAT = b": keep-alive\n\n"
"""A comment, which every OpenAI client ignores between events."""

DONE = b"data: [DONE]\n\n"

# A CR counts as a line end only if the byte after it is known, since it may be the first half of a CRLF.
_BOUNDARY = re.compile(rb"(?:\r\n|\n|\r(?=[^\n]))(?:\r\n|\n|\r(?=[^\n]))")
_BOUNDARY_AT_END = re.compile(rb"(?:\r\n|\n|\r)\r\Z")
LINE_END = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"


class Framer:
    """Takes reads of any size and returns only whole events.

    ``cap`` bounds the bytes of an unfinished event; memory stays below the cap plus one read. ``overflowed`` becomes
    True when an event exceeds the cap; the stream cannot continue then. Feeding takes time linear in the bytes,
    however they are split. ``pending`` has the bytes of an incomplete event.
    """

    __slots__ = ("_cap", "_has_cr", "overflowed", "pending")

    def __init__(self, cap: int) -> None:
        self._cap = cap
        self._has_cr = False
        self.pending = bytearray()
        self.overflowed = False

    def feed(self, data: bytes) -> bytes:
        """Take one read; return the events that it completes, byte for byte, or ``b""``."""
        pending = self.pending
        has_cr = b"\r" in data
        if not pending and not has_cr:
            end = data.rfind(b"\n\n")
            if end == len(data) - 2 and end >= 0:
                return data
            end = end + 2 if end >= 0 else 0
            pending += data[end:]
            self._check()
            return data[:end]
        self._has_cr |= has_cr
        if not self._has_cr and (end := data.rfind(b"\n\n")) >= 0:
            complete = b"".join((pending, memoryview(data)[: end + 2]))
            pending[:] = data[end + 2 :]
            self._check()
            return complete
        scan_from = max(len(pending) - 3, 0)
        pending += data
        end = _boundary_with_cr(pending, scan_from) if self._has_cr else _boundary(pending, scan_from)
        complete = bytes(pending[:end])
        del pending[:end]
        self._check()
        return complete

    def _check(self) -> None:
        if len(self.pending) > self._cap:
            self.pending.clear()
            self.overflowed = True

    def finish(self) -> bytes:
        """Return the event that the end of the body completes; drop an unfinished one.

        Two endings are complete only at the end of the body: a last line end that is a lone CR, and a ``data: [DONE]``
        without a blank line, which is added.
        """
        rest = bytes(self.pending)
        self.pending.clear()
        if _BOUNDARY_AT_END.search(rest):
            return rest
        data = data_of(rest)
        return rest.rstrip(b"\r\n") + b"\n\n" if is_done(data) and b"\n" not in data else b""


def _boundary(data: bytearray, scan_from: int) -> int:
    """Return the offset after the last blank line at or after ``scan_from``, or 0; lines end with LF only."""
    end = data.rfind(b"\n\n", scan_from)
    return end + 2 if end >= 0 else 0


def _boundary_with_cr(data: bytearray, scan_from: int) -> int:
    """Like ``_boundary``, for any kind of line end."""
    end = 0
    for match in _BOUNDARY.finditer(data, scan_from):
        end = match.end()
    return end


def split(block: bytes) -> Iterator[bytes]:
    """Yield the single events of a block of whole events; joined, they equal the block."""
    if b"\r" not in block:
        start = 0
        while (end := block.find(b"\n\n", start)) >= 0:
            yield block[start : end + 2]
            start = end + 2
    else:
        start = 0
        for match in _BOUNDARY.finditer(block):
            yield block[start : match.end()]
            start = match.end()
    if start < len(block):
        yield block[start:]


def first(block: bytes, begin: int = 0) -> bytes:
    """Return the event at ``begin`` in a block of whole events if lines end with LF; else the rest of the block."""
    end = block.find(b"\n\n", begin)
    return block[begin : end + 2] if end >= 0 else block[begin:]


def data_of(event: bytes) -> bytes:
    """Return an event's data: its ``data`` lines joined by LF, one leading space of each removed."""
    if (
        event.startswith(b"data: ")
        and event.endswith(b"\n\n")
        and event.find(b"\n") == len(event) - 2
        and b"\r" not in event
    ):
        return event[6:-2]
    lines = []
    text = event.removeprefix(_BOM)
    for line in LINE_END.split(text) if b"\r" in text else text.split(b"\n"):
        if line.startswith(b"data:"):
            lines.append(line[5:].removeprefix(b" "))
        elif line == b"data":
            lines.append(b"")
    return b"\n".join(lines)


def is_done(data: bytes) -> bool:
    """Whether an event's data ends a stream. OpenAI's clients check only the prefix, which no JSON value has."""
    return data.lstrip(b" \t").startswith(b"[DONE]")


def write(data: str | bytes, event: str | None = None) -> bytes:
    """Write one event. A line end in the data begins another ``data`` line, so the reader gets an LF for it."""
    raw = data.encode() if isinstance(data, str) else data
    head = b"event: " + event.encode() + b"\n" if event else b""
    return head + b"".join(b"data: " + line + b"\n" for line in LINE_END.split(raw)) + b"\n"

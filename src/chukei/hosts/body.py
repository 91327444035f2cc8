"""A request's body: its parts as they arrive, and the refusals of one that is too large or too slow."""

from chukei.errors import CallerError
from chukei.model import Headers

SLOWEST_UPLOAD = 16 * 1024
"""Bytes per second that a body must arrive with after its first seconds; a poor mobile uplink is twice as fast."""

WORTH_COPYING = 8 * 1024
"""Bytes up to which it is cheaper to copy than to hand the kernel several parts."""

_CLOSE: Headers = [(b"connection", b"close")]


def too_large(limit: int) -> CallerError:
    """Return the refusal of a body above the limit.

    Without ``connection: close``: the server would close with a reset, which can destroy this answer on its way.
    """
    message = f"The request's body is larger than {limit} bytes, the limit here (server.max_body_bytes)."
    return CallerError(413, "request_too_large", message)


def too_slow(size: int, seconds: float) -> CallerError:
    """Return the refusal of a body that crawls."""
    message = f"The request's body arrived too slowly: {size} bytes in {seconds:g} seconds and more."
    return CallerError(408, "request_timeout", message, headers=_CLOSE)


def check_length(headers: Headers, limit: int) -> None:
    """Refuse a body that is announced to be too large.

    Raises:
        CallerError: 413.
    """
    for name, value in headers:
        if name == b"content-length" and int(value) > limit:
            raise too_large(limit)


class BodyParts:
    """A body as it arrives. Small parts are copied together: an object for each would cost more than its bytes."""

    __slots__ = ("_parts", "_small")

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._small: bytearray | None = None

    def add(self, part: bytes) -> None:
        """Keep a part."""
        if not self._parts or (self._small is None and len(part) > WORTH_COPYING):
            self._parts.append(part)
        elif self._small is not None:
            self._small += part
        else:
            self._small = bytearray(part)

    def take(self) -> bytes:
        """Return the whole, and forget it."""
        parts, small = self._parts, self._small
        self._parts, self._small = [], None
        if small is not None:
            return b"".join((*parts, small))
        return parts[0] if len(parts) == 1 else b"".join(parts)

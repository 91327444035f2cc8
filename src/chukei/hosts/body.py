"""A request's body: its parts as they arrive, and the errors for a body that is too large or too slow."""

from chukei.errors import CallerError
from chukei.model import Headers

SLOWEST_UPLOAD = 16 * 1024
"""Minimum bytes per second of a body after its first seconds; a poor mobile uplink is twice as fast."""

WORTH_COPYING = 8 * 1024
"""Bytes up to which copying is cheaper than passing several parts to the kernel."""

UPLOADS = "objects.max_upload_bytes"
"""The setting that limits a body which is passed on as it arrives."""

_CLOSE: Headers = [(b"connection", b"close")]


def too_large(limit: int, setting: str = "server.max_body_bytes") -> CallerError:
    """Return the error for a body above the limit of a setting.

    It has no ``connection: close``: the server would close with a reset, which can destroy this answer in transit.
    """
    message = f"The request's body is larger than {limit} bytes, the limit here ({setting})."
    return CallerError(413, "request_too_large", message)


def too_slow(size: int, seconds: float) -> CallerError:
    """Return the error for a body that arrives too slowly."""
    message = f"The request's body arrived too slowly: {size} bytes in {seconds:g} seconds and more."
    return CallerError(408, "request_timeout", message, headers=_CLOSE)


def check_length(headers: Headers, limit: int, setting: str = "server.max_body_bytes") -> None:
    """Check the content-length against the limit of a setting.

    Raises:
        CallerError: 413 above the limit.
    """
    for name, value in headers:
        if name == b"content-length" and int(value) > limit:
            raise too_large(limit, setting)


class BodyParts:
    """A body as it arrives. Small parts are joined, since an object for each would cost more than its bytes."""

    __slots__ = ("_parts", "_small")

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._small: bytearray | None = None

    def add(self, part: bytes) -> None:
        """Add a part."""
        if not self._parts or (self._small is None and len(part) > WORTH_COPYING):
            self._parts.append(part)
        elif self._small is not None:
            self._small += part
        else:
            self._small = bytearray(part)

    def take(self) -> bytes:
        """Return the whole body, and release it."""
        parts, small = self._parts, self._small
        self._parts, self._small = [], None
        if small is not None:
            return b"".join((*parts, small))
        return parts[0] if len(parts) == 1 else b"".join(parts)

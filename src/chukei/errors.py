"""Errors that a caller may see, first divided by whose fault they are.

    RelayError
    ├── CallerError      the request, key or route is wrong: 4xx
    ├── Unavailable      this relay cannot serve now: 503
    └── UpstreamError    Azure OpenAI, or the way to it: 502, 504, or the upstream's own status

Each carries the HTTP status, and the fields of OpenAI's error shape
(https://platform.openai.com/docs/guides/error-codes). Messages are for people: what is wrong and what helps. They
never hold a credential, a prompt or a completion.
"""

import math
from collections.abc import Sequence

import msgspec

from chukei.model import End, Headers
from chukei.usage import Usage


class RelayError(Exception):
    """A failure with the answer that it deserves."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        type: str,
        end: End,
        param: str | None = None,
        headers: Sequence[tuple[bytes, bytes]] = (),
        body: bytes | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.type = type
        self.end = end
        self.param = param
        self.headers: Headers = list(headers)
        self._body = body

    @property
    def error(self) -> dict[str, object]:
        """The ``error`` object of OpenAI's error shape."""
        return {"message": self.message, "type": self.type, "param": self.param, "code": self.code}

    @property
    def body(self) -> bytes:
        """The JSON body of an error answer: the upstream's own where it sent a usable one."""
        return self._body if self._body is not None else msgspec.json.encode({"error": self.error})

    @property
    def error_json(self) -> bytes:
        """The ``error`` object as JSON, for an error event inside a stream."""
        if self._body is not None:
            return bytes(msgspec.json.decode(self._body, type=dict[str, msgspec.Raw])["error"])
        return msgspec.json.encode(self.error)


class CallerError(RelayError):
    """The request cannot be served as it is."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        param: str | None = None,
        type: str = "invalid_request_error",
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        super().__init__(status, code, message, type=type, end=End.REFUSED, param=param, headers=headers)


class Unavailable(RelayError):
    """This relay is shutting down or broken, or has no deployment to ask; a try elsewhere or later may succeed."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        status: int = 503,
        type: str = "server_error",
        end: End = End.SERVER_SHUTDOWN,
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        super().__init__(status, code, message, type=type, end=end, headers=headers)


class UpstreamError(RelayError):
    """The upstream failed, broke off or answered something that must not be passed on.

    ``fresh`` says that the connection broke before all of the request had left it, and before one byte of an answer:
    nobody can have worked on such a request, so it may be sent once more. ``retry_after`` is for how many seconds it
    asked to be left alone. ``kind`` is its row in the table of verdicts, or the code where that is none. ``usage`` is
    what it reported to have used all the same.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        end: End,
        status: int = 502,
        type: str = "upstream_error",
        headers: Sequence[tuple[bytes, bytes]] = (),
        body: bytes | None = None,
        fresh: bool = False,
        retry_after: float | None = None,
        kind: str | None = None,
        usage: Usage | None = None,
    ) -> None:
        super().__init__(status, code, message, type=type, end=end, headers=headers, body=body)
        self.kind = code if kind is None else kind
        self.usage = usage
        self.fresh = fresh
        self.retry_after = retry_after


def origin_not_allowed() -> CallerError:
    """Refuse a page of another site."""
    message = "Pages of other sites may not use this relay; its operator can allow one with server.cors_origins."
    return CallerError(403, "origin_not_allowed", message)


def shutting_down() -> Unavailable:
    """Send a caller elsewhere."""
    return Unavailable("server_shutdown", "This relay is shutting down; try again.")


def event_too_large() -> UpstreamError:
    """Give up a stream of which one event exceeds the cap."""
    return UpstreamError("event_too_large", "The upstream sent an event beyond the cap.", end=End.EVENT_TOO_LARGE)


def come_back(seconds: float) -> Headers:
    """Return the fields that tell clients when to try again; OpenAI's own look at the finer one first."""
    return [
        (b"retry-after", str(math.ceil(seconds)).encode()),
        (b"retry-after-ms", str(math.ceil(seconds * 1000)).encode()),
    ]

"""Errors that a caller may see, classified by their cause.

    RelayError
    ├── CallerError      the request, key or route is wrong: 4xx
    ├── Unavailable      this relay cannot serve now: 503
    └── UpstreamError    Azure OpenAI or the network failed: 502, 504, or the upstream's own status

Each has an HTTP status and the fields of OpenAI's error format
(https://platform.openai.com/docs/guides/error-codes). Messages are for people: they say what is wrong and how to fix
it. They never contain a credential, a prompt or a completion.
"""

import math
from collections.abc import Sequence

import msgspec

from chukei.model import End, Headers
from chukei.usage import Usage


class RelayError(Exception):
    """A failure and the HTTP answer for it. ``rule`` is the place in the configuration of the rule that was applied."""

    rule: str | None = None

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
        """The ``error`` object in OpenAI's format."""
        return {"message": self.message, "type": self.type, "param": self.param, "code": self.code}

    @property
    def body(self) -> bytes:
        """The JSON body of an error answer: the upstream's own if it sent a usable one."""
        return self._body if self._body is not None else msgspec.json.encode({"error": self.error})

    @property
    def error_json(self) -> bytes:
        """The ``error`` object as JSON, for an error event inside a stream."""
        if self._body is not None:
            return bytes(msgspec.json.decode(self._body, type=dict[str, msgspec.Raw])["error"])
        return msgspec.json.encode(self.error)


class CallerError(RelayError):
    """The request is wrong and cannot be served unchanged."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        param: str | None = None,
        type: str = "invalid_request_error",
        headers: Sequence[tuple[bytes, bytes]] = (),
        rule: str | None = None,
    ) -> None:
        super().__init__(status, code, message, type=type, end=End.REFUSED, param=param, headers=headers)
        self.rule = rule


class Unavailable(RelayError):
    """This relay is shutting down, has failed, or has no available deployment; a retry may succeed."""

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
    """The upstream failed, broke off, or sent an answer that must not be passed on.

    ``fresh`` says that the connection broke before the request was completely sent and before any byte of an answer. So
    the upstream cannot have processed the request, and it may be sent again. ``retry_after`` is the time in seconds
    that the upstream asked to wait. ``kind`` is the row in the table of verdicts, or the code if there is no row.
    ``usage`` is the usage that the upstream reported despite the failure.
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
    """Return the error for a page of another site."""
    message = "Pages of other sites may not use this relay; its operator can allow one with server.cors_origins."
    return CallerError(403, "origin_not_allowed", message)


def shutting_down() -> Unavailable:
    """Return the error during shutdown. Whatever takes this relay's place can be asked at once."""
    return Unavailable("server_shutdown", "This relay is shutting down; try again.", headers=come_back(1))


def event_too_large() -> UpstreamError:
    """Return the error for an event that exceeds the cap."""
    return UpstreamError("event_too_large", "The upstream sent an event beyond the cap.", end=End.EVENT_TOO_LARGE)


def come_back(seconds: float) -> Headers:
    """Return the header fields that tell clients when to retry; OpenAI's clients prefer the milliseconds."""
    return [
        (b"retry-after", str(math.ceil(seconds)).encode()),
        (b"retry-after-ms", str(math.ceil(seconds * 1000)).encode()),
    ]

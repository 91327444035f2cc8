"""The failure matrix as data: where an answer breaks, how, what the client sees and what is recorded.

``CELLS`` is the table. A row says: when the upstream has come so far (phase) and then this happens (fault), the client
sees this, the record ends so, and its tokens are unknown, estimated or exact.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from chukei.model import End


class Phase(StrEnum):
    """How far the upstream has come."""

    CONNECTING = "P1-connecting"
    TLS = "P2-tls"
    SENT = "P3-request-sent"
    IN_HEAD = "P3-inside-headers"
    HEADERS = "P4-headers"
    PREAMBLE = "P5-before-first-output"
    INSIDE = "P6-inside-an-event"
    BETWEEN = "P7-between-events"
    FINISHED = "P8-finish-seen"
    COUNTED = "P8-usage-seen"
    DONE = "P9-done-seen"


class Fault(StrEnum):
    """What happens then."""

    RESET = "reset"
    CLOSE = "close"
    CLEAN_END = "clean-end"  # of the HTTP body, in the middle of the stream
    STALL = "stall"
    BAD_CHUNK = "bad-chunk"
    ERROR_EVENT = "error-event"
    WRONG_TYPE = "wrong-type"
    JSON = "json-instead"
    COMPRESSED = "compressed"
    REDIRECT = "redirect"
    GIANT = "giant-event"
    UNTRUSTED = "untrusted-certificate"
    EXTRA = "extra-bytes"
    ABORT = "client-aborts"
    HALF_CLOSE = "client-half-closes"
    SHUTDOWN = "shutdown"


class Tokens(StrEnum):
    """What the record says of usage."""

    NONE = "none"
    ESTIMATED = "estimated"
    EXACT = "exact"


@dataclass(frozen=True, slots=True)
class Refused:
    """An error status with OpenAI's error shape; once comments were sent, an error event instead."""

    status: int
    code: str


@dataclass(frozen=True, slots=True)
class Broken:
    """Every whole event that was sent before, then one error event, and no [DONE]."""

    code: str


@dataclass(frozen=True, slots=True)
class Forwarded:
    """Every event before, then the upstream's own error event, and no [DONE]."""


@dataclass(frozen=True, slots=True)
class Whole:
    """The complete answer."""


@dataclass(frozen=True, slots=True)
class Unmarked:
    """The complete answer as it came, without [DONE]; the simple form ends as ever."""


@dataclass(frozen=True, slots=True)
class Left:
    """Nothing: it left itself."""


Sees = Refused | Broken | Forwarded | Whole | Unmarked | Left


@dataclass(frozen=True, slots=True)
class Cell:
    """One row of the table. ``committed`` says that a heartbeat had sent the status before the fault struck."""

    phase: Phase
    fault: Fault
    sees: Sees
    end: End
    tokens: Tokens
    committed: bool = False

    def __str__(self) -> str:
        return f"{self.phase}-{self.fault}{'-after-heartbeat' if self.committed else ''}"


P, F, E, T = Phase, Fault, End, Tokens

# fmt: off
CELLS = (
    Cell(P.CONNECTING, F.RESET,       Refused(502, "connect_error"),            E.CONNECT_ERROR,          T.NONE),
    Cell(P.CONNECTING, F.STALL,       Refused(504, "connect_timeout"),          E.CONNECT_ERROR,          T.NONE),
    Cell(P.CONNECTING, F.ABORT,       Left(),                                   E.CLIENT_ABORTED,         T.NONE),
    Cell(P.CONNECTING, F.HALF_CLOSE,  Left(),                                   E.CLIENT_ABORTED,         T.NONE),
    Cell(P.CONNECTING, F.SHUTDOWN,    Refused(503, "server_shutdown"),          E.SERVER_SHUTDOWN,        T.NONE),

    Cell(P.TLS,        F.RESET,       Refused(502, "connect_error"),            E.CONNECT_ERROR,          T.NONE),
    Cell(P.TLS,        F.CLOSE,       Refused(502, "connect_error"),            E.CONNECT_ERROR,          T.NONE),
    Cell(P.TLS,        F.BAD_CHUNK,   Refused(502, "tls_error"),                E.TLS_ERROR,              T.NONE),
    Cell(P.TLS,        F.UNTRUSTED,   Refused(502, "tls_unverified"),           E.TLS_ERROR,              T.NONE),
    Cell(P.TLS,        F.STALL,       Refused(504, "connect_timeout"),          E.CONNECT_ERROR,          T.NONE),
    Cell(P.TLS,        F.ABORT,       Left(),                                   E.CLIENT_ABORTED,         T.NONE),
    Cell(P.TLS,        F.HALF_CLOSE,  Left(),                                   E.CLIENT_ABORTED,         T.NONE),
    Cell(P.TLS,        F.SHUTDOWN,    Refused(503, "server_shutdown"),          E.SERVER_SHUTDOWN,        T.NONE),

    Cell(P.SENT,       F.RESET,       Refused(502, "upstream_lost"),            E.UPSTREAM_LOST,          T.ESTIMATED),
    Cell(P.SENT,       F.CLOSE,       Refused(502, "upstream_lost"),            E.UPSTREAM_LOST,          T.ESTIMATED),
    Cell(P.SENT,       F.STALL,       Refused(504, "upstream_timeout"),         E.TIMEOUT,                T.ESTIMATED),
    Cell(P.SENT,       F.BAD_CHUNK,   Refused(502, "unexpected_answer"),        E.UNEXPECTED_ANSWER,      T.ESTIMATED),
    Cell(P.SENT,       F.ABORT,       Left(),                                   E.CLIENT_ABORTED,         T.ESTIMATED),
    Cell(P.SENT,       F.HALF_CLOSE,  Left(),                                   E.CLIENT_ABORTED,         T.ESTIMATED),
    Cell(P.SENT,       F.SHUTDOWN,    Refused(503, "server_shutdown"),          E.SERVER_SHUTDOWN,        T.ESTIMATED),

    Cell(P.IN_HEAD,    F.RESET,       Refused(502, "upstream_lost"),            E.UPSTREAM_LOST,          T.ESTIMATED),
    Cell(P.IN_HEAD,    F.CLOSE,       Refused(502, "upstream_lost"),            E.UPSTREAM_LOST,          T.ESTIMATED),
    Cell(P.IN_HEAD,    F.STALL,       Refused(504, "upstream_timeout"),         E.TIMEOUT,                T.ESTIMATED),
    Cell(P.IN_HEAD,    F.GIANT,       Refused(502, "unexpected_answer"),        E.UNEXPECTED_ANSWER,      T.ESTIMATED),
    Cell(P.IN_HEAD,    F.ABORT,       Left(),                                   E.CLIENT_ABORTED,         T.ESTIMATED),

    Cell(P.HEADERS,    F.RESET,       Refused(502, "upstream_lost"),            E.UPSTREAM_LOST,          T.ESTIMATED),
    Cell(P.HEADERS,    F.CLOSE,       Refused(502, "upstream_lost"),            E.UPSTREAM_LOST,          T.ESTIMATED),
    Cell(P.HEADERS,    F.CLEAN_END,   Refused(502, "upstream_lost"),            E.UPSTREAM_LOST,          T.ESTIMATED),
    Cell(P.HEADERS,    F.STALL,       Refused(504, "upstream_timeout"),         E.TIMEOUT,                T.ESTIMATED),
    Cell(P.HEADERS,    F.BAD_CHUNK,   Refused(502, "upstream_lost"),            E.UPSTREAM_LOST,          T.ESTIMATED),
    Cell(P.HEADERS,    F.WRONG_TYPE,  Refused(502, "unexpected_content_type"),  E.UNEXPECTED_ANSWER,      T.ESTIMATED),
    Cell(P.HEADERS,    F.JSON,        Refused(502, "not_a_stream"),             E.UNEXPECTED_ANSWER,      T.ESTIMATED),
    Cell(P.HEADERS,    F.COMPRESSED,  Refused(502, "unexpected_encoding"),      E.UNEXPECTED_ANSWER,      T.ESTIMATED),
    Cell(P.HEADERS,    F.REDIRECT,    Refused(502, "unexpected_redirect"),      E.UNEXPECTED_ANSWER,      T.ESTIMATED),
    Cell(P.HEADERS,    F.ABORT,       Left(),                                   E.CLIENT_ABORTED,         T.ESTIMATED),
    Cell(P.HEADERS,    F.HALF_CLOSE,  Left(),                                   E.CLIENT_ABORTED,         T.ESTIMATED),
    Cell(P.HEADERS,    F.SHUTDOWN,    Refused(503, "server_shutdown"),          E.SERVER_SHUTDOWN,        T.ESTIMATED),

    Cell(P.PREAMBLE,   F.RESET,       Refused(502, "upstream_lost"),            E.UPSTREAM_LOST,          T.ESTIMATED),
    Cell(P.PREAMBLE,   F.CLOSE,       Refused(502, "upstream_lost"),            E.UPSTREAM_LOST,          T.ESTIMATED),
    Cell(P.PREAMBLE,   F.CLEAN_END,   Refused(502, "upstream_lost"),            E.UPSTREAM_LOST,          T.ESTIMATED),
    Cell(P.PREAMBLE,   F.STALL,       Refused(504, "upstream_timeout"),         E.TIMEOUT,                T.ESTIMATED),
    Cell(P.PREAMBLE,   F.BAD_CHUNK,   Refused(502, "upstream_lost"),            E.UPSTREAM_LOST,          T.ESTIMATED),
    Cell(P.PREAMBLE,   F.ERROR_EVENT, Refused(500, "server_error"),             E.UPSTREAM_ERROR,         T.ESTIMATED),
    Cell(P.PREAMBLE,   F.GIANT,       Refused(502, "event_too_large"),          E.EVENT_TOO_LARGE,        T.ESTIMATED),
    Cell(P.PREAMBLE,   F.ABORT,       Left(),                                   E.CLIENT_ABORTED,         T.ESTIMATED),
    Cell(P.PREAMBLE,   F.HALF_CLOSE,  Left(),                                   E.CLIENT_ABORTED,         T.ESTIMATED),
    Cell(P.PREAMBLE,   F.SHUTDOWN,    Refused(503, "server_shutdown"),          E.SERVER_SHUTDOWN,        T.ESTIMATED),

    Cell(P.INSIDE,     F.RESET,       Broken("stream_incomplete"),              E.TRUNCATED,              T.ESTIMATED),
    Cell(P.INSIDE,     F.CLOSE,       Broken("stream_incomplete"),              E.TRUNCATED,              T.ESTIMATED),
    Cell(P.INSIDE,     F.CLEAN_END,   Broken("stream_incomplete"),              E.TRUNCATED,              T.ESTIMATED),
    Cell(P.INSIDE,     F.STALL,       Broken("upstream_timeout"),               E.TIMEOUT,                T.ESTIMATED),
    Cell(P.INSIDE,     F.BAD_CHUNK,   Broken("stream_incomplete"),              E.TRUNCATED,              T.ESTIMATED),
    Cell(P.INSIDE,     F.GIANT,       Broken("event_too_large"),                E.EVENT_TOO_LARGE,        T.ESTIMATED),
    Cell(P.INSIDE,     F.ABORT,       Left(),                                   E.CLIENT_ABORTED,         T.ESTIMATED),
    Cell(P.INSIDE,     F.HALF_CLOSE,  Left(),                                   E.CLIENT_ABORTED,         T.ESTIMATED),
    Cell(P.INSIDE,     F.SHUTDOWN,    Broken("server_shutdown"),                E.SERVER_SHUTDOWN,        T.ESTIMATED),

    Cell(P.BETWEEN,    F.RESET,       Broken("stream_incomplete"),              E.TRUNCATED,              T.ESTIMATED),
    Cell(P.BETWEEN,    F.CLOSE,       Broken("stream_incomplete"),              E.TRUNCATED,              T.ESTIMATED),
    Cell(P.BETWEEN,    F.CLEAN_END,   Broken("stream_incomplete"),              E.TRUNCATED,              T.ESTIMATED),
    Cell(P.BETWEEN,    F.STALL,       Broken("upstream_timeout"),               E.TIMEOUT,                T.ESTIMATED),
    Cell(P.BETWEEN,    F.BAD_CHUNK,   Broken("stream_incomplete"),              E.TRUNCATED,              T.ESTIMATED),
    Cell(P.BETWEEN,    F.ERROR_EVENT, Forwarded(),                              E.UPSTREAM_ERROR,         T.ESTIMATED),
    Cell(P.BETWEEN,    F.GIANT,       Broken("event_too_large"),                E.EVENT_TOO_LARGE,        T.ESTIMATED),
    Cell(P.BETWEEN,    F.ABORT,       Left(),                                   E.CLIENT_ABORTED,         T.ESTIMATED),
    Cell(P.BETWEEN,    F.HALF_CLOSE,  Left(),                                   E.CLIENT_ABORTED,         T.ESTIMATED),
    Cell(P.BETWEEN,    F.SHUTDOWN,    Broken("server_shutdown"),                E.SERVER_SHUTDOWN,        T.ESTIMATED),

    Cell(P.FINISHED,   F.RESET,       Broken("stream_incomplete"),              E.TRUNCATED_AFTER_FINISH, T.ESTIMATED),
    Cell(P.FINISHED,   F.CLOSE,       Broken("stream_incomplete"),              E.TRUNCATED_AFTER_FINISH, T.ESTIMATED),
    Cell(P.FINISHED,   F.CLEAN_END,   Unmarked(),                               E.COMPLETED,              T.ESTIMATED),
    Cell(P.FINISHED,   F.STALL,       Broken("upstream_timeout"),               E.TIMEOUT,                T.ESTIMATED),
    Cell(P.FINISHED,   F.BAD_CHUNK,   Broken("stream_incomplete"),              E.TRUNCATED_AFTER_FINISH, T.ESTIMATED),
    Cell(P.FINISHED,   F.ERROR_EVENT, Forwarded(),                              E.UPSTREAM_ERROR,         T.ESTIMATED),
    Cell(P.FINISHED,   F.GIANT,       Broken("event_too_large"),                E.EVENT_TOO_LARGE,        T.ESTIMATED),
    Cell(P.FINISHED,   F.ABORT,       Left(),                                   E.CLIENT_ABORTED,         T.ESTIMATED),
    Cell(P.FINISHED,   F.HALF_CLOSE,  Left(),                                   E.CLIENT_ABORTED,         T.ESTIMATED),
    Cell(P.FINISHED,   F.SHUTDOWN,    Broken("server_shutdown"),                E.SERVER_SHUTDOWN,        T.ESTIMATED),

    Cell(P.COUNTED,    F.RESET,       Broken("stream_incomplete"),              E.TRUNCATED_AFTER_FINISH, T.EXACT),
    Cell(P.COUNTED,    F.CLEAN_END,   Unmarked(),                               E.COMPLETED,              T.EXACT),
    Cell(P.COUNTED,    F.STALL,       Broken("upstream_timeout"),               E.TIMEOUT,                T.EXACT),
    Cell(P.COUNTED,    F.ABORT,       Left(),                                   E.CLIENT_ABORTED,         T.EXACT),

    Cell(P.DONE,       F.RESET,       Whole(),                                  E.COMPLETED,              T.EXACT),
    Cell(P.DONE,       F.CLOSE,       Whole(),                                  E.COMPLETED,              T.EXACT),
    Cell(P.DONE,       F.STALL,       Whole(),                                  E.COMPLETED,              T.EXACT),
    Cell(P.DONE,       F.BAD_CHUNK,   Whole(),                                  E.COMPLETED,              T.EXACT),
    Cell(P.DONE,       F.EXTRA,       Whole(),                                  E.COMPLETED,              T.EXACT),
)
# fmt: on

BEFORE_OUTPUT = (P.CONNECTING, P.TLS, P.SENT, P.IN_HEAD, P.HEADERS, P.PREAMBLE)


def after_heartbeat() -> Iterator[Cell]:
    """The same faults once a heartbeat has sent the status: what was a refusal is an error event now."""
    for cell in CELLS:
        at_once = (cell.phase is P.CONNECTING and cell.fault is F.RESET) or cell.fault is F.UNTRUSTED
        if cell.phase in BEFORE_OUTPUT and not at_once:
            sees = Broken(cell.sees.code) if isinstance(cell.sees, Refused) else cell.sees
            yield Cell(cell.phase, cell.fault, sees, cell.end, cell.tokens, committed=True)

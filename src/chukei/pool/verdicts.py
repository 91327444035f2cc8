"""The meaning of an upstream failure: one table, from the event to its consequences. Pure.

docs/balancing.md has the same table; a test compares them row by row. The costs of failed requests are from Microsoft's
"Plan to manage costs for Azure OpenAI", section "HTTP Error response code and billing".
"""

import re
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from chukei.errors import UpstreamError
from chukei.model import End
from chukei.pool.signals import room
from chukei.usage import DECODE_ERRORS


class Fault(StrEnum):
    """The cause of a failure, which decides the consequences."""

    BUSY = "busy"  # the quota is used up: it cools down
    FAILED = "failed"  # the deployment or the network failed: the circuit breaker counts it
    MISCONFIGURED = "misconfigured"  # the operator must fix it: the deployment is taken out, and the log says so
    MISPLACED = "misplaced"  # another deployment stores the requested state
    UNABLE = "unable"  # the deployment may not do this operation, but may do others
    CALLER = "caller"  # the request caused it: other deployments would fail too


class Cost(StrEnum):
    """The cost of a failed request, as far as the relay knows."""

    NOTHING = "nothing"
    ESTIMATE = "an estimate"
    REPORTED = "as reported, else an estimate"


class Speaker(StrEnum):
    """Whose message explains the failure to the client."""

    OURS = "our words"
    THEIRS = "its words"


OWN_STATUS = 0
"""In a row, stands for the upstream's own status."""


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of failure and its consequences.

    ``what`` completes the sentence "the upstream …". ``transport`` says that no request's content can provoke the
    failure. ``final`` says that no other deployment is asked, although the deployment caused the failure.
    """

    kind: str
    what: str
    status: int
    words: Speaker
    end: End
    fault: Fault
    cost: Cost
    transport: bool = False
    final: bool = False

    @property
    def moves(self) -> bool:
        """Whether another deployment is asked."""
        return self.fault is not Fault.CALLER and not self.final


_OURS, _THEIRS = Speaker.OURS, Speaker.THEIRS
_NOTHING, _ESTIMATE = Cost.NOTHING, Cost.ESTIMATE
_F, _E = Fault, End

# fmt: off
TABLE = (
    Row("connect_error", "cannot be reached: name, address, refused, proxy", 502, _OURS, _E.CONNECT_ERROR, _F.FAILED, _NOTHING, transport=True),  # noqa: E501
    Row("connect_timeout", "takes no connection in time", 504, _OURS, _E.CONNECT_ERROR, _F.FAILED, _NOTHING, transport=True),  # noqa: E501
    Row("tls_error", "fails in TLS", 502, _OURS, _E.TLS_ERROR, _F.FAILED, _NOTHING, transport=True),
    Row("tls_unverified", "shows a certificate that cannot be verified", 502, _OURS, _E.TLS_ERROR, _F.MISCONFIGURED, _NOTHING, transport=True),  # noqa: E501
    Row("upstream_identity_unavailable", "needs a token, and none can be had", 502, _OURS, _E.CONNECT_ERROR, _F.FAILED, _NOTHING, transport=True),  # noqa: E501
    Row("upstream_unauthorized", "answers 401", 502, _OURS, _E.UPSTREAM_STATUS, _F.MISCONFIGURED, _NOTHING),
    Row("upstream_forbidden", "answers 403", 502, _OURS, _E.UPSTREAM_STATUS, _F.MISCONFIGURED, _NOTHING),
    Row("operation_denied", "answers 401 or 403 because the relay's role lacks this operation (`PermissionDenied`)", 502, _OURS, _E.UPSTREAM_STATUS, _F.UNABLE, _NOTHING),  # noqa: E501
    Row("content_refused", "answers 403 because of its content policy", OWN_STATUS, _THEIRS, _E.UPSTREAM_STATUS, _F.CALLER, _ESTIMATE),  # noqa: E501
    Row("prompt_refused", "answers 400 because of the content filter or the input's length", OWN_STATUS, _THEIRS, _E.UPSTREAM_STATUS, _F.CALLER, _ESTIMATE),  # noqa: E501
    Row("state_elsewhere", "answers 400 or 404 and does not know the stored object that the request needs", OWN_STATUS, _THEIRS, _E.UPSTREAM_STATUS, _F.MISPLACED, _NOTHING),  # noqa: E501
    Row("deployment_not_found", "answers 404 `DeploymentNotFound`", OWN_STATUS, _THEIRS, _E.UPSTREAM_STATUS, _F.MISCONFIGURED, _NOTHING),  # noqa: E501
    Row("request_timed_out", "answers 408", OWN_STATUS, _THEIRS, _E.UPSTREAM_STATUS, _F.FAILED, _ESTIMATE),
    Row("too_early", "answers 425", OWN_STATUS, _THEIRS, _E.UPSTREAM_STATUS, _F.FAILED, _NOTHING),
    Row("rate_limited", "answers 429", OWN_STATUS, _THEIRS, _E.UPSTREAM_STATUS, _F.BUSY, _NOTHING),
    Row("request_refused", "answers any other status from 400 to 499", OWN_STATUS, _THEIRS, _E.UPSTREAM_STATUS, _F.CALLER, _NOTHING),  # noqa: E501
    Row("server_failed", "answers a status from 500 to 599", OWN_STATUS, _THEIRS, _E.UPSTREAM_STATUS, _F.FAILED, _NOTHING),  # noqa: E501
    Row("unknown_status", "answers a status that HTTP does not know", 502, _THEIRS, _E.UPSTREAM_STATUS, _F.FAILED, _NOTHING),  # noqa: E501
    Row("unexpected_status", "answers 2xx other than 200", 502, _OURS, _E.UNEXPECTED_ANSWER, _F.MISCONFIGURED, _ESTIMATE),  # noqa: E501
    Row("unexpected_redirect", "redirects", 502, _OURS, _E.UNEXPECTED_ANSWER, _F.MISCONFIGURED, _ESTIMATE),
    Row("unexpected_encoding", "answers 200, compressed although not asked to", 502, _OURS, _E.UNEXPECTED_ANSWER, _F.MISCONFIGURED, _ESTIMATE),  # noqa: E501
    Row("unexpected_content_type", "answers 200 with HTML, or a type that the operation does not have", 502, _OURS, _E.UNEXPECTED_ANSWER, _F.MISCONFIGURED, _ESTIMATE),  # noqa: E501
    Row("unexpected_answer", "breaks the rules of HTTP, or answers 200 with invalid or truncated JSON", 502, _OURS, _E.UNEXPECTED_ANSWER, _F.FAILED, _ESTIMATE),  # noqa: E501
    Row("not_a_stream", "answers 200 with a whole text where a stream of it was asked for", 502, _OURS, _E.UNEXPECTED_ANSWER, _F.CALLER, Cost.REPORTED),  # noqa: E501
    Row("upstream_timeout", "shows no sign of life in time", 504, _OURS, _E.TIMEOUT, _F.FAILED, _ESTIMATE),
    Row("thinking_timeout", "shows a sign of life, but no output in time", 504, _OURS, _E.TIMEOUT, _F.FAILED, _ESTIMATE, final=True),  # noqa: E501
    Row("upstream_lost", "breaks off before any output", 502, _OURS, _E.UPSTREAM_LOST, _F.FAILED, _ESTIMATE),
    Row("event_too_large", "sends an event beyond the cap", 502, _OURS, _E.EVENT_TOO_LARGE, _F.CALLER, _ESTIMATE),
    Row("stream_incomplete", "breaks off, falls silent or sends an error after output", 200, _OURS, _E.TRUNCATED, _F.FAILED, Cost.REPORTED, final=True),  # noqa: E501
)
# fmt: on
"""Every row, in the order in which an answer can fail."""

ROWS = {row.kind: row for row in TABLE}
"""The rows by kind."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The consequences of one failure: ``why`` is an error code, ``seconds`` the upstream's time to retry.

    ``transport`` says that no request's content can have provoked the failure, ``moves`` that another deployment is
    asked. ``cost`` is the cost of the failed request. ``room`` is the number of tokens left in the quota that refused
    the request, if known.
    """

    fault: Fault
    why: str
    seconds: float | None = None
    transport: bool = False
    moves: bool = True
    cost: Cost = Cost.ESTIMATE
    room: float | None = None


class ErrorDetails(msgspec.Struct):
    """The relevant members of an ``error`` object, which may be of any type."""

    code: object = None
    type: object = None
    message: object = None
    status: object = None
    innererror: object = None

    @property
    def name(self) -> str:
        """The code in lower case."""
        return str(self.code).lower() if isinstance(self.code, str | int) else ""


class _Body(msgspec.Struct):
    error: ErrorDetails = msgspec.field(default_factory=ErrorDetails)


# The relay chose the deployment's name in the request, so the client did not cause the error.
_NO_SUCH_DEPLOYMENT = frozenset({"deploymentnotfound", "model_not_found"})
_NO_SUCH_CLAUDE = re.compile(r"model\b", re.IGNORECASE)  # the message of a `not_found_error`: "model: NAME"
# A deployment does not know state that another one has stored or encrypted.
_ELSEWHERE = frozenset({"previous_response_not_found", "conversation_not_found", "invalid_encrypted_content"})
# The ``code`` of an unknown object is null, or only says that the request is invalid.
_UNKNOWN_STATE = re.compile(
    r"(?P<kind>Conversation|Item|Response|Vector store|Container) with id '[^']*' not found"
    r"|No such (?P<file>File) object: "
    r"|(?P<files>File)s \[[^\]]*\] were not found due to ownership verification failure"
)
_CONTENT = frozenset({"content_filter", "content_policy_violation", "responsibleaipolicyviolation"})
_TOO_LONG = frozenset({"context_length_exceeded", "string_above_max_length"})
# Older api-versions send this message without a specific code.
_TOO_LONG_TEXT = re.compile(r"This model's maximum context length is ")
_DENIED = "permissiondenied"
_DATA_ACTION = re.compile(r"lacks the required data action", re.IGNORECASE)
_BY_STATUS = {
    401: "upstream_unauthorized",
    403: "upstream_forbidden",
    408: "request_timed_out",
    425: "too_early",
    429: "rate_limited",
}


def error_details(body: bytes) -> ErrorDetails:
    """Decode the error in a body in OpenAI's format; all members are None for any other body."""
    try:
        return msgspec.json.decode(body, type=_Body).error
    except DECODE_ERRORS:
        return ErrorDetails()


def row_of_status(status: int, details: ErrorDetails) -> Row:
    """Return the row of an error status."""
    name, message = details.name, details.message if isinstance(details.message, str) else ""
    inner = details.innererror.get("code") if isinstance(details.innererror, dict) else None
    refused = name in _CONTENT or str(inner).lower() in _CONTENT
    kind = _BY_STATUS.get(status) or ("request_refused" if status < 500 else "server_failed")
    if status >= 600:
        kind = "unknown_status"
    elif status in (401, 403) and (name == _DENIED or _DATA_ACTION.search(message)):
        kind = "operation_denied"
    elif status == 403 and refused:
        kind = "content_refused"
    elif status in (400, 404) and (name in _ELSEWHERE or _UNKNOWN_STATE.match(message)):
        kind = "state_elsewhere"
    elif status == 404 and (
        name in _NO_SUCH_DEPLOYMENT or (details.type == "not_found_error" and _NO_SUCH_CLAUDE.match(message))
    ):
        kind = "deployment_not_found"
    elif status == 400 and (refused or name in _TOO_LONG or _TOO_LONG_TEXT.match(message)):
        kind = "prompt_refused"
    return ROWS[kind]


def row_of(error: UpstreamError) -> Row:
    """Return the row of a failure, by its kind or else by its status."""
    return ROWS.get(error.kind) or row_of_status(error.status, error_details(error.body))


def judge(error: UpstreamError) -> Verdict:
    """Return the consequences of a failure."""
    row = row_of(error)
    why, name = error.code, error_details(error.body).name if row.words is _THEIRS else ""
    if row.fault is Fault.MISPLACED:
        why = name if name in _ELSEWHERE else _unknown_state(error)
    elif row.kind == "deployment_not_found":
        why = row.kind
    seconds = error.retry_after if row.fault in (Fault.BUSY, Fault.FAILED) else None
    # An error inside a 200 comes after processing has begun, whatever status it corresponds to.
    cost = Cost.ESTIMATE if error.end is End.UPSTREAM_ERROR else row.cost
    left = room(error.headers) if row.fault is Fault.BUSY else None
    return Verdict(row.fault, why, seconds, row.transport, row.moves, cost, left)


def _unknown_state(error: UpstreamError) -> str:
    found = _UNKNOWN_STATE.match(str(error_details(error.body).message))
    name = (found["kind"] or found["file"] or found["files"]) if found else "conversation"
    return f"{name.lower().replace(' ', '_')}_not_found"


_NEXT = {True: "the next deployment", False: "nobody else"}
_FOLLOWS = {
    Fault.BUSY: "its quota cools down",
    Fault.FAILED: "counts",
    Fault.MISCONFIGURED: "taken out",
    Fault.MISPLACED: "nothing",
    Fault.UNABLE: "nothing",
    Fault.CALLER: "nothing",
}


def table() -> list[str]:
    """Return the rows as docs/balancing.md shows them."""
    return [
        f"| `{row.kind}` | {row.what} | {row.status or 'that status'}, {row.words} | {row.fault} | {_NEXT[row.moves]} "
        f"| {_FOLLOWS[row.fault]}{', at once for all' if row.transport else ''} | {row.cost} |"
        for row in TABLE
    ]

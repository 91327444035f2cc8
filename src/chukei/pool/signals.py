"""What an upstream's failure says of its deployment, and what its headers say of the time to come. Pure.

The table in docs/balancing.md says the same in words.
"""

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

import msgspec

from chukei.errors import UpstreamError
from chukei.model import Headers, header

SHORTEST = 0.1
"""Seconds for which a deployment is left alone after a 429 whose time is nothing at all."""

PRESSED = 0.95
"""From this share of a limit on, a deployment counts as close to it."""

_MISCONFIGURED = frozenset(
    {
        "upstream_unauthorized",
        "upstream_forbidden",
        "tls_unverified",
        "unexpected_content_type",
        "unexpected_encoding",
        "unexpected_redirect",
        "unexpected_status",
    }
)
_FAILED = frozenset(
    {
        "connect_error",
        "connect_timeout",
        "tls_error",
        "unexpected_answer",
        "upstream_lost",
        "upstream_timeout",
        "upstream_identity_unavailable",
        "stream_incomplete",
    }
)
# Nothing that a request holds can bring these about: it was not even sent.
_TRANSPORT = frozenset(
    {"connect_error", "connect_timeout", "tls_error", "tls_unverified", "upstream_identity_unavailable"}
)
# Whoever asks for it gets it from every deployment; counted, it would take one after the other from everybody.
_ASKED_FOR = frozenset({"event_too_large", "not_a_stream"})
# The name in the request is the relay's own, so it is not the client who got it wrong.
_NO_SUCH_DEPLOYMENT = frozenset({"deploymentnotfound", "model_not_found"})
# What one deployment keeps or has encrypted, another has never heard of.
_ELSEWHERE = frozenset({"previous_response_not_found", "conversation_not_found", "invalid_encrypted_content"})
# A conversation that is unknown comes as a 404 whose ``code`` is null or says no more than that the request is invalid.
_UNKNOWN_CONVERSATION = re.compile(r"Conversation with id '[^']*' not found")


class Fault(StrEnum):
    """Whose affair a failure is, and so what follows."""

    BUSY = "busy"  # the quota: it cools down
    FAILED = "failed"  # the deployment or the way to it: the breaker counts it
    MISCONFIGURED = "misconfigured"  # the operator: it is taken out, loudly
    MISPLACED = "misplaced"  # nobody: another deployment has what is asked for
    CALLER = "caller"  # the request: no other deployment would answer it better


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to follow: ``why`` is an error code, ``seconds`` how long the upstream asked to be left alone.

    ``transport`` says that no request's content can have provoked it. ``room`` is how many tokens a quota that refused
    a request still had, where that is known.
    """

    fault: Fault
    why: str
    seconds: float | None = None
    transport: bool = False
    room: float | None = None


class _Error(msgspec.Struct):
    code: str | int | None = None
    type: str | None = None
    message: str | None = None


class _Body(msgspec.Struct):
    error: _Error = msgspec.field(default_factory=_Error)


def judge(error: UpstreamError) -> Verdict:
    """Return whose affair a failure is."""
    code = error.code
    if code in _MISCONFIGURED:
        return Verdict(Fault.MISCONFIGURED, code, transport=code in _TRANSPORT)
    if code in _FAILED:
        return Verdict(Fault.FAILED, code, transport=code in _TRANSPORT)
    said = _said(error)
    if error.status == 429:
        return Verdict(Fault.BUSY, code, error.retry_after, room=room(error.headers))
    if error.status in (400, 404) and said in _ELSEWHERE:
        return Verdict(Fault.MISPLACED, said)
    if error.status == 404 and said in _NO_SUCH_DEPLOYMENT:
        return Verdict(Fault.MISCONFIGURED, "deployment_not_found")
    if error.status == 408 or (error.status >= 500 and code not in _ASKED_FOR):
        return Verdict(Fault.FAILED, code, error.retry_after)
    return Verdict(Fault.CALLER, code)


def _said(error: UpstreamError) -> str:
    """Return the code that the upstream's own words hold, in lower case."""
    try:
        said = msgspec.json.decode(error.body, type=_Body).error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    if _UNKNOWN_CONVERSATION.match(said.message or ""):
        return "conversation_not_found"
    return str(said.code or "").lower()


def retry_after(headers: Headers) -> float | None:
    """Return for how many seconds an upstream asks to be left alone; None where it says nothing that makes sense.

    ``retry-after-ms`` is Azure's own and finer; ``retry-after`` is seconds or a date (RFC 9110 §10.2.3). A date is
    measured against the answer's own ``date``, so no clock of this machine matters.
    """
    fine = _number(header(headers, b"retry-after-ms"))
    if fine is not None:
        return max(fine / 1000, SHORTEST)
    given = header(headers, b"retry-after")
    seconds = _number(given)
    if seconds is None:
        then, now = _date(given), _date(header(headers, b"date"))
        if then is None or now is None:
            return None
        seconds = (then - now).total_seconds()
    return max(seconds, SHORTEST)


def room(headers: Headers) -> float | None:
    """Return how many tokens a quota has left, or has at all; None where neither is told.

    Of what remains 0 and -1 stand for "unknown" too. Azure's refusal of a request that is larger than the whole quota
    tells the limit alone.
    """
    found = (_number(header(headers, name)) for name in (b"x-ratelimit-remaining-tokens", b"x-ratelimit-limit-tokens"))
    return next((number for number in found if number), None)


def _number(value: bytes | None) -> float | None:
    """Return a number that is neither negative nor infinite."""
    try:
        number = float(value or b"")
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _date(value: bytes | None) -> datetime | None:
    from email.utils import parsedate_to_datetime  # only where a number was expected and something else came

    try:
        date = parsedate_to_datetime((value or b"").decode("ascii"))
    except (ValueError, TypeError, OverflowError):
        return None
    return date if date.tzinfo is not None else date.replace(tzinfo=UTC)


def is_pressed(headers: Headers) -> bool:
    """Whether an answer hints that its deployment is close to a limit.

    Of ``x-ratelimit-remaining-*`` only a number beside a known limit says anything: 0 and -1 stand for "unknown" too.
    A provisioned deployment tells its utilisation in percent.
    """
    found = {name: value for name, value in headers if name in _HINTS}
    if not found:
        return False
    used = _number(found.get(b"azure-openai-deployment-utilization", b"").rstrip(b" %"))
    if used is not None and used >= 100 * PRESSED:
        return True
    for limit, remaining in _LIMITS:
        most, left = _number(found.get(limit)), _number(found.get(remaining))
        if most and left is not None and left <= most * (1 - PRESSED):
            return True
    return False


_LIMITS = (
    (b"x-ratelimit-limit-tokens", b"x-ratelimit-remaining-tokens"),
    (b"x-ratelimit-limit-requests", b"x-ratelimit-remaining-requests"),
)
_HINTS = frozenset({b"azure-openai-deployment-utilization", *(name for pair in _LIMITS for name in pair)})

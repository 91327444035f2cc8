"""Signals in an upstream's headers: when to retry, and how much of a limit is left. Pure."""

import math
from datetime import UTC, datetime

from chukei.model import Headers, header

SHORTEST = 0.1
"""The least seconds of a cool-down, also after a 429 with a time of 0."""

PRESSED = 0.95
"""The used share of a limit from which a deployment counts as close to it."""


def retry_after(headers: Headers) -> float | None:
    """Return the seconds after which an upstream asks to retry; None if it gives no valid time.

    ``retry-after-ms`` is Azure's own header and more precise; ``retry-after`` is seconds or a date (RFC 9110 §10.2.3).
    A date is compared with the answer's own ``date``, so this machine's clock does not matter.
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
    """Return a quota's remaining tokens, or else its limit; None if the headers have neither.

    Remaining values of 0 and -1 may also mean "unknown". If a request is larger than the whole quota, Azure's refusal
    reports only the limit.
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
    from email.utils import parsedate_to_datetime  # needed only if the value is not a number

    try:
        date = parsedate_to_datetime((value or b"").decode("ascii"))
    except (ValueError, TypeError, OverflowError):
        return None
    return date if date.tzinfo is not None else date.replace(tzinfo=UTC)


def is_pressed(headers: Headers) -> bool:
    """Whether an answer's headers show that its deployment is close to a limit.

    ``x-ratelimit-remaining-*`` counts only beside a known limit: 0 and -1 may also mean "unknown". A provisioned
    deployment reports its utilisation in percent.
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

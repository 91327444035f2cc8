"""What an upstream's headers say of the time to come. Pure."""

import math
from datetime import UTC, datetime

from chukei.model import Headers, header

SHORTEST = 0.1
"""Seconds for which a deployment is left alone after a 429 whose time is nothing at all."""

PRESSED = 0.95
"""From this share of a limit on, a deployment counts as close to it."""


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

"""What a caller hears when no deployment can take a request: why, and when to come back. Pure."""

import math
from collections import Counter
from collections.abc import Sequence

from chukei.errors import Unavailable
from chukei.model import End, Headers
from chukei.pool.member import Member, Status

_WORDS = {
    Status.COOLING: "cooling down after a 429",
    Status.FULL: "working on as much as they may",
    Status.OPEN: "failing",
    Status.HALF_OPEN: "being tried again after failing",
}
_PASSING = frozenset({Status.COOLING, Status.FULL})


def busy(model: str, members: Sequence[Member], now: float) -> Unavailable:
    """Return 429 where at least one deployment is well but busy, else 503; with the shortest wait."""
    members = [member for member in members if member.deployment.weight]
    found = Counter(member.status(now) for member in members)
    seconds = min(member.wait(now) for member in members)
    reasons = ", ".join(f"{count} {_WORDS[status]}" for status, count in found.items() if status in _WORDS)
    if found.keys() & _PASSING:
        message = f"Every deployment of {model[:80]!r} is busy ({reasons}). {_advice(seconds)}"
        return _unavailable("all_deployments_busy", message, seconds, status=429)
    whys = sorted({why for member in members if (why := member.why(now))})
    message = f"No deployment of {model[:80]!r} can answer ({reasons}: {', '.join(whys)}). {_advice(seconds)}"
    return _unavailable("no_deployment_available", message, seconds, status=503)


def home_is_away(member: Member, now: float) -> Unavailable:
    """Return 429 or 503 for a request that only one deployment could continue."""
    status, seconds = member.status(now), member.wait(now)
    message = f"The deployment that holds what this request continues is {_WORDS.get(status, 'away')}."
    passing = status in _PASSING
    message = f"{message} {_advice(seconds)}"
    return _unavailable("stateful_deployment_busy", message, seconds, status=429 if passing else 503)


def _advice(seconds: float) -> str:
    return f"Try again in {math.ceil(seconds)} s."


def _unavailable(code: str, message: str, seconds: float, *, status: int) -> Unavailable:
    kind = "rate_limit_error" if status == 429 else "server_error"
    return Unavailable(code, message, status=status, type=kind, end=End.NO_DEPLOYMENT, headers=come_back(seconds))


def come_back(seconds: float) -> Headers:
    """Return the fields that tell clients when to try again; OpenAI's own look at the finer one first."""
    return [
        (b"retry-after", str(math.ceil(seconds)).encode()),
        (b"retry-after-ms", str(math.ceil(seconds * 1000)).encode()),
    ]

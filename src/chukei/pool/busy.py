"""What a caller hears when no deployment can take a request: why, and when to come back. Pure."""

import math
from collections import Counter
from collections.abc import Sequence

from chukei.errors import Unavailable, come_back
from chukei.model import End
from chukei.pool.member import Member, Status

_WORDS = {
    Status.COOLING: "cooling down after a 429",
    Status.FULL: "working on as much as they may",
    Status.OPEN: "failing",
    Status.HALF_OPEN: "being tried again after failing",
}
_RATE = "rate_limit_error"
_PASSING = frozenset({Status.COOLING, Status.FULL})


def busy(model: str, members: Sequence[Member], now: float) -> Unavailable:
    """Return 429 where at least one deployment is well but busy, else 503; with the shortest wait."""
    members = [member for member in members if member.deployment.weight]
    found = Counter(member.status(now) for member in members)
    seconds = min(member.wait(now) for member in members)
    reasons = ", ".join(f"{count} {_WORDS[status]}" for status, count in found.items() if status in _WORDS)
    headers = come_back(seconds)
    if found.keys() & _PASSING:
        message = f"Every deployment of {model[:80]!r} is busy ({reasons}). {_advice(seconds)}"
        end = End.NO_DEPLOYMENT
        return Unavailable("all_deployments_busy", message, status=429, type=_RATE, end=end, headers=headers)
    whys = ", ".join(sorted({why for member in members if (why := member.why(now))}))
    message = f"No deployment of {model[:80]!r} can answer ({reasons}: {whys}). {_advice(seconds)}"
    return Unavailable("no_deployment_available", message, end=End.NO_DEPLOYMENT, headers=headers)


def home_is_away(member: Member, now: float) -> Unavailable:
    """Return 429 or 503 for a request that only one deployment could continue."""
    status, seconds = member.status(now), member.wait(now)
    passing = status in _PASSING
    what = _WORDS.get(status, "away")
    return Unavailable(
        "stateful_deployment_busy",
        f"The deployment that holds what this request continues is {what}. {_advice(seconds)}",
        status=429 if passing else 503,
        type=_RATE if passing else "server_error",
        end=End.NO_DEPLOYMENT,
        headers=come_back(seconds),
    )


def _advice(seconds: float) -> str:
    return f"Try again in {math.ceil(seconds)} s."

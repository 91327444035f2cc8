"""The caller's error when no deployment can take a request: the reasons, and when to retry. Pure."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from chukei.errors import Unavailable, come_back
from chukei.model import End
from chukei.pool.member import Bar, Member, Status

_DESCRIPTIONS = {
    Status.COOLING: "cooling down after a 429",
    Status.FULL: "working on as much as they may",
    Status.OPEN: "failing",
    Status.HALF_OPEN: "being tried again after failing",
}
_OWN = "left alone because your own requests failed there"
_LARGE = "without room for a request as large as yours"
_RATE = "rate_limit_error"
_PASSING = frozenset({Status.COOLING, Status.FULL})


NO_BARS: Mapping[Member, Bar] = {}


def busy(model: str, members: Sequence[Member], now: float, bars: Mapping[Member, Bar] = NO_BARS) -> Unavailable:
    """Return 429 if at least one deployment is healthy but busy, else 503; with the shortest wait.

    ``bars`` are the deployments that are unavailable only for this request.
    """
    weighted = [member for member in members if member.deployment.weight] or members  # a reload may change weights
    views = [_view(member, now, bars.get(member)) for member in weighted]
    found = Counter(words for _, words, _, _ in views if words)
    seconds = min(wait for _, _, wait, _ in views)
    reasons = ", ".join(f"{count} {words}" for words, count in found.items())
    headers = come_back(seconds)
    if {status for status, *_ in views} & _PASSING:
        message = f"Every deployment of {model[:80]!r} is busy ({reasons}). {_advice(seconds)}"
        end = End.NO_DEPLOYMENT
        return Unavailable("all_deployments_busy", message, status=429, type=_RATE, end=end, headers=headers)
    whys = ", ".join(sorted({why for *_, why in views if why}))
    message = f"No deployment of {model[:80]!r} can answer ({reasons}: {whys}). {_advice(seconds)}"
    return Unavailable("no_deployment_available", message, end=End.NO_DEPLOYMENT, headers=headers)


def _view(member: Member, now: float, bar: Bar | None) -> tuple[Status, str, float, str | None]:
    """Return a deployment's state for a request: its status, a description, the wait in seconds, and an error code."""
    status, wait = member.status(now), member.wait(now)
    if bar is None or (wait >= bar.until - now and not member.available(now)):
        return status, _DESCRIPTIONS.get(status, ""), wait, member.why(now)
    words = _LARGE if bar.status is Status.COOLING else _OWN
    return bar.status, words, bar.until - now if bar.until > now else 1.0, bar.why


def wait_of(member: Member, now: float, bars: Mapping[Member, Bar]) -> float:
    """Return the seconds until a deployment may be available again."""
    return _view(member, now, bars.get(member))[2]


def home_is_away(member: Member, now: float, bars: Mapping[Member, Bar] = NO_BARS) -> Unavailable:
    """Return 429 or 503 for a request that only one unavailable deployment can continue."""
    status, words, seconds, _ = _view(member, now, bars.get(member))
    passing = status in _PASSING
    what = words or "away"
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

"""The state of one deployment: its circuit breaker, the cool-down of its quota, its load, its latency."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from math import inf

from chukei.config import PoolSettings
from chukei.model import Deployment
from chukei.pool.balance import Slot
from chukei.pool.breaker import Breaker, State

RECENT = 64
"""Times to first token that are kept of each deployment."""

ENOUGH = 10
"""Times to first token that are required for a percentile."""

PRESSED_SECONDS = 5.0
"""Seconds for which a hint that a deployment is close to its limit is valid. Azure evaluates request rates over 1 or 10
seconds (Microsoft: "Manage Azure OpenAI quota"), so an older hint means nothing."""


class Status(StrEnum):
    """What a deployment is doing, in one word."""

    READY = "ready"
    COOLING = "cooling"
    FULL = "full"
    OPEN = "open"
    HALF_OPEN = "half_open"
    DRAINED = "drained"  # weight 0


@dataclass(frozen=True, slots=True)
class Bar:
    """Why a deployment is unavailable for some requests while it serves others. ``status`` is its status for them."""

    status: Status
    until: float
    why: str | None


class Quota:
    """The shared state of deployments with one Azure quota: the cool-down after a 429.

    ``published`` is the end of the cool-down that was last published. Until ``large_until``, requests of ``large``
    tokens or more are not sent, because one of that size was refused while the quota had room for smaller ones.
    """

    __slots__ = ("_streak", "large", "large_until", "large_why", "members", "published", "until", "why")

    def __init__(self) -> None:
        self.members: list[Member] = []
        self.until = 0.0
        self.published = 0.0
        self.why: str | None = None
        self.large = 0
        self.large_until = 0.0
        self.large_why: str | None = None
        self._streak = 0

    def like(self) -> "Quota":
        """Return the quota of a deployment that leaves this one, with the same cool-down and no members."""
        made = Quota()
        made.until, made.published, made.why, made._streak = self.until, self.published, self.why, self._streak
        return made

    def cool(self, now: float, seconds: float | None, why: str, settings: PoolSettings) -> float:
        """Start a cool-down of ``seconds``; return the seconds that remain of the cool-down.

        None means that Azure gave no time; then each cool-down is twice as long as the last. A running cool-down is
        never shortened, and further refusals during it do not double it.
        """
        longest = settings.max_cooldown_seconds
        if seconds is None:
            if now >= self.until or not self._streak:
                self._streak += 1
            seconds = settings.cooldown_seconds * 2.0 ** min(self._streak - 1, 16)
        until = now + min(seconds, longest)
        if until > self.until:
            self.until, self.why = until, why
        return self.until - now

    def narrow(self, now: float, seconds: float | None, why: str, tokens: int, settings: PoolSettings) -> float:
        """Refuse requests of ``tokens`` or more for ``seconds``; return the seconds that remain."""
        if now < self.large_until:
            tokens = min(tokens, self.large)
        until = now + min(seconds or settings.cooldown_seconds, settings.max_cooldown_seconds)
        self.large, self.large_until, self.large_why = tokens, max(until, self.large_until), why
        return self.large_until - now

    def served(self) -> None:
        """Record that the quota has served a request, which ends the doubling of cool-downs."""
        self._streak = 0


class Member:
    """One deployment in the pool. ``outstanding`` counts its requests, ``tokens`` their estimated tokens.

    ``named`` says that the configuration names the deployment, not a client. ``wakes_at`` is when its availability is
    evaluated again.
    """

    __slots__ = (
        "_first_tokens",
        "answered",
        "breaker",
        "deployment",
        "failed",
        "last_error",
        "named",
        "outstanding",
        "pressed_until",
        "quota",
        "slots",
        "tokens",
        "wakes_at",
    )

    def __init__(
        self, deployment: Deployment, quota: Quota, settings: PoolSettings, draw: Callable[[], float], *, named: bool
    ) -> None:
        self.named = named
        self.deployment = deployment
        self.quota = quota
        self.breaker = Breaker(settings, draw)
        self.slots: list[Slot[Member]] = []
        self.outstanding = 0
        self.tokens = 0
        self.pressed_until = 0.0
        self.wakes_at = inf
        self.answered = 0
        self.failed = 0
        self.last_error: str | None = None
        self._first_tokens: deque[float] = deque(maxlen=RECENT)
        quota.members.append(self)

    @property
    def full(self) -> bool:
        """Whether it has as many requests as it may have."""
        cap = self.deployment.max_concurrent
        return cap is not None and self.outstanding >= cap

    def available(self, now: float) -> bool:
        """Whether a request may be sent to it."""
        return now >= self.quota.until and self.breaker.allows(now) and not self.full

    def status(self, now: float) -> Status:
        """Return its status. The reason that lasts longest takes precedence."""
        state = self.breaker.state(now)
        if state is State.OPEN:
            return Status.OPEN
        if now < self.quota.until:
            return Status.COOLING
        if state is State.HALF_OPEN:
            return Status.HALF_OPEN
        if self.full:
            return Status.FULL
        return Status.READY if self.deployment.weight else Status.DRAINED

    def wait(self, now: float) -> float:
        """Return the seconds until it may be available; one second if it waits for a running request to end."""
        until = max(self.quota.until, self.breaker.until if self.breaker.why is not None else 0.0)
        return until - now if until > now else 1.0

    def next_change(self, now: float) -> float:
        """Return when its availability, or its closeness to a limit, may change next; infinite if never."""
        breaker = self.breaker
        times = (self.quota.until, breaker.until, breaker.trial_until, self.pressed_until)
        return min((time for time in times if time > now), default=inf)

    def why(self, now: float) -> str | None:
        """Return the error code of the reason why it is unavailable."""
        if now < self.quota.until and now >= self.breaker.until:
            return self.quota.why
        return self.breaker.why

    def record_first_token(self, seconds: float) -> None:
        """Record a time to first token."""
        self._first_tokens.append(seconds)

    def percentile(self, share: float) -> float | None:
        """Return a percentile of the recent times to first token; None if there are too few."""
        times = sorted(self._first_tokens)
        return times[min(int(share * len(times)), len(times) - 1)] if len(times) >= ENOUGH else None

    def __repr__(self) -> str:
        return f"<Member {self.deployment.name} {self.breaker} {self.outstanding} outstanding>"

"""What is known of one deployment: its breaker, the cool-down of its quota, what it is working on, how fast it is."""

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
"""So many times to the first token are remembered for each deployment."""

ENOUGH = 10
"""From so few of them no percentile is told."""

PRESSED_SECONDS = 5.0
"""How long a hint that a deployment is close to its limit counts. Azure judges requests over 1 or 10 seconds
(Microsoft: "Manage Azure OpenAI quota"), so an older one says nothing."""


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
    """Why a deployment is left out for some requests, while it serves others: ``status`` is how it looks to them."""

    status: Status
    until: float
    why: str | None


class Quota:
    """What deployments that share one Azure quota have in common: the cool-down after a 429.

    ``told`` is until when others were last told that it lasts. ``large`` is from how many tokens on requests are left
    out until ``large_until``, because so large a one was refused while there was room for smaller ones.
    """

    __slots__ = ("_streak", "large", "large_until", "large_why", "members", "told", "until", "why")

    def __init__(self) -> None:
        self.members: list[Member] = []
        self.until = 0.0
        self.told = 0.0
        self.why: str | None = None
        self.large = 0
        self.large_until = 0.0
        self.large_why: str | None = None
        self._streak = 0

    def cool(self, now: float, seconds: float | None, why: str, settings: PoolSettings) -> float:
        """Leave the quota alone for ``seconds``; return for how long that is from now.

        None means that Azure gave no time; then each time is double the last. A running cool-down is never shortened,
        and what else is refused while it runs does not double it.
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
        """Leave out requests of so many tokens or more for ``seconds``; return for how long that is from now."""
        if now < self.large_until:
            tokens = min(tokens, self.large)
        until = now + min(seconds or settings.cooldown_seconds, settings.max_cooldown_seconds)
        self.large, self.large_until, self.large_why = tokens, max(until, self.large_until), why
        return self.large_until - now

    def served(self) -> None:
        """Take note that there is quota."""
        self._streak = 0


class Member:
    """One deployment in the pool. ``outstanding`` counts requests, ``tokens`` the tokens that they may cost.

    ``named`` says that the configuration names it, and not a client. ``wakes_at`` is when it will be looked at again.
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
        """Whether it works on as much as it may."""
        cap = self.deployment.max_concurrent
        return cap is not None and self.outstanding >= cap

    def available(self, now: float) -> bool:
        """Whether a request may be sent to it."""
        return now >= self.quota.until and self.breaker.allows(now) and not self.full

    def status(self, now: float) -> Status:
        """Return what it is doing. What keeps it away for longest comes first."""
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
        """Return the seconds until it may be worth asking again. When a request ends is anybody's guess: a second."""
        until = max(self.quota.until, self.breaker.until if self.breaker.why is not None else 0.0)
        return until - now if until > now else 1.0

    def next_change(self, now: float) -> float:
        """Return the time at which it may be available again, or no longer close to its limit; infinite for none."""
        breaker = self.breaker
        times = (self.quota.until, breaker.until, breaker.trial_until, self.pressed_until)
        return min((time for time in times if time > now), default=inf)

    def why(self, now: float) -> str | None:
        """Return the code of what keeps it away."""
        if now < self.quota.until and now >= self.breaker.until:
            return self.quota.why
        return self.breaker.why

    def spoke(self, seconds: float) -> None:
        """Note a time to the first token."""
        self._first_tokens.append(seconds)

    def percentile(self, share: float) -> float | None:
        """Return a percentile of the recent times to the first token; None while there are too few."""
        times = sorted(self._first_tokens)
        return times[min(int(share * len(times)), len(times) - 1)] if len(times) >= ENOUGH else None

    def __repr__(self) -> str:
        return f"<Member {self.deployment.name} {self.breaker} {self.outstanding} outstanding>"

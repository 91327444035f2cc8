"""The pool's rules once more, written as plainly as they can be told and without any care for speed."""

import math
from collections import deque
from dataclasses import dataclass, field

from chukei.config import PoolSettings
from chukei.model import Change, Condition, Deployment, Model
from chukei.pool import Fault, Lease, Verdict

DRAWN = 0.5
"""What the pool's source of numbers gives in these tests, always; so times are shortened by a twentieth."""


@dataclass
class Breaker:
    """``until`` is None while it is closed. ``trial`` is the request that tries it."""

    seconds: float
    until: float | None = None
    trial: Lease | None = None
    row: int = 0
    history: deque[bool] = field(default_factory=lambda: deque(maxlen=20))


@dataclass
class Quota:
    until: float = 0.0
    streak: int = 0


class Reference:
    """What should be known after the same events. Requests are known by their leases."""

    def __init__(self, models: dict[str, Model], settings: PoolSettings) -> None:
        self.models = models
        self.settings = settings
        self.deployments = list(dict.fromkeys(each for model in models.values() for each in model.deployments))
        self.breakers = {each: Breaker(settings.breaker_seconds) for each in self.deployments}
        self.quotas = {each.quota: Quota() for each in self.deployments}
        self.running: dict[Lease, int] = {}

    # What is so.

    def outstanding(self, deployment: Deployment) -> int:
        return sum(lease.deployment == deployment for lease in self.running)

    def tokens(self, deployment: Deployment) -> int:
        return sum(cost for lease, cost in self.running.items() if lease.deployment == deployment)

    def open(self, deployment: Deployment, now: float) -> bool:
        until = self.breakers[deployment].until
        return until is not None and now < until

    def half_open(self, deployment: Deployment, now: float) -> bool:
        until = self.breakers[deployment].until
        return until is not None and now >= until

    def cooling(self, deployment: Deployment, now: float) -> bool:
        return now < self.quotas[deployment.quota].until

    def full(self, deployment: Deployment) -> bool:
        cap = deployment.max_concurrent
        return cap is not None and self.outstanding(deployment) >= cap

    def available(self, deployment: Deployment, now: float) -> bool:
        if self.open(deployment, now) or self.cooling(deployment, now) or self.full(deployment):
            return False
        return not (self.half_open(deployment, now) and self.breakers[deployment].trial is not None)

    def best(self, model: Model, now: float, tried: set[Deployment]) -> set[Deployment]:
        """Return those of the lowest tier of which any may be chosen."""
        found = [each for each in model.deployments if each.weight and self.available(each, now) and each not in tried]
        lowest = min((each.priority for each in found), default=0)
        return {each for each in found if each.priority == lowest}

    def refusal(self, model: Model, now: float) -> tuple[int, float]:
        """Return the status and the wait in seconds for when there is none."""
        members = [each for each in model.deployments if each.weight]
        passing = any(
            not self.open(each, now)
            and (self.cooling(each, now) or (not self.half_open(each, now) and self.full(each)))
            for each in members
        )
        return (429 if passing else 503), min(self.wait(each, now) for each in members)

    def wait(self, deployment: Deployment, now: float) -> float:
        ends = [self.quotas[deployment.quota].until, self.breakers[deployment].until or 0.0]
        return max(ends) - now if max(ends) > now else 1.0

    # What happens.

    def chosen(self, lease: Lease, cost: int, now: float) -> None:
        breaker = self.breakers[lease.deployment]
        stale = breaker.until is not None and now >= breaker.until + self.settings.max_breaker_seconds
        if stale and breaker.trial is None:
            self._close(lease.deployment)
            breaker = self.breakers[lease.deployment]
        if breaker.until is not None:
            assert now >= breaker.until
            assert breaker.trial is None, "two trials of one breaker"
            breaker.trial = lease
        self.running[lease] = cost

    def released(self, lease: Lease) -> None:
        breaker = self.breakers[lease.deployment]
        if breaker.trial is lease:
            breaker.trial = None
        del self.running[lease]

    def answered(self, lease: Lease) -> None:
        breaker = self.breakers[lease.deployment]
        self.quotas[lease.deployment.quota].streak = 0
        if breaker.until is None:
            breaker.row = 0
            breaker.history.append(False)
        elif breaker.trial is lease:
            self._close(lease.deployment)

    def failed(self, lease: Lease, verdict: Verdict, now: float) -> None:
        breaker = self.breakers[lease.deployment]
        if verdict.fault is Fault.BUSY:
            if breaker.trial is lease:
                self._close(lease.deployment)
            self._cool(lease.deployment.quota, verdict.seconds, now)
        elif verdict.fault is Fault.FAILED:
            self._count(lease, verdict, now)
        elif verdict.fault is Fault.MISCONFIGURED and self.settings.misconfigured_seconds:
            self._trip(breaker, self.settings.misconfigured_seconds, now)

    def heard(self, change: Change, now: float) -> None:
        if change.condition is Condition.COOLING:
            if change.subject in self.quotas:
                self._cool(change.subject, change.seconds, now)
            return
        bounds = self.settings
        seconds = min(
            change.seconds,
            max(bounds.max_breaker_seconds, bounds.misconfigured_seconds, bounds.max_cooldown_seconds),
        )
        for deployment, breaker in self.breakers.items():
            if deployment.identity != change.subject:
                continue
            if change.condition is Condition.CLOSED:
                self._close(deployment)
            elif self.settings.breaker_failures and now + seconds > (breaker.until or 0.0):
                self._trip(breaker, seconds, now)

    def _close(self, deployment: Deployment) -> None:
        self.breakers[deployment] = Breaker(self.settings.breaker_seconds)

    def _trip(self, breaker: Breaker, seconds: float, now: float) -> None:
        breaker.until = max(breaker.until or 0.0, now + seconds)

    def _trip_doubling(self, breaker: Breaker, now: float) -> None:
        self._trip(breaker, breaker.seconds * (1 - 0.1 * DRAWN), now)
        breaker.seconds = min(2 * breaker.seconds, self.settings.max_breaker_seconds)

    def _count(self, lease: Lease, verdict: Verdict, now: float) -> None:
        breaker, limit = self.breakers[lease.deployment], self.settings.breaker_failures
        if breaker.until is not None:
            if breaker.trial is lease:
                self._trip_doubling(breaker, now)
        else:
            breaker.row += 1
            breaker.history.append(True)
            half = len(breaker.history) >= 10 and sum(breaker.history) >= len(breaker.history) / 2
            if limit and (breaker.row >= limit or half):
                self._trip_doubling(breaker, now)
        asked = min(verdict.seconds or 0.0, self.settings.max_cooldown_seconds)
        if asked and limit:
            self._trip(breaker, asked, now)

    def _cool(self, quota: str, seconds: float | None, now: float) -> None:
        found, longest = self.quotas[quota], self.settings.max_cooldown_seconds
        if not longest:
            return
        if seconds is None:
            if now >= found.until:
                found.streak += 1
            level = max(found.streak, 1)
            found.streak = level
            seconds = self.settings.cooldown_seconds * math.pow(2, min(level - 1, 16))
        found.until = max(found.until, now + min(seconds, longest))

"""The pool's rules once more, written as plainly as they can be told and without any care for speed."""

import math
from collections import deque
from dataclasses import dataclass, field

from chukei.config import PoolSettings
from chukei.model import Change, Condition, Deployment, Model
from chukei.pool import Fault, Lease, Verdict

DRAWN = 0.5
"""What the pool's source of numbers gives in these tests, always; so times are shortened by a twentieth."""


Whose = object
"""A source of failures; each that nobody has provoked is one of its own."""


@dataclass
class Breaker:
    """``until`` is None while it is closed. ``trials`` are all requests that have tried it since, ``trial`` the last.

    ``row`` are the sources of the failures since the last answer; in ``history`` an answer is None. ``condemning`` are
    the sources for which a known time was asked.
    """

    seconds: float
    until: float | None = None
    trial: Lease | None = None
    trial_until: float = 0.0
    trials: list[Lease] = field(default_factory=list)
    row: list[Whose] = field(default_factory=list)
    history: deque[Whose | None] = field(default_factory=lambda: deque(maxlen=20))
    condemning: set[Whose] = field(default_factory=set)

    def allows(self, now: float) -> bool:
        """Whether a request may be sent."""
        return self.until is None or (now >= self.until and (self.trial is None or now >= self.trial_until))


def weight(failures: list[Whose]) -> int:
    """Count failures, those of the source that has most of them as one."""
    return len(failures) - max(map(failures.count, failures), default=1) + 1


@dataclass
class Quota:
    until: float = 0.0
    streak: int = 0
    large: int = 0
    large_until: float = 0.0


@dataclass
class Alone:
    """What one source has met; ``over`` is when that is forgotten."""

    over: float = 0.0
    breakers: dict[Deployment, Breaker] = field(default_factory=dict)


class Reference:
    """What should be known after the same events. Requests are known by their leases."""

    def __init__(self, models: dict[str, Model], settings: PoolSettings) -> None:
        self.models = models
        self.settings = settings
        self.deployments = list(dict.fromkeys(each for model in models.values() for each in model.deployments))
        self.breakers = {each: Breaker(settings.breaker_seconds) for each in self.deployments}
        self.quotas = {each.quota: Quota() for each in self.deployments}
        self.alone: dict[str, Alone] = {}
        self.running: dict[Lease, int] = {}
        self.sources: dict[Lease, str | None] = {}
        self.longest = max(settings.max_breaker_seconds, settings.misconfigured_seconds, settings.max_cooldown_seconds)

    # What is so.

    def barred(self, deployment: Deployment, source: str | None, cost: int, now: float) -> bool:
        """Whether it is left out for such a request only."""
        quota = self.quotas[deployment.quota]
        own = self.own(deployment, source, now)
        return (now < quota.large_until and cost >= quota.large) or (own is not None and not own.allows(now))

    def own(self, deployment: Deployment, source: str | None, now: float) -> Breaker | None:
        """Return the breaker of one source alone."""
        alone = self.alone.get(source) if source is not None else None
        return alone.breakers.get(deployment) if alone is not None and now < alone.over else None

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
        if self.cooling(deployment, now) or self.full(deployment):
            return False
        return self.breakers[deployment].allows(now)

    def best(
        self, model: Model, now: float, tried: set[Deployment], source: str | None = None, cost: int = 0
    ) -> set[Deployment]:
        """Return those of the lowest tier of which any may be chosen."""
        tried = tried | {each for each in model.deployments if self.barred(each, source, cost, now)}
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

    def chosen(self, lease: Lease, source: str | None, cost: int, now: float) -> None:
        breaker = self.breakers[lease.deployment]
        stale = breaker.until is not None and now >= breaker.until + self.settings.max_breaker_seconds
        if stale and breaker.trial is None:
            self._close(lease.deployment)
        self._try(self.breakers[lease.deployment], lease, now)
        own = self.own(lease.deployment, source, now)
        if own is not None:
            self._try(own, lease, now)
        self.running[lease] = cost
        self.sources[lease] = source

    def _try(self, breaker: Breaker, lease: Lease, now: float) -> None:
        if breaker.until is not None:
            assert breaker.allows(now)
            breaker.trial = lease
            breaker.trials.append(lease)
            breaker.trial_until = now + self.settings.breaker_seconds

    def released(self, lease: Lease) -> None:
        for breaker in self._both(lease):
            if breaker.trial is lease:
                breaker.trial = None
        del self.running[lease]

    def _both(self, lease: Lease) -> list[Breaker]:
        alone = self.alone.get(self.sources[lease] or "")
        own = alone.breakers.get(lease.deployment) if alone is not None else None
        return [self.breakers[lease.deployment], *([own] if own is not None else [])]

    def answered(self, lease: Lease) -> None:
        self.quotas[lease.deployment.quota].streak = 0
        for breaker in self._both(lease):
            if breaker.until is None:
                breaker.row.clear()
                breaker.condemning.clear()
                breaker.history.append(None)
            elif lease in breaker.trials:
                self._reset(breaker)
                if breaker is self.breakers[lease.deployment]:
                    self._close(lease.deployment)
                    return

    def failed(self, lease: Lease, verdict: Verdict, now: float) -> None:
        if verdict.fault is Fault.BUSY:
            for breaker in self._both(lease):
                if lease in breaker.trials:
                    self._reset(breaker)
            room, cost = verdict.room, self.running[lease]
            if room is None or cost <= room:
                self._cool(lease.deployment.quota, verdict.seconds, now)
            else:
                self._narrow(lease.deployment.quota, verdict.seconds, cost, now)
        elif verdict.fault is Fault.FAILED:
            asked = min(verdict.seconds or 0.0, self.settings.max_cooldown_seconds)
            self._blame(lease, verdict, asked if self.settings.breaker_failures else 0.0, now)
        elif verdict.fault is Fault.MISCONFIGURED and self.settings.misconfigured_seconds:
            self._blame(lease, verdict, self.settings.misconfigured_seconds, now)

    def _blame(self, lease: Lease, verdict: Verdict, rest: float, now: float) -> None:
        source = self.sources[lease] if not verdict.transport else None
        shared = self.breakers[lease.deployment]
        was_trial = lease in shared.trials
        opened = self._count(shared, lease, verdict, rest, source or object(), now, alone=source is not None)
        if source is None:
            return
        alone = self.alone.setdefault(source, Alone())
        if now >= alone.over:
            alone.breakers.clear()
        alone.over = now + self.longest
        own = alone.breakers.setdefault(lease.deployment, Breaker(self.settings.breaker_seconds))
        if not self._count(own, lease, verdict, rest, object(), now, alone=False) and was_trial and not opened:
            self._trip_doubling(own, now)

    def _count(
        self, breaker: Breaker, lease: Lease, verdict: Verdict, rest: float, whose: Whose, now: float, *, alone: bool
    ) -> bool:
        """Count a failure; ``alone`` says that it takes a second source. Return whether it opened the breaker."""
        opened = False
        if verdict.fault is Fault.FAILED:
            opened = self._count_failure(breaker, lease, whose, now, alone=alone)
        if rest:
            breaker.condemning.add(whose)
            if not alone or len(breaker.condemning) > 1:
                self._trip(breaker, rest, now)
                opened = True
        return opened

    def _count_failure(self, breaker: Breaker, lease: Lease, whose: Whose, now: float, *, alone: bool) -> bool:
        limit = self.settings.breaker_failures
        closed = breaker.until is None
        if (closed and not limit) or (not closed and lease not in breaker.trials):
            return False
        breaker.row.append(whose)
        opens = not alone or len(set(breaker.row)) > 1
        if closed:
            breaker.history.append(whose)
            failures = [each for each in breaker.history if each is not None]
            outcomes = len(breaker.history) - (len(failures) - weight(failures))
            half = outcomes >= 10 and weight(failures) >= outcomes / 2
            opens = half or (opens and weight(breaker.row) >= limit)
        if opens:
            self._trip_doubling(breaker, now)
        return opens

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

    def _reset(self, breaker: Breaker) -> None:
        breaker.__init__(self.settings.breaker_seconds)  # type: ignore[misc]

    def _close(self, deployment: Deployment) -> None:
        self._reset(self.breakers[deployment])
        for alone in self.alone.values():
            alone.breakers.pop(deployment, None)

    def _trip(self, breaker: Breaker, seconds: float, now: float) -> None:
        breaker.until = max(breaker.until or 0.0, now + seconds)
        breaker.row.clear()
        breaker.condemning.clear()

    def _trip_doubling(self, breaker: Breaker, now: float) -> None:
        self._trip(breaker, breaker.seconds * (1 - 0.1 * DRAWN), now)
        breaker.seconds = min(2 * breaker.seconds, self.settings.max_breaker_seconds)

    def _narrow(self, quota: str, seconds: float | None, cost: int, now: float) -> None:
        found, longest = self.quotas[quota], self.settings.max_cooldown_seconds
        if longest:
            found.large = min(cost, found.large) if now < found.large_until else cost
            until = now + min(seconds or self.settings.cooldown_seconds, longest)
            found.large_until = max(until, found.large_until)

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

"""The health of every deployment, from the outcomes of requests and from other replicas' changes.

A deployment is taken out of service for all sources by failures that no request can cause, and by failures of several
sources (``breaker``). Failures of a single source take it out of service for that source only (``source_breakers``).
"""

from collections import Counter
from collections.abc import Callable, Collection, Hashable, Mapping
from heapq import heappop, heappush
from itertools import count
from math import inf

from chukei.config import PoolSettings
from chukei.model import Change, Condition, Deployment, Headers
from chukei.pool.breaker import Breaker, Event, State
from chukei.pool.member import PRESSED_SECONDS, Bar, Member, Quota, Status
from chukei.pool.roster import Roster
from chukei.pool.signals import is_pressed
from chukei.pool.source import Source
from chukei.pool.source_breakers import SourceBreakers
from chukei.pool.verdicts import Fault, Verdict

NEWS = 0.1
"""Smallest share by which a time must grow to be published; many requests that fail together extend it by less."""

Trials = tuple[int, int]
"""A request's trial numbers at its deployment's breaker and at its source's own; 0 if it is not a trial."""


class Health:
    """Updates the members and their places in the tiers."""

    def __init__(self, settings: PoolSettings, draw: Callable[[], float]) -> None:
        self._settings = settings
        self._longest = _longest(settings)
        self.roster = Roster(settings, draw)
        self._wakes: list[tuple[float, int, Member]] = []
        self._turns = count()
        self._own = SourceBreakers(settings, self._longest, draw)
        self._narrow: set[Quota] = set()  # those that have room for small requests only
        self._listeners: list[Callable[[Deployment, Change], None]] = []
        self.now = 0.0  # the latest time passed to `wake`

    def configure(self, settings: PoolSettings, deployments: Collection[Deployment]) -> None:
        """Take over a changed configuration."""
        self._settings, self._longest = settings, _longest(settings)
        self._own.configure(settings, self._longest)
        self.roster.configure(settings, deployments)

    def place_all(self) -> None:
        """Apply the state of all members to the tiers that a configuration has made."""
        for member in self.roster.members.values():
            self._place(member, self.now)
            self._set_alarm(member, self.now)

    def listen(self, listener: Callable[[Deployment, Change], None]) -> None:
        """Call ``listener`` with every change that this relay makes itself; changes from ``hear`` are excluded."""
        self._listeners.append(listener)

    def _tell(self, member: Member, change: Change) -> None:
        for listener in self._listeners:
            listener(member.deployment, change)

    # Time.

    def wake(self, now: float) -> None:
        """Update the members whose time has expired."""
        self.now = now
        while self._wakes and self._wakes[0][0] <= now:
            time, _, member = heappop(self._wakes)
            if time == member.wakes_at:  # else an earlier alarm has replaced this one
                member.wakes_at = inf
                self._place(member, now)
                self._set_alarm(member, now)

    def _set_alarm(self, member: Member, now: float) -> None:
        """Schedule an update of a member for its next change. An earlier alarm, if there is one, sets the next."""
        time = member.next_change(now)
        if time < member.wakes_at:
            member.wakes_at = time
            heappush(self._wakes, (time, next(self._turns), member))

    def _place(self, member: Member, now: float) -> None:
        available, pressed = member.available(now), now < member.pressed_until
        for slot in member.slots:
            slot.tier.place(slot, available=available, pressed=pressed)

    # Deployments that are unavailable to some requests only.

    @property
    def has_bars(self) -> bool:
        """Whether any deployment may be unavailable to some requests only."""
        return bool(self._own.by_source or self._narrow)

    def bars(self, source: Source | None, cost: int, now: float) -> Mapping[Member, Bar]:
        """Return the deployments that are unavailable to this source, or to requests of ``cost`` tokens."""
        found: dict[Member, Bar] = {}
        for quota in [*self._narrow]:
            if now >= quota.large_until:
                self._narrow.discard(quota)
            elif cost >= quota.large:
                found |= dict.fromkeys(quota.members, Bar(Status.COOLING, quota.large_until, quota.large_why))
        return found | self._own.bars(source, now)

    def left_out(self, now: float) -> Counter[Member]:
        """Return for how many single sources each deployment is unavailable."""
        return self._own.left_out(now)

    def avoids(self, member: Member, source: Source | None) -> bool:
        """Whether a deployment's breaker is open or half-open, for all sources or for this one."""
        own = self._own.find(source, member)
        return member.breaker.why is not None or (own is not None and own.why is not None)

    # Outcomes of requests.

    def entered(self, member: Member, now: float, cost: int, source: Source | None) -> Trials:
        """Record that a request is being sent; return its trial numbers."""
        if member.breaker.is_stale(now):
            # Otherwise one trial would block all other requests when the tier is needed again after a long time.
            member.breaker.close(now, Event.DISUSE)
        trial = member.breaker.enter(now)
        own = self._own.find(source, member)
        own_trial = own.enter(now) if own is not None else 0
        member.outstanding += 1
        member.tokens += cost
        if trial:
            self._set_alarm(member, now)
        self._place(member, now)
        return trial, own_trial

    def left(self, member: Member, now: float, cost: int, source: Source | None, trials: Trials) -> None:
        """Record that a request has ended, with any outcome."""
        member.outstanding -= 1
        member.tokens -= cost
        member.breaker.leave(trial=trials[0])
        if trials[1] and (own := self._own.find(source, member)) is not None:
            own.leave(trial=trials[1])
        self._place(member, now)

    def answered(
        self,
        member: Member,
        now: float,
        first_token: float | None,
        headers: Headers,
        source: Source | None,
        trials: Trials,
    ) -> None:
        """Record that a request's output has begun."""
        member.answered += 1
        member.quota.served()
        if first_token is not None:
            member.record_first_token(first_token)
        if member.breaker.succeeded(now, trial=trials[0]):
            self._tell(member, Change(Condition.CLOSED, member.deployment.identity, 0.0, "recovered"))
            self._own.forget(member)
            self._place(member, now)
        elif source is not None and self._own.by_source:
            own = self._own.find(source, member)
            if own is not None and own.succeeded(now, trial=trials[1]):
                change = Change(Condition.CLOSED, member.deployment.identity, 0.0, "recovered", source.shown)
                self._tell(member, change)
        if now >= member.pressed_until and is_pressed(headers):
            member.pressed_until = now + PRESSED_SECONDS
            self._set_alarm(member, now)
            self._place(member, now)

    def failed(
        self, member: Member, now: float, verdict: Verdict, cost: int, source: Source | None, trials: Trials
    ) -> None:
        """Record that a request failed. Failures that the deployment did not cause are ignored."""
        if verdict.fault in (Fault.CALLER, Fault.MISPLACED, Fault.UNABLE):
            return
        member.failed += 1
        member.last_error = verdict.why
        if verdict.fault is Fault.BUSY:
            self._refused(member, now, verdict, cost, source, trials)
        else:
            self._blame(member, now, verdict, source, trials)
        self._place(member, now)

    def outrun(self, member: Member, now: float, source: Source | None, trials: Trials) -> None:
        """Record that a trial was slow and was cancelled because another deployment answered first (hedging).

        It counts as failed. Otherwise every next request would try the silent deployment, and pay for a second one.
        """
        if member.breaker.why is not None:
            self._blame(member, now, Verdict(Fault.FAILED, "hedge_lost"), source, trials)
            self._place(member, now)

    def _blame(self, member: Member, now: float, verdict: Verdict, source: Source | None, trials: Trials) -> None:
        """Count a failure at the deployment's breaker and at the source's own."""
        failed, settings = verdict.fault is Fault.FAILED, self._settings
        if failed:
            rest = min(verdict.seconds or 0.0, settings.max_cooldown_seconds) if settings.breaker_failures else 0.0
        elif settings.misconfigured_seconds and member.named:  # a deployment that a client named may not exist
            rest = settings.misconfigured_seconds
        else:
            return

        def count(breaker: Breaker, trial: int, whose: Hashable | None) -> float | None:
            opened = breaker.failed(now, verdict.why, trial=trial, source=whose) if failed else None
            rested = breaker.rest(now, verdict.why, rest, source=whose) if rest else None
            return rested if rested is not None else opened

        whose = source.key if source is not None and not verdict.transport else None
        opened = None
        if source is None or whose is None or not source.counted:
            opened = count(member.breaker, trials[0], whose)
        if opened is not None:
            self._opened(member, now, opened, verdict, member.breaker)
        if source is None or whose is None:
            return
        source.counted = True
        own = self._own.make(source, member, now)
        alone = count(own, trials[1], None)
        if alone is None and opened is None and member.breaker.is_trial(trials[0]):
            alone = own.trip(now, verdict.why, None)  # so that this source does not make the next trial too
        if alone is not None and member.breaker.state(now) is not State.OPEN:
            self._opened(member, now, alone, verdict, own, only=source.shown)

    def _refused(
        self, member: Member, now: float, verdict: Verdict, cost: int, source: Source | None, trials: Trials
    ) -> None:
        """Record that a quota has refused a request. The deployment is healthy but busy."""
        if member.breaker.is_trial(trials[0]):
            member.breaker.close(now, Event.ANSWER)
        own = self._own.find(source, member)
        if own is not None and own.is_trial(trials[1]):
            own.close(now, Event.ANSWER)
        if verdict.room is None or cost <= verdict.room:
            self._cool(member, now, verdict)
        elif self._settings.max_cooldown_seconds:
            quota = member.quota
            seconds = quota.narrow(now, verdict.seconds, verdict.why, cost, self._settings)
            self._narrow.add(quota)
            only = f"requests of {quota.large:,} tokens or more"
            self._tell(member, Change(Condition.COOLING, member.deployment.quota, seconds, verdict.why, only=only))

    def _cool(self, member: Member, now: float, verdict: Verdict) -> None:
        if not self._settings.max_cooldown_seconds:
            return
        quota = member.quota
        seconds = quota.cool(now, verdict.seconds, verdict.why, self._settings)
        self._cooled(quota, now)
        if _is_worth_publishing(quota.published, quota.until, now):
            quota.published = quota.until
            self._tell(member, Change(Condition.COOLING, member.deployment.quota, seconds, verdict.why))

    def _cooled(self, quota: Quota, now: float) -> None:
        for member in quota.members:
            self._set_alarm(member, now)
            self._place(member, now)

    def _opened(
        self, member: Member, now: float, seconds: float, verdict: Verdict, breaker: Breaker, only: str | None = None
    ) -> None:
        self._set_alarm(member, now)
        if _is_worth_publishing(breaker.published, breaker.until, now):
            breaker.published = breaker.until
            self._tell(member, Change(Condition.OPEN, member.deployment.identity, seconds, verdict.why, only))

    def hear(self, change: Change, now: float) -> None:
        """Apply a change from another replica."""
        if change.only is not None:
            return
        if change.condition is Condition.COOLING:
            quota = self.roster.quotas.get(change.subject)
            if quota is not None and self._settings.max_cooldown_seconds:
                quota.cool(now, change.seconds, change.why, self._settings)
                quota.published = quota.until
                self._cooled(quota, now)
            return
        seconds = min(change.seconds, self._longest)
        for member in self.roster.by_identity.get(change.subject, ()):
            breaker = member.breaker
            if change.condition is Condition.CLOSED:
                breaker.close(now, Event.NEWS)
                self._own.forget(member)
            elif self._settings.breaker_failures and now + seconds > breaker.until:
                breaker.trip(now, change.why, seconds)
                breaker.published = breaker.until
                self._set_alarm(member, now)
            self._place(member, now)


def _longest(settings: PoolSettings) -> float:
    """Return the seconds after which a change from another replica is void: as for a change that this one makes."""
    return max(settings.max_breaker_seconds, settings.misconfigured_seconds, settings.max_cooldown_seconds)


def _is_worth_publishing(published: float, until: float, now: float) -> bool:
    """Whether the time ``until`` is much later than the one that was last published."""
    return until - max(published, now) > NEWS * (until - now)

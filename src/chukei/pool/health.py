"""How every deployment is doing: what requests and other replicas say of them, and when those left alone come back.

A deployment is taken from everybody by failures that no request can provoke, and by those which several sources have
met (``breaker``). What one source alone meets takes it from that source (``source_breakers``).
"""

from collections import Counter
from collections.abc import Callable, Hashable, Mapping
from heapq import heappop, heappush
from itertools import count
from math import inf

from chukei.config import PoolSettings
from chukei.model import Change, Condition, Deployment, Headers
from chukei.pool.breaker import Breaker, Event, State
from chukei.pool.member import PRESSED_SECONDS, Bar, Member, Quota, Status
from chukei.pool.signals import is_pressed
from chukei.pool.source import Source
from chukei.pool.source_breakers import SourceBreakers
from chukei.pool.verdicts import Fault, Verdict

NEWS = 0.1
"""A time that grows by less than this share of itself is no news: it is one of many requests that fail together."""

Trials = tuple[int, int]
"""A request's numbers as a trial of its deployment's breaker, and of its source's own; 0 where it is none."""


class Health:
    """Keeps the members, and their places in the tiers, up to date."""

    def __init__(self, settings: PoolSettings, draw: Callable[[], float]) -> None:
        self._settings = settings
        # What another replica says is believed for no longer than what this one would have found out itself.
        self._longest = max(settings.max_breaker_seconds, settings.misconfigured_seconds, settings.max_cooldown_seconds)
        self._draw = draw
        self._quotas: dict[str, Quota] = {}
        self._members: dict[Deployment, Member] = {}
        self._by_identity: dict[str, list[Member]] = {}
        self._wakes: list[tuple[float, int, Member]] = []
        self._turns = count()
        self._own = SourceBreakers(settings, self._longest, draw)
        self._narrow: set[Quota] = set()  # with room for small requests only
        self._listeners: list[Callable[[Deployment, Change], None]] = []
        self.now = 0.0  # the latest time that was told

    def member(self, deployment: Deployment) -> Member:
        """Return what is known of a deployment of the configuration."""
        member = self._members.get(deployment)
        if member is None:
            quota = self._quotas.setdefault(deployment.quota, Quota())
            member = Member(deployment, quota, self._settings, self._draw, named=True)
            self._members[deployment] = member
            self._by_identity.setdefault(deployment.identity, []).append(member)
        return member

    def unconfigured(self, deployment: Deployment) -> Member:
        """Return a member for a deployment that a client named; nothing of it is kept here."""
        return Member(deployment, Quota(), self._settings, self._draw, named=False)

    @property
    def subjects(self) -> list[str]:
        """What changes of other replicas can be about: every quota, and every deployment of the configuration."""
        return [*self._quotas, *(identity for identity in self._by_identity if identity not in self._quotas)]

    def listen(self, listener: Callable[[Deployment, Change], None]) -> None:
        """Have ``listener`` hear what this relay finds out itself, not what it is told with ``hear``."""
        self._listeners.append(listener)

    def _tell(self, member: Member, change: Change) -> None:
        for listener in self._listeners:
            listener(member.deployment, change)

    # Time.

    def wake(self, now: float) -> None:
        """Take back those whose time is over."""
        self.now = now
        while self._wakes and self._wakes[0][0] <= now:
            time, _, member = heappop(self._wakes)
            if time == member.wakes_at:  # else an earlier one came in between
                member.wakes_at = inf
                self._place(member, now)
                self._set_alarm(member, now)

    def _set_alarm(self, member: Member, now: float) -> None:
        """Have a member looked at when its next time is over. One that is set for earlier will set the next."""
        time = member.next_change(now)
        if time < member.wakes_at:
            member.wakes_at = time
            heappush(self._wakes, (time, next(self._turns), member))

    def _place(self, member: Member, now: float) -> None:
        available, pressed = member.available(now), now < member.pressed_until
        for slot in member.slots:
            slot.place(available=available, pressed=pressed)

    # What some requests only are kept from.

    @property
    def has_bars(self) -> bool:
        """Whether any deployment may be left out for some requests only."""
        return bool(self._own.by_source or self._narrow)

    def bars(self, source: Source | None, cost: int, now: float) -> Mapping[Member, Bar]:
        """Return the deployments that are left out for requests of this source, and of so many tokens."""
        found: dict[Member, Bar] = {}
        for quota in [*self._narrow]:
            if now >= quota.large_until:
                self._narrow.discard(quota)
            elif cost >= quota.large:
                found |= dict.fromkeys(quota.members, Bar(Status.COOLING, quota.large_until, quota.large_why))
        return found | self._own.bars(source, now)

    def left_out(self, now: float) -> Counter[Member]:
        """Return for how many sources alone each deployment is left out."""
        return self._own.left_out(now)

    def avoids(self, member: Member, source: Source | None) -> bool:
        """Whether a deployment is open or half-open, for all or for this source."""
        own = self._own.find(source, member)
        return member.breaker.why is not None or (own is not None and own.why is not None)

    # What becomes of a request.

    def entered(self, member: Member, now: float, cost: int, source: Source | None) -> Trials:
        """Note a request that is being sent; return its numbers as a trial."""
        if member.breaker.is_stale(now):
            # One trial would keep all others out of a tier that is needed again after a long time.
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
        """Note that a request has ended, however it did."""
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
        """Note that a request's output has begun."""
        member.answered += 1
        member.quota.served()
        if first_token is not None:
            member.spoke(first_token)
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
        """Note that a request failed; what is not the deployment's affair leaves no trace."""
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
        """Note that a breaker's trial was unusually slow, and was stopped when another deployment spoke.

        So it has failed: else each request in turn would try a deployment that stays silent, at the price of another.
        """
        if member.breaker.why is not None:
            self._blame(member, now, Verdict(Fault.FAILED, "hedge_lost"), source, trials)
            self._place(member, now)

    def _blame(self, member: Member, now: float, verdict: Verdict, source: Source | None, trials: Trials) -> None:
        """Count a failure against the deployment, and for the source that met it."""
        failed, settings = verdict.fault is Fault.FAILED, self._settings
        if failed:
            rest = min(verdict.seconds or 0.0, settings.max_cooldown_seconds) if settings.breaker_failures else 0.0
        elif settings.misconfigured_seconds and member.named:  # what only a client names may well not exist
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
            alone = own.trip(now, verdict.why, None)  # lest it be the next trial as well
        if alone is not None and member.breaker.state(now) is not State.OPEN:
            self._opened(member, now, alone, verdict, own, only=source.shown)

    def _refused(
        self, member: Member, now: float, verdict: Verdict, cost: int, source: Source | None, trials: Trials
    ) -> None:
        """Take note that a quota has refused a request. The deployment is well, only busy."""
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
        if _is_news(quota.told, quota.until, now):
            quota.told = quota.until
            self._tell(member, Change(Condition.COOLING, member.deployment.quota, seconds, verdict.why))

    def _cooled(self, quota: Quota, now: float) -> None:
        for member in quota.members:
            self._set_alarm(member, now)
            self._place(member, now)

    def _opened(
        self, member: Member, now: float, seconds: float, verdict: Verdict, breaker: Breaker, only: str | None = None
    ) -> None:
        self._set_alarm(member, now)
        if _is_news(breaker.told, breaker.until, now):
            breaker.told = breaker.until
            self._tell(member, Change(Condition.OPEN, member.deployment.identity, seconds, verdict.why, only))

    def hear(self, change: Change, now: float) -> None:
        """Take up what another replica found out."""
        if change.only is not None:
            return
        if change.condition is Condition.COOLING:
            quota = self._quotas.get(change.subject)
            if quota is not None and self._settings.max_cooldown_seconds:
                quota.cool(now, change.seconds, change.why, self._settings)
                quota.told = quota.until
                self._cooled(quota, now)
            return
        seconds = min(change.seconds, self._longest)
        for member in self._by_identity.get(change.subject, ()):
            breaker = member.breaker
            if change.condition is Condition.CLOSED:
                breaker.close(now, Event.NEWS)
                self._own.forget(member)
            elif self._settings.breaker_failures and now + seconds > breaker.until:
                breaker.trip(now, change.why, seconds)
                breaker.told = breaker.until
                self._set_alarm(member, now)
            self._place(member, now)


def _is_news(told: float, until: float, now: float) -> bool:
    """Whether a time until which somebody is left alone is much later than the one that was told before."""
    return until - max(told, now) > NEWS * (until - now)

"""How every deployment is doing: what requests and other replicas say of them, and when those left alone come back."""

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from math import inf

from chukei.config import PoolSettings
from chukei.model import Change, Condition, Deployment, Headers
from chukei.pool.member import PRESSED_SECONDS, Member, Quota
from chukei.pool.signals import is_pressed
from chukei.verdicts import Fault, Verdict

NEWS = 0.1
"""A time that grows by less than this share of itself is no news: it is one of many requests that fail together."""


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

    def made_up(self, deployment: Deployment) -> Member:
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

    # What becomes of a request.

    def entered(self, member: Member, now: float, cost: int) -> int:
        """Note a request that is being sent; return its number as a trial of the breaker, or 0."""
        if member.breaker.is_stale(now):
            # One trial would keep all others out of a tier that is needed again after a long time.
            member.breaker.close()
        trial = member.breaker.enter()
        member.outstanding += 1
        member.tokens += cost
        self._place(member, now)
        return trial

    def left(self, member: Member, now: float, cost: int, *, trial: int) -> None:
        """Note that a request has ended, however it did."""
        member.outstanding -= 1
        member.tokens -= cost
        member.breaker.leave(trial=trial)
        self._place(member, now)

    def answered(self, member: Member, now: float, first_token: float | None, headers: Headers, *, trial: int) -> None:
        """Note that a request's output has begun."""
        member.answered += 1
        member.quota.served()
        if first_token is not None:
            member.spoke(first_token)
        if member.breaker.succeeded(trial=trial):
            self._tell(member, Change(Condition.CLOSED, member.deployment.identity, 0.0, "recovered"))
            self._place(member, now)
        if now >= member.pressed_until and is_pressed(headers):
            member.pressed_until = now + PRESSED_SECONDS
            self._set_alarm(member, now)
            self._place(member, now)

    def failed(self, member: Member, now: float, verdict: Verdict, *, trial: int) -> None:
        """Note that a request failed; what is not the deployment's affair leaves no trace."""
        if verdict.fault in (Fault.CALLER, Fault.MISPLACED, Fault.UNABLE):
            return
        member.failed += 1
        member.last_error = verdict.why
        if verdict.fault is Fault.BUSY:
            if member.breaker.is_trial(trial):
                member.breaker.close()  # it is well, only busy
            self._cool(member, now, verdict)
        elif verdict.fault is Fault.FAILED:
            self._count(member, now, verdict, trial=trial)
        elif self._settings.misconfigured_seconds and member.named:  # what only a client names may well not exist
            seconds = member.breaker.trip(now, verdict.why, self._settings.misconfigured_seconds)
            self._opened(member, now, seconds, verdict)
        self._place(member, now)

    def outrun(self, member: Member, now: float) -> None:
        """Note that a breaker's trial was unusually slow, and was stopped when another deployment spoke.

        So it has failed: else each request in turn would try a deployment that stays silent, at the price of another.
        """
        if member.breaker.why is not None:
            verdict = Verdict(Fault.FAILED, "hedge_lost")
            self._opened(member, now, member.breaker.trip(now, verdict.why, None), verdict)
            self._place(member, now)

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

    def _count(self, member: Member, now: float, verdict: Verdict, *, trial: int) -> None:
        breaker, settings = member.breaker, self._settings
        opened = breaker.failed(now, verdict.why, trial=trial)
        asked = min(verdict.seconds or 0.0, settings.max_cooldown_seconds)
        if asked and settings.breaker_failures:
            opened = breaker.trip(now, verdict.why, asked)
        if opened is not None:
            self._opened(member, now, opened, verdict)

    def _opened(self, member: Member, now: float, seconds: float, verdict: Verdict) -> None:
        self._set_alarm(member, now)
        breaker = member.breaker
        if _is_news(breaker.told, breaker.until, now):
            breaker.told = breaker.until
            self._tell(member, Change(Condition.OPEN, member.deployment.identity, seconds, verdict.why))

    def hear(self, change: Change, now: float) -> None:
        """Take up what another replica found out."""
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
                breaker.close()
            elif self._settings.breaker_failures and now + seconds > breaker.until:
                breaker.trip(now, change.why, seconds)
                breaker.told = breaker.until
                self._set_alarm(member, now)
            self._place(member, now)


def _is_news(told: float, until: float, now: float) -> bool:
    """Whether a time until which somebody is left alone is much later than the one that was told before."""
    return until - max(told, now) > NEWS * (until - now)

"""Which model is meant, and which of its deployments takes the request. Pure: state and time in, decision out."""

import re
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count

from chukei.config import PoolSettings
from chukei.errors import CallerError, Unavailable
from chukei.model import Change, Condition, Deployment, Headers, Model
from chukei.pool.balance import Tier
from chukei.pool.busy import busy, home_is_away
from chukei.pool.member import PRESSED_SECONDS, Member, Quota, Status
from chukei.pool.signals import Fault, Verdict, is_pressed

# What Azure allows in a deployment's name, and the dots that some resources have. Dots alone would change a path.
_DEPLOYMENT = re.compile(r"(?!\.+$)[\w.-]{1,128}", re.ASCII)

MOST_OPENED = 256
"""On a resource that serves any name, so many deployments are remembered: clients make the names up."""


NEWS_SECONDS = 0.1
"""A cool-down that grows by less than this is no news."""


class _Served:
    """A model and its deployments by tiers, best first."""

    __slots__ = ("members", "model", "tiers")

    def __init__(self, model: Model, members: Sequence[Member], draw: Callable[[], float]) -> None:
        self.model = model
        self.members = members
        ranked: dict[int, list[Member]] = {}
        for member in members:
            if member.deployment.weight:
                ranked.setdefault(member.deployment.priority, []).append(member)
        self.tiers = [Tier(priority, ranked[priority], draw) for priority in sorted(ranked)]


class Lease:
    """One request's place at one deployment, from the choice to the end of the answer.

    Say what became of it with ``answered`` and ``failed``, and ``release`` it in any case; a second time does nothing.
    """

    __slots__ = ("_cost", "_held", "_pool", "_trial", "member", "model")

    def __init__(self, pool: "Pool", model: Model, member: Member, cost: int, *, trial: bool) -> None:
        self._pool = pool
        self.model = model
        self.member = member
        self._cost = cost
        self._trial = trial
        self._held = True

    @property
    def deployment(self) -> Deployment:
        """What was chosen."""
        return self.member.deployment

    def answered(self, now: float, first_token: float | None, headers: Headers) -> None:
        """Note that output has come, after so many seconds where it streams; and what the headers hint at."""
        self._pool._answered(self.member, now, first_token, headers, trial=self._trial)

    def failed(self, now: float, verdict: Verdict) -> None:
        """Note what the deployment did instead of answering, or after it had begun to."""
        self._pool._failed(self.member, now, verdict, trial=self._trial)

    def release(self, now: float) -> None:
        """Give the place back."""
        if self._held:
            self._held = False
            self._pool._release(self.member, now, self._cost, trial=self._trial)


@dataclass(frozen=True, slots=True)
class DeploymentStatus:
    """What an operator wants to know of one deployment. Times are in seconds."""

    deployment: str
    priority: int
    weight: int
    status: Status
    seconds: float
    why: str | None
    outstanding: int
    outstanding_tokens: int
    answered: int
    failed: int
    last_error: str | None
    first_token_p50: float | None
    first_token_p95: float | None


class Pool:
    """The models and their deployments. ``open`` serves any other name as the name of a deployment.

    ``draw`` returns a number from 0 to 1; with the same numbers and the same events the choices are the same.
    """

    def __init__(
        self,
        models: Mapping[str, Model],
        settings: PoolSettings,
        *,
        default: str | None,
        open: Deployment | None,
        draw: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._default = default
        self._open = open
        self._draw = draw
        self._listeners: list[Callable[[Deployment, Change], None]] = []
        self._seen = 0.0
        self._quotas: dict[str, Quota] = {}
        self._members: dict[Deployment, Member] = {}
        self._by_identity: dict[str, list[Member]] = {}
        self._wakes: list[tuple[float, int, Member]] = []
        self._turns = count()
        self._opened: OrderedDict[str, _Served] = OrderedDict()
        self._models = {
            name: _Served(model, [self._member(deployment) for deployment in model.deployments], draw)
            for name, model in models.items()
        }

    def _member(self, deployment: Deployment) -> Member:
        member = self._members.get(deployment)
        if member is None:
            member = self._new_member(deployment)
            self._members[deployment] = member
            self._by_identity.setdefault(deployment.identity, []).append(member)
        return member

    def _new_member(self, deployment: Deployment) -> Member:
        quota = self._quotas.setdefault(deployment.quota, Quota())
        return Member(deployment, quota, self._settings, self._draw, named=True)

    # Names.

    @property
    def names(self) -> list[str]:
        """The models that clients may ask for, the default first."""
        names = list(self._models)
        if self._default is not None:
            names = [self._default, *(name for name in names if name != self._default)]
        return names

    def model(self, asked: str | None) -> Model:
        """Return the model of a name, or the default where none was asked for.

        Raises:
            CallerError: 400 where a name is needed or impossible, 404 where no such model exists.
        """
        return self._find(asked).model

    def _find(self, asked: str | None) -> _Served:
        name = asked if asked is not None else self._default
        if name is None:
            message = f"'model' is missing and this relay has no default model. {self._known()}"
            raise CallerError(400, "missing_model", message, param="model")
        return self._models.get(name) or self._find_opened(name)

    def _find_opened(self, name: str) -> _Served:
        if self._open is None:
            message = f"There is no model {name[:80]!r} here. {self._known()}"
            raise CallerError(404, "model_not_found", message, param="model")
        if not _DEPLOYMENT.fullmatch(name):
            message = "'model' must be a deployment's name: letters, digits, dots, dashes and underscores."
            raise CallerError(400, "invalid_model", message, param="model")
        served = self._opened.get(name)
        if served is None:
            place = self._open
            deployment = Deployment(place.name, place.endpoint, name, api_version=place.api_version)
            # Not among the quotas: what clients make up must not be kept for ever.
            member = Member(deployment, Quota(), self._settings, self._draw, named=False)
            served = self._opened[name] = _Served(Model(name, (deployment,)), [member], self._draw)
            if len(self._opened) > MOST_OPENED:
                self._opened.popitem(last=False)
        self._opened.move_to_end(name)
        return served

    def _known(self) -> str:
        return f"Known models: {', '.join(self.names)}." if self.names else "Send the name of a deployment."

    # Choosing.

    def choose(
        self, asked: str | None, now: float, *, cost: int = 0, tried: Collection[Member] = (), key: int | None = None
    ) -> Lease:
        """Choose the deployment for a request that may cost so many tokens.

        ``tried`` are those which have failed it already. ``key`` is what it has in common with requests whose prompt
        a deployment may still have in its cache.

        Raises:
            CallerError: see ``model``.
            Unavailable: none can take it: 429 with the shortest wait where one is busy, 503 where all are failing.
        """
        served = self._find(asked)
        self._wake(now)
        for tier in served.tiers:
            if not tier.available:
                continue
            member = None
            if key is not None and len(served.members) > 1:
                member = tier.prefer(key, cost, self._settings.affinity_load, tried)
            member = member or tier.take(tried)
            if member is not None:
                return self._enter(served.model, member, now, cost)
        raise busy(served.model.name, served.members, now)

    def choose_home(self, asked: str | None, identity: str, now: float, *, cost: int = 0) -> Lease | None:
        """Choose the one deployment that can continue what it has begun, whatever its weight; None if it is unknown.

        Raises:
            CallerError: see ``model``.
            Unavailable: it cannot take it now.
        """
        served = self._find(asked)
        self._wake(now)
        for member in served.members:
            if member.deployment.identity == identity:
                if not member.available(now):
                    raise home_is_away(member, now)
                return self._enter(served.model, member, now, cost)
        return None

    def refusal(self, asked: str | None, now: float) -> Unavailable | None:
        """Return what to tell a client if no deployment could take a request now, else None."""
        served = self._find(asked)
        self._wake(now)
        if any(tier.available for tier in served.tiers):
            return None
        return busy(served.model.name, served.members, now)

    def _enter(self, model: Model, member: Member, now: float, cost: int) -> Lease:
        trial = member.breaker.enter()
        member.outstanding += 1
        member.tokens += cost
        self._place(member, now)
        return Lease(self, model, member, cost, trial=trial)

    def _place(self, member: Member, now: float) -> None:
        available, pressed = member.available(now), now < member.pressed_until
        for slot in member.slots:
            slot.place(available=available, pressed=pressed)

    def _wake(self, now: float) -> None:
        """Take back those whose time is over."""
        self._seen = now
        while self._wakes and self._wakes[0][0] <= now:
            self._place(heappop(self._wakes)[2], now)

    def _wake_at(self, member: Member, until: float) -> None:
        heappush(self._wakes, (until, next(self._turns), member))

    # What becomes of a request.

    def _answered(
        self, member: Member, now: float, first_token: float | None, headers: Headers, *, trial: bool
    ) -> None:
        member.answered += 1
        member.quota.served()
        if first_token is not None:
            member.spoke(first_token)
        if member.breaker.succeeded(trial=trial):
            self._tell(member, Change(Condition.CLOSED, member.deployment.identity, 0.0, "recovered"))
        if now >= member.pressed_until and is_pressed(headers):
            member.pressed_until = now + PRESSED_SECONDS
            self._wake_at(member, member.pressed_until)
        self._place(member, now)

    def _failed(self, member: Member, now: float, verdict: Verdict, *, trial: bool) -> None:
        member.failed += 1
        member.last_error = verdict.why
        settings, breaker = self._settings, member.breaker
        if verdict.fault is Fault.BUSY:
            if trial:
                breaker.close()  # it is well, only busy
            if settings.max_cooldown_seconds:
                before = member.quota.until
                seconds = member.quota.cool(now, verdict.seconds, verdict.why, settings)
                self._cooled(member.quota, now)
                if member.quota.until < before + NEWS_SECONDS:
                    return  # one of many that were refused at the same time
                self._tell(member, Change(Condition.COOLING, member.deployment.quota, seconds, verdict.why))
            return
        opened = None
        if verdict.fault is Fault.FAILED:
            opened = breaker.failed(now, verdict.why, trial=trial)
            asked = min(verdict.seconds or 0.0, settings.max_cooldown_seconds)
            if asked and settings.breaker_failures:
                opened = breaker.trip(now, verdict.why, asked)
        elif verdict.fault is Fault.MISCONFIGURED and settings.misconfigured_seconds and member.named:
            opened = breaker.trip(now, verdict.why, settings.misconfigured_seconds)
        if opened is not None:
            self._wake_at(member, breaker.until)
            self._tell(member, Change(Condition.OPEN, member.deployment.identity, opened, verdict.why))
        self._place(member, now)

    def _cooled(self, quota: Quota, now: float) -> None:
        for member in quota.members:
            self._wake_at(member, quota.until)
            self._place(member, now)

    def _release(self, member: Member, now: float, cost: int, *, trial: bool) -> None:
        member.outstanding -= 1
        member.tokens -= cost
        member.breaker.leave(trial=trial)
        self._place(member, now)

    def _tell(self, member: Member, change: Change) -> None:
        for listener in self._listeners:
            listener(member.deployment, change)

    def listen(self, listener: Callable[[Deployment, Change], None]) -> None:
        """Have ``listener`` hear what this relay finds out itself, not what it is told with ``hear``."""
        self._listeners.append(listener)

    def hear(self, change: Change, now: float) -> None:
        """Take up what another replica found out."""
        if change.condition is Condition.COOLING:
            quota = self._quotas.get(change.subject)
            if quota is not None:
                quota.cool(now, change.seconds, change.why, self._settings)
                self._cooled(quota, now)
            return
        for member in self._by_identity.get(change.subject, ()):
            breaker = member.breaker
            if change.condition is Condition.CLOSED:
                breaker.close()
            elif now + change.seconds > breaker.until:
                breaker.trip(now, change.why, change.seconds)
                self._wake_at(member, breaker.until)
            self._place(member, now)

    # What can be seen.

    @property
    def subjects(self) -> list[str]:
        """What changes of other replicas can be about: every quota, and every configured deployment."""
        return [*self._quotas, *(identity for identity in self._by_identity if identity not in self._quotas)]

    def ready(self, now: float) -> bool:
        """Whether any deployment of the default model, or of any model where there is no default, is not failing.

        One that is cooling or full counts: a busy relay answers 429 and says when to come back, which is a service.
        """
        served = self._models.get(self._default or "")
        found = [served] if served is not None else list(self._models.values())
        if not found:
            return self._open is not None
        return any(member.status(now) is not Status.OPEN for each in found for member in each.members)

    def status(self, now: float) -> dict[str, list[DeploymentStatus]]:
        """Return the state of each model's deployments."""
        return {served.model.name: [_status(member, now) for member in served.members] for served in self._all()}

    def _all(self) -> Iterator[_Served]:
        yield from self._models.values()
        yield from self._opened.values()

    def __repr__(self) -> str:
        """Show the deployments as they were when the pool was last asked."""
        now = self._seen
        served = (
            f"{each.model.name}: {', '.join(_shown(member, now) for member in each.members)}"
            for each in self._models.values()
        )
        return f"<Pool [{' | '.join(served)}]{' any' if self._open else ''}>"


def _shown(member: Member, now: float) -> str:
    status = member.status(now)
    words = [member.deployment.name, status.value]
    if status in (Status.OPEN, Status.COOLING):
        words.append(f"{member.wait(now):.1f} s ({member.why(now)})")
    if member.outstanding:
        words.append(f"{member.outstanding} outstanding")
    if (median := member.percentile(0.5)) is not None:
        words.append(f"first token {median * 1000:.0f} ms")
    return " ".join(words)


def _status(member: Member, now: float) -> DeploymentStatus:
    status, deployment = member.status(now), member.deployment
    away = status in (Status.OPEN, Status.COOLING)
    return DeploymentStatus(
        deployment=deployment.name,
        priority=deployment.priority,
        weight=deployment.weight,
        status=status,
        seconds=member.wait(now) if away else 0.0,
        why=member.why(now) if away or status is Status.HALF_OPEN else None,
        outstanding=member.outstanding,
        outstanding_tokens=member.tokens,
        answered=member.answered,
        failed=member.failed,
        last_error=member.last_error,
        first_token_p50=member.percentile(0.50),
        first_token_p95=member.percentile(0.95),
    )

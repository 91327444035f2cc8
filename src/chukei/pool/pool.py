"""Which model is meant, and which of its deployments takes the request. Pure: state and time in, decision out."""

from collections.abc import Callable, Collection, Mapping

from chukei.config import PoolSettings
from chukei.errors import Unavailable
from chukei.model import Change, Deployment, Headers, Model
from chukei.pool.busy import NO_BARS, busy, home_is_away, wait_of
from chukei.pool.health import Health
from chukei.pool.member import Bar, Member, Status
from chukei.pool.models import Models
from chukei.pool.source import Source
from chukei.pool.status import DeploymentStatus, in_words, status_of
from chukei.pool.verdicts import Verdict


class Lease:
    """One request's place at one deployment, from the choice to the end of the answer.

    Say what became of it with ``answered`` and ``failed``, and ``release`` it in any case; a second time does nothing.
    """

    __slots__ = ("_cost", "_health", "_held", "_source", "_trials", "member", "model")

    def __init__(
        self, health: Health, model: Model, member: Member, now: float, cost: int, source: Source | None
    ) -> None:
        self._health = health
        self.model = model
        self.member = member
        self._cost = cost
        self._held = True
        self._source = source
        self._trials = health.entered(member, now, cost, source)

    @property
    def deployment(self) -> Deployment:
        """What was chosen."""
        return self.member.deployment

    @property
    def stranded(self) -> bool:
        """Whether its deployment is left alone by now, for all or for this request's source."""
        return self._health.avoids(self.member, self._source)

    def outrun(self, now: float, seconds: float) -> None:
        """Note that it was stopped after so many seconds of silence, because another deployment spoke first.

        Its first token would have come later still. Where that is later than usual it counts: left out, such times
        would make the deployment look the quicker the more often it is outrun. Stopped earlier, it has shown nothing.
        """
        usual = self.member.percentile(0.95)
        if usual is not None and seconds >= usual:
            self.member.spoke(seconds)
            if self._trials[0]:
                self._health.outrun(self.member, now, self._source, self._trials)

    def answered(self, now: float, first_token: float | None, headers: Headers) -> None:
        """Note that output has come, after so many seconds where it streams; and what the headers hint at."""
        self._health.answered(self.member, now, first_token, headers, self._source, self._trials)

    def failed(self, now: float, verdict: Verdict) -> None:
        """Note what the deployment did instead of answering, or after it had begun to."""
        self._health.failed(self.member, now, verdict, self._cost, self._source, self._trials)

    def release(self, now: float) -> None:
        """Give the place back."""
        if self._held:
            self._held = False
            self._health.left(self.member, now, self._cost, self._source, self._trials)


class Pool:
    """The models and their deployments. ``open`` serves any other name as the name of a deployment.

    ``draw`` returns a number from 0 to 1; with the same numbers and the same events the choices are the same. Times
    are seconds on one clock that never jumps.
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
        self._load = settings.affinity_load
        self._health = health = Health(settings, draw)
        self._models = Models(
            models, default=default, open=open, member=health.member, unconfigured=health.unconfigured, draw=draw
        )

    @property
    def names(self) -> list[str]:
        """The models that clients may ask for, the default first."""
        return self._models.names

    def model(self, asked: str | None, may_see: Callable[[str], bool] = lambda _: True) -> Model:
        """Return the model of a name, or the default where none was asked for, without remembering what is made up.

        ``may_see`` says of which models an error may tell that they exist.

        Raises:
            CallerError: 400 where a name is needed or impossible, 404 where no such model exists.
        """
        return self._models.model(asked, may_see)

    # Choosing.

    def choose(
        self,
        asked: str | None,
        now: float,
        *,
        cost: int = 0,
        tried: Collection[Member] = (),
        key: int | None = None,
        source: Source | None = None,
    ) -> Lease:
        """Choose the deployment for a request that may cost so many tokens.

        ``tried`` are those which have failed it already. ``key`` is what it has in common with requests whose prompt
        a deployment may still have in its cache. ``source`` is who will have provoked it if it fails; without one each
        failure counts by itself.

        Raises:
            CallerError: see ``model``.
            Unavailable: none can take it: 429 with the shortest wait where one is busy, 503 where all are failing.
        """
        served = self._models.find(asked)
        self._health.wake(now)
        bars = NO_BARS
        if self._health.has_bars and (bars := self._health.bars(source, cost, now)):
            tried = [*tried, *bars]
        for tier in served.tiers:
            if not tier.available:
                continue
            member = None
            if key is not None and len(served.members) > 1:
                member = tier.prefer(key, cost, self._load, tried)
            member = member or tier.take(cost, tried)
            if member is not None:
                return Lease(self._health, served.model, member, now, cost, source)
        raise busy(served.model.name, served.members, now, bars)

    def choose_home(
        self, asked: str | None, identity: str, now: float, *, cost: int = 0, source: Source | None = None
    ) -> Lease | None:
        """Choose the one deployment that can continue what it has begun, whatever its weight; None if it is unknown.

        Raises:
            CallerError: see ``model``.
            Unavailable: it cannot take it now.
        """
        served = self._models.find(asked)
        self._health.wake(now)
        bars = self._bars(source, cost, now)
        for member in served.members:
            if member.deployment.identity == identity:
                if member in bars or not member.available(now):
                    raise home_is_away(member, now, bars)
                return Lease(self._health, served.model, member, now, cost, source)
        return None

    def _bars(self, source: Source | None, cost: int, now: float) -> Mapping[Member, Bar]:
        return self._health.bars(source, cost, now) if self._health.has_bars else NO_BARS

    def choose_holder(
        self,
        asked: str | None,
        now: float,
        *,
        cost: int,
        tried: Collection[Member],
        without: Collection[Member],
        source: Source | None = None,
    ) -> Lease | None:
        """Choose one that may have stored what ``without`` have not, whatever its weight; None if all were tried.

        Raises:
            CallerError: see ``model``.
            Unavailable: what is left cannot take it now, and may be what holds it.
        """
        served = self._models.find(asked)
        self._health.wake(now)
        bars = self._bars(source, cost, now)
        left = [member for member in served.members if member not in without]
        for member in left:
            if member not in tried and member not in bars and member.available(now):
                return Lease(self._health, served.model, member, now, cost, source)
        away = [member for member in left if member in bars or not member.available(now)]
        if away:
            raise home_is_away(min(away, key=lambda member: wait_of(member, now, bars)), now, bars)
        return None

    def refusal(
        self, asked: str | None, now: float, *, cost: int = 0, source: Source | None = None
    ) -> Unavailable | None:
        """Return what to tell a client if no deployment could take such a request now, else None."""
        served = self._models.find(asked)
        self._health.wake(now)
        bars = self._bars(source, cost, now)
        able = served.available
        if able and bars:
            able = any(each.deployment.weight and each not in bars and each.available(now) for each in served.members)
        return None if able else busy(served.model.name, served.members, now, bars)

    # What replicas tell each other.

    @property
    def subjects(self) -> list[str]:
        """What changes of other replicas can be about: every quota, and every deployment of the configuration."""
        return self._health.subjects

    def listen(self, listener: Callable[[Deployment, Change], None]) -> None:
        """Have ``listener`` hear what this relay finds out itself, not what it is told with ``hear``."""
        self._health.listen(listener)

    def hear(self, change: Change, now: float) -> None:
        """Take up what another replica found out."""
        self._health.hear(change, now)

    # What can be seen.

    def ready(self, now: float) -> bool:
        """Whether any deployment of the default model, or of any model where there is no default, is not failing.

        One that is cooling or full counts: a busy relay answers 429 and says when to come back, which is a service.
        """
        found = self._models.default
        if not found:
            return self._models.open is not None
        return any(member.status(now) is not Status.OPEN for served in found for member in served.members)

    def status(self, now: float) -> dict[str, list[DeploymentStatus]]:
        """Return the state of each model's deployments."""
        left_out = self._health.left_out(now)
        return {
            served.model.name: [status_of(member, now, left_out[member]) for member in served.members]
            for served in self._models
        }

    def __repr__(self) -> str:
        """Show the deployments as they were when the pool was last asked."""
        now = self._health.now
        left_out = self._health.left_out(now)
        shown = (
            f"{served.model.name}: {', '.join(in_words(member, now, left_out[member]) for member in served.members)}"
            for served in self._models
        )
        return f"<Pool [{' | '.join(shown)}]{' any' if self._models.open else ''}>"

"""Choice of the model and of the deployment for a request. Pure: state and time in, decision out."""

from collections.abc import Callable, Collection, Iterator, Mapping

from chukei.config import PoolSettings
from chukei.errors import Unavailable
from chukei.metrics.snapshot import Reading
from chukei.model import Change, Deployment, Headers, Model
from chukei.pool.busy import NO_BARS, busy, home_is_away, wait_of
from chukei.pool.health import Health
from chukei.pool.member import Bar, Member, Status
from chukei.pool.models import Models, ModelTiers
from chukei.pool.source import Source
from chukei.pool.status import DeploymentStatus, readings_of, status_of, summary
from chukei.pool.verdicts import Verdict


class Lease:
    """One request's use of a deployment, from the choice to the end of the answer.

    Report the outcome with ``answered`` and ``failed``. Call ``release`` in any case; it is idempotent.
    """

    __slots__ = ("_cost", "_health", "_held", "_source", "_trials", "deployment", "member", "model")

    def __init__(
        self, health: Health, served: ModelTiers, member: Member, now: float, cost: int, source: Source | None
    ) -> None:
        self._health = health
        self.model = served.model
        self.member = member
        self.deployment = served.deployments[member]  # a reload may change that of the member
        self._cost = cost
        self._held = True
        self._source = source
        self._trials = health.entered(member, now, cost, source)

    @property
    def stranded(self) -> bool:
        """Whether the deployment has become unavailable meanwhile, for all requests or for this request's source."""
        return self._health.avoids(self.member, self._source)

    def outrun(self, now: float, seconds: float) -> None:
        """Report that the request was cancelled after ``seconds`` of silence: another deployment answered first.

        Its time to first token would have been longer still, so ``seconds`` is recorded if it is longer than usual.
        Without such times the deployment would look faster the more often it loses. A shorter time shows nothing.
        """
        usual = self.member.percentile(0.95)
        if usual is not None and seconds >= usual:
            self.member.record_first_token(seconds)
            if self._trials[0]:
                self._health.outrun(self.member, now, self._source, self._trials)

    def answered(self, now: float, first_token: float | None, headers: Headers) -> None:
        """Report the first output: its time in seconds if the answer is a stream, and the answer's headers."""
        self._health.answered(self.member, now, first_token, headers, self._source, self._trials)

    def failed(self, now: float, verdict: Verdict) -> None:
        """Report a failure of the deployment, before or during its answer."""
        self._health.failed(self.member, now, verdict, self._cost, self._source, self._trials)

    def release(self, now: float) -> None:
        """End the lease. Idempotent."""
        if self._held:
            self._held = False
            self._health.left(self.member, now, self._cost, self._source, self._trials)


class Pool:
    """The models and their deployments. ``open`` is a resource that serves any other name as a deployment's name.

    ``draw`` returns a random number from 0 to 1. With the same numbers and events the choices are the same. Times are
    seconds on one monotonic clock.

    After a reload the pool ``before`` shares the state of its deployments with this one. Requests that began with it
    still choose among its models. Call ``retire`` when the last of them is over.
    """

    def __init__(
        self,
        models: Mapping[str, Model],
        settings: PoolSettings,
        *,
        default: str | None,
        open: Deployment | None,
        draw: Callable[[], float],
        before: "Pool | None" = None,
    ) -> None:
        self._load = settings.affinity_load
        self._health: Health = before._health if before is not None else Health(settings, draw)
        health = self._health
        self._newest: list[Models] = before._newest if before is not None else []
        deployments = [each for model in models.values() for each in model.deployments]
        if before is not None:
            health.configure(settings, deployments)
        self._models: Models = Models(
            models,
            default=default,
            open=open,
            member=health.roster.member,
            unconfigured=health.roster.unconfigured,
            draw=draw,
            before=before._models if before is not None else None,
        )
        self._newest[:] = [self._models]
        if before is not None:
            health.place_all()

    def retire(self) -> None:
        """Drop what only requests of this pool needed. A newer pool has taken its place, and they are over."""
        self._health.roster.drop({tier for served in self._models.named for tier in served.tiers})

    @property
    def names(self) -> list[str]:
        """The names of the configured models, the default first."""
        return self._models.names

    def model(self, asked: str | None, may_see: Callable[[str], bool] = lambda _: True) -> Model:
        """Return the model of a name, or the default if ``asked`` is None. A name for ``open`` is not stored.

        ``may_see`` tells which models an error message may list.

        Raises:
            CallerError: 400 if a name is required or invalid, 404 if no such model exists.
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
        """Choose the deployment for a request whose ``cost`` is estimated in tokens.

        ``tried`` are the deployments that have already failed the request. ``key`` is its affinity key: requests with
        the same key go to the same deployment, which may have their prompt in its cache. ``source`` is the source to
        which a failure is attributed; without one each failure counts by itself.

        Raises:
            CallerError: see ``model``.
            Unavailable: no deployment is available: 429 with the shortest wait if one is busy, 503 if all are failing.
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
                return Lease(self._health, served, member, now, cost, source)
        raise busy(served.model.name, served.members, now, bars)

    def keeps(self, asked: str | None, identity: str) -> bool:
        """Whether a model has a deployment on the resource of the deployment with this identity.

        Raises:
            CallerError: see ``model``.
        """
        return any(each.deployment.keeps(identity) for each in self._models.find(asked).members)

    def choose_home(
        self, asked: str | None, identity: str, now: float, *, cost: int = 0, source: Source | None = None
    ) -> Lease | None:
        """Choose the deployment with this identity, which keeps an object; None if it is unknown.

        If the model does not have it, another one on the same resource, which keeps it too. Its weight does not matter.

        Raises:
            CallerError: see ``model``.
            Unavailable: the deployment cannot take the request now.
        """
        served = self._models.find(asked)
        self._health.wake(now)
        bars = self._bars(source, cost, now)
        homes = [each for each in served.members if each.deployment.identity == identity]
        homes = homes or [each for each in served.members if each.deployment.keeps(identity)]
        if not homes:
            return None
        ready = [each for each in homes if each not in bars and each.available(now)]
        if not ready:
            raise home_is_away(min(homes, key=lambda member: wait_of(member, now, bars)), now, bars)
        member = min(ready, key=lambda member: (member.deployment.priority, member.outstanding))
        return Lease(self._health, served, member, now, cost, source)

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
        """Choose a deployment that may store the state that those in ``without`` do not; None if all were tried.

        Its weight does not matter.

        Raises:
            CallerError: see ``model``.
            Unavailable: the remaining deployments cannot take the request now, and one of them may store the state.
        """
        served = self._models.find(asked)
        self._health.wake(now)
        bars = self._bars(source, cost, now)
        left = [member for member in served.members if member not in without]
        for member in left:
            if member not in tried and member not in bars and member.available(now):
                return Lease(self._health, served, member, now, cost, source)
        away = [member for member in left if member in bars or not member.available(now)]
        if away:
            raise home_is_away(min(away, key=lambda member: wait_of(member, now, bars)), now, bars)
        return None

    def refusal(
        self, asked: str | None, now: float, *, cost: int = 0, source: Source | None = None
    ) -> Unavailable | None:
        """Return the error for the client if no deployment can take the request now, else None."""
        served = self._models.find(asked)
        self._health.wake(now)
        bars = self._bars(source, cost, now)
        able = served.available
        if able and bars:
            able = any(each.deployment.weight and each not in bars and each.available(now) for each in served.members)
        return None if able else busy(served.model.name, served.members, now, bars)

    # Exchange with other replicas.

    @property
    def subjects(self) -> list[str]:
        """The subjects of other replicas' changes: every quota and every configured deployment."""
        return self._health.roster.subjects

    def listen(self, listener: Callable[[Deployment, Change], None]) -> None:
        """Call ``listener`` for each change that this relay detects itself, but not for those passed to ``hear``."""
        self._health.listen(listener)

    def hear(self, change: Change, now: float) -> None:
        """Apply a change that another replica has published."""
        self._health.hear(change, now)

    # Status, also of a retired pool: that of the newest one.

    def ready(self, now: float) -> bool:
        """Whether any deployment of the default model is not failing. Without a default model, any model counts.

        Cooling and full deployments count as ready: a busy relay still serves by answering 429 with a time to retry.
        """
        models = self._newest[0]
        found = models.default
        if not found:
            return models.open is not None
        return any(member.status(now) is not Status.OPEN for served in found for member in served.members)

    def status(self, now: float) -> dict[str, list[DeploymentStatus]]:
        """Return the state of each model's deployments."""
        left_out = self._health.left_out(now)
        return {
            served.model.name: [status_of(member, now, left_out[member]) for member in served.members]
            for served in self._newest[0]
        }

    def readings(self, now: float) -> Iterator[Reading]:
        """Yield the metrics of each model's deployments."""
        for model, found in self.status(now).items():
            for each in found:
                yield from readings_of(model, each)

    def __repr__(self) -> str:
        """Show the deployments' status as of the last call to the pool."""
        now = self._health.now
        left_out = self._health.left_out(now)
        shown = (
            f"{served.model.name}: {', '.join(summary(member, now, left_out[member]) for member in served.members)}"
            for served in self._newest[0]
        )
        return f"<Pool [{' | '.join(shown)}]{' any' if self._newest[0].open else ''}>"

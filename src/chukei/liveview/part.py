"""What one process knows at a moment, and the sum of what several know. Times are ages in seconds."""

from collections.abc import Sequence

from msgspec import Struct, field

from chukei.liveview.histogram import Histogram
from chukei.liveview.shares import Callers, Failure, Measure, Reason, Share
from chukei.pool import DeploymentStatus
from chukei.pool.member import Status

MOST_FAILURES = 20
"""Failed requests that are listed one by one."""

MOST_REFUSALS = 5
"""Refused requests that are listed besides; there may be many more of them, and they would hide failures."""

MOST_REASONS = 64
"""Reasons that are told apart; upstreams can invent error codes."""

OTHER = "other"


class Step(Struct):
    """What happened in one step of time."""

    requests: int = 0
    refused: int = 0
    failed: int = 0
    input: int = 0
    output: float = 0.0
    first: Histogram = field(default_factory=Histogram)

    def merge(self, other: "Step") -> None:
        """Add another process's step."""
        self.requests += other.requests
        self.refused += other.refused
        self.failed += other.failed
        self.input += other.input
        self.output += other.output
        self.first.merge(other.first)


class Waiting(Struct):
    """Requests that a deployment is serving.

    ``waiting`` streams have no output yet, the oldest for ``longest``. ``whole`` answers that are not streamed have not
    ended, the oldest for ``oldest``. A running stream has been silent for ``silent``.
    """

    open: int = 0
    waiting: int = 0
    longest: float = 0.0
    whole: int = 0
    oldest: float = 0.0
    silent: float = 0.0
    output: float = 0.0

    def merge(self, other: "Waiting") -> None:
        """Add another process's requests."""
        self.open += other.open
        self.waiting += other.waiting
        self.longest = max(self.longest, other.longest)
        self.whole += other.whole
        self.oldest = max(self.oldest, other.oldest)
        self.silent = max(self.silent, other.silent)
        self.output += other.output


class Running(Struct):
    """The requests that are running. ``unplaced`` have not reached a deployment; ``slow`` wait for their clients."""

    requests: int = 0
    streams: int = 0
    unplaced: int = 0
    slow: int = 0
    deployments: dict[str, Waiting] = field(default_factory=dict)


_WORST = (Status.OPEN, Status.COOLING, Status.FULL, Status.HALF_OPEN, Status.DRAINED, Status.READY)


class PoolMember(Struct):
    """A deployment as the processes' pools see it. ``away`` of ``pools`` do not send requests to it."""

    models: list[str]
    status: Status
    seconds: float
    why: str | None
    outstanding: int
    weight: int
    priority: int
    pools: int = 1
    away: int = 0

    @classmethod
    def of(cls, model: str, found: DeploymentStatus) -> "PoolMember":
        """Return a deployment of this process's pool."""
        away = int(found.status not in (Status.READY, Status.DRAINED))
        return cls(
            [model], found.status, found.seconds, found.why, found.outstanding, found.weight, found.priority, 1, away
        )

    def merge(self, other: "PoolMember") -> None:
        """Add another pool's view; the worse status is shown."""
        self.outstanding += other.outstanding
        self.pools += other.pools
        self.away += other.away
        if _WORST.index(other.status) < _WORST.index(self.status):
            self.status, self.seconds, self.why = other.status, other.seconds, other.why


class Part(Struct, kw_only=True):
    """What one process knows, or all.

    ``seconds`` and ``tens`` are steps of one and ten seconds, the running one last. ``total``, ``deployments``,
    ``callers`` and ``reasons`` are about the last minute, ``usual`` about the time before. ``lag`` is the second
    longest delay of the event loop in the last seconds. Keys of ``reasons``
    are an outcome, an error code and a rule, in lines.
    """

    workers: int = 1
    covered: float = 0.0
    up: float = 0.0
    lag: float = 0.0
    connections: int = 0
    draining: bool = False
    seconds: list[Step]
    tens: list[Step]
    total: Share
    left: int = 0
    deployments: dict[str, Share]
    usual: dict[str, dict[str, Histogram]]
    callers: Callers
    reasons: dict[str, Reason]
    failures: list[Failure]
    refusals: list[Failure]
    running: Running
    pool: dict[str, PoolMember]


def merged(parts: Sequence[Part]) -> Part:
    """Add the parts of several processes, which may be changed.

    Raises:
        ValueError: there is no part.
    """
    if not parts:
        raise ValueError("no process has answered")
    first, *others = parts
    for part in others:
        _add(first, part)
    first.failures = sorted(first.failures, key=lambda failure: failure.at)[:MOST_FAILURES]
    first.refusals = sorted(first.refusals, key=lambda failure: failure.at)[:MOST_REFUSALS]
    return first


def _add(into: Part, part: Part) -> None:
    into.workers += part.workers
    into.connections += part.connections
    into.left += part.left
    into.covered = max(into.covered, part.covered)
    into.up = max(into.up, part.up)
    into.lag = max(into.lag, part.lag)
    into.draining = into.draining and part.draining
    for steps, more in ((into.seconds, part.seconds), (into.tens, part.tens)):
        for step, other in zip(steps, more, strict=True):
            step.merge(other)
    into.total.merge(part.total)
    for name, share in part.deployments.items():
        into.deployments.setdefault(name, Share()).merge(share)
    for name, times in part.usual.items():
        known = into.usual.setdefault(name, {})
        for measure, histogram in times.items():
            known.setdefault(measure, Histogram()).merge(histogram)
    into.callers.merge(part.callers)
    for key, reason in part.reasons.items():
        if key in into.reasons:
            into.reasons[key].merge(reason)
        else:
            into.reasons[key] = reason
    into.failures += part.failures
    into.refusals += part.refusals
    _add_running(into.running, part.running)
    for name, member in part.pool.items():
        if name in into.pool:
            into.pool[name].merge(member)
        else:
            into.pool[name] = member


def _add_running(into: Running, running: Running) -> None:
    into.requests += running.requests
    into.streams += running.streams
    into.unplaced += running.unplaced
    into.slow += running.slow
    for name, waiting in running.deployments.items():
        into.deployments.setdefault(name, Waiting()).merge(waiting)


USUAL = (Measure.FIRST_TOKEN.value, Measure.ANSWER.value, Measure.GAP.value)
"""The measures of a deployment whose usual values are learnt."""

"""Simulation of replicas in front of Azure, in virtual time. docs/replicas.md gives the assumptions.

Each replica is a real ``chukei.pool.Pool``, which gets the time as an argument. Azure, the network and the clients are
simulated.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from itertools import count
from random import Random

from chukei.config import PoolSettings
from chukei.errors import Unavailable
from chukei.model import Change, Condition, Deployment, Model
from chukei.pool import Fault, Lease, Pool, Verdict
from chukei.upstream.budget import Budget
from chukei.upstream.failover import RETRY_RESERVE

REPLICAS = 50
DEPLOYMENTS = 10
REQUESTS = 1000.0
"""Requests per second of all clients together."""

HEARD_SECONDS = 0.005
"""Seconds from the change in one replica until all others know it."""

REFUSED_SECONDS = 0.03
FAILED_SECONDS = 0.1
FIRST_SECONDS = 0.4
WHOLE_SECONDS = 3.0
"""Seconds until a 429, a 500, a first token and a whole answer."""

WARM_SECONDS = 10.0
COOL_SECONDS = 2.0
"""Seconds that the figures exclude: at first everything is empty, and the last requests are not answered in time."""

BUSY, FAILED = "upstream_429", "upstream_500"


@dataclass(frozen=True, slots=True)
class Case:
    """The parameters of a simulation; times in seconds.

    ``load`` is demand divided by capacity. ``window`` is the period of a limit; with ``leaky`` the limit is a leaky
    bucket instead. ``first`` is the share of the capacity of two deployments in a first tier; without it all
    deployments are equal. ``large`` is the share of requests that are ``LARGE`` times as large. ``outage`` is the begin
    and end of the time in which the first deployment answers 500. ``spread`` tests another policy: a replica that is
    told of a cool-down extends it at random, by up to this share.
    """

    name: str
    load: float
    seconds: float = 40.0
    window: float = 1.0
    first: float = 0.0
    large: float = 0.0
    leaky: bool = False
    spread: float = 0.0
    outage: tuple[float, float] | None = None


LARGE = 40.0


class Limit:
    """Azure's limit of one deployment: an amount for each period. More is refused until the next period.

    A leaky one is a bucket of the size of a period's amount that empties at the rate of the limit.
    """

    def __init__(self, case: Case, rate: float, phase: float, outage: tuple[float, float] | None) -> None:
        self._rate = rate
        self._most = rate * case.window
        self._window = case.window
        self._leaky = case.leaky
        self._phase = phase
        self._outage = outage
        self._looked = 0.0
        self._used = 0.0

    def _look(self, now: float) -> None:
        """Remove amounts of past periods, or what has leaked."""
        if self._leaky:
            self._used = max(self._used - self._rate * (now - self._looked), 0.0)
        elif int((now + self._phase) / self._window) != int((self._looked + self._phase) / self._window):
            self._used = 0.0
        self._looked = now

    def takes(self, now: float, size: float) -> bool:
        """Whether a request of this size would be answered now."""
        self._look(now)
        return self._used + size <= self._most and not self.down(now)

    def admit(self, now: float, size: float) -> float | None:
        """Admit a request, or return the seconds until it is worth asking again, as retry-after-ms would."""
        self._look(now)
        if self._used + size <= self._most:
            self._used += size
            return None
        if self._leaky:
            return (self._used + size - self._most) / self._rate
        return self._window - (now + self._phase) % self._window

    def down(self, now: float) -> bool:
        """Whether the deployment fails now."""
        return self._outage is not None and self._outage[0] <= now < self._outage[1]


@dataclass(slots=True)
class Figures:
    """What happened after the warm-up. ``met`` counts client requests by how many 429s they met."""

    requests: int = 0
    answered: int = 0
    wrongly: int = 0  # refused by the relay although a deployment would have answered
    rightly: int = 0  # refused by the relay while all were full
    errors: int = 0  # a 500 that reached the client
    refused: int = 0  # by Azure
    wasted: int = 0  # requests that met the outage
    met: Counter[int] = field(default_factory=Counter)
    wasted_per_second: Counter[int] = field(default_factory=Counter)
    waits: list[float] = field(default_factory=list)  # lost to 429s and failures, of those who were answered
    knew: dict[int, float] = field(default_factory=dict)  # replica: when it first left the failed deployment alone
    back: dict[int, float] = field(default_factory=dict)  # replica: when it first was answered by it again


@dataclass(slots=True)
class _Request:
    replica: int
    size: float
    start: float
    counted: bool
    tried: list[Lease] = field(default_factory=list)
    met: int = 0
    failed: int = 0


class Simulation:
    """One case, with or without sharing."""

    def __init__(self, case: Case, *, shared: bool, seed: int = 1, replicas: int = REPLICAS) -> None:
        self._case = case
        self._shared = shared
        self._draw = Random(f"{case.name} {seed}")
        self._settings = PoolSettings()
        self._queue: list[tuple[float, int, Callable[..., None], tuple[object, ...]]] = []
        self._turns = count()
        self.now = 0.0
        self.figures = Figures()
        mean = 1 + case.large * (LARGE - 1)
        capacity = REQUESTS / case.load * mean
        shares = [1 / DEPLOYMENTS] * DEPLOYMENTS
        if case.first:
            shares = [case.first / 2] * 2 + [(1 - case.first) / (DEPLOYMENTS - 2)] * (DEPLOYMENTS - 2)
        deployments = [
            Deployment(f"d{n}", f"https://r{n}.example", "gpt", priority=1 if n < 2 or not case.first else 2)
            for n in range(DEPLOYMENTS)
        ]
        self._limits = {
            deployment.name: Limit(
                case,
                share * capacity,
                self._draw.random() * case.window,
                case.outage if deployment.name == "d0" else None,
            )
            for deployment, share in zip(deployments, shares, strict=True)
        }
        self._model = Model("gpt", tuple(deployments))
        self._replicas = [self._pool(number) for number in range(replicas)]
        share = self._settings.retry_share
        self._budgets = [
            Budget(share, reserve=RETRY_RESERVE, per_second=1.0, saved=RETRY_RESERVE) for _ in range(replicas)
        ]

    def _pool(self, number: int) -> Pool:
        draw = Random(f"{self._case.name} replica {number}").random
        pool = Pool({"gpt": self._model}, self._settings, default="gpt", open=None, draw=draw)
        pool.listen(lambda deployment, change: self._found(number, deployment, change))
        return pool

    # Time.

    def _at(self, moment: float, what: Callable[..., None], *arguments: object) -> None:
        heappush(self._queue, (moment, next(self._turns), what, arguments))

    def run(self) -> Figures:
        """Run to the end."""
        self._at(0.0, self._arrive)
        while self._queue and self._queue[0][0] < self._case.seconds:
            self.now, _, what, arguments = heappop(self._queue)
            what(*arguments)
        return self.figures

    # Clients.

    def _arrive(self) -> None:
        self._at(self.now + self._draw.expovariate(REQUESTS), self._arrive)
        large = self._draw.random() < self._case.large
        replica = self._draw.randrange(len(self._replicas))
        counted = WARM_SECONDS <= self.now < self._case.seconds - COOL_SECONDS
        request = _Request(replica, LARGE if large else 1.0, self.now, counted)
        self.figures.requests += request.counted
        self._budgets[replica].earn()
        self._ask(request)

    def _ask(self, request: _Request) -> None:
        tried = [lease.member for lease in request.tried]
        try:
            lease = self._replicas[request.replica].choose(None, self.now, cost=int(request.size), tried=tried)
        except Unavailable:
            free = any(limit.takes(self.now, request.size) for limit in self._limits.values())
            self._end(request, "wrongly" if free else "rightly")
            return
        request.tried.append(lease)
        limit = self._limits[lease.deployment.name]
        if limit.down(self.now):
            self._at(self.now + FAILED_SECONDS, self._failed, request, lease)
            return
        wait = limit.admit(self.now, request.size)
        if wait is not None:
            self._at(self.now + REFUSED_SECONDS, self._refused, request, lease, wait)
            return
        self._at(self.now + FIRST_SECONDS, self._spoke, request, lease, self.now)
        self._at(self.now + WHOLE_SECONDS, self._over, lease)

    def _end(self, request: _Request, how: str) -> None:
        if request.counted:
            setattr(self.figures, how, getattr(self.figures, how) + 1)
            self.figures.met[request.met] += 1

    # What deployments do.

    def _refused(self, request: _Request, lease: Lease, wait: float) -> None:
        request.met += 1
        self.figures.refused += request.counted
        lease.failed(self.now, Verdict(Fault.BUSY, BUSY, max(wait - REFUSED_SECONDS / 2, 0.1)))
        lease.release(self.now)
        self._ask(request)

    def _failed(self, request: _Request, lease: Lease) -> None:
        request.failed += 1
        self.figures.wasted += 1
        self.figures.wasted_per_second[int(self.now)] += 1
        lease.failed(self.now, Verdict(Fault.FAILED, FAILED))
        lease.release(self.now)
        if request.failed >= self._settings.attempts or not self._budgets[request.replica].spend(self.now):
            self._end(request, "errors")
            return
        self._ask(request)

    def _spoke(self, request: _Request, lease: Lease, sent: float) -> None:
        lease.answered(self.now, self.now - sent, [])
        self._end(request, "answered")
        if request.counted:
            self.figures.waits.append(sent - request.start)
        outage = self._case.outage
        if outage is not None and sent >= outage[1] and lease.deployment.name == "d0":
            self.figures.back.setdefault(request.replica, sent)

    def _over(self, lease: Lease) -> None:
        lease.release(self.now)

    # What replicas tell each other.

    def _found(self, number: int, deployment: Deployment, change: Change) -> None:
        self._know(number, change)
        if self._shared:
            self._at(self.now + HEARD_SECONDS, self._heard, number, change)

    def _heard(self, teller: int, change: Change) -> None:
        for number, pool in enumerate(self._replicas):
            if number != teller:
                pool.hear(self._spread(change), self.now)
                self._know(number, change)

    def _spread(self, change: Change) -> Change:
        if not self._case.spread or change.condition is not Condition.COOLING:
            return change
        return replace(change, seconds=change.seconds * (1 + self._case.spread * self._draw.random()))

    def _know(self, number: int, change: Change) -> None:
        if change.condition is Condition.OPEN:
            self.figures.knew.setdefault(number, self.now)

"""What the pool's tests share: deployments, pools, and what can become of a request."""

import random
from collections.abc import Sequence
from dataclasses import replace

from chukei.config import PoolSettings
from chukei.errors import Unavailable
from chukei.model import Change, Deployment, Headers, Model
from chukei.pool import Fault, Lease, Pool, Verdict

NO_HEADERS: Headers = []
NOW = 1000.0

FAILED = Verdict(Fault.FAILED, "upstream_lost")
MISCONFIGURED = Verdict(Fault.MISCONFIGURED, "upstream_unauthorized")


def busy(seconds: float | None) -> Verdict:
    return Verdict(Fault.BUSY, "rate_limit_exceeded", seconds)


def deployment(name: str, **changes: object) -> Deployment:
    plain = Deployment(name, f"https://{name}.example", "gpt-4o")
    return replace(plain, **changes)  # type: ignore[arg-type]


def weighted(*weights: int) -> list[Deployment]:
    return [deployment(f"d{number}", weight=weight) for number, weight in enumerate(weights)]


def pool_of(deployments: Sequence[Deployment], settings: PoolSettings | None = None, *, seed: int = 7) -> Pool:
    """Return a pool with one model, ``chat``."""
    models = {"chat": Model("chat", tuple(deployments))}
    return Pool(models, settings or PoolSettings(), default="chat", open=None, draw=random.Random(seed).random)


def one(settings: PoolSettings | None = None) -> Pool:
    """Return a pool with a single deployment, ``east``."""
    return pool_of([deployment("east")], settings)


def told(pool: Pool) -> list[Change]:
    """Return the list to which what a pool tells of is added."""
    found: list[Change] = []
    pool.listen(lambda _, change: found.append(change))
    return found


def begin(pool: Pool, now: float = NOW, *, cost: int = 100, key: int | None = None) -> Lease:
    return pool.choose(None, now, cost=cost, key=key)


def serve(pool: Pool, now: float = NOW) -> str:
    """Have one request answered; return by whom."""
    lease = begin(pool, now)
    lease.answered(now, 0.3, NO_HEADERS)
    lease.release(now)
    return lease.deployment.name


def fail(pool: Pool, verdict: Verdict, now: float = NOW) -> str:
    """Have one request fail; return at whom."""
    lease = begin(pool, now)
    lease.failed(now, verdict)
    lease.release(now)
    return lease.deployment.name


def refused(pool: Pool, now: float) -> Unavailable | None:
    """Return how the pool would refuse a request; it must neither begin nor end anything."""
    return pool.refusal(None, now)


def wait_of(error: Unavailable) -> float:
    return int(dict(error.headers)[b"retry-after-ms"]) / 1000

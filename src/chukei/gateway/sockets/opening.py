"""The first deployment that opens a realtime session, or prepares one: failures before that lead to the next one."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from chukei.errors import RelayError, Unavailable, UpstreamError
from chukei.gateway.exchange import Exchange
from chukei.model import Model
from chukei.pool import Lease, judge
from chukei.record import Attempt
from chukei.upstream.attempt import CANCELLED
from chukei.upstream.failover import Failover

T = TypeVar("T")


async def first_to_open(
    failover: Failover,
    exchange: Exchange,
    model: Model,
    ask: Callable[[Lease, Attempt], Awaitable[T]],
    home: str | None = None,
) -> tuple[Lease, T]:
    """Ask one deployment after another; return what the first one gave, and its lease, which the caller releases.

    ``home`` is the identity of the only deployment to ask, if a key or a call belongs to it.

    Raises:
        RelayError: no deployment is available, or those that were asked have failed.
    """
    leases: list[Lease] = []
    failed: UpstreamError | None = None
    while True:
        lease = _next(failover, model, leases, failed, home)
        leases.append(lease)
        try:
            return lease, await _ask(failover, exchange, lease, ask)
        except UpstreamError as error:
            failed = error
            if not judge(error).moves:
                raise


async def _ask(
    failover: Failover, exchange: Exchange, lease: Lease, ask: Callable[[Lease, Attempt], Awaitable[T]]
) -> T:
    """Ask one deployment. On failure the lease is released."""
    clock, record = failover.clock, exchange.record
    attempt = Attempt(lease.deployment.name, started=exchange.elapsed)
    record.tries.append(attempt)
    try:
        given = await ask(lease, attempt)
    except BaseException as error:
        attempt.code = error.code if isinstance(error, RelayError) else CANCELLED
        if isinstance(error, UpstreamError):
            lease.failed(clock(), judge(error))
        lease.release(clock())
        raise
    finally:
        attempt.seconds = exchange.elapsed - attempt.started
    lease.answered(clock(), None, [])
    record.answering, record.deployment = attempt, attempt.deployment
    return given


def _next(
    failover: Failover, model: Model, leases: Sequence[Lease], failed: UpstreamError | None, home: str | None
) -> Lease:
    """Choose a deployment that was not asked yet.

    Raises:
        RelayError: there is none; ``failed`` is the last failure.
    """
    pool, now = failover.pool, failover.clock()
    if failed is not None and (home is not None or len(leases) >= failover.settings.pool.attempts):
        raise failed
    try:
        if home is None:
            return pool.choose(model.name, now, tried=[each.member for each in leases])
        lease = pool.choose_home(model.name, home, now)
    except Unavailable:
        if failed is not None:
            raise failed from None
        raise
    if lease is None:
        raise _gone()
    return lease


def _gone() -> RelayError:
    return Unavailable(
        "no_deployment_available", "The deployment that this session belongs to is not configured any more."
    )

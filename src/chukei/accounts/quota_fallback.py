"""Quotas while the shared store is unavailable: refuse, or count in each replica by itself.

If each of N replicas counts by itself, a limit is divided by N, so that together they do not exceed it. A limit below N
becomes 1 in each replica. The local store does not count the requests that began in the shared store, and the shared
store does not count those that began in the local one. So a limit of concurrent requests may be exceeded by the
requests that still run in the other store.
"""

import logging
import math
from collections.abc import Awaitable, Sequence
from dataclasses import replace
from enum import StrEnum

from chukei.accounts.limits import RATES, SETTLED, Amounts, Grant, Headroom, Limit, Limits, Refusal, Subject
from chukei.accounts.quota import MINUTE_SECONDS
from chukei.accounts.stores import QuotaStore, StoreAway

logger = logging.getLogger(__name__)


class Away(StrEnum):
    """Modes for the time without the shared store."""

    BY_KIND = "by_kind"  # refuse callers with a limit by day, month or money; count rates locally
    OPEN = "open"  # count all limits locally; quotas start at zero
    CLOSED = "closed"  # refuse callers with any limit


_MEANWHILE = {
    Away.BY_KIND: "callers with limits by day, month or money are refused; this process counts the others alone, "
    "each divided by {replicas}",
    Away.OPEN: "this process counts all limits alone, each divided by {replicas}, "
    "and those by day, month or money from nothing",
    Away.CLOSED: "callers with a limit are refused",
}


class QuotaFallback:
    """See the QuotaStore port. It uses ``shared`` while it answers, else ``local`` according to ``away``.

    ``replicas`` is the number of processes by which a limit is divided.
    """

    def __init__(self, shared: QuotaStore, local: QuotaStore, *, away: Away = Away.BY_KIND, replicas: int = 1) -> None:
        self._shared = shared
        self._local = local
        self._away = away
        self._replicas = max(1, replicas)
        self._alone = False

    async def reserve(self, id: str, subjects: Sequence[Subject], estimate: Amounts) -> Grant | Refusal:
        """See the QuotaStore port.

        Raises:
            StoreAway: the shared store is unavailable, and these subjects are refused meanwhile.
        """
        try:
            answer = await self._shared.reserve(id, subjects, estimate)
        except StoreAway:
            self._begin()
            if self._refused(subjects):
                raise
            answer = await self._local.reserve(id, self._shares(subjects), estimate)
            return self._in_time(answer, subjects) if isinstance(answer, Refusal) else answer
        self._end()
        return answer

    def release(self, id: str) -> None:
        """See the QuotaStore port."""
        self._local.release(id)
        self._shared.release(id)

    def settle(self, id: str, actual: Amounts, subjects: Sequence[Subject] = ()) -> Awaitable[None]:
        """See the QuotaStore port. Both stores are called; the one without this reservation does nothing."""
        local, shared = self._local.settle(id, actual), self._shared.settle(id, actual, subjects)
        return shared if local is SETTLED else local if shared is SETTLED else _both(local, shared)

    async def headroom(self, subjects: Sequence[Subject]) -> tuple[Headroom, ...]:
        """See the QuotaStore port. While the shared store is unavailable, it returns the local headroom."""
        try:
            left = await self._shared.headroom(subjects)
        except StoreAway:
            self._begin()
            if self._refused(subjects):
                raise
            return await self._local.headroom(self._shares(subjects))
        self._end()
        return left

    def start(self) -> None:
        """See the QuotaStore port."""
        self._local.start()
        self._shared.start()

    async def close(self) -> None:
        """See the QuotaStore port."""
        await self._shared.close()
        await self._local.close()

    def _begin(self) -> None:
        if not self._alone:
            meanwhile = _MEANWHILE[self._away].format(replicas=self._replicas)
            logger.warning("quotas are not shared at the moment: %s", meanwhile)
        self._alone = True

    def _end(self) -> None:
        if self._alone:
            logger.info("quotas are shared again")
        self._alone = False

    def _refused(self, subjects: Sequence[Subject]) -> bool:
        if self._away is Away.BY_KIND:
            return any(_has_quota(subject.limits) for subject in subjects)
        return self._away is Away.CLOSED

    def _shares(self, subjects: Sequence[Subject]) -> list[Subject]:
        return [Subject(subject.name, _divided(subject.limits, self._replicas)) for subject in subjects]

    def _in_time(self, refusal: Refusal, subjects: Sequence[Subject]) -> Refusal:
        """Limit the wait of a final refusal: the shared store may grant what exceeds the limit of one replica."""
        whole = next(getattr(each.limits, refusal.limit.value) for each in subjects if each.name == refusal.subject)
        if math.isinf(refusal.seconds) and refusal.asked <= whole:
            return replace(refusal, seconds=MINUTE_SECONDS)
        return refusal


async def _both(one: Awaitable[None], other: Awaitable[None]) -> None:
    await one
    await other


def _has_quota(limits: Limits) -> bool:
    return any(getattr(limits, kind.value) is not None for kind in Limit if kind not in RATES)


def _divided(limits: Limits, by: int) -> Limits:
    parts = {}
    for kind in Limit:
        most = getattr(limits, kind.value)
        if most is not None:
            parts[kind.value] = max(1, most // by) if most > 0 else most
    return Limits(**parts)

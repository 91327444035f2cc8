"""Quotas in this process's memory: for one replica, or for each replica while the shared store is unavailable."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Sequence
from typing import NamedTuple

from chukei.accounts.limits import SETTLED, Amounts, Grant, Headroom, Refusal, Subject
from chukei.accounts.quota import (
    CONCURRENT,
    KEPT_SECONDS,
    RENEW_SECONDS,
    REQUESTS,
    Account,
    Now,
    Wanted,
    asks_of,
    headroom_of,
    refusal_of,
    slots_at,
    wanted,
)
from chukei.ports import Clock

SWEPT, SWEPT_AT_LEISURE = 2, 1000
"""Accounts that are checked for removal when one is added, and at each renewal of leases."""

READY = 4096
"""Callers whose limits are cached at most."""

_NEW = Account()  # stands for an account without charges


class _Held(NamedTuple):
    """A reservation: the amounts, and the slots and limits to which they were charged."""

    now: Now
    slots: tuple[int, ...]
    asks: tuple[int, ...]
    limits: list[Wanted]


class MemoryQuota:
    """See the QuotaStore port. Its state is lost with the process.

    An account is removed when none of its charges count any more. So there are as many accounts as subjects that were
    active within a minute, or within the day or the month if they have such a limit.

    ``clock`` is used for rates and leases; ``wall``, in Unix time, for calendar periods.
    """

    def __init__(
        self,
        *,
        clock: Clock = time.monotonic,
        wall: Clock = time.time,  # noqa: TID251 - days and months are the calendar's
    ) -> None:
        self._clock = clock
        self._wall = wall
        self._accounts: OrderedDict[str, Account] = OrderedDict()
        self._held: OrderedDict[str, _Held] = OrderedDict()
        self._ready: dict[int, tuple[tuple[Subject, ...], list[Wanted]]] = {}
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<MemoryQuota {len(self._accounts)} accounts, {len(self._held)} reservations>"

    async def reserve(self, id: str, subjects: Sequence[Subject], estimate: Amounts) -> Grant | Refusal:
        """See the QuotaStore port.

        Raises:
            ValueError: a reservation with this id exists.
        """
        if id in self._held:
            raise ValueError("an id is reserved twice")
        now = self._now()
        slots, asks = slots_at(now), asks_of(estimate)
        limits, accounts = self._wanted(subjects), self._accounts
        before = []
        for limit in limits:
            name, kind, most = limit
            account = accounts.get(name, _NEW)
            used = account.used(kind, now, slots)
            missing = asks[kind] - (most - used)
            if missing > 0:
                return refusal_of(limit, used, asks[kind], account.leaving(kind, missing), now)
            before.append(used)
        left = []
        for limit, used in zip(limits, before, strict=True):
            name, kind, _ = limit
            account = accounts.get(name) or self._new_account(name, now)
            account.charge(id, kind, asks[kind], now, slots)
            left.append(headroom_of(limit, used + asks[kind], account.newest(kind), now))
        self._held[id] = _Held(now, slots, asks, limits)
        return Grant(id, tuple(left))

    def release(self, id: str) -> None:
        """See the QuotaStore port."""
        held = self._held.get(id)
        if held is None:
            return
        for name, kind, _ in held.limits:
            account = self._accounts.get(name)
            if kind == CONCURRENT and account is not None:
                account.release(id)
        self._held[id] = held._replace(limits=[limit for limit in held.limits if limit.kind != CONCURRENT])

    def settle(self, id: str, actual: Amounts, subjects: Sequence[Subject] = ()) -> Awaitable[None]:
        """See the QuotaStore port."""
        held = self._held.pop(id, None)
        if held is None:
            return SETTLED
        used = asks_of(actual)
        for name, kind, _ in held.limits:
            account = self._accounts.get(name)
            if account is None:
                continue
            if kind == CONCURRENT:
                account.release(id)
            elif kind != REQUESTS and used[kind] != held.asks[kind]:
                account.correct(kind, held.slots[kind], used[kind] - held.asks[kind])
        return SETTLED

    async def headroom(self, subjects: Sequence[Subject]) -> tuple[Headroom, ...]:
        """See the QuotaStore port. Never raises."""
        now = self._now()
        slots = slots_at(now)
        return tuple([self._headroom(limit, now, slots) for limit in self._wanted(subjects)])

    def start(self) -> None:
        """See the QuotaStore port."""
        if self._task is None:
            self._task = asyncio.create_task(self._keep_renewing())

    async def close(self) -> None:
        """See the QuotaStore port."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})

    def renew(self) -> None:
        """Renew the leases of all unsettled reservations."""
        now = self._now()
        while self._held:
            oldest = next(iter(self._held))
            if now.steady - self._held[oldest].now.steady < KEPT_SECONDS * 1000:
                break
            del self._held[oldest]
        for id, held in self._held.items():
            for name, kind, _ in held.limits:
                if kind == CONCURRENT:
                    (self._accounts.get(name) or self._new_account(name, now)).lease(id, now.steady)
        self._sweep(SWEPT_AT_LEISURE, now)

    async def _keep_renewing(self) -> None:
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            self.renew()

    def _now(self) -> Now:
        return Now(round(self._clock() * 1000), round(self._wall() * 1000))

    def _wanted(self, subjects: Sequence[Subject]) -> list[Wanted]:
        """Return the limits of subjects, cached by identity: a caller's policy always has the same tuple."""
        known = self._ready.get(id(subjects))
        if known is not None and known[0] is subjects:
            return known[1]
        limits = wanted(subjects)
        if isinstance(subjects, tuple):
            if len(self._ready) >= READY:
                self._ready.clear()
            self._ready[id(subjects)] = subjects, limits
        return limits

    def _new_account(self, name: str, now: Now) -> Account:
        self._sweep(SWEPT, now)
        account = self._accounts[name] = Account()
        return account

    def _headroom(self, limit: Wanted, now: Now, slots: Sequence[int]) -> Headroom:
        account = self._accounts.get(limit.subject, _NEW)
        return headroom_of(limit, account.used(limit.kind, now, slots), account.newest(limit.kind), now)

    def _sweep(self, count: int, now: Now) -> None:
        """Check the next ``count`` accounts in turn, and remove idle ones."""
        slots = slots_at(now)
        for _ in range(min(count, len(self._accounts))):
            name, account = self._accounts.popitem(last=False)
            if not account.idle(now, slots):
                self._accounts[name] = account

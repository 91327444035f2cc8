"""The arithmetic of quotas: sliding minutes, calendar days and months, leases. Pure, on whole numbers.

A rate limit covers a sliding minute of slots of three seconds. It counts every slot that overlaps the last 60 seconds,
so 60 to 63 seconds. No period of 60 seconds exceeds the limit. Days and months are in UTC. A concurrency slot is a
lease, which expires unless it is renewed.

A reservation is charged immediately, to the current slot, day and month. Its settlement corrects the same slot, day and
month. If they no longer count by then, no correction is needed. A reservation that is never settled stays charged.
**Overshoot**: no reservation is granted above a limit. So the limit is exceeded at most by the sum of
``actual - estimate`` of concurrent requests that used more than they reserved; later requests wait until that has
expired too. Without underestimates there is no overshoot.

If a clock is set back, charges in its future stop counting, so no caller is locked out for longer than a window.

The same arithmetic is implemented in Lua in adapters/redis/quota_script.py; a test compares both.
"""

import math
from collections import OrderedDict
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from chukei.accounts.limits import Amounts, Headroom, Limit, Limits, Refusal, Subject

MOST = 2**53
"""Upper bound of amounts: Lua's numbers are exact up to here."""

SLOT_MS, SLOTS = 3000, 20
"""Milliseconds of a slot, and slots of a minute."""

MINUTE_SECONDS = (SLOTS + 1) * SLOT_MS / 1000
"""Seconds for which a charge counts against a rate limit, at most."""

DAY_MS = 86_400_000

LEASE_SECONDS, RENEW_SECONDS = 30.0, 10.0
"""Seconds after which an unrenewed lease of a concurrency slot expires, and between two renewals."""
LEASE_MS = int(LEASE_SECONDS * 1000)

CONCURRENT_SECONDS = 1.0
"""Seconds until a retry for a concurrency slot; the time when one becomes free is unknown."""

KEPT_SECONDS = 86_400.0
"""Seconds after which a reservation can no longer be settled and stays charged as reserved."""

KINDS = tuple(Limit)
"""The order in which limits are checked. Elsewhere a limit's kind is its index here."""
REQUESTS, _, _, _, MONEY, CONCURRENT = range(len(KINDS))
SPANS = (SLOTS, SLOTS, 0, 0, 0)
"""By kind, how many slots before the current one count."""


class Now(NamedTuple):
    """A moment in milliseconds: on a monotonic clock, and in Unix time."""

    steady: int
    wall: int


class Wanted(NamedTuple):
    """One limit that a request must respect: its subject, its index in KINDS, and its value."""

    subject: str
    kind: int
    most: int


def clamped(amount: int) -> int:
    """Return an amount between 0 and MOST."""
    return 0 if amount < 0 else min(amount, MOST)


def wanted(subjects: Sequence[Subject]) -> list[Wanted]:
    """Return the limits of all subjects in order. No two subjects may have the same name."""
    return [
        Wanted(subject.name, kind, clamped(most))
        for subject in subjects
        for kind, most in enumerate(_in_order(subject.limits))
        if most is not None
    ]


def _in_order(limits: Limits) -> tuple[int | None, ...]:
    return (
        limits.requests_per_minute,
        limits.tokens_per_minute,
        limits.tokens_per_day,
        limits.tokens_per_month,
        limits.money_per_month,
        limits.concurrent,
    )


def asks_of(amounts: Amounts) -> tuple[int, ...]:
    """Return the amounts that a request needs, by kind of limit."""
    tokens = clamped(amounts.tokens)
    return (1, tokens, tokens, tokens, clamped(amounts.money), 1)


def slots_at(now: Now) -> tuple[int, ...]:
    """Return the current slot of each kind except the concurrent one: a rate's slot, the day or the month."""
    return _slots_of(now.steady // SLOT_MS, now.wall // DAY_MS)


@lru_cache(maxsize=4)
def _slots_of(slot: int, day: int) -> tuple[int, ...]:
    month = month_of(day)
    return (slot, slot, day, month, month)


@lru_cache(maxsize=4)
def month_of(day: int) -> int:
    """Return the month of a day since 1970, counted from January of the year 0.

    Internally years begin in March, so that a leap day is the last day of a year
    (https://howardhinnant.github.io/date_algorithms.html#civil_from_days).
    """
    era, of_era = divmod(day + 719_468, 146_097)
    year = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    return 12 * (year + 400 * era) + (5 * of_year + 2) // 153 + 2


def first_day_of(month: int) -> int:
    """Return the day since 1970 on which a month begins; the inverse of ``month_of``."""
    year, of_year = divmod(month - 2, 12)
    return 365 * year + year // 4 - year // 100 + year // 400 + (153 * of_year + 2) // 5 - 719_468


def seconds_until_gone(kind: int, slot: int, now: Now) -> float:
    """Return the seconds until the charges in a slot no longer count."""
    if SPANS[kind]:
        return ((slot + SLOTS + 1) * SLOT_MS - now.steady) / 1000
    end = slot + 1 if KINDS[kind] is Limit.TOKENS_PER_DAY else first_day_of(slot + 1)
    return (end * DAY_MS - now.wall) / 1000


def headroom_of(limit: Wanted, used: int, newest: int | None, now: Now) -> Headroom:
    """Return the state of a limit. ``newest`` is the last slot with a charge, None if there is none."""
    subject, kind, most = limit
    if kind == CONCURRENT:
        reset = CONCURRENT_SECONDS if used else 0.0
    else:
        reset = seconds_until_gone(kind, newest, now) if newest is not None else 0.0
    return Headroom(subject, KINDS[kind], most, most - used if used < most else 0, reset)


def refusal_of(limit: Wanted, used: int, asked: int, leaving: int | None, now: Now) -> Refusal:
    """Return a refusal. The request may be granted when the slot ``leaving`` has expired.

    ``seconds`` is infinite if it can never be granted.
    """
    subject, kind, most = limit
    if asked > most:
        seconds = math.inf
    elif leaving is None:
        seconds = CONCURRENT_SECONDS
    else:
        seconds = seconds_until_gone(kind, leaving, now)
    return Refusal(subject, KINDS[kind], most, used, asked, seconds)


class Meter:
    """The charges of one limit by slot. Call ``used`` before other methods: it drops expired slots."""

    __slots__ = ("_amounts", "_first", "_last", "_total")

    def __init__(self) -> None:
        self._amounts: dict[int, int] = {}  # by slot, in order
        self._first, self._last = MOST, -MOST
        self._total = 0

    def used(self, present: int, span: int) -> int:
        """Return the sum of the charges that count in the slot ``present``."""
        if self._first < present - span or self._last > present:
            kept = {slot: amount for slot, amount in self._amounts.items() if present - span <= slot <= present}
            self._amounts, self._total = kept, sum(kept.values())
            self._first, self._last = min(kept, default=MOST), max(kept, default=-MOST)
        return self._total if self._total < MOST else MOST

    def charge(self, slot: int, amount: int) -> None:
        """Charge an amount to the current slot. An amount of 0 is recorded too, so that it can be corrected later."""
        if slot in self._amounts:
            self._amounts[slot] += amount
        else:
            self._amounts[slot] = amount
            self._last = slot
            if slot < self._first:
                self._first = slot
        self._total += amount

    def correct(self, slot: int, by: int) -> None:
        """Change the charge of a slot, if the slot still counts."""
        before = self._amounts.get(slot)
        if before is not None:
            self._amounts[slot] = after = clamped(before + by)
            self._total += after - before

    def leaving(self, need: int) -> int:
        """Return the slot after whose expiry at least ``need`` of the charges are gone."""
        for slot, amount in self._amounts.items():
            need -= amount
            if need <= 0:
                return slot
        return self._last

    @property
    def newest(self) -> int | None:
        """The last slot with a charge."""
        amounts, last = self._amounts, self._last
        if amounts.get(last):
            return last
        return next((slot for slot in reversed(amounts) if amounts[slot]), None)

    def __bool__(self) -> bool:
        return bool(self._amounts)


class Account:
    """The charges and leases of one subject."""

    __slots__ = ("_leases", "_meters")

    def __init__(self) -> None:
        self._meters: dict[int, Meter] = {}
        self._leases: OrderedDict[str, int] | None = None  # the end of each lease, in that order

    def used(self, kind: int, now: Now, slots: Sequence[int]) -> int:
        """Return the used amount of a limit."""
        if kind == CONCURRENT:
            return self._leased(now.steady)
        meter = self._meters.get(kind)
        return meter.used(slots[kind], SPANS[kind]) if meter is not None else 0

    def _leased(self, steady: int) -> int:
        leases = self._leases
        if not leases:
            return 0
        while leases and leases[next(iter(leases))] <= steady:
            leases.popitem(last=False)
        while leases and leases[next(reversed(leases))] > steady + LEASE_MS:
            leases.popitem()
        return len(leases)

    def charge(self, id: str, kind: int, amount: int, now: Now, slots: Sequence[int]) -> None:
        """Charge an amount that was checked to be available."""
        if kind == CONCURRENT:
            self.lease(id, now.steady)
            return
        meter = self._meters.get(kind)
        if meter is None:
            meter = self._meters[kind] = Meter()
        meter.charge(slots[kind], amount)

    def lease(self, id: str, steady: int) -> None:
        """Lease a concurrency slot, or renew its lease."""
        if self._leases is None:
            self._leases = OrderedDict()
        self._leases.pop(id, None)
        self._leased(steady)  # drops leases that end later than any new one, which keeps them in order of their ends
        self._leases[id] = steady + LEASE_MS

    def correct(self, kind: int, slot: int, by: int) -> None:
        """Change the charge of a slot."""
        meter = self._meters.get(kind)
        if meter is not None:
            meter.correct(slot, by)

    def release(self, id: str) -> None:
        """Release a concurrency slot."""
        if self._leases is not None:
            self._leases.pop(id, None)

    def leaving(self, kind: int, need: int) -> int | None:
        """Return the slot after whose expiry ``need`` of the charges are gone; None if that is unknown."""
        return self._meters[kind].leaving(need) if kind in self._meters else None

    def newest(self, kind: int) -> int | None:
        """Return the last slot with a charge."""
        meter = self._meters.get(kind)
        return meter.newest if meter is not None else None

    def idle(self, now: Now, slots: Sequence[int]) -> bool:
        """Whether none of its charges and leases count any more."""
        for kind, meter in self._meters.items():
            meter.used(slots[kind], SPANS[kind])
        return not (self._leased(now.steady) or any(self._meters.values()))

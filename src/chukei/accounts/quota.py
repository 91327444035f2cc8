"""What quotas allow: windows of a minute, periods of the calendar, leases. Pure arithmetic on whole numbers.

A rate counts what is charged in the slots of three seconds that can overlap the last sixty, so 60 to 63 seconds and
never less: no sixty seconds hold more than the limit. Days and months are those of UTC. A concurrent slot is a lease,
which ends unless it is renewed.

A reservation is charged at once, in the slot and the periods of its moment, and corrected there when it is settled.
What has left its window by then needs no correction, and what is never settled stays charged as reserved.
**Overshoot**: nothing is granted above a limit, so it is exceeded at most by the sum of ``actual - estimate`` of the
requests that were under way together and used more than they reserved; later ones wait until that has passed too.
Where no estimate is too low, there is none.

A clock that was put back makes what was charged in its future count no longer, so nobody is locked out for longer than
a window.

The same arithmetic stands in Lua in adapters/redis/quota_script.py; a test plays both side by side.
"""

import math
from collections import OrderedDict
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from chukei.accounts.limits import Amounts, Headroom, Limit, Limits, Refusal, Subject

MOST = 2**53
"""Larger numbers count as this one: up to it Lua's are exact."""

SLOT_MS, SLOTS = 3000, 20
"""A minute is this many slots of this many milliseconds."""

MINUTE_SECONDS = (SLOTS + 1) * SLOT_MS / 1000
"""After this many seconds at most a rate has forgotten what was charged."""

DAY_MS = 86_400_000

LEASE_SECONDS, RENEW_SECONDS = 30.0, 10.0
"""How long a concurrent slot is kept for a process that is silent, and how often a process renews its own."""
LEASE_MS = int(LEASE_SECONDS * 1000)

CONCURRENT_SECONDS = 1.0
"""When to ask again for a concurrent slot: nobody knows when one will be free."""

KEPT_SECONDS = 86_400.0
"""A reservation that is not settled after this time stays as it is."""

KINDS = tuple(Limit)
"""The order in which limits are looked at; other places speak of a limit by its index here."""
REQUESTS, _, _, _, MONEY, CONCURRENT = range(len(KINDS))
SPANS = (SLOTS, SLOTS, 0, 0, 0)
"""How many slots before the present one count."""


class Now(NamedTuple):
    """A moment, in milliseconds: on a clock that never jumps, and since 1970."""

    steady: int
    wall: int


class Wanted(NamedTuple):
    """One limit that a request must keep: whose, which by its index in KINDS, and how much it allows."""

    subject: str
    kind: int
    most: int


def clamped(amount: int) -> int:
    """Return an amount between 0 and MOST."""
    return 0 if amount < 0 else min(amount, MOST)


def wanted(subjects: Sequence[Subject]) -> list[Wanted]:
    """Return every limit of some subjects in their order. No two subjects may have the same name."""
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
    """Return what a request asks of each kind of limit."""
    tokens = clamped(amounts.tokens)
    return (1, tokens, tokens, tokens, clamped(amounts.money), 1)


def slots_at(now: Now) -> tuple[int, ...]:
    """Return the present slot of each kind but the concurrent one: a rate's slot, the day, the month."""
    return _slots_of(now.steady // SLOT_MS, now.wall // DAY_MS)


@lru_cache(maxsize=4)
def _slots_of(slot: int, day: int) -> tuple[int, ...]:
    month = month_of(day)
    return (slot, slot, day, month, month)


@lru_cache(maxsize=4)
def month_of(day: int) -> int:
    """Return the month in which a day since 1970 is, counted from the first of the year 0.

    The years begin in March here, so that a leap day is their last
    (https://howardhinnant.github.io/date_algorithms.html#civil_from_days).
    """
    era, of_era = divmod(day + 719_468, 146_097)
    year = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    return 12 * (year + 400 * era) + (5 * of_year + 2) // 153 + 2


def first_day_of(month: int) -> int:
    """Return the day since 1970 on which a month begins: the opposite of ``month_of``."""
    year, of_year = divmod(month - 2, 12)
    return 365 * year + year // 4 - year // 100 + year // 400 + (153 * of_year + 2) // 5 - 719_468


def seconds_until_gone(kind: int, slot: int, now: Now) -> float:
    """Return after how many seconds what is charged in a slot no longer counts."""
    if SPANS[kind]:
        return ((slot + SLOTS + 1) * SLOT_MS - now.steady) / 1000
    end = slot + 1 if KINDS[kind] is Limit.TOKENS_PER_DAY else first_day_of(slot + 1)
    return (end * DAY_MS - now.wall) / 1000


def headroom_of(limit: Wanted, used: int, newest: int | None, now: Now) -> Headroom:
    """Say what is left. ``newest`` is the last slot in which something is charged, None where nothing is."""
    subject, kind, most = limit
    if kind == CONCURRENT:
        reset = CONCURRENT_SECONDS if used else 0.0
    else:
        reset = seconds_until_gone(kind, newest, now) if newest is not None else 0.0
    return Headroom(subject, KINDS[kind], most, most - used if used < most else 0, reset)


def refusal_of(limit: Wanted, used: int, asked: int, leaving: int | None, now: Now) -> Refusal:
    """Refuse. It may be granted when the slot ``leaving`` is gone; ``seconds`` is infinite where it never can."""
    subject, kind, most = limit
    if asked > most:
        seconds = math.inf
    elif leaving is None:
        seconds = CONCURRENT_SECONDS
    else:
        seconds = seconds_until_gone(kind, leaving, now)
    return Refusal(subject, KINDS[kind], most, used, asked, seconds)


class Meter:
    """What is charged in each slot of one limit. ``used`` comes first: it drops the slots that do not count."""

    __slots__ = ("_amounts", "_first", "_last", "_total")

    def __init__(self) -> None:
        self._amounts: dict[int, int] = {}  # in order of their slots
        self._first, self._last = MOST, -MOST
        self._total = 0

    def used(self, present: int, span: int) -> int:
        """Return what counts in the present slot."""
        if self._first < present - span or self._last > present:
            kept = {slot: amount for slot, amount in self._amounts.items() if present - span <= slot <= present}
            self._amounts, self._total = kept, sum(kept.values())
            self._first, self._last = min(kept, default=MOST), max(kept, default=-MOST)
        return self._total if self._total < MOST else MOST

    def charge(self, slot: int, amount: int) -> None:
        """Charge the present slot; nothing, too, so that it can be corrected."""
        if slot in self._amounts:
            self._amounts[slot] += amount
        else:
            self._amounts[slot] = amount
            self._last = slot
            if slot < self._first:
                self._first = slot
        self._total += amount

    def correct(self, slot: int, by: int) -> None:
        """Change what was charged in a slot, if that still counts."""
        before = self._amounts.get(slot)
        if before is not None:
            self._amounts[slot] = after = clamped(before + by)
            self._total += after - before

    def leaving(self, need: int) -> int:
        """Return the slot with which so much of what is used has gone."""
        for slot, amount in self._amounts.items():
            need -= amount
            if need <= 0:
                return slot
        return self._last

    @property
    def newest(self) -> int | None:
        """The last slot in which something is charged."""
        amounts, last = self._amounts, self._last
        if amounts.get(last):
            return last
        return next((slot for slot in reversed(amounts) if amounts[slot]), None)

    def __bool__(self) -> bool:
        return bool(self._amounts)


class Account:
    """What is charged to one subject."""

    __slots__ = ("_leases", "_meters")

    def __init__(self) -> None:
        self._meters: dict[int, Meter] = {}
        self._leases: OrderedDict[str, int] | None = None  # when each ends, in that order

    def used(self, kind: int, now: Now, slots: Sequence[int]) -> int:
        """Return how much of a limit is used."""
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
        """Charge what was found to be free."""
        if kind == CONCURRENT:
            self.lease(id, now.steady)
            return
        meter = self._meters.get(kind)
        if meter is None:
            meter = self._meters[kind] = Meter()
        meter.charge(slots[kind], amount)

    def lease(self, id: str, steady: int) -> None:
        """Give a concurrent slot for some time, or for some time more."""
        if self._leases is None:
            self._leases = OrderedDict()
        self._leases.pop(id, None)
        self._leased(steady)  # so that the order stays that of their ends
        self._leases[id] = steady + LEASE_MS

    def correct(self, kind: int, slot: int, by: int) -> None:
        """Change what was charged."""
        meter = self._meters.get(kind)
        if meter is not None:
            meter.correct(slot, by)

    def release(self, id: str) -> None:
        """Take a concurrent slot back."""
        if self._leases is not None:
            self._leases.pop(id, None)

    def leaving(self, kind: int, need: int) -> int | None:
        """Return the slot with which so much of what is used has gone; None where nobody knows."""
        return self._meters[kind].leaving(need) if kind in self._meters else None

    def newest(self, kind: int) -> int | None:
        """Return the last slot in which something is charged."""
        meter = self._meters.get(kind)
        return meter.newest if meter is not None else None

    def idle(self, now: Now, slots: Sequence[int]) -> bool:
        """Whether nothing that is known of it counts any more."""
        for kind, meter in self._meters.items():
            meter.used(slots[kind], SPANS[kind])
        return not (self._leased(now.steady) or any(self._meters.values()))

"""The arithmetic of quotas beside plain references: a log of all that was granted, the calendar, a list of leases."""

import math
from datetime import UTC, date, datetime, timedelta
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from tests.rows import rows

from chukei.accounts.limits import Amounts, Headroom, Limit, Limits, Refusal, Subject
from chukei.accounts.quota import (
    CONCURRENT,
    DAY_MS,
    KINDS,
    LEASE_MS,
    LEASE_SECONDS,
    MINUTE_SECONDS,
    MOST,
    RENEW_SECONDS,
    SLOT_MS,
    SLOTS,
    Account,
    Meter,
    Now,
    Wanted,
    asks_of,
    clamped,
    first_day_of,
    headroom_of,
    month_of,
    refusal_of,
    seconds_until_gone,
    slots_at,
    wanted,
)

DAY, MONTH, MONEY = (
    KINDS.index(kind) for kind in (Limit.TOKENS_PER_DAY, Limit.TOKENS_PER_MONTH, Limit.MONEY_PER_MONTH)
)
MINUTE_MS = 60_000


def at(ms: int) -> Now:
    return Now(ms, ms)


# The calendar.


@example(date(2000, 2, 29))  # the last day of four hundred years
@example(date(2100, 2, 28))
@example(date(2096, 2, 29))
@given(st.dates(min_value=date(1, 1, 1)))
def test_a_day_is_in_the_month_that_the_calendar_says(day: date) -> None:
    number = (day - date(1970, 1, 1)).days
    assert month_of(number) == 12 * day.year + day.month - 1
    assert first_day_of(month_of(number)) == (day.replace(day=1) - date(1970, 1, 1)).days


@given(st.integers(86_400, 200_000_000_000))  # up to the year 8307
def test_a_quota_is_free_again_when_its_period_ends(seconds: int) -> None:
    moment = datetime.fromtimestamp(seconds, UTC)
    midnight = moment.replace(hour=0, minute=0, second=0)
    tomorrow = midnight + timedelta(days=1)
    next_month = (midnight.replace(day=1) + timedelta(days=32)).replace(day=1)
    now = Now(7, seconds * 1000)
    slots = slots_at(now)
    for kind, end in ((DAY, tomorrow), (MONTH, next_month), (MONEY, next_month)):
        assert seconds_until_gone(kind, slots[kind], now) == (end - moment).total_seconds()


def test_days_and_rates_are_told_by_different_clocks() -> None:
    assert slots_at(Now(SLOT_MS, 10 * DAY_MS)) == (1, 1, 10, month_of(10), month_of(10))


# Amounts and limits.


@rows(("amount", "kept"), [(-1, 0), (-(2**70), 0), (0, 0), (5, 5), (MOST, MOST), (MOST + 1, MOST), (2**63, MOST)])
def test_absurd_amounts_are_brought_into_bounds(amount: int, kept: int) -> None:
    assert clamped(amount) == kept
    assert asks_of(Amounts(amount, amount)) == (1, kept, kept, kept, kept, 1)
    assert float(kept) == kept  # as Lua sees it


def test_limits_come_in_one_order() -> None:
    first, second = Subject("a", Limits(1, 2, 3, 4, 5, 6)), Subject("b", Limits(concurrent=-1, tokens_per_day=2**63))
    assert wanted([first, Subject("c", Limits()), second]) == [
        *[Wanted("a", kind, kind + 1) for kind in range(6)],
        Wanted("b", DAY, MOST),
        Wanted("b", CONCURRENT, 0),
    ]
    assert [kind.value for kind in KINDS] == [
        "requests_per_minute",
        "tokens_per_minute",
        "tokens_per_day",
        "tokens_per_month",
        "money_per_month",
        "concurrent",
    ]


# Rates.


class Log:
    """What was granted, with its time: the plain reference of a meter."""

    def __init__(self) -> None:
        self.grants: list[list[int]] = []  # time, amount

    def slots(self) -> list[tuple[int, int]]:
        return [(ms // SLOT_MS, amount) for ms, amount in self.grants]

    def counting(self, ms: int) -> int:
        """What is charged in slots of which some part lies in the last sixty seconds."""
        return sum(amount for slot, amount in self.slots() if (slot + 1) * SLOT_MS > ms - MINUTE_MS)

    def within(self, begin: int) -> int:
        return sum(amount for ms, amount in self.grants if begin <= ms <= begin + MINUTE_MS)


asking = st.tuples(
    st.one_of(st.integers(0, 4000), st.sampled_from([59_999, 60_000, 62_999, 63_000])), st.integers(0, 9)
)


@given(most=st.integers(0, 20), asks=st.lists(asking, max_size=80))
def test_no_sixty_seconds_hold_more_than_the_limit(most: int, asks: list[tuple[int, int]]) -> None:
    meter, log, ms = Meter(), Log(), 0
    for passed, amount in asks:
        ms += passed
        slot = ms // SLOT_MS
        used = meter.used(slot, SLOTS)
        assert used == log.counting(ms)
        if amount <= most - used:
            meter.charge(slot, amount)
            log.grants.append([ms, amount])
            continue
        if amount <= most:
            wait = seconds_until_gone(0, meter.leaving(amount - (most - used)), at(ms))
            assert 0 < wait <= MINUTE_SECONDS
            then = ms + round(wait * 1000)
            assert amount <= most - log.counting(then)  # then it will be granted
            assert amount > most - log.counting(then - 1)  # and no sooner
    for begin, _ in log.grants:
        assert log.within(begin) <= most
        assert sum(amount for ms, amount in log.grants if begin - MINUTE_MS <= ms <= begin) <= most


@given(
    st.lists(st.tuples(st.integers(0, 9000), st.integers(0, 9), st.integers(-1, 20), st.integers(0, 30)), max_size=60)
)
def test_a_correction_changes_the_slot_of_its_reservation(history: list[tuple[int, int, int, int]]) -> None:
    meter, log, ms = Meter(), Log(), 0
    for passed, reserved, which, actual in history:
        ms += passed
        meter.used(ms // SLOT_MS, SLOTS)
        meter.charge(ms // SLOT_MS, reserved)
        log.grants.append([ms, reserved])
        if which >= 0:
            grant = log.grants[which % len(log.grants)]
            meter.correct(grant[0] // SLOT_MS, actual - grant[1])
            grant[1] = actual
        assert meter.used(ms // SLOT_MS, SLOTS) == log.counting(ms)
        newest = [slot for slot, amount in log.slots() if amount and (slot + 1) * SLOT_MS > ms - MINUTE_MS]
        assert meter.newest == max(newest, default=None)


@rows("begin", [0, 1, SLOT_MS - 1])
def test_what_is_charged_counts_for_sixty_to_sixty_three_seconds(begin: int) -> None:
    meter = Meter()
    meter.charge(0, 1)
    assert meter.used((begin + MINUTE_MS) // SLOT_MS, SLOTS) == 1
    assert meter.used((begin + MINUTE_MS + SLOT_MS) // SLOT_MS, SLOTS) == 0


def test_a_clock_that_was_put_back_locks_nobody_out() -> None:
    meter = Meter()
    meter.charge(1000, 5)
    assert meter.used(999, SLOTS) == 0
    meter.charge(999, 2)
    assert meter.used(1000, SLOTS) == 2
    month = Meter()
    month.charge(month_of(20_000), 5)
    assert month.used(month_of(19_000), 0) == 0


def test_what_was_settled_above_a_limit_keeps_others_waiting() -> None:
    meter = Meter()
    meter.charge(0, 5)
    meter.correct(0, 95)
    meter.used(1, SLOTS)
    meter.charge(1, 1)
    assert meter.used(1, SLOTS) == 101
    assert meter.leaving(101 - 10) == 0
    assert meter.leaving(101) == 1


def test_a_correction_of_what_does_not_count_any_more_does_nothing() -> None:
    meter = Meter()
    meter.charge(0, 5)
    meter.used(SLOTS + 1, SLOTS)
    meter.correct(0, 100)
    assert meter.used(SLOTS + 1, SLOTS) == 0
    assert not meter


def test_balances_stay_within_bounds() -> None:
    meter = Meter()
    meter.charge(0, 5)
    meter.correct(0, -9)
    assert meter.used(0, SLOTS) == 0
    for slot in (0, 1):
        meter.used(slot, SLOTS)
        meter.charge(slot, 0)
        meter.correct(slot, MOST + 5)
    assert meter.used(1, SLOTS) == MOST


# Leases.


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["lease", "renew", "release", "crash"]),
            st.integers(0, 9),
            st.one_of(st.integers(0, 4000), st.sampled_from([int(RENEW_SECONDS * 1000), LEASE_MS - 1, LEASE_MS])),
        ),
        max_size=60,
    )
)
def test_leases_return_to_zero_whatever_happens(history: list[tuple[str, int, int]]) -> None:
    account, leases, ms = Account(), dict[str, int](), 0
    for n, (step, which, passed) in enumerate(history):
        ms += passed
        known = list(leases)
        if step == "lease":
            account.charge(str(n), CONCURRENT, 1, at(ms), slots_at(at(ms)))
            leases[str(n)] = ms + LEASE_MS
        elif step == "renew" and known:
            account.lease(known[which % len(known)], ms)
            leases[known[which % len(known)]] = ms + LEASE_MS
        elif step == "release" and known:
            account.release(known[which % len(known)])
            del leases[known[which % len(known)]]
        assert account.used(CONCURRENT, at(ms), ()) == sum(end > ms for end in leases.values())
    end = max(leases.values(), default=0)
    assert account.used(CONCURRENT, at(max(end, ms)), ()) == 0
    assert account.idle(at(max(end, ms)), slots_at(at(ms)))


def test_a_lease_ends_even_when_the_clock_is_put_back() -> None:
    account = Account()
    account.lease("a", 1_000_000)
    account.lease("b", 0)
    assert account.used(CONCURRENT, at(0), ()) == 1
    assert account.used(CONCURRENT, at(LEASE_MS), ()) == 0


def test_a_lease_outlives_two_renewals_that_were_missed() -> None:
    assert LEASE_SECONDS >= 3 * RENEW_SECONDS


# What is said.


def test_headroom_is_never_negative() -> None:
    now = at(SLOT_MS)
    assert headroom_of(Wanted("a", 0, 5), 9, 0, now).remaining == 0
    assert headroom_of(Wanted("a", 0, 5), 3, 0, now).remaining == 2
    assert headroom_of(Wanted("a", CONCURRENT, 5), 3, None, now).reset == 1.0


@rows("kind", range(6))
def test_nothing_used_needs_no_reset(kind: int) -> None:
    left = headroom_of(Wanted("a", kind, 5), 0, None, at(1))
    assert (left.subject, left.limit, left.most, left.remaining, left.reset) == ("a", KINDS[kind], 5, 5, 0.0)


@rows("leaving", [None, 3])
def test_what_could_never_be_granted_is_refused_for_ever(leaving: int | None) -> None:
    assert refusal_of(Wanted("a", 1, 5), 4, 6, leaving, at(1)).seconds == math.inf
    assert refusal_of(Wanted("a", 1, 5), 4, 5, leaving, at(1)).seconds < math.inf


def test_a_refusal_says_when_enough_has_left() -> None:
    refusal = refusal_of(Wanted("a", 1, 5), 4, 2, 10, at(20 * SLOT_MS + 1))
    assert refusal.seconds == (31 * SLOT_MS - (20 * SLOT_MS + 1)) / 1000
    wait: Any = refusal_of(Wanted("a", CONCURRENT, 5), 5, 1, None, at(1)).seconds
    assert wait == 1.0


def test_an_account_is_idle_when_nothing_in_it_counts() -> None:
    account, now = Account(), at(0)
    assert account.idle(now, slots_at(now))
    for kind, amount in enumerate((1, 0, 0, 0, 0, 1)):
        account.charge("a", kind, amount, now, slots_at(now))
    account.release("a")
    for ms, idle in ((MINUTE_MS, False), (DAY_MS, False), (31 * DAY_MS, True)):
        assert account.idle(at(ms), slots_at(at(ms))) is idle


def test_what_is_left_to_the_number() -> None:
    tokens, now = KINDS.index(Limit.TOKENS_PER_MINUTE), at(30_000)
    day, month = now.wall // DAY_MS, month_of(now.wall // DAY_MS)
    limit = Wanted("caller:a", tokens, 100)
    for used, left in ((0, 100), (99, 1), (100, 0), (101, 0)):
        assert headroom_of(limit, used, 10, now) == Headroom("caller:a", Limit.TOKENS_PER_MINUTE, 100, left, 63.0)
    assert headroom_of(limit, 0, None, now) == Headroom("caller:a", Limit.TOKENS_PER_MINUTE, 100, 100, 0.0)
    assert [headroom_of(Wanted("a", CONCURRENT, 2), used, None, now).reset for used in (0, 1)] == [0.0, 1.0]
    assert seconds_until_gone(DAY, day, now) == ((day + 1) * DAY_MS - now.wall) / 1000
    assert seconds_until_gone(MONTH, month, now) == (first_day_of(month + 1) * DAY_MS - now.wall) / 1000
    for asked, leaving, seconds in ((101, 10, math.inf), (100, None, 1.0), (100, 9, 60.0)):
        refusal = refusal_of(limit, 5, asked, leaving, now)
        assert refusal == Refusal("caller:a", Limit.TOKENS_PER_MINUTE, 100, 5, asked, seconds)


def test_what_a_meter_says_of_its_slots() -> None:
    meter = Meter()
    assert (bool(meter), meter.newest, meter.used(5, 3)) == (False, None, 0)
    meter.charge(2, 5)
    meter.charge(4, 7)
    assert [meter.leaving(need) for need in (5, 6, 12, 13)] == [2, 4, 4, 4]
    assert (meter.newest, meter.used(5, 3), meter.used(5, 2)) == (4, 12, 7)
    meter.correct(2, 9)
    assert meter.used(5, 2) == 7, "what has gone is not corrected"
    meter.correct(4, -8)
    assert (meter.newest, meter.used(5, 2)) == (None, 0)
    meter.charge(5, MOST)
    meter.charge(5, 1)
    assert meter.used(5, 2) == MOST


def test_an_account_with_nothing_in_it() -> None:
    now = at(0)
    account = Account()
    assert [account.used(kind, now, slots_at(now)) for kind in range(len(KINDS))] == [0] * len(KINDS)
    assert (account.newest(DAY), account.leaving(DAY, 1), account.idle(now, slots_at(now))) == (None, None, True)
    account.correct(DAY, 0, 5)
    account.release("r")
    assert account.idle(now, slots_at(now))

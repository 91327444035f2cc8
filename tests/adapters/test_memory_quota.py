"""The store in memory: whole histories compared with a plain reference, leases, and removal of old state."""

import asyncio
import gc
import math
import time
import tracemalloc
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.adapters.quota_stores import subject
from tests.fakes import FakeClock
from tests.rows import rows

from chukei.accounts.limits import Amounts, Grant, Limit, Refusal, Subject
from chukei.accounts.quota import DAY_MS, KEPT_SECONDS, LEASE_SECONDS, MINUTE_SECONDS, RENEW_SECONDS, SLOT_MS
from chukei.accounts.stores import QuotaStore
from chukei.adapters.memory_quota import SWEPT_AT_LEISURE, MemoryQuota

pytestmark = pytest.mark.anyio

BEGIN = 20_000.0 * DAY_MS / 1000
RATES = {"requests_per_minute": 5, "tokens_per_minute": 40, "concurrent": 3}
EACH = subject(**RATES, tokens_per_day=60, tokens_per_month=90, money_per_month=70)
GROUP = subject("group:b", requests_per_minute=8, tokens_per_day=80, concurrent=4)


def quota(clock: FakeClock | None = None, wall: FakeClock | None = None) -> MemoryQuota:
    clock = clock or FakeClock(0.0)
    return MemoryQuota(clock=clock, wall=wall or FakeClock(BEGIN))


async def left(store: QuotaStore, *subjects: Subject) -> list[int]:
    return [each.remaining for each in await store.headroom(subjects)]


async def granted(store: QuotaStore, id: str, *subjects: Subject, tokens: int = 0, money: int = 0) -> bool:
    return isinstance(await store.reserve(id, subjects, Amounts(tokens, money)), Grant)


def accounts(store: MemoryQuota) -> int:
    return int(repr(store).split()[1])


# Histories.


@dataclass
class Request:
    """A grant as the reference remembers it: what it used or, as long as that is not known, reserved."""

    ms: int
    subjects: list[Subject]
    tokens: int
    money: int
    lease: int  # its end; 0 after settling
    settled: bool = False


class Reference:
    """All that was ever granted, and sums over it."""

    def __init__(self) -> None:
        self.requests: dict[str, Request] = {}

    def used(self, name: str, kind: Limit, ms: int) -> int:
        of = [request for request in self.requests.values() if name in [each.name for each in request.subjects]]
        if kind is Limit.CONCURRENT:
            return sum(request.lease > ms for request in of)
        if kind in (Limit.REQUESTS_PER_MINUTE, Limit.TOKENS_PER_MINUTE):
            of = [request for request in of if (request.ms // SLOT_MS + 1) * SLOT_MS > ms - 60_000]
        elif kind is Limit.TOKENS_PER_DAY:
            of = [request for request in of if _day(request.ms) == _day(ms)]
        if kind is Limit.REQUESTS_PER_MINUTE:
            return len(of)
        return sum(request.money if kind is Limit.MONEY_PER_MONTH else request.tokens for request in of)

    def refused(self, subjects: list[Subject], asks: dict[Limit, int], ms: int) -> tuple[str, Limit] | None:
        for each in subjects:
            for kind in Limit:
                most = getattr(each.limits, kind.value)
                if most is not None and self.used(each.name, kind, ms) + asks[kind] > most:
                    return each.name, kind
        return None


def _day(ms: int) -> int:
    return ms // DAY_MS  # the history begins at midnight of the second of a month and lasts less than that


small = st.integers(0, 25)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("reserve"), small, small),
        st.tuples(st.just("settle"), small, small),
        st.tuples(st.just("crash"), small, small),
        st.tuples(st.just("renew"), small, small),
        st.tuples(st.just("pass"), st.sampled_from([0.5, 3.0, 10.0, 29.9, 30.0, 61.0, 80_000.0]), small),
    ),
    max_size=60,
)


@given(steps)
def test_whatever_happens_what_was_used_or_reserved_is_charged(history: list[tuple[str, float, int]]) -> None:
    async def play() -> None:
        clock, wall = FakeClock(0.0), FakeClock(BEGIN)
        store, reference = quota(clock, wall), Reference()
        live: list[str] = []
        for n, (step, what, much) in enumerate(history):
            ms = round(clock.now * 1000)
            if step == "reserve":
                subjects = [EACH, GROUP] if much % 3 else [EACH]
                await _reserve(store, reference, f"r{n}", subjects, Amounts(int(what), much), ms)
                if f"r{n}" in reference.requests:
                    live.append(f"r{n}")
            elif step == "settle" and reference.requests:
                id = list(reference.requests)[int(what) % len(reference.requests)]
                request = reference.requests[id]
                await store.settle(id, Amounts(much, 2 * much))
                if not request.settled and id in live:
                    request.tokens, request.money, request.lease, request.settled = much, 2 * much, 0, True
                    live.remove(id)
            elif step == "renew":
                store.renew()
                live = [id for id in live if ms - reference.requests[id].ms < KEPT_SECONDS * 1000]
                for id in live:
                    reference.requests[id].lease = ms + round(LEASE_SECONDS * 1000)
            elif step == "pass" and clock.now + what < 25 * 86_400:
                clock.advance(what)
                wall.advance(what)
        # Whoever is left has crashed: it neither settles nor renews.
        clock.advance(LEASE_SECONDS)
        wall.advance(LEASE_SECONDS)
        ms = round(clock.now * 1000)
        for headroom in await store.headroom([EACH, GROUP]):
            used = reference.used(headroom.subject, headroom.limit, ms)
            assert headroom.remaining == max(0, headroom.most - used)
            if headroom.limit is Limit.CONCURRENT:
                assert used == 0

    asyncio.run(play())


async def _reserve(
    store: MemoryQuota, reference: Reference, id: str, subjects: list[Subject], estimate: Amounts, ms: int
) -> None:
    asks = dict.fromkeys(Limit, estimate.tokens)
    asks |= {Limit.REQUESTS_PER_MINUTE: 1, Limit.CONCURRENT: 1, Limit.MONEY_PER_MONTH: estimate.money}
    expected = reference.refused(subjects, asks, ms)
    result = await store.reserve(id, subjects, estimate)
    if isinstance(result, Refusal):
        assert (result.subject, result.limit) == expected
        assert (result.used, result.asked) == (reference.used(result.subject, result.limit, ms), asks[result.limit])
        return
    assert expected is None
    lease = ms + round(LEASE_SECONDS * 1000)
    reference.requests[id] = Request(ms, subjects, estimate.tokens, estimate.money, lease)
    assert [each.remaining for each in result.headroom] == [
        getattr(each.limits, kind.value) - reference.used(each.name, kind, ms)
        for each in subjects
        for kind in Limit
        if getattr(each.limits, kind.value) is not None
    ]


# Single cases.


async def test_the_first_limit_that_is_exceeded_is_named_and_nothing_is_charged() -> None:
    store = quota()
    before = await left(store, EACH, GROUP)
    refusal = await store.reserve("a", [EACH, GROUP], Amounts(61, 71))
    assert refusal == Refusal("caller:a", Limit.TOKENS_PER_MINUTE, 40, 0, 61, math.inf)
    assert await left(store, EACH, GROUP) == before
    assert accounts(store) == 0


async def test_seconds_are_exact() -> None:
    store = quota(FakeClock(1001.5), FakeClock(BEGIN + 4001.25))
    grant = await store.reserve("a", [subject(requests_per_minute=1, tokens_per_day=5)], Amounts(5))
    assert isinstance(grant, Grant)
    rate = 1001 // 3 * 3 + MINUTE_SECONDS - 1001.5
    assert [left.reset for left in grant.headroom] == [rate, 86_400 - 4001.25]
    for subjects, seconds in (([subject(requests_per_minute=1)], rate), ([subject(tokens_per_day=5)], 82_398.75)):
        refusal = await store.reserve("b", subjects, Amounts(1))
        assert isinstance(refusal, Refusal)
        assert refusal.seconds == seconds


async def test_settling_twice_does_nothing_more() -> None:
    store = quota()
    await store.reserve("a", [EACH], Amounts(20, 20))
    await store.settle("a", Amounts(5, 5))
    after = await left(store, EACH)
    await store.settle("a", Amounts(50, 50))
    await store.settle("never", Amounts(50, 50))
    assert await left(store, EACH) == after == [4, 35, 55, 85, 65, 3]


async def test_an_id_is_not_reserved_twice() -> None:
    store = quota()
    await store.reserve("a", [EACH], Amounts(20, 20))
    with pytest.raises(ValueError, match="twice"):
        await store.reserve("a", [EACH], Amounts(20, 20))


async def test_what_a_request_used_of_another_day_is_charged_to_that_day() -> None:
    clock, wall = FakeClock(0.0), FakeClock(BEGIN + 86_000)
    store = quota(clock, wall)
    await store.reserve("a", [EACH], Amounts(20, 20))
    clock.advance(900)
    wall.advance(900)
    assert await left(store, EACH) == [5, 40, 60, 70, 50, 3]  # its lease has ended
    await store.settle("a", Amounts(50, 60))
    assert await left(store, EACH) == [5, 40, 60, 40, 10, 3]


@rows("jump", [-86_400.0 * 400, -86_400.0, -1.0, 86_400.0, 86_400.0 * 400])
async def test_a_wall_clock_that_jumps_locks_nobody_out(jump: float) -> None:
    clock, wall = FakeClock(0.0), FakeClock(BEGIN)
    store = quota(clock, wall)
    assert await granted(store, "a", EACH, tokens=40)
    wall.advance(jump)
    refusal = await store.reserve("b", [EACH], Amounts(40))
    assert isinstance(refusal, Refusal)
    assert refusal.seconds <= MINUTE_SECONDS  # the rate, which does not look at that clock
    clock.advance(refusal.seconds)
    wall.advance(refusal.seconds)
    assert await granted(store, "b", EACH, tokens=20)
    wall.now = BEGIN + 5 * 86_400  # put right again
    assert (await left(store, EACH))[2] == 60


async def test_leases_are_renewed_while_a_request_goes_on() -> None:
    clock = FakeClock(0.0)
    store = quota(clock)
    one = subject(concurrent=1)
    assert await granted(store, "a", one)
    for _ in range(20):
        clock.advance(RENEW_SECONDS)
        store.renew()
        assert not await granted(store, "b", one)
    await store.settle("a", Amounts())
    assert await granted(store, "b", one)
    clock.advance(LEASE_SECONDS)
    assert await left(store, one) == [1]


async def test_what_nobody_settles_is_given_up_after_a_day() -> None:
    clock = FakeClock(0.0)
    store = quota(clock)
    assert await granted(store, "a", EACH)
    clock.advance(KEPT_SECONDS - 1)
    store.renew()
    assert (await left(store, EACH))[5] == 2
    clock.advance(1)
    store.renew()
    clock.advance(LEASE_SECONDS - 1)
    assert (await left(store, EACH))[5] == 3
    assert "0 reservations" in repr(store)


async def test_a_request_of_less_than_nothing_is_one_of_nothing() -> None:
    store = quota()
    assert await granted(store, "a", EACH, tokens=-50, money=-(2**70))
    await store.settle("a", Amounts(-5, -5))
    assert await left(store, EACH) == [4, 40, 60, 90, 70, 3]
    refusal = await store.reserve("b", [EACH], Amounts(2**63))
    assert isinstance(refusal, Refusal)
    assert (refusal.asked, refusal.seconds) == (2**53, math.inf)


async def test_many_subjects_take_bounded_memory_and_are_forgotten_when_idle() -> None:
    clock, count = FakeClock(0.0), 10_000
    store = quota(clock)
    tracemalloc.start()
    try:
        for n in range(count):
            await store.reserve(str(n), [subject(f"caller:{n}", **RATES)], Amounts(5))
            await store.settle(str(n), Amounts(3))
        gc.collect()
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert accounts(store) == count
    assert size < 2500 * count
    clock.advance(MINUTE_SECONDS)
    for n in range(count // 2 + 1):  # each that comes sees to two others
        await store.reserve(f"again{n}", [subject(f"caller:again{n}", **RATES)], Amounts(5))
    assert accounts(store) == count // 2 + 1
    clock.advance(MINUTE_SECONDS)
    for _ in range(count // SWEPT_AT_LEISURE):
        store.renew()
    assert accounts(store) == count // 2 + 1  # their requests go on
    for n in range(count // 2 + 1):
        await store.settle(f"again{n}", Amounts())
    for _ in range(count // SWEPT_AT_LEISURE):
        store.renew()
    assert accounts(store) == 0


async def test_it_renews_by_itself_until_it_is_closed() -> None:
    store = MemoryQuota()
    store.start()
    store.start()
    assert sum("MemoryQuota" in repr(task) for task in asyncio.all_tasks()) == 1
    await store.close()
    await store.close()
    assert not [task for task in asyncio.all_tasks() if "MemoryQuota" in repr(task)]


async def test_a_reservation_costs_no_more_with_many_accounts_and_leases() -> None:
    """Steps, not seconds, would be better counted; so the bound is wide."""

    async def cost(store: MemoryQuota, prefix: str) -> float:
        began = time.process_time()
        for n in range(300):
            await store.reserve(f"{prefix}{n}", [subject("caller:x", concurrent=10**9)], Amounts(1))
            await store.settle(f"{prefix}{n}", Amounts(1))
        return time.process_time() - began

    store = MemoryQuota()
    few = min([await cost(store, f"few{n}-") for n in range(5)])
    for n in range(20_000):
        await store.reserve(f"many{n}", [subject("caller:x", concurrent=10**9)], Amounts(1))
    many = min([await cost(store, f"many{n}-") for n in range(5)])
    assert many < 20 * few


async def test_a_released_slot_is_free_and_the_amounts_stay_charged() -> None:
    clock = FakeClock(0.0)
    store = quota(clock)
    limits = subject(concurrent=1, tokens_per_day=100)
    assert await granted(store, "job", limits, tokens=60)
    store.release("job")
    store.release("unknown")
    assert await left(store, limits) == [40, 1]
    clock.advance(RENEW_SECONDS)
    store.renew()
    assert await granted(store, "other", limits, tokens=40)
    await store.settle("job", Amounts(10))
    assert await left(store, limits) == [50, 0]

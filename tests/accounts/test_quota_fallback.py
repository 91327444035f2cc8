"""What holds while the shared accounts are away, by kind of limit and by policy; and that both turns are announced."""

import contextlib
import logging
import math
from collections.abc import Sequence

import pytest
from tests.adapters.quota_stores import subject
from tests.fakes import FakeClock

from chukei.accounts.limits import Amounts, Grant, Headroom, Limits, Refusal, Subject
from chukei.accounts.quota import MINUTE_SECONDS
from chukei.accounts.quota_fallback import Away, QuotaFallback
from chukei.accounts.stores import StoreAway
from chukei.adapters.memory_quota import MemoryQuota

pytestmark = pytest.mark.anyio

ALONE, TOGETHER = "quotas are not shared at the moment: ", "quotas are shared again"
RATES = subject(requests_per_minute=8, tokens_per_minute=100, concurrent=8)
QUOTAS = [subject(tokens_per_day=1000), subject(tokens_per_month=1000), subject(money_per_month=1000)]


class Shared:
    """Accounts that are away when the test says so."""

    def __init__(self) -> None:
        self.away = False
        self.kept = MemoryQuota(clock=FakeClock())
        self.started = self.closed = False

    async def reserve(self, id: str, subjects: Sequence[Subject], estimate: Amounts) -> Grant | Refusal:
        if self.away:
            raise StoreAway("away")
        return await self.kept.reserve(id, subjects, estimate)

    def release(self, id: str) -> None:
        self.kept.release(id)

    async def settle(self, id: str, actual: Amounts, subjects: Sequence[Subject] = ()) -> None:
        await self.kept.settle(id, actual, subjects)

    async def headroom(self, subjects: Sequence[Subject]) -> tuple[Headroom, ...]:
        if self.away:
            raise StoreAway("away")
        return await self.kept.headroom(subjects)

    def start(self) -> None:
        self.started = True

    async def close(self) -> None:
        self.closed = True


@pytest.fixture(autouse=True)
def log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "chukei")


def said(caplog: pytest.LogCaptureFixture, text: str) -> int:
    return sum(record.getMessage().startswith(text) for record in caplog.records)


async def granted(store: QuotaFallback, count: int, *subjects: Subject, name: str = "a", tokens: int = 0) -> int:
    """Ask so often and return how often it was granted."""
    results = [await store.reserve(f"{name}{n}", subjects, Amounts(tokens)) for n in range(count)]
    return sum(isinstance(result, Grant) for result in results)


@pytest.mark.parametrize("away", Away)
async def test_while_they_answer_the_shared_accounts_hold(away: Away, caplog: pytest.LogCaptureFixture) -> None:
    shared = Shared()
    store = QuotaFallback(shared, MemoryQuota(), away=away, replicas=4)
    assert await granted(store, 10, RATES) == 8
    await store.settle("a0", Amounts())
    assert await store.headroom([RATES]) == await shared.headroom([RATES])
    assert (await store.headroom([RATES]))[2].remaining == 1
    assert not caplog.records


@pytest.mark.parametrize("away", [Away.BY_KIND, Away.OPEN])
async def test_a_rate_is_divided_by_the_replicas(away: Away) -> None:
    shared = Shared()
    store = QuotaFallback(shared, MemoryQuota(), away=away, replicas=4)
    shared.away = True
    assert await granted(store, 10, RATES) == 2
    assert [left.most for left in await store.headroom([RATES])] == [2, 25, 2]


@pytest.mark.parametrize("quota", QUOTAS, ids=str)
async def test_who_has_a_quota_is_refused(quota: Subject) -> None:
    shared = Shared()
    store = QuotaFallback(shared, MemoryQuota())
    shared.away = True
    for subjects in ([quota], [RATES, quota]):
        with pytest.raises(StoreAway):
            await store.reserve("a", subjects, Amounts(1))
        with pytest.raises(StoreAway):
            await store.headroom(subjects)


@pytest.mark.parametrize("quota", QUOTAS, ids=str)
async def test_where_all_is_open_a_quota_is_divided_too(quota: Subject) -> None:
    shared = Shared()
    store = QuotaFallback(shared, MemoryQuota(), away=Away.OPEN, replicas=4)
    shared.away = True
    results = [await store.reserve(str(n), [quota], Amounts(100, 100)) for n in range(4)]
    assert [isinstance(result, Grant) for result in results] == [True, True, False, False]
    assert (await store.headroom([quota]))[0].most == 250


async def test_where_all_is_closed_nothing_is_granted() -> None:
    shared = Shared()
    store = QuotaFallback(shared, MemoryQuota(), away=Away.CLOSED)
    shared.away = True
    with pytest.raises(StoreAway):
        await store.reserve("a", [RATES], Amounts())
    with pytest.raises(StoreAway):
        await store.headroom([RATES])


@pytest.mark.parametrize(
    ("away", "words"),
    [(Away.OPEN, "counts all limits alone, each divided by 2"), (Away.CLOSED, "callers with a limit are refused")],
)
async def test_the_announcement_says_what_holds_meanwhile(
    caplog: pytest.LogCaptureFixture, away: Away, words: str
) -> None:
    shared = Shared()
    shared.away = True
    store = QuotaFallback(shared, MemoryQuota(), away=away, replicas=2)
    with contextlib.suppress(StoreAway):
        await store.reserve("a", [RATES], Amounts(1))
    assert words in caplog.text


async def test_both_turns_are_announced_once(caplog: pytest.LogCaptureFixture) -> None:
    shared = Shared()
    store = QuotaFallback(shared, MemoryQuota(), replicas=3)
    for turn in range(1, 3):
        shared.away = True
        await granted(store, 5, RATES, name=f"away{turn}-")
        assert said(caplog, ALONE) == turn
        shared.away = False
        await granted(store, 5, RATES, name=f"back{turn}-")
        assert said(caplog, TOGETHER) == turn
    assert "callers with limits by day, month or money are refused" in caplog.text
    assert "divided by 3" in caplog.text
    assert "caller:a" not in caplog.text


async def test_what_was_reserved_alone_is_settled_alone() -> None:
    shared = Shared()
    store = QuotaFallback(shared, MemoryQuota(), replicas=8)
    shared.away = True
    assert await granted(store, 1, RATES, tokens=12) == 1
    assert [left.remaining for left in await store.headroom([RATES])] == [0, 0, 0]
    shared.away = False
    await store.settle("a0", Amounts(2))
    assert [left.remaining for left in await store.headroom([RATES])] == [8, 100, 8]
    shared.away = True
    assert [left.remaining for left in await store.headroom([RATES])] == [0, 10, 1]


@pytest.mark.parametrize(("most", "part"), [(0, 0), (1, 1), (3, 1), (4, 1), (9, 2), (2**63, 2**53)])
async def test_a_part_is_at_least_one(most: int, part: int) -> None:
    shared = Shared()
    shared.away = True
    store = QuotaFallback(shared, MemoryQuota(), replicas=4)
    assert (await store.headroom([Subject("caller:a", Limits(concurrent=most))]))[0].most == part


@pytest.mark.parametrize("replicas", [-1, 0, 1])
async def test_a_single_replica_keeps_the_whole(replicas: int) -> None:
    shared = Shared()
    shared.away = True
    store = QuotaFallback(shared, MemoryQuota(), replicas=replicas)
    assert [left.most for left in await store.headroom([RATES])] == [8, 100, 8]


async def test_what_is_more_than_a_part_is_not_refused_for_ever() -> None:
    shared = Shared()
    shared.away = True
    store = QuotaFallback(shared, MemoryQuota(), replicas=4)
    seconds = {}
    for tokens in (50, 100, 101):
        refusal = await store.reserve("a", [RATES], Amounts(tokens))
        assert isinstance(refusal, Refusal)
        seconds[tokens] = refusal.seconds
    assert seconds == {50: MINUTE_SECONDS, 100: MINUTE_SECONDS, 101: math.inf}


async def test_both_are_started_and_closed() -> None:
    shared = Shared()
    store = QuotaFallback(shared, MemoryQuota(clock=FakeClock()))
    store.start()
    await store.close()
    assert shared.started
    assert shared.closed

"""The store on a real server: limits that replicas share, and a Redis that is stopped, stalled, emptied or foreign."""

import asyncio
import random
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from tests.adapters.quota_stores import NAMESPACE, PATIENCE, subject
from tests.fakes import FakeClock
from tests.live.redis_server import RedisServer
from tests.live.relays import clean_environment, eventually
from tests.loops import on_both_loops

from chukei.accounts.limits import Amounts, Grant, Refusal, Subject
from chukei.accounts.quota import LEASE_SECONDS, MINUTE_SECONDS
from chukei.accounts.quota_fallback import QuotaFallback
from chukei.accounts.stores import QuotaStore, StoreAway
from chukei.adapters.memory_quota import MemoryQuota
from chukei.adapters.redis.line import LOOK_SECONDS, LOOKS
from chukei.adapters.redis.quota import ANSWER_SECONDS, RedisQuota
from chukei.metrics.definitions import STORE_AVAILABLE

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[3]
AWAY, BACK = "quotas: Redis is away", "quotas: Redis is back"
CHOSEN = "{redis.call('GET', 's'), 0}"  # the server's time, as the test says
ALL = subject(
    requests_per_minute=1000,
    tokens_per_minute=1000,
    tokens_per_day=1000,
    tokens_per_month=1000,
    money_per_month=1000,
    concurrent=1000,
)
USED = [1, 100, 100, 100, 50, 1]


def connected(store: RedisQuota) -> bool:
    [(family, labels, available)] = store.readings()
    assert (family, labels) == (STORE_AVAILABLE, ("quota",))
    assert bool(available) == ("connected" in repr(store))
    return bool(available)


def unsettled(store: RedisQuota) -> int:
    return int(re.findall(r"(\d+) unsettled", repr(store))[0])


@asynccontextmanager
async def stores(
    server: RedisServer, replicas: int = 1, *, patience: float = PATIENCE, **options: Any
) -> AsyncIterator[list[RedisQuota]]:
    """Stores that share their accounts, connected, and closed in the end."""
    made = [RedisQuota(server.url, namespace=NAMESPACE, patience=patience, **options) for _ in range(replicas)]
    try:
        for store in made:
            store.start()
        await eventually(lambda: all(connected(store) for store in made))
        yield made
    finally:
        for store in made:
            await store.close()


async def left(store: QuotaStore, *subjects: Subject) -> list[int]:
    return [each.remaining for each in await store.headroom(subjects)]


async def settled(*stores: RedisQuota) -> None:
    """Wait until Redis has taken all that was settled."""
    await eventually(lambda: not any(unsettled(store) for store in stores))


async def back(store: RedisQuota) -> None:
    await eventually(lambda: connected(store))


async def granted(store: RedisQuota, id: str, *subjects: Subject, tokens: int = 0) -> bool:
    return isinstance(await store.reserve(id, subjects, Amounts(tokens)), Grant)


def calls(server: RedisServer, command: str) -> int:
    statistics = server.command("INFO", "commandstats").decode()
    found = re.search(rf"cmdstat_{command}:calls=(\d+)", statistics)
    return int(found[1]) if found else 0


def said(caplog: pytest.LogCaptureFixture, text: str) -> int:
    return sum(record.getMessage().startswith(text) for record in caplog.records)


@pytest.fixture
def mortal() -> Iterator[RedisServer]:
    """A server for the test to stop and start."""
    with RedisServer() as server:
        yield server


@pytest.fixture(autouse=True)
async def nothing_left() -> AsyncIterator[None]:
    """No test leaves a task behind."""
    yield
    assert [task for task in asyncio.all_tasks() if "chukei/adapters/redis" in repr(task)] == []


# What it is for.


@on_both_loops
async def test_what_one_replica_reserves_the_others_count(server: RedisServer) -> None:
    async with stores(server, 2) as [one, other]:
        assert isinstance(await one.reserve("a", [ALL], Amounts(100, 50)), Grant)
        assert await left(other, ALL) == [1000 - used for used in USED]
        await one.settle("a", Amounts(70, 20))
        await settled(one)
        assert await left(other, ALL) == [999, 930, 930, 930, 980, 1000]


async def test_all_subjects_are_charged_or_none(server: RedisServer) -> None:
    caller, group = subject(requests_per_minute=9), subject("group:b", requests_per_minute=1)
    async with stores(server) as [store]:
        grant = await store.reserve("a", [caller, group], Amounts())
        assert isinstance(grant, Grant)
        assert [(each.subject, each.remaining) for each in grant.headroom] == [("caller:a", 8), ("group:b", 0)]
        refusal = await store.reserve("b", [caller, group], Amounts())
        assert isinstance(refusal, Refusal)
        assert (refusal.subject, refusal.used, refusal.asked) == ("group:b", 1, 1)
        assert 0 < refusal.seconds <= MINUTE_SECONDS
        assert await left(store, caller) == [8]


async def test_settling_twice_or_what_never_was_does_nothing(server: RedisServer) -> None:
    async with stores(server) as [store]:
        await store.reserve("a", [ALL], Amounts(100))
        for _ in range(2):
            await store.settle("a", Amounts(10))
        await store.settle("never", Amounts(10))
        assert (await left(store, ALL))[1] == 990


async def test_a_request_costs_one_call_of_a_script_and_one_more_when_it_is_over(server: RedisServer) -> None:
    async with stores(server) as [store]:
        server.command("CONFIG", "RESETSTAT")
        for n in range(20):
            await store.reserve(str(n), [ALL, subject("group:b", concurrent=30)], Amounts(1))
        assert calls(server, "evalsha") == 20
        for n in range(20):
            await store.settle(str(n), Amounts(1))
        await settled(store)
        assert calls(server, "evalsha") == 40
        assert [calls(server, other) for other in ("eval", "ping", "script\\|load", "client\\|setinfo")] == [0, 0, 0, 0]


async def test_a_url_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="a Redis URL"):
        RedisQuota("http://x")


async def test_without_limits_redis_is_not_asked() -> None:
    store = RedisQuota("redis://127.0.0.1:1")
    assert await store.reserve("a", [subject()], Amounts(9)) == Grant("a")
    assert await store.headroom([subject()]) == ()
    await store.settle("a", Amounts(9))


@on_both_loops
async def test_many_at_once_share_round_trips(server: RedisServer) -> None:
    async with stores(server) as [store]:
        results = await asyncio.gather(
            *[store.reserve(str(n), [subject(requests_per_minute=300)], Amounts()) for n in range(450)]
        )
        assert sum(isinstance(result, Grant) for result in results) == 300
        assert connected(store)


async def test_two_processes_that_hammer_get_the_limit_and_no_more(server: RedisServer) -> None:
    command = [sys.executable, "-m", "tests.adapters.quota_stores", "hammer", server.url]
    both = [
        await asyncio.create_subprocess_exec(
            *command, name, "50", "10", cwd=ROOT, env=environment(), stdout=subprocess.PIPE
        )
        for name in ("one", "other")
    ]
    counts = [int((await process.communicate())[0]) for process in both]
    assert sum(counts) == 100


async def test_two_replicas_never_have_more_at_once_than_the_limit(server: RedisServer) -> None:
    under_way = most = 0

    async def ask(store: RedisQuota, name: str) -> None:
        nonlocal under_way, most
        for n in range(10):
            if await granted(store, f"{name}-{n}", subject(concurrent=7)):
                under_way += 1
                most = max(most, under_way)
                await asyncio.sleep(0)
                under_way -= 1
                await store.settle(f"{name}-{n}", Amounts())

    async with stores(server, 2) as both:
        await asyncio.gather(*[ask(store, f"{n}-{task}") for n, store in enumerate(both) for task in range(25)])
        assert most == 7
        await settled(*both)
        assert await left(both[0], subject(concurrent=7)) == [7]


def environment() -> dict[str, str]:
    return {**clean_environment(), "PYTHONPATH": f"{ROOT}:{ROOT / 'src'}"}


async def test_a_killed_process_gives_its_slots_back_when_its_leases_end(server: RedisServer) -> None:
    held = subject(concurrent=3, tokens_per_day=1000)
    server.command("SET", "s", "1000000000")
    async with stores(server, server_time=CHOSEN) as [store]:
        process = await asyncio.create_subprocess_exec(
            *[sys.executable, "-m", "tests.adapters.quota_stores", "hold", server.url, "3", CHOSEN],
            cwd=ROOT,
            env=environment(),
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        assert await process.stdout.readline() == b"held\n"
        process.kill()
        await process.communicate()
        server.command("SET", "s", str(1_000_000_000 + int(LEASE_SECONDS) - 1))
        refusal = await store.reserve("a", [held], Amounts(10))
        assert isinstance(refusal, Refusal)
        assert (refusal.limit, refusal.seconds) == ("concurrent", 1.0)
        server.command("SET", "s", str(1_000_000_000 + int(LEASE_SECONDS)))
        assert await granted(store, "a", held, tokens=10)
        assert await left(store, held) == [1000 - 4 * 10, 2]  # what was reserved stays charged


# When Redis fails.


async def test_the_bound_on_waiting_is_a_tenth_of_a_second() -> None:
    assert ANSWER_SECONDS + LOOKS * LOOK_SECONDS < 0.1


@on_both_loops
async def test_a_stall_costs_a_tenth_of_a_second_once(mortal: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    async with stores(mortal, patience=ANSWER_SECONDS) as [store]:
        assert await granted(store, "a", ALL, tokens=100)
        mortal.pause()
        with pytest.raises(StoreAway):
            await store.reserve("b", [ALL], Amounts(500))
        for n in range(100):
            with pytest.raises(StoreAway):
                store.reserve(f"c{n}", [ALL], Amounts(1)).send(None)  # it does not even give the loop a turn
        await store.settle("a", Amounts(70))
        await eventually(lambda: said(caplog, AWAY) == 1)
        mortal.resume()
        await back(store)
        assert said(caplog, BACK) == 1
        assert (await left(store, ALL))[1:] == [930, 930, 930, 1000, 1000]  # "b" was reserved, and given back
        assert unsettled(store) == 0


async def test_many_that_wait_when_it_stalls_wait_together(mortal: RedisServer) -> None:
    async with stores(mortal, patience=ANSWER_SECONDS) as [store]:
        mortal.pause()
        results = await asyncio.gather(
            *[store.reserve(str(n), [ALL], Amounts(1)) for n in range(500)], return_exceptions=True
        )
        assert all(isinstance(result, StoreAway) for result in results)
        mortal.resume()
        await back(store)
        assert (await left(store, ALL))[1:] == [1000, 1000, 1000, 1000, 1000]


async def test_through_stalls_and_clients_that_leave_all_that_was_used_is_charged_and_nothing_else(
    mortal: RedisServer,
) -> None:
    chance = random.Random(4)
    used = away = left_early = 0
    quota, over = subject(tokens_per_day=10**9, concurrent=1000), asyncio.Event()

    async def ask(store: RedisQuota, name: str) -> None:
        nonlocal used, away, left_early
        for n in count():
            if over.is_set():
                break
            asking = asyncio.create_task(store.reserve(f"{name}-{n}", [quota], Amounts(100)))
            await asyncio.wait({asking}, timeout=chance.choice([0.0, 0.001, 1.0]))
            if asking.cancel():
                await asyncio.wait({asking})
            if asking.cancelled():
                left_early += 1
            elif asking.exception() is not None:
                away += 1
                await asyncio.sleep(0.01)
            elif isinstance(asking.result(), Grant):
                actual = chance.randrange(200)
                used += actual
                await store.settle(f"{name}-{n}", Amounts(actual))

    async def trouble() -> None:
        for seconds in (0.2, 0.01, 0.2, 0.01, 0.2):
            await asyncio.sleep(0.05)
            mortal.pause()
            await asyncio.sleep(seconds)
            mortal.resume()
        over.set()

    async with stores(mortal, 2, patience=ANSWER_SECONDS) as both:
        asking = [ask(store, f"{n}-{task}") for n, store in enumerate(both) for task in range(15)]
        await asyncio.gather(trouble(), *asking)
        for store in both:
            await back(store)
            await eventually(lambda store=store: unsettled(store) == 0)  # type: ignore[misc]
        assert await left(both[0], quota) == [10**9 - used, 1000]
    assert used
    assert away
    assert left_early


@on_both_loops
async def test_a_restart_in_mid_run_is_survived(mortal: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    async with stores(mortal) as [store]:
        assert await granted(store, "a", ALL, tokens=100)
        mortal.stop()
        with pytest.raises(StoreAway):
            await store.reserve("b", [ALL], Amounts(1))
        mortal.start()
        await back(store)
        assert (await left(store, ALL))[1:] == [1000, 1000, 1000, 1000, 999]  # the lease was made anew
        await store.settle("a", Amounts(70))
        assert await granted(store, "c", ALL, tokens=5)
        assert (await left(store, ALL))[1:] == [995, 995, 995, 1000, 999]
    assert (said(caplog, AWAY), said(caplog, BACK)) == (1, 1)


async def test_meanwhile_each_replica_counts_its_part_alone(
    mortal: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    rates = subject(requests_per_minute=8)
    async with stores(mortal, 2) as both:
        replicas = [QuotaFallback(store, MemoryQuota(), replicas=2) for store in both]

        async def count(name: str) -> int:
            asked = [(f"{name} {which} {n}", each) for n in range(6) for which, each in enumerate(replicas)]
            answers = [await each.reserve(id, [rates], Amounts()) for id, each in asked]
            return sum(isinstance(answer, Grant) for answer in answers)

        assert await count("together") == 8
        mortal.stop()
        assert await count("alone") == 8
        assert said(caplog, "quotas are not shared at the moment: ") == 2
        mortal.start()
        for store, replica in zip(both, replicas, strict=True):
            await back(store)
            assert (await replica.headroom([rates]))[0].most == 8
        assert said(caplog, "quotas are shared again") == 2


async def test_scripts_that_redis_forgot_are_sent_again(server: RedisServer) -> None:
    async with stores(server) as [store]:
        server.command("SCRIPT", "FLUSH")
        assert await granted(store, "a", ALL, tokens=100)
        server.command("SCRIPT", "FLUSH")
        await store.settle("a", Amounts(1))
        assert await left(store, ALL) == [999, 999, 999, 999, 1000, 1000]


async def test_what_cannot_be_settled_is_settled_when_redis_is_back(mortal: RedisServer) -> None:
    async with stores(mortal, 2) as [store, other]:
        for n in range(300):
            assert await granted(store, str(n), ALL, tokens=2)
        mortal.pause()
        with pytest.raises(StoreAway):
            await store.reserve("x", [ALL], Amounts(1))
        for n in range(300):
            await store.settle(str(n), Amounts(1))
        assert unsettled(store) == 301
        mortal.resume()
        await back(store)
        assert unsettled(store) == 0
        await back(other)
        assert (await left(other, ALL))[1:] == [700, 700, 700, 1000, 1000]


async def test_what_no_longer_matters_is_not_settled(mortal: RedisServer) -> None:
    clock = FakeClock()
    store = RedisQuota(mortal.url, namespace=NAMESPACE, patience=0.5, clock=clock)
    store.start()
    await back(store)
    daily = subject("caller:b", tokens_per_day=100)
    await store.reserve("a", [subject(requests_per_minute=5)], Amounts(1))
    await store.reserve("b", [daily], Amounts(50))
    mortal.pause()
    with pytest.raises(StoreAway):
        await store.headroom([ALL])
    await store.settle("a", Amounts(1))
    await store.settle("b", Amounts(10))
    assert unsettled(store) == 2
    clock.advance(MINUTE_SECONDS)
    mortal.resume()
    await back(store)
    assert unsettled(store) == 0
    assert calls(mortal, "evalsha") == 2 + 1 + 1  # two reservations, a look that came late, one settling
    assert await left(store, daily) == [90]
    await store.close()


async def test_a_reservation_is_given_back_when_who_asked_for_it_leaves(mortal: RedisServer) -> None:
    async with stores(mortal) as [store]:
        mortal.pause()
        asking = asyncio.create_task(store.reserve("a", [ALL], Amounts(100)))
        await asyncio.sleep(0.02)  # it has been sent
        asking.cancel()
        await asyncio.wait({asking})
        assert asking.cancelled()
        mortal.resume()
        await eventually(lambda: unsettled(store) == 0)
        await back(store)
        assert (await left(store, ALL))[1:] == [1000, 1000, 1000, 1000, 1000]


async def test_the_first_request_waits_for_the_connection(server: RedisServer) -> None:
    store = RedisQuota(server.url, namespace=NAMESPACE, patience=PATIENCE)
    store.start()
    assert await granted(store, "a", ALL)
    await store.close()


async def test_nobody_waits_where_there_is_no_redis(mortal: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    mortal.stop()
    store = RedisQuota(mortal.url, namespace=NAMESPACE, patience=PATIENCE)
    store.start()
    for n in range(20):
        with pytest.raises(StoreAway):
            await store.reserve(str(n), [ALL], Amounts(1))
    mortal.start()
    await back(store)
    assert await granted(store, "a", ALL)
    await store.close()
    assert (said(caplog, AWAY), said(caplog, BACK)) == (1, 1)


async def test_a_store_that_was_not_started_or_is_closed_is_away(server: RedisServer) -> None:
    store = RedisQuota(server.url, namespace=NAMESPACE)
    with pytest.raises(StoreAway):
        await store.reserve("a", [ALL], Amounts(1))
    store.start()
    store.start()
    await back(store)
    await store.close()
    await store.close()
    with pytest.raises(StoreAway):
        await store.headroom([ALL])


async def test_what_was_settled_counts_for_the_next_request_of_this_process(server: RedisServer) -> None:
    async with stores(server) as [store]:
        for n in range(20):  # nobody waits for the settling, and yet the only place is free again
            assert await granted(store, str(n), subject(concurrent=1))
            await store.settle(str(n), Amounts())


async def test_what_is_settled_while_a_session_begins_is_not_forgotten(mortal: RedisServer) -> None:
    async with stores(mortal) as [store]:
        for n in range(300):
            assert await granted(store, str(n), ALL, tokens=1)
        mortal.stop()
        with pytest.raises(StoreAway):
            await store.headroom([ALL])
        mortal.start()
        for n in range(300):
            await store.settle(str(n), Amounts(1))
            await asyncio.sleep(0)
        await back(store)
        await settled(store)
        assert await left(store, subject(concurrent=1000)) == [1000]


async def test_closing_settles_what_is_under_way(server: RedisServer) -> None:
    async with stores(server, 2) as [store, other]:
        await store.reserve("a", [ALL], Amounts(100))
        await store.settle("a", Amounts(1))
        await store.close()
        assert (await left(other, ALL))[1] == 999


async def test_closing_says_what_could_not_be_settled(mortal: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    async with stores(mortal) as [store]:
        await store.reserve("a", [ALL], Amounts(1))
        mortal.stop()
        with pytest.raises(StoreAway):
            await store.headroom([ALL])
        await store.settle("a", Amounts(1))
    assert said(caplog, "quotas: 1 requests stay charged as reserved") == 1


@pytest.mark.parametrize(
    ("refuse", "agree"),
    [
        (("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0")),
        (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE")),  # now a read-only replica
    ],
    ids=["full", "read-only"],
)
async def test_a_redis_that_refuses_to_write_is_away(
    mortal: RedisServer, caplog: pytest.LogCaptureFixture, refuse: tuple[str, ...], agree: tuple[str, ...]
) -> None:
    async with stores(mortal) as [store]:
        mortal.command(*refuse)
        with pytest.raises(StoreAway):
            await store.reserve("a", [ALL], Amounts(1))
        assert not connected(store)
        await eventually(lambda: said(caplog, AWAY) == 1)
        mortal.command(*agree)
        await back(store)
        assert await granted(store, "b", ALL)
    assert said(caplog, AWAY) == 1


async def test_leases_are_renewed_all_the_time(server: RedisServer) -> None:
    lease = "{test:quota}:leases:caller:a"
    async with stores(server, renew_seconds=0.01) as [store]:
        assert await granted(store, "a", ALL)
        for _ in range(2):
            server.command("DEL", lease)
            await eventually(lambda: server.command("EXISTS", lease) == b":1\r\n")


async def test_a_process_that_was_busy_does_not_blame_redis(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    patience = 0.25
    async with stores(server, patience=patience) as [store]:
        for n in range(2):
            asking = [asyncio.create_task(granted(store, f"{n}-{each}", subject(concurrent=99))) for each in range(10)]
            for _ in range(3):  # it is sent
                await asyncio.sleep(0)
            time.sleep(3 * patience)
            assert all(await asyncio.gather(*asking))
    assert said(caplog, AWAY) == 0


async def test_closing_ends_what_waits(mortal: RedisServer) -> None:
    async with stores(mortal) as [store]:
        mortal.pause()
        asking = [asyncio.create_task(granted(store, str(n), ALL)) for n in range(3)]
        await asyncio.sleep(0.01)
        await store.close()
        results = await asyncio.gather(*asking, return_exceptions=True)
        assert [type(result) for result in results] == [StoreAway] * 3
        mortal.resume()


async def test_something_strange_under_one_key_harms_nobody_else(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.command("SET", "{test:quota}:of:caller:a", "strange")
    other = subject("caller:secret", requests_per_minute=5)
    async with stores(server) as [store]:
        with pytest.raises(StoreAway):
            await store.reserve("a", [ALL], Amounts(1))
        assert await granted(store, "b", other)
    assert said(caplog, "quotas: a script failed") == 1


async def test_no_name_and_no_key_is_logged(mortal: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    secret = subject("caller:ariadne", requests_per_minute=5, concurrent=3)
    mortal.command("SET", "{test:quota}:leases:caller:ariadne", "strange")
    async with stores(mortal) as [store]:
        with pytest.raises(StoreAway):
            await store.reserve("theseus", [secret], Amounts(1))
        mortal.stop()
        with pytest.raises(StoreAway):
            await store.reserve("theseus", [secret], Amounts(1))
        await eventually(lambda: said(caplog, AWAY) == 1)
        assert "ariadne" not in repr(store)
    assert caplog.records
    assert "ariadne" not in caplog.text
    assert "theseus" not in caplog.text


async def test_a_released_slot_is_free_and_the_amounts_stay_charged(server: RedisServer) -> None:
    limits = subject(concurrent=1, tokens_per_day=100)
    async with stores(server, 2) as (one, other):
        assert isinstance(await one.reserve("job", [limits], Amounts(60)), Grant)
        one.release("job")
        one.release("unknown")
        assert [each.remaining for each in await one.headroom([limits])] == [40, 1]
        await one.settle("job", Amounts(10), [limits])
        await settled(one)
        assert [each.remaining for each in await one.headroom([limits])] == [90, 1]
        assert [each.remaining for each in await other.headroom([limits])] == [90, 1]


async def test_another_replica_settles_what_one_has_reserved_once(server: RedisServer) -> None:
    limits = subject(concurrent=1, tokens_per_day=100)
    async with stores(server, 2) as (one, other):
        assert isinstance(await one.reserve("job", [limits], Amounts(60)), Grant)
        one.release("job")
        assert [each.remaining for each in await one.headroom([limits])] == [40, 1]
        for store in (other, other, one):
            await store.settle("job", Amounts(10), [limits])
            await settled(store)
            assert [each.remaining for each in await store.headroom([limits])] == [90, 1]

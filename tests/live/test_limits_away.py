"""Limits while the Redis that relays share is stopped, stalled or back again, and after a relay was killed."""

import asyncio
import os
import signal
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest
from tests.live.callers import ENVIRONMENT, CountingUpstream, Table, ask, config, count, hammer, insist, until
from tests.live.plain_http import Answer
from tests.live.redis_server import RedisServer
from tests.live.relays import RelayProcess, eventually

from chukei.accounts.quota import LEASE_SECONDS

pytestmark = pytest.mark.anyio

ANSWER_SECONDS = 0.5
"""Seconds in which Redis must answer: more than by default, since a busy machine may let it wait for its turn."""

CALLERS: dict[str, Table] = {
    "rates": {"limits": {"requests_per_minute": 20, "tokens_per_minute": 1_000_000}},
    "slots": {"limits": {"concurrent": 6}},
    "money": {"limits": {"money_per_month": 0.05, "requests_per_minute": 20}},
    "free": {},
    "busy": {"limits": {"requests_per_minute": 1_000_000}},
}


@dataclass(frozen=True)
class Setup:
    """Two relays, what they share and what they ask."""

    away: str
    relays: list[RelayProcess]
    redis: RedisServer
    upstream: CountingUpstream
    read: list[int]
    """How many lines of each relay's log were there before the test."""

    @property
    def urls(self) -> list[str]:
        return [relay.url for relay in self.relays]

    @property
    def logs(self) -> list[list[str]]:
        """What each relay has logged since the test began."""
        return [relay.log[read:] for relay, read in zip(self.relays, self.read, strict=True)]

    async def said(self, text: str) -> None:
        """Wait until each relay has logged something."""
        await eventually(lambda: all(any(text in line for line in log) for log in self.logs))


@pytest.fixture(scope="module")
async def started(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Setup]:
    """Two relays for each way to count while Redis is away."""
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(CountingUpstream())
        redis = stack.enter_context(RedisServer())
        stores = {"quota": redis.url, "quota_away": request.param, "quota_seconds": ANSWER_SECONDS, "replicas": 2}
        path = tmp_path_factory.mktemp("away") / "chukei.toml"
        file = str(config(path, upstream.url, CALLERS, stores=stores))
        relays = [stack.enter_context(RelayProcess(ENVIRONMENT, "--config", file)) for _ in range(2)]
        yield Setup(request.param, relays, redis, upstream, [])
        assert not any("Traceback" in line for relay in relays for line in relay.log)


@pytest.fixture
async def setup(started: Setup) -> Setup:
    """The relays, with Redis there and nothing that runs."""
    assert all([(await insist(url, "busy")).status == 200 for url in started.urls])
    started.upstream.holding.clear()
    started.upstream.visits.clear()
    started.read[:] = [len(relay.log) for relay in started.relays]
    return started


def away(*ways: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("started", ways, indirect=True, scope="module")


def refused_for_now(answer: Answer) -> bool:
    """Whether the caller is told to come back soon, since nobody knows what it may use."""
    if answer.status != 503:
        return False
    assert answer.error["code"] == "quota_unavailable"
    return answer.header("retry-after") is not None


@away("by_kind", "open", "closed")
async def test_redis_stops_and_comes_back(setup: Setup) -> None:
    assert (await insist(setup.urls[0], "money", max_tokens=100)).status == 200
    setup.redis.stop()
    # The first to ask finds out; nobody waits for longer than that.
    rates = await hammer(setup.urls, "rates", each=2)
    money = await hammer(setup.urls, "money", each=2, max_tokens=100)
    free = await hammer(setup.urls, "free", each=1)
    assert count(free).granted == len(free)
    if setup.away == "closed":
        assert all(map(refused_for_now, [*rates, *money]))
    else:
        assert count(rates) == (20, 0)  # ten each
        refused = next(answer for answer in rates if answer.status == 429)
        assert "your limit is 10 " in refused.error["message"]
    if setup.away == "by_kind":
        assert all(map(refused_for_now, money))
    if setup.away == "open":
        assert count(money) == (20, 0)
    await setup.said("quotas are not shared at the moment")
    setup.redis.start()
    await setup.said("quotas: Redis is back")
    for url in setup.urls:
        assert (await insist(url, "money", max_tokens=100)).status == 200
    await setup.said("quotas are shared again")


@away("by_kind", "closed")
async def test_a_stall_is_felt_once(setup: Setup) -> None:
    setup.redis.pause()
    seconds = []
    for turn in range(60):
        began = time.monotonic()
        answer = await ask(setup.urls[turn % 2], "busy")
        seconds.append(time.monotonic() - began)
        assert answer.status == 200 if setup.away == "by_kind" else refused_for_now(answer)
    assert statistics.median(seconds) < ANSWER_SECONDS, "each relay waits once"
    setup.redis.resume()
    await setup.said("quotas: Redis is back")
    for url in setup.urls:
        assert (await insist(url, "busy")).status == 200


@away("closed")
async def test_a_relay_that_has_just_started_asks_before_it_refuses(setup: Setup) -> None:
    """What it has not reached yet is not away, though it takes longer than a relay that knows it would wait."""
    relay = setup.relays[0]
    relay.stop()
    setup.redis.pause()
    relay.__enter__()
    asking = asyncio.create_task(ask(relay.url, "money", max_tokens=100))
    await asyncio.sleep(1.2 * ANSWER_SECONDS)
    assert not asking.done()
    setup.redis.resume()
    assert (await asking).status == 200


@away("by_kind")
async def test_a_stall_while_requests_run_takes_nothing_from_them(setup: Setup) -> None:
    """What ends while Redis is away is settled when it is back: all six places are free again."""
    setup.upstream.holding.add("slots")
    running = [asyncio.create_task(ask(setup.urls[n % 2], "slots", stream=True)) for n in range(6)]
    await eventually(lambda: len(setup.upstream.held("slots")) == 6)
    setup.upstream.holding.clear()
    setup.redis.pause()
    for visit in setup.upstream.held("slots"):
        visit.release()
    assert [answer.status for answer in await asyncio.gather(*running)] == [200] * 6
    setup.redis.resume()
    assert await leases(setup.redis, "slots", 0)
    setup.upstream.holding.add("slots")
    await eventually(lambda: _shared(setup))
    again = asyncio.create_task(hammer(setup.urls, "slots", each=1, connections=20))
    await eventually(lambda: len(setup.upstream.held("slots")) == 6)
    for visit in setup.upstream.held("slots"):
        visit.release()
    assert count(await again).granted == 6


def _shared(setup: Setup) -> bool:
    """Whether both relays have Redis again."""
    lines = [[line for line in log if "quotas: Redis is" in line] for log in setup.logs]
    return all(not each or "Redis is back" in each[-1] for each in lines)


async def leases(redis: RedisServer, caller: str, wanted: int) -> bool:
    """Wait until a caller holds so many places."""
    name = f"{{chukei:quota}}:leases:caller:{caller}"
    await eventually(lambda: redis.command("ZCARD", name) == b":%d\r\n" % wanted)
    return True


@away("closed")
async def test_the_places_of_a_killed_relay_come_back(setup: Setup) -> None:
    """A place is a lease. The test moves its end instead of waiting for all of its 30 s, unless it is told to wait."""
    doomed, other = setup.relays
    setup.upstream.holding.add("slots")
    running = [asyncio.create_task(ask(doomed.url, "slots")) for _ in range(6)]
    await eventually(lambda: len(setup.upstream.held("slots")) == 6)
    killed = time.monotonic()
    doomed.stop(signal.SIGKILL)
    await asyncio.gather(*running, return_exceptions=True)
    setup.upstream.holding.clear()
    assert (await insist(other.url, "slots")).status == 429  # they may still be running, for all anyone knows
    if os.environ.get("HYPOTHESIS_PROFILE") == "deep":
        await until(lambda: _granted(other.url), LEASE_SECONDS + 10)
        assert time.monotonic() - killed > LEASE_SECONDS - 5
        return
    move_leases(setup.redis, "slots", 27.0)
    await until(lambda: _granted(other.url))


async def _granted(url: str) -> bool:
    return (await ask(url, "slots")).status == 200


def move_leases(redis: RedisServer, caller: str, seconds: float) -> None:
    """Bring the ends of leases nearer."""
    name = f"{{chukei:quota}}:leases:caller:{caller}"
    members = [line for line in redis.command("ZRANGE", name, "0", "-1").split(b"\r\n") if len(line) == 32]
    assert members
    for member in members:
        redis.command("ZINCRBY", name, str(-int(seconds * 1000)), member.decode())

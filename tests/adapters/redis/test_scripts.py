"""Calls on a real server: batches, what a session begins with, and when Redis counts as away."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager

import pytest
from tests.live.redis_server import RedisServer
from tests.live.relays import eventually

from chukei.accounts.stores import StoreAway
from chukei.adapters.redis.commands import PendingCommand, Script
from chukei.adapters.redis.line import LOOK_SECONDS, LOOKS
from chukei.adapters.redis.scripts import ANSWER_SECONDS, BATCH, RedisScripts

pytestmark = pytest.mark.anyio

ECHO = Script("return ARGV[1]")
ADD = Script("return redis.call('RPUSH', KEYS[1], ARGV[1])")
FAIL = Script("return redis.call('HGET', 'text', 'x')")
AWAY, BACK = "calls: Redis is away", "calls: Redis is back"


def echo(word: str | int) -> PendingCommand:
    return ECHO.call([], [word])


def added(word: str | int, done: Callable[[str], None] | None = None) -> PendingCommand:
    return PendingCommand(ADD.command(["list"], [word]), ADD, str(word), done)


def nothing() -> Sequence[PendingCommand]:
    return ()


@asynccontextmanager
async def line(
    server: RedisServer,
    *,
    at_first: Callable[[], Sequence[PendingCommand]] = nothing,
    regularly: Callable[[], Sequence[PendingCommand]] = nothing,
    period: float = 60.0,
    patience: float = 1.0,
) -> AsyncIterator[RedisScripts]:
    """A line that stands, closed in the end."""
    calls = RedisScripts(
        server.url,
        [ECHO, ADD, FAIL],
        "calls",
        at_first=at_first,
        regularly=regularly,
        period=period,
        patience=patience,
    )
    calls.start()
    try:
        await eventually(lambda: calls.up)
        yield calls
    finally:
        await calls.close()


def kept(server: RedisServer) -> list[bytes]:
    return server.command("LRANGE", "list", "0", "-1").split(b"\r\n")[2::2]


def said(caplog: pytest.LogCaptureFixture, text: str) -> int:
    return sum(record.getMessage().startswith(text) for record in caplog.records)


@pytest.fixture(scope="module")
def redis_server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def server(redis_server: RedisServer) -> RedisServer:
    """A server that is never stopped, emptied."""
    redis_server.command("FLUSHALL")
    return redis_server


@pytest.fixture
def mortal() -> Iterator[RedisServer]:
    """A server for the test to stop and start."""
    with RedisServer() as server:
        yield server


@pytest.fixture(autouse=True)
def log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "chukei")


@pytest.fixture(autouse=True)
async def nothing_left() -> AsyncIterator[None]:
    """No test leaves a task behind."""
    yield
    assert [task for task in asyncio.all_tasks() if "chukei/adapters/redis" in repr(task)] == []


async def test_each_call_gets_its_own_answer(server: RedisServer) -> None:
    count = 12 * BATCH
    async with line(server) as calls:
        answers = await asyncio.gather(*[calls.call(echo(n)) for n in range(count)])
    assert answers == [str(n).encode() for n in range(count)]


async def test_what_is_given_up_before_it_is_sent_is_not_sent(server: RedisServer) -> None:
    async with line(server) as calls:
        call = added("given up")
        asking = asyncio.create_task(calls.call(call))
        await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait({asking})
        await calls.call(added("wanted"))
        assert not call.sent
    assert kept(server) == [b"wanted"]


async def test_what_must_be_done_is_done_though_nobody_waits(server: RedisServer) -> None:
    done: list[str] = []
    async with line(server) as calls:
        asking = asyncio.create_task(calls.call(added("one", done.append)))
        await asyncio.sleep(0)
        asking.cancel()
        calls.submit(added("other", done.append))
        await eventually(lambda: len(done) == 2)
    assert sorted(kept(server)) == [b"one", b"other"]


async def test_a_session_begins_with_what_is_due(mortal: RedisServer) -> None:
    due: list[PendingCommand] = [added(n) for n in range(2 * BATCH + 1)]
    async with line(mortal, at_first=lambda: due) as calls:
        assert await calls.call(added("last")) == 2 * BATCH + 2
        mortal.stop()
        with pytest.raises(StoreAway):
            await calls.call(added("lost"))
        mortal.start()
        await eventually(lambda: calls.up)
        assert len(kept(mortal)) == 2 * BATCH + 1


async def test_what_is_regular_is_repeated(server: RedisServer) -> None:
    async with line(server, regularly=lambda: [added("again")], period=0.01):
        await eventually(lambda: len(kept(server)) >= 3)


async def test_a_process_that_was_busy_does_not_blame_redis(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with line(server, patience=ANSWER_SECONDS) as calls:
        for n in range(5):
            asking = [asyncio.create_task(calls.call(echo(n))) for _ in range(50)]
            await asyncio.sleep(0)
            time.sleep(2 * ANSWER_SECONDS)
            assert await asyncio.gather(*asking) == [str(n).encode()] * 50
    assert said(caplog, AWAY) == 0


async def test_a_stall_is_noticed_once_and_by_all(mortal: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    async with line(mortal, patience=ANSWER_SECONDS) as calls:
        await calls.call(echo("x"))
        await asyncio.sleep(ANSWER_SECONDS)
        mortal.pause()
        began = time.monotonic()
        with pytest.raises(StoreAway):
            await calls.call(echo("x"))
        stalled = time.monotonic() - began
        assert stalled + 0.01 >= ANSWER_SECONDS + LOOKS * LOOK_SECONDS
        assert not calls.up
        with pytest.raises(StoreAway):
            await calls.call(echo("x"))
        mortal.resume()
        await eventually(lambda: calls.up)
        assert await calls.call(echo("x")) == b"x"
    assert (said(caplog, AWAY), said(caplog, BACK)) == (1, 1)


async def test_closing_ends_what_waits(mortal: RedisServer) -> None:
    async with line(mortal) as calls:
        mortal.pause()
        asking = [asyncio.create_task(calls.call(echo(n))) for n in range(3)]
        await asyncio.sleep(0.01)
        await calls.close()
        results = await asyncio.gather(*asking, return_exceptions=True)
        assert [type(result) for result in results] == [StoreAway] * 3
        mortal.resume()


async def test_a_script_that_fails_harms_no_other(server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    server.command("SET", "text", "x")
    async with line(server) as calls:
        results = await asyncio.gather(calls.call(echo("x")), calls.call(FAIL.call([], [])), return_exceptions=True)
        assert results[0] == b"x"
        assert isinstance(results[1], StoreAway)
        assert calls.up
    assert said(caplog, "calls: a script failed") == 1


async def test_a_replica_that_only_reads_is_away_until_it_writes(
    mortal: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with line(mortal) as calls:
        mortal.command("REPLICAOF", "127.0.0.1", "1")
        with pytest.raises(StoreAway):
            await calls.call(added("x"))
        assert not calls.up
        mortal.command("REPLICAOF", "NO", "ONE")
        await eventually(lambda: calls.up)
        assert await calls.call(added("x")) == 1
    assert said(caplog, AWAY) == 1


async def test_a_url_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="a Redis URL"):
        RedisScripts("http://x", [], "calls", at_first=nothing, regularly=nothing, period=1.0)

"""Two relay processes that share a real Redis: each learns of the refusals that the other received from Azure."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.live.fault_scripts import LAST_CHUNK, Script, Send, chunk, head
from tests.live.fault_upstream import FaultUpstream
from tests.live.plain_http import Answer, ask, post
from tests.live.pools import SECRETS, pool_file
from tests.live.recordings import CHAT, DONE, FILTER, FINISH, ROLE, delta
from tests.live.redis_server import RedisServer
from tests.live.relays import RelayProcess, eventually

pytestmark = pytest.mark.anyio

QUESTION = json.dumps({"messages": [{"role": "user", "content": "hi"}], "stream": True}).encode()
PASSWORD = "planted-password-of-redis"
ANSWERS: Script = (Send(head() + chunk(FILTER + ROLE + delta("x") + FINISH + DONE) + LAST_CHUNK),)


def refuses(status: str, *fields: str) -> Script:
    error = b'{"error":{"code":"oops","message":"no"}}'
    return (Send(head("application/json", *fields, status=status, length=len(error)) + error),)


class Two:
    """Two relays in front of two deployments, of which ``first`` has priority."""

    def __init__(self, redis: RedisServer, first: FaultUpstream, second: FaultUpstream, directory: Path) -> None:
        self.redis, self.first, self.second = redis, first, second
        deployments = {
            "first": {"endpoint": first.url, "priority": 1},
            "second": {"endpoint": second.url, "priority": 2},
        }
        file = str(pool_file(directory / "pool.toml", deployments, pool={"affinity": []}))
        address = redis.url.replace("//", f"//:{PASSWORD}@")
        environment = {**SECRETS, "CHUKEI_STORES__QUOTA": address}
        self.relays = [RelayProcess(environment, "--config", file) for _ in range(2)]

    async def ask(self, relay: int, text: str = "hi") -> Answer:
        answer = await post(self.relays[relay].url, CHAT, QUESTION.replace(b'"hi"', json.dumps(text).encode()))
        assert answer.status == 200, answer.body
        assert answer.body.endswith(b"data: [DONE]\n\n")
        return answer

    async def state(self, relay: int, deployment: str = "first") -> dict[str, Any]:
        url = self.relays[relay].url
        answer = await ask(url, "GET", "/health/deployments")
        states: list[dict[str, Any]] = answer.json()["models"]["chat"]
        return next(state for state in states if state["deployment"] == deployment)

    async def until(self, relay: int, status: str) -> dict[str, Any]:
        async with asyncio.timeout(60):
            while (state := await self.state(relay))["status"] != status:
                await asyncio.sleep(0.02)
        return state


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[Two]:
    async with AsyncExitStack() as stack:
        redis = stack.enter_context(RedisServer("--requirepass", PASSWORD))
        first = await stack.enter_async_context(FaultUpstream(ANSWERS))
        second = await stack.enter_async_context(FaultUpstream(ANSWERS))
        both = Two(redis, first, second, tmp_path)
        for relay in both.relays:
            stack.enter_context(relay)
        yield both


async def test_the_other_leaves_a_cooling_deployment_alone_without_a_429_of_its_own(two: Two) -> None:
    two.first.script = refuses("429 Too Many Requests", "retry-after: 60")
    await two.ask(0)
    state = await two.until(1, "cooling")
    assert state["why"] == "upstream_429"
    assert 50 < state["seconds"] <= 60
    for _ in range(5):
        await two.ask(1)
    assert len(two.first.visits) == 1  # Azure refused one of the two relays, once
    assert len(two.second.visits) == 6


async def test_an_open_breaker_is_shared_and_so_is_its_closing(two: Two) -> None:
    two.first.script = refuses("500 Internal Server Error", "retry-after-ms: 2500")
    await two.ask(0, "hello")
    assert (await two.state(0))["left_out_for"] == 1
    await two.ask(1, "hello")
    assert len(two.first.visits) == 2, "what one content has met is no news for others"
    await two.ask(0, "good bye")
    assert (await two.until(1, "open"))["why"] == "upstream_500"
    two.first.script = ANSWERS
    await two.until(0, "half_open")
    await two.ask(0)  # the trial
    await two.until(0, "ready")
    await two.until(1, "ready")
    assert len(two.first.visits) == 4


async def test_a_relay_that_starts_later_knows_too(two: Two) -> None:
    two.first.script = refuses("429 Too Many Requests", "retry-after: 60")
    await two.ask(0)
    await two.until(1, "cooling")
    two.relays[1].stop()
    with two.relays[1]:
        await two.until(1, "cooling")
        await two.ask(1)
    assert len(two.first.visits) == 1


async def test_nobody_notices_when_redis_stops_and_starts_again(two: Two) -> None:
    counts, over = [0] * 6, asyncio.Event()

    async def busy_hour(number: int) -> None:
        while not over.is_set():
            await two.ask(number % 2)  # fails the test on anything but a whole stream
            counts[number] += 1
            await asyncio.sleep(0.005)

    async def served() -> None:
        """Wait until everybody has been served five times more."""
        before = [*counts]
        await eventually(
            lambda: (
                any(hour.done() for hour in hours) or min(map(int.__sub__, counts, before)) >= 5
            )  # or one has failed
        )

    hours = [asyncio.create_task(busy_hour(number)) for number in range(6)]
    two.redis.stop()
    await two.ask(0)
    two.first.script = refuses("429 Too Many Requests", "retry-after: 60")
    await two.until(0, "cooling")  # each finds out for itself
    await two.until(1, "cooling")
    await served()
    two.redis.start()
    await served()
    two.redis.pause()
    await served()
    two.redis.resume()
    await served()
    over.set()
    await asyncio.gather(*hours)
    log = "\n".join(line for relay in two.relays for line in relay.log)
    assert '"status":5' not in log
    assert '"status":429' not in log
    assert "Traceback" not in log


async def test_what_was_learnt_while_redis_was_away_is_told_on_its_return(two: Two) -> None:
    await two.ask(0)
    two.redis.stop()
    two.first.script = refuses("429 Too Many Requests", "retry-after: 60")
    await two.ask(0)
    assert (await two.state(1))["status"] == "ready"
    two.redis.start()
    await two.until(1, "cooling")
    await two.ask(1)
    assert len(two.first.visits) == 2


async def test_the_password_of_redis_is_in_no_log(two: Two) -> None:
    await two.ask(0)
    two.redis.stop()
    async with asyncio.timeout(60):
        while not any("Redis" in line for line in two.relays[0].log):
            await asyncio.sleep(0.02)
    assert not any(PASSWORD in line for relay in two.relays for line in relay.log)

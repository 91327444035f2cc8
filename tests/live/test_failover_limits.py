"""The limits of failover: no deployment is left, the tries are used up, and when deployments return."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI
from tests.live.failover_bench import Clocked, FailoverBench, answer_of, deployments, open_bench
from tests.live.failover_cases import CHAT, COMPLETION, refused
from tests.live.fault_scripts import Hold, Stall
from tests.live.raw_client import RawClient
from tests.live.relays import InProcessRelay, eventually

from chukei.model import End
from chukei.pool.member import Status

pytestmark = pytest.mark.anyio

BUSY = "429 Too Many Requests"
BROKEN = refused("500 Internal Server Error", code="server_error")


@pytest.fixture(scope="module")
async def bench(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[FailoverBench]:
    async with open_bench(tmp_path_factory.mktemp("limits")) as bench:
        yield bench


def _error(client: RawClient) -> dict[str, Any]:
    error: dict[str, Any] = json.loads(client.body)["error"]
    return error


def _codes(relay: InProcessRelay, number: int = -1) -> list[tuple[str, str | None]]:
    return [(attempt.deployment, attempt.code) for attempt in relay.records[number].tries]


# No deployment is left.


async def test_all_busy_says_when_the_first_is_back_and_a_stock_client_waits_for_it(bench: FailoverBench) -> None:
    async with bench.relay() as relay:
        first = Clocked(bench.first, refused(BUSY, "retry-after-ms: 9000"))
        second = Clocked(bench.second, refused(BUSY, "retry-after: 2", "retry-after-ms: 1300"), COMPLETION.good)
        third = Clocked(bench.third, refused(BUSY, "retry-after: 20"))
        async with AsyncOpenAI(base_url=f"{relay.url}/v1", api_key="x", max_retries=2) as stock:
            asking = asyncio.create_task(
                stock.chat.completions.create(model="chat", messages=[{"role": "user", "content": "a"}])
            )
            await relay.record()
            client = await answer_of(relay, CHAT)
            answer = await asking
        assert answer.choices[0].message.content == "中継"
        assert (client.status, _error(client)["code"]) == (429, "all_deployments_busy")
        assert 0 < int(client.headers["retry-after-ms"]) <= 1300
        assert client.headers["retry-after"] in ("1", "2")
        assert "x-should-retry" not in client.headers
        assert second.times[1] - second.times[0] >= 1.3, "before the relay had said"
        assert (len(first.times), len(second.times), len(third.times)) == (1, 2, 1)
        await relay.record(3)
        assert [record.status for record in relay.records] == [429, 429, 200]


async def test_all_failing_is_503_and_nobody_is_asked_until_the_first_may_be_back(bench: FailoverBench) -> None:
    async with bench.relay(pool="breaker_failures = 1") as relay:
        for upstream, seconds in ((bench.first, 50), (bench.second, 7), (bench.third, 30)):
            upstream.script = refused("503 Service Unavailable", f"retry-after: {seconds}")
        body = CHAT.of("chat")
        for number in range(1, 4):
            async with RawClient(relay.url) as client:
                await client.post(CHAT.path, body)
                await client.rest()
            await relay.record(number)
            assert (client.status, _error(client)["code"]) == (503, "no_deployment_available")
            assert 1 <= int(client.headers["retry-after"]) <= 7
        assert bench.asked == (1, 1, 1)
        assert [record.end for record in relay.records] == [End.NO_DEPLOYMENT] * 3


async def test_one_that_is_only_busy_makes_it_429(bench: FailoverBench) -> None:
    async with bench.relay(pool="breaker_failures = 1") as relay:
        bench.first.script = refused(BUSY, "retry-after: 40")
        bench.second.script = bench.third.script = BROKEN
        client = await answer_of(relay, CHAT)
        assert (client.status, _error(client)["code"]) == (429, "all_deployments_busy")
        assert int(client.headers["retry-after"]) <= 5, "a breaker is open for a shorter time"


async def test_a_429_is_never_marked_as_not_to_be_retried(bench: FailoverBench) -> None:
    """Where nothing is remembered of it, Azure's own is passed on, and stock clients wait as it says."""
    async with bench.relay(pool="max_cooldown_seconds = 0") as relay:
        for upstream in (bench.first, bench.second, bench.third):
            upstream.script = refused(BUSY, "retry-after: 3")
        client = await answer_of(relay, CHAT)
        assert (client.status, _error(client)["code"], client.headers["retry-after"]) == (429, "some_code", "3")
        assert "x-should-retry" not in client.headers
        assert bench.asked == (1, 1, 1)


# Limits of tries and of time.


async def test_attempts_are_bounded_and_a_stock_client_is_told_not_to_begin_anew(bench: FailoverBench) -> None:
    async with bench.relay(pool="attempts = 2") as relay:
        bench.heal(CHAT)
        bench.first.script = bench.second.script = BROKEN
        async with AsyncOpenAI(base_url=f"{relay.url}/v1", api_key="x", max_retries=2) as stock:
            with pytest.raises(openai.InternalServerError) as raised:
                await stock.chat.completions.create(model="chat", messages=[{"role": "user", "content": "a"}])
        assert raised.value.response.headers["x-should-retry"] == "false"
        assert (raised.value.status_code, raised.value.code) == (500, "server_error")
        assert bench.asked == (1, 1, 0)
        assert _codes(relay) == [("a", "upstream_500"), ("b", "upstream_500")]


async def test_a_429_is_no_attempt_since_it_costs_nothing(bench: FailoverBench) -> None:
    async with bench.relay(pool="attempts = 2") as relay:
        bench.heal(CHAT)
        bench.first.script, bench.second.script = refused(BUSY), BROKEN
        assert (await answer_of(relay, CHAT)).body == CHAT.shown
        assert _codes(relay) == [("a", "upstream_429"), ("b", "upstream_500"), ("c", None)]


async def test_the_deadline_is_for_all_tries_together(bench: FailoverBench) -> None:
    async with bench.relay(limit=1.6, pool="deadline_seconds = 1.7") as relay:
        bench.heal(CHAT)
        bench.first.script = bench.second.script = [Stall()]
        client = await answer_of(relay, CHAT)
        assert (client.status, _error(client)["code"]) == (504, "upstream_timeout")
        assert bench.asked == (1, 1, 0)
        record = await relay.record()
        assert record.duration >= 1.7, record
        assert record.tries[1].seconds < record.tries[0].seconds, "the second one had only what was left"


async def test_an_answer_that_is_no_stream_has_one_time_for_all_tries(bench: FailoverBench) -> None:
    async with bench.relay(limit=0.6) as relay:
        bench.heal(COMPLETION)
        bench.first.script = [Stall()]
        client = await answer_of(relay, COMPLETION)
        assert (client.status, _error(client)["code"]) == (504, "upstream_timeout")
        assert bench.asked == (1, 0, 0)


@pytest.mark.parametrize(("share", "most"), [(0, 0), (0.1, 108)])
async def test_retries_stay_within_their_budget(share: float, most: int, bench: FailoverBench) -> None:
    """A reserve of 100, a share of the requests, one a second; without it 50 failures would be 150 requests."""
    async with bench.relay(pool=f"retry_share = {share}\nbreaker_failures = 0") as relay:
        for upstream in (bench.first, bench.second, bench.third):
            upstream.script = BROKEN
        began = time.monotonic()  # the pool's clock, which does not stand still on a busy machine
        count = 80
        async with RawClient(relay.url) as client:
            for _ in range(count):
                await client.post(CHAT.path, CHAT.of("chat"))
                await client.rest()
                assert client.status == 500
        most += int(time.monotonic() - began) + 1 if share else 0
        retries = sum(bench.asked) - count
        assert min(most, 100) <= retries <= most


async def test_caps_spill_to_the_next_and_give_429_when_all_are_full(bench: FailoverBench) -> None:
    cap = "max_concurrent = 1"
    async with bench.relay(a=cap, b=cap, c=cap) as relay, AsyncExitStack() as stack:
        for upstream in (bench.first, bench.second, bench.third):
            upstream.script = [Hold(), *CHAT.good]
        clients = [await stack.enter_async_context(RawClient(relay.url)) for _ in range(3)]
        for client, upstream in zip(clients, (bench.first, bench.second, bench.third), strict=True):
            await client.post(CHAT.path, CHAT.of("chat"))
            await (await upstream.visit()).holding()
        assert [deployments(relay)[name].status for name in "abc"] == [Status.FULL] * 3
        refusal = await answer_of(relay, CHAT)
        assert (refusal.status, _error(refusal)["code"]) == (429, "all_deployments_busy")
        assert (refusal.headers["retry-after"], refusal.headers["retry-after-ms"]) == ("1", "1000")
        bench.second.visits[0].release()
        assert await clients[1].rest() == CHAT.shown
        await relay.record(2)
        bench.second.script = CHAT.good
        assert (await answer_of(relay, CHAT)).body == CHAT.shown
        for upstream in (bench.first, bench.third):
            upstream.visits[0].release()
        assert [await client.rest() for client in (clients[0], clients[2])] == [CHAT.shown] * 2
        assert bench.asked == (1, 2, 1)
        clients[1].close()


# Recovery.


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        pytest.param(("retry-after-ms: 1500", "retry-after: 2"), 1.5, id="milliseconds"),
        pytest.param(("retry-after: 1",), 1.0, id="seconds"),
        pytest.param(
            ("retry-after: Sun, 22 Nov 2026 12:00:02 GMT", "date: Sun, 22 Nov 2026 12:00:01 GMT"), 1.0, id="date"
        ),
    ],
)
async def test_provisioned_first_and_back_to_it_when_its_time_is_over(
    fields: tuple[str, ...], seconds: float, bench: FailoverBench
) -> None:
    async with bench.relay() as relay:
        first = Clocked(bench.first, refused(BUSY, *fields), CHAT.good)
        bench.heal(CHAT)
        async with asyncio.timeout(60):
            while len(first.times) < 2:
                assert (await answer_of(relay, CHAT)).body == CHAT.shown
                await asyncio.sleep(0.02)
        assert _codes(relay, 0) == [("a", "upstream_429"), ("b", None)]
        assert {tuple(_codes(relay, number)) for number in range(1, len(relay.records) - 1)} == {(("b", None),)}
        assert _codes(relay) == [("a", None)]
        assert first.times[1] - first.times[0] >= seconds - 0.01


async def test_a_quota_group_cools_down_together(bench: FailoverBench) -> None:
    group = 'quota_group = "east"'
    async with bench.relay(a=group, b=group) as relay:
        bench.heal(CHAT)
        bench.first.script = refused(BUSY, "retry-after: 30")
        assert (await answer_of(relay, CHAT)).body == CHAT.shown
        assert bench.asked == (1, 0, 1)
        assert [deployments(relay)[name].status for name in "abc"] == [Status.COOLING, Status.COOLING, Status.READY]


async def test_a_recovered_deployment_comes_back_by_one_trial(bench: FailoverBench) -> None:
    async with bench.relay(pool="breaker_failures = 1\nbreaker_seconds = 0.5") as relay:
        bench.heal(CHAT)
        Clocked(bench.first, *[BROKEN] * 4, [Hold(), *CHAT.good], CHAT.good)
        for number in (1, 2):  # opened, and opened again by trials that failed
            for _ in range(2):
                assert (await answer_of(relay, CHAT)).body == CHAT.shown
            known = deployments(relay)["a"]
            assert (known.status, known.failed) == (Status.OPEN, 2 * number)
            assert 0.5 * (number - 1) < known.seconds <= 0.5 * number
            await eventually(lambda: deployments(relay)["a"].status is Status.HALF_OPEN)
        async with RawClient(relay.url) as trial:
            await trial.post(CHAT.path, CHAT.of("chat"))
            visit = await bench.first.visit(5)
            await visit.holding()
            for _ in range(5):
                assert (await answer_of(relay, CHAT)).body == CHAT.shown
            assert len(bench.first.visits) == 5, "more than one was let through"
            assert deployments(relay)["a"].status is Status.HALF_OPEN
            visit.release()
            assert await trial.rest() == CHAT.shown
        assert deployments(relay)["a"].status is Status.READY
        await answer_of(relay, CHAT)
        assert _codes(relay) == [("a", None)]


@pytest.mark.parametrize(
    ("field", "seconds"),
    [
        ("retry-after: 3600", 300),
        ("retry-after: 1e400", 10),
        ("retry-after: -5", 10),
        ("retry-after: soon", 10),
        ("retry-after: Sun, 99 Foo 2026", 10),
        ("retry-after-ms: NaN", 10),
        ("retry-after-ms: 999999999999999", 300),
        ("retry-after: 0", 0.1),
        ("x-nothing: 1", 10),
    ],
)
async def test_strange_times_are_bounded(field: str, seconds: float, bench: FailoverBench) -> None:
    async with bench.relay() as relay:
        bench.heal(CHAT)
        bench.first.script = refused(BUSY, field)
        assert (await answer_of(relay, CHAT)).body == CHAT.shown
        known = deployments(relay)["a"]
        assert seconds - 5 < known.seconds <= seconds

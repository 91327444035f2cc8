"""Clients that leave, and a relay that shuts down, while one deployment after the other is asked."""

from collections.abc import AsyncIterator

import pytest
from tests.live.failover_bench import LONG, Bench, Clocked, answer_of, deployments, open_bench
from tests.live.failover_cases import CHAT, refused
from tests.live.fault_scripts import Hold, Reset, Stall
from tests.live.raw_client import RawClient
from tests.live.relays import InProcessRelay, eventually

from chukei.model import End
from chukei.pool.member import Status

pytestmark = pytest.mark.anyio

BROKEN = refused("500 Internal Server Error", code="server_error")


@pytest.fixture(scope="module")
async def bench(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    async with open_bench(tmp_path_factory.mktemp("leaving")) as bench:
        yield bench


def _codes(relay: InProcessRelay, number: int = -1) -> list[tuple[str, str | None]]:
    return [(attempt.deployment, attempt.code) for attempt in relay.records[number].tries]


@pytest.mark.parametrize("heartbeat", [LONG, 0.02])
async def test_a_client_that_leaves_during_the_second_try_stops_it(heartbeat: float, bench: Bench) -> None:
    async with bench.relay(heartbeat=heartbeat) as relay:
        bench.first.script, bench.second.script = BROKEN, [Hold(), Stall()]
        async with RawClient(relay.url) as client:
            await client.post(CHAT.path, CHAT.of("chat"))
            visit = await bench.second.visit()
            await visit.holding()
            if heartbeat != LONG:
                await client.head()
            assert deployments(relay)["b"].outstanding == 1
            client.reset()
            visit.release()
            assert await visit.peer_left(2)
            record = await relay.record()
        assert record.end is End.CLIENT_ABORTED
        assert _codes(relay) == [("a", "upstream_500"), ("b", "cancelled")]
        assert [attempt.usage is not None for attempt in record.tries] == [False, True]
        assert [deployments(relay)[name].failed for name in "abc"] == [1, 0, 0]
        assert bench.asked == (1, 1, 0)


@pytest.mark.parametrize("heartbeat", [LONG, 0.02])
async def test_a_shutdown_during_a_try_stops_it_and_says_so(heartbeat: float, bench: Bench) -> None:
    async with bench.relay(heartbeat=heartbeat) as relay:
        bench.first.script, bench.second.script = [Reset()], [Hold(), Stall()]
        async with RawClient(relay.url) as client:
            await client.post(CHAT.path, CHAT.of("chat"))
            visit = await bench.second.visit()
            await visit.holding()
            if heartbeat != LONG:
                await client.head()
            relay.relay.gateway.stop_all()
            body = await client.rest()
            visit.release()
            assert await visit.peer_left(2)
        assert client.status == (503 if heartbeat == LONG else 200)
        assert b'"code":"server_shutdown"' in body
        assert (await relay.record()).end is End.SERVER_SHUTDOWN
        assert _codes(relay) == [("a", "upstream_lost"), ("b", "cancelled")]
        assert bench.asked == (1, 1, 0)


async def test_a_client_that_leaves_a_trial_makes_room_for_the_next(bench: Bench) -> None:
    """The deployment is not blamed for it, and not kept out either."""
    async with bench.relay(pool="breaker_failures = 1\nbreaker_seconds = 0.2") as relay:
        bench.heal(CHAT)
        Clocked(bench.first, BROKEN, BROKEN, [Hold(), Stall()], CHAT.good)
        for _ in range(2):
            assert (await answer_of(relay, CHAT)).body == CHAT.shown
        await eventually(lambda: deployments(relay)["a"].status is Status.HALF_OPEN)
        async with RawClient(relay.url) as client:
            await client.post(CHAT.path, CHAT.of("chat"))
            visit = await bench.first.visit(3)
            await visit.holding()
            client.reset()
            visit.release()
            assert await visit.peer_left(2)
            await relay.record(3)
        assert _codes(relay) == [("a", "cancelled")]
        assert (deployments(relay)["a"].status, deployments(relay)["a"].failed) == (Status.HALF_OPEN, 2)
        assert (await answer_of(relay, CHAT)).body == CHAT.shown
        assert _codes(relay) == [("a", None)]
        assert deployments(relay)["a"].status is Status.READY

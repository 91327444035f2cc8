"""A disconnect stops the upstream within a second, in every phase of the request, on each host.

By phases: while it sends its body, waits for a place, for a first or a second deployment, for a whole answer, reads or
does not read a stream, and when it has everything. The failure matrix leaves in each phase of a stream to one
deployment, test_hedging.py while two are asked at once. A shutdown ends what runs in the same way.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import pytest
from tests.live.both_hosts import KINDS, Host, Hosts, Setup
from tests.live.callers import ENVIRONMENT, CountingUpstream, ask, config, until
from tests.live.failover_bench import LONG, Clocked, FailoverBench, answer_of, deployments, open_bench
from tests.live.failover_cases import CHAT as FAILING
from tests.live.failover_cases import refused
from tests.live.fault_scripts import Flood, Hold, Reset, Script, Send, Stall, chunk, head
from tests.live.fault_upstream import FaultUpstream
from tests.live.raw_client import RawClient
from tests.live.recordings import CHAT, HARD, delta
from tests.live.relays import InProcessRelay, eventually
from tests.live.simulated import Upstream

from chukei.model import End
from chukei.pool.member import Status

pytestmark = pytest.mark.anyio

ANSWER = b'{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}'
WHOLE = b'{"messages":[{"role":"user","content":"x"}]}'
Leave = Callable[[RawClient], None]
LEAVES: dict[str, Leave] = {"reset": RawClient.reset, "close": RawClient.close, "half-close": RawClient.half_close}


@pytest.fixture(params=LEAVES)
def leave(request: pytest.FixtureRequest) -> Leave:
    return LEAVES[request.param]


async def test_while_it_sends_its_body(leave: Leave, relay: InProcessRelay, scripted: FaultUpstream) -> None:
    await scripted.drop()
    before, accepted = len(relay.records), scripted.accepted
    async with RawClient(relay.url) as client:
        fields = "host: localhost\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n"
        await client.send(f"POST {CHAT} HTTP/1.1\r\n{fields}\r\n".encode() + WHOLE)
        await eventually(lambda: relay.relay.gateway.live == 1)
        leave(client)
        record = await relay.record(before + 1)
    assert record.end is End.CLIENT_ABORTED
    assert record.status is None
    assert record.usage is None
    assert scripted.accepted == accepted


JSON = head("application/json", length=len(ANSWER))
NOT_STREAMING: dict[str, Script] = {
    "before-headers": [Hold(), Stall()],
    "before-body": [Send(JSON), Hold(), Stall()],
    "in-body": [Send(JSON + ANSWER[:20]), Hold(), Stall()],
}


# Nothing is written to a client that waits, so a close is seen as a half-close is; the operation is the same code.
@pytest.mark.parametrize(
    ("path", "phase", "how"),
    [
        (CHAT, "before-headers", "reset"),
        ("/v1/embeddings", "before-headers", "close"),
        ("/v1/embeddings", "before-body", "reset"),
        (CHAT, "before-body", "half-close"),
        (CHAT, "in-body", "reset"),
        (CHAT, "in-body", "close"),
        ("/v1/embeddings", "in-body", "half-close"),
    ],
)
async def test_while_it_waits_for_a_whole_answer(
    path: str, phase: str, how: str, relay: InProcessRelay, scripted: FaultUpstream
) -> None:
    leave = LEAVES[how]
    await scripted.drop()
    before = len(relay.records)
    scripted.script = NOT_STREAMING[phase]
    async with RawClient(relay.url) as client:
        await client.post(path, WHOLE)
        visit = await scripted.visit()
        await visit.holding()
        leave(client)
        await visit.peer_left()
        record = await relay.record(before + 1)
    assert record.end is End.CLIENT_ABORTED
    assert record.usage is not None
    assert record.usage.estimated
    assert relay.upstream.open_connections == 0


async def test_while_the_relay_waits_for_it_to_read(
    leave: Leave, relay: InProcessRelay, scripted: FaultUpstream
) -> None:
    """The relay is blocked in writing; a close that waited for its buffers to empty would wait for ever."""
    await scripted.drop()
    before = len(relay.records)
    scripted.script = [Send(head()), Flood(chunk(delta("x" * 400)), 20_000), Stall()]
    async with RawClient(relay.url, receive_buffer=4096) as client:
        await client.post(CHAT, HARD.request)
        visit = await scripted.visit()
        await visit.full()
        leave(client)
        await visit.peer_left()
        record = await relay.record(before + 1)
    assert record.end is End.CLIENT_ABORTED
    await eventually(lambda: relay.upstream.open_connections == 0)
    await eventually(lambda: not relay.server.server_state.connections)


async def test_a_client_that_has_everything_may_leave_in_peace(relay: InProcessRelay, scripted: FaultUpstream) -> None:
    """A request that was answered is complete, whatever its client does then; the upstream's connection is kept."""
    await scripted.drop()
    before = len(relay.records)
    scripted.script = [Send(head("application/json", length=len(ANSWER)) + ANSWER)]
    async with RawClient(relay.url) as client:
        await client.post(CHAT, WHOLE)
        assert await client.rest() == ANSWER
        client.half_close()
        assert await client.closed()
    assert (await relay.record(before + 1)).end is End.COMPLETED
    assert relay.upstream.open_connections == 1


# On each host, as processes.


def named(fault: str, *, stream: bool) -> bytes:
    flag = b"true" if stream else b"false"
    return b'{"model":"gpt-4o--%b","stream":%b,"messages":[{"role":"user","content":"hi"}]}' % (fault.encode(), flag)


# Each way to leave with a stream and with a whole answer; the matrix and the tests above have all of them.
@pytest.mark.parametrize(
    ("fault", "stream", "how"),
    [
        pytest.param("stall-before-headers", True, "reset", id="stream-before-headers"),
        pytest.param("stall-before-headers", False, "close", id="whole-before-headers"),
        pytest.param("stall-before-first", True, "half-close", id="stream-before-first-event"),
        pytest.param("stall-before-first", False, "reset", id="whole-before-body"),
        pytest.param("stall", True, "close", id="stream-between-events"),
        pytest.param("stall", True, "half-close", id="stream-between-events-half"),
    ],
)
async def test_on_each_host(fault: str, stream: bool, how: str, each_host: Host, upstream: Upstream) -> None:
    async with RawClient(each_host.url) as client:
        await client.post(CHAT, named(fault, stream=stream))
        await eventually(lambda: bool(upstream.exchanges))
        if stream and fault == "stall":
            await client.head()
            await client.part()
        LEAVES[how](client)
        assert await asyncio.to_thread(upstream.ending) == "client_left"


async def test_in_its_body_on_each_host(each_host: Host, upstream: Upstream) -> None:
    own = f"left-{each_host.kind}"
    fields = f"host: localhost\r\ncontent-type: application/json\r\ncontent-length: 500\r\nx-request-id: {own}\r\n"
    async with RawClient(each_host.url) as client:
        await client.send(f"POST {CHAT} HTTP/1.1\r\n{fields}\r\n".encode() + WHOLE)
    await eventually(lambda: own in each_host.log())
    line = next(line for line in each_host.log().splitlines() if own in line)
    assert '"end":"client_aborted"' in line
    assert upstream.exchanges == []


@pytest.mark.parametrize("kind", KINDS)
async def test_its_place_is_given_back_on_each_host(kind: str, tmp_path: Path) -> None:
    async with CountingUpstream() as upstream:
        file = config(tmp_path / "chukei.toml", upstream.url, {"left": {"limits": {"concurrent": 1}}})
        hosts = Hosts(upstream.url, tmp_path)
        try:
            url = hosts.get(kind, Setup("limited", ENVIRONMENT | {"CHUKEI_CONFIG": str(file)})).url
            upstream.holding.add("left")
            leaving = asyncio.create_task(ask(url, "left", stream=True))
            await eventually(lambda: upstream.requests["left"] == 1)
            assert (await ask(url, "left")).status == 429
            leaving.cancel()
            await asyncio.wait({leaving})
            upstream.holding.clear()
            await until(partial(served, url))
        finally:
            hosts.close()


async def served(url: str) -> bool:
    return (await ask(url, "left")).status == 200


# While one deployment after the other is asked.

BROKEN = refused("500 Internal Server Error", code="server_error")


@pytest.fixture(scope="module")
async def bench(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[FailoverBench]:
    async with open_bench(tmp_path_factory.mktemp("leaving")) as bench:
        yield bench


def _codes(relay: InProcessRelay, number: int = -1) -> list[tuple[str, str | None]]:
    return [(attempt.deployment, attempt.code) for attempt in relay.records[number].tries]


@pytest.mark.parametrize("heartbeat", [LONG, 0.02])
async def test_a_client_that_leaves_during_the_second_try_stops_it(heartbeat: float, bench: FailoverBench) -> None:
    async with bench.relay(heartbeat=heartbeat) as relay:
        bench.first.script, bench.second.script = BROKEN, [Hold(), Stall()]
        async with RawClient(relay.url) as client:
            await client.post(FAILING.path, FAILING.of("chat"))
            visit = await bench.second.visit()
            await visit.holding()
            if heartbeat != LONG:
                await client.head()
            assert deployments(relay)["b"].outstanding == 1
            client.reset()
            visit.release()
            assert await visit.peer_left()
            record = await relay.record()
        assert record.end is End.CLIENT_ABORTED
        assert _codes(relay) == [("a", "upstream_500"), ("b", "cancelled")]
        assert [attempt.usage is not None for attempt in record.tries] == [False, True]
        assert [deployments(relay)[name].failed for name in "abc"] == [1, 0, 0]
        assert bench.asked == (1, 1, 0)


@pytest.mark.parametrize("heartbeat", [LONG, 0.02])
async def test_a_shutdown_during_a_try_stops_it_and_says_so(heartbeat: float, bench: FailoverBench) -> None:
    async with bench.relay(heartbeat=heartbeat) as relay:
        bench.first.script, bench.second.script = [Reset()], [Hold(), Stall()]
        async with RawClient(relay.url) as client:
            await client.post(FAILING.path, FAILING.of("chat"))
            visit = await bench.second.visit()
            await visit.holding()
            if heartbeat != LONG:
                await client.head()
            relay.relay.gateway.stop_all()
            body = await client.rest()
            visit.release()
            assert await visit.peer_left()
        assert client.status == (503 if heartbeat == LONG else 200)
        assert b'"code":"server_shutdown"' in body
        assert (await relay.record()).end is End.SERVER_SHUTDOWN
        assert _codes(relay) == [("a", "upstream_lost"), ("b", "cancelled")]
        assert bench.asked == (1, 1, 0)


async def test_a_client_that_leaves_a_trial_makes_room_for_the_next(bench: FailoverBench) -> None:
    """The deployment is not blamed for it, and not kept out either."""
    async with bench.relay(pool="breaker_failures = 1\nbreaker_seconds = 0.2") as relay:
        bench.heal(FAILING)
        Clocked(bench.first, BROKEN, BROKEN, [Hold(), Stall()], FAILING.good)
        for _ in range(2):
            assert (await answer_of(relay, FAILING)).body == FAILING.shown
        await eventually(lambda: deployments(relay)["a"].status is Status.HALF_OPEN)
        async with RawClient(relay.url) as client:
            await client.post(FAILING.path, FAILING.of("chat"))
            visit = await bench.first.visit(3)
            await visit.holding()
            client.reset()
            visit.release()
            assert await visit.peer_left()
            await relay.record(3)
        assert _codes(relay) == [("a", "cancelled")]
        assert (deployments(relay)["a"].status, deployments(relay)["a"].failed) == (Status.HALF_OPEN, 2)
        assert (await answer_of(relay, FAILING)).body == FAILING.shown
        assert _codes(relay) == [("a", None)]
        assert deployments(relay)["a"].status is Status.READY

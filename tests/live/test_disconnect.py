"""A client that leaves stops the upstream within a second, wherever its request is; see also the failure matrix."""

import asyncio
from collections.abc import Callable, Iterator

import pytest
from tests.live.fault_scripts import Flood, Hold, Script, Send, Stall, chunk, head
from tests.live.fault_upstream import FaultUpstream
from tests.live.functions_host import ROOT, FunctionsHost
from tests.live.raw_client import RawClient
from tests.live.recordings import CHAT, HARD, delta
from tests.live.relays import InProcessRelay, eventually
from tests.live.simulated import SimulatorThread, Upstream

from chukei.gateway.delivery import READ_ON_SECONDS
from chukei.model import End

pytestmark = pytest.mark.anyio

ANSWER = b'{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}'
WHOLE = b'{"messages":[{"role":"user","content":"x"}]}'
WITHIN = 1.0
"""Seconds in which the upstream must see that nobody listens any more."""

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


@pytest.mark.parametrize("phase", NOT_STREAMING)
@pytest.mark.parametrize("path", [CHAT, "/v1/embeddings"])
async def test_while_it_waits_for_a_whole_answer(
    path: str, phase: str, leave: Leave, relay: InProcessRelay, scripted: FaultUpstream
) -> None:
    await scripted.drop()
    before = len(relay.records)
    scripted.script = NOT_STREAMING[phase]
    async with RawClient(relay.url) as client:
        await client.post(path, WHOLE)
        visit = await scripted.visit()
        await visit.holding()
        leave(client)
        await visit.peer_left(WITHIN + READ_ON_SECONDS)  # once an answer has begun its usage is awaited
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
        await visit.peer_left(WITHIN)
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


@pytest.fixture(scope="module")
def functions(simulator_thread: SimulatorThread) -> Iterator[FunctionsHost]:
    environment = {
        "AZURE_OPENAI_ENDPOINT": simulator_thread.url,
        "AZURE_OPENAI_API_KEY": "key",
        "AZURE_OPENAI_DEPLOYMENT": "gpt-4o",
        "CHUKEI_AUTH__ANONYMOUS": "true",
    }
    with FunctionsHost(ROOT / "functions", environment) as host:
        yield host


@pytest.mark.parametrize(
    ("fault", "stream"),
    [
        pytest.param("stall-before-headers", True, id="stream-before-headers"),
        pytest.param("stall-before-headers", False, id="whole-before-headers"),
        pytest.param("stall-before-first", True, id="stream-before-first-event"),
        pytest.param("stall-before-first", False, id="whole-before-body"),
        pytest.param("stall", True, id="stream-between-events"),
    ],
)
async def test_on_functions(
    fault: str, stream: bool, leave: Leave, functions: FunctionsHost, upstream: Upstream
) -> None:
    flag = b"true" if stream else b"false"
    body = b'{"model":"gpt-4o--%b","stream":%b,"messages":[{"role":"user","content":"hi"}]}' % (fault.encode(), flag)
    async with RawClient(functions.base_url) as client:
        await client.post(CHAT, body)
        await eventually(lambda: bool(upstream.exchanges))
        if stream and fault == "stall":
            await client.head()
            await client.part()
        leave(client)
        assert await asyncio.to_thread(upstream.ending) == "client_left"

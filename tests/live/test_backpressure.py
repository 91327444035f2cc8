"""A client that stops reading pauses its upstream, loses nothing when it goes on, and is cut when it never does."""

import pytest
from tests.live.fault_scripts import LAST_CHUNK, Flood, Hold, Reset, Send, Stall, Step, chunk, head
from tests.live.fault_upstream import FaultUpstream
from tests.live.raw_client import Cut, RawClient
from tests.live.recordings import CHAT, DONE, HARD, delta
from tests.live.relays import InProcessRelay, eventually, settings_for

from chukei.model import End

pytestmark = pytest.mark.anyio

BOUND = 704 * 1024
"""Bytes that an upstream can send before a client that does not read stops it: what the relay holds (about 190 KiB)
and what the kernel holds for it on both sides (about 390 KiB)."""

EVENT = delta("x" * 400)
EVENTS = 20_000  # 10 MB
FLOOD: list[Step] = [Send(head()), Flood(chunk(EVENT), EVENTS, send_buffer=16 * 1024)]


async def test_the_upstream_is_paused_and_nothing_is_lost() -> None:
    async with (
        FaultUpstream([*FLOOD, Send(chunk(DONE) + LAST_CHUNK)]) as upstream,
        InProcessRelay(settings_for(upstream.url)) as relay,
        RawClient(relay.url, receive_buffer=4096) as client,
    ):
        await client.post(CHAT, HARD.request)
        visit = await upstream.visit()
        await visit.full()
        assert 0 < visit.accepted < BOUND
        client.widen()
        body = await client.rest()
        record = await relay.record()
    assert body == EVENT * EVENTS + DONE
    assert record.end is End.COMPLETED


async def test_a_client_that_never_reads_on_is_cut() -> None:
    async with FaultUpstream([*FLOOD, Stall()]) as upstream:
        settings = settings_for(upstream.url, {"CHUKEI_STREAM__WRITE_SECONDS": "0.3"})
        async with (
            InProcessRelay(settings) as relay,
            RawClient(relay.url, receive_buffer=4096) as client,
        ):
            await client.post(CHAT, HARD.request)
            visit = await upstream.visit()
            await visit.peer_left(5)
            record = await relay.record()
            assert relay.upstream.open_connections == 0
            await eventually(lambda: not relay.server.server_state.connections)
            with pytest.raises(Cut):
                await client.rest()
    assert record.end is End.CLIENT_STALLED
    assert record.status == 200
    assert record.usage is not None
    assert record.usage.estimated


@pytest.mark.parametrize("seconds", ["0.3", "30"])
async def test_a_stalled_client_does_not_hold_a_stream_whose_upstream_broke(seconds: str) -> None:
    """The last words cannot be said; they must not be waited for without limit, and its leaving must end the wait."""
    async with FaultUpstream() as upstream:
        settings = settings_for(upstream.url, {"CHUKEI_STREAM__WRITE_SECONDS": seconds})
        async with (
            InProcessRelay(settings) as relay,
            RawClient(relay.url, receive_buffer=4096) as client,
        ):
            # One write far above the mark at which writing pauses, so that the relay is reading when the reset comes.
            upstream.script = [Send(head()), Send(chunk(EVENT * 300)), Hold(), Reset()]
            await client.post(CHAT, HARD.request)
            visit = await upstream.visit()
            await visit.holding()
            visit.release()
            await eventually(lambda: relay.upstream.open_connections == 0)
            if seconds == "30":
                assert relay.relay.gateway.live == 1
                client.reset()
            record = await relay.record()
            await eventually(lambda: not relay.server.server_state.connections)
    assert record.end is End.TRUNCATED
    assert record.code == "stream_incomplete"


async def test_an_answered_client_that_does_not_read_is_cut_at_last() -> None:
    """Its answer waits in the relay's buffers, and a client has only so long to read some of one."""
    async with FaultUpstream() as upstream:
        settings = settings_for(upstream.url, {"CHUKEI_STREAM__WRITE_SECONDS": "0.2"})
        async with (
            InProcessRelay(settings) as relay,
            RawClient(relay.url, receive_buffer=4096) as client,
        ):
            answer = b'{"data":"' + b"x" * 2_000_000 + b'"}'
            upstream.script = [Send(head("application/json", length=len(answer)) + answer)]
            await client.post(CHAT, b'{"messages":[{}]}')
            assert (await relay.record()).end is End.COMPLETED
            await eventually(lambda: not relay.server.server_state.connections)

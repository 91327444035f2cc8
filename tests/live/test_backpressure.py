"""A client that stops reading pauses its upstream, loses nothing when it goes on, and is cut when it never does."""

import asyncio
from pathlib import Path

import pytest
from tests.live.fault_scripts import LAST_CHUNK, Flood, Hold, Reset, Send, Stall, Step, chunk, head
from tests.live.fault_upstream import FaultUpstream
from tests.live.raw_client import Cut, RawClient
from tests.live.recordings import CHAT, DONE, HARD, delta
from tests.live.relays import InProcessRelay, eventually, settings_for

from chukei.model import End
from chukei.usage import Usage

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
            await visit.peer_left()
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


async def test_a_whole_answer_that_nobody_reads_is_not_over_until_it_is_cut() -> None:
    """Its place among the caller's concurrent requests is taken as long as its bytes wait here."""
    async with FaultUpstream() as upstream:
        settings = settings_for(upstream.url, {"CHUKEI_STREAM__WRITE_SECONDS": "0.3"})
        async with (
            InProcessRelay(settings) as relay,
            RawClient(relay.url, receive_buffer=4096) as client,
        ):
            answer = b'{"data":"' + b"x" * 2_000_000 + b'","usage":{"prompt_tokens":5,"completion_tokens":6}}'
            upstream.script = [Send(head("application/json", length=len(answer)) + answer)]
            await client.post(CHAT, b'{"messages":[{}]}')
            record = await relay.record()
            assert (record.end, record.usage) == (End.CLIENT_STALLED, Usage(5, 6))
            await eventually(lambda: not relay.server.server_state.connections)


async def test_a_caller_cannot_have_more_whole_answers_unread_than_it_may_have_requests(tmp_path: Path) -> None:
    path = tmp_path / "chukei.toml"
    path.write_text("[groups.everybody.limits]\nconcurrent = 1\n")
    answer = b'{"data":"' + b"x" * 2_000_000 + b'"}'
    async with FaultUpstream([Send(head("application/json", length=len(answer)) + answer)]) as upstream:
        settings = settings_for(upstream.url, {"CHUKEI_AUTH__ANONYMOUS": "true"}, str(path))
        async with InProcessRelay(settings) as relay:
            async with RawClient(relay.url, receive_buffer=4096) as first, RawClient(relay.url) as second:
                await first.post(CHAT, b'{"messages":[{}]}')
                assert await first.head() == 200
                await second.post(CHAT, b'{"messages":[{}]}')
                assert await second.head() == 429
                first.widen()
                assert await first.rest() == answer
            assert (await relay.record(2)).end is End.COMPLETED


async def test_a_slow_reader_of_a_whole_answer_is_not_cut_while_it_takes_some() -> None:
    """The write limit is for each slice, however long the whole takes."""
    answer = b'{"data":"' + b"x" * 4_000_000 + b'"}'
    async with FaultUpstream([Send(head("application/json", length=len(answer)) + answer)]) as upstream:
        settings = settings_for(upstream.url, {"CHUKEI_STREAM__WRITE_SECONDS": "0.5"})
        async with InProcessRelay(settings) as relay, RawClient(relay.url, receive_buffer=4096) as client:
            began = asyncio.get_running_loop().time()
            await client.post(CHAT, b'{"messages":[{}]}')
            while len(client.body) < len(answer):
                assert await client.part()
                if asyncio.get_running_loop().time() - began < 1.5:
                    await asyncio.sleep(0.01)
            assert client.body == answer
            assert (await relay.record()).end is End.COMPLETED

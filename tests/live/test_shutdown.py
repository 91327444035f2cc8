"""After the drain period: nothing new is taken, what runs may finish within the grace period, then it is told."""

import asyncio
import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from tests.live.fault_scripts import LAST_CHUNK, Flood, Hold, Send, Stall, Step, chunk, head
from tests.live.fault_upstream import FaultUpstream
from tests.live.raw_client import Cut, RawClient
from tests.live.recordings import CHAT, DONE, HARD, delta
from tests.live.relays import RelayProcess, eventually, until_refused

pytestmark = pytest.mark.anyio

FIRST, SECOND = delta("one"), delta(" two")
SCRIPT: list[Step] = [Send(head() + chunk(FIRST)), Hold(), Send(chunk(SECOND + DONE) + LAST_CHUNK)]
WHOLE = b'{"messages":[{"role":"user","content":"x"}]}'
GRACE = 0.5
"""Seconds beyond the grace period in which the process must have ended."""


@contextmanager
def relay_to(upstream: FaultUpstream, grace: float) -> Iterator[RelayProcess]:
    environment = {
        "AZURE_OPENAI_ENDPOINT": upstream.url,
        "AZURE_OPENAI_API_KEY": "key",
        "AZURE_OPENAI_DEPLOYMENT": "gpt-4o",
        "CHUKEI_SERVER__DRAIN_SECONDS": "0",
        "CHUKEI_SERVER__GRACE_SECONDS": str(grace),
        "CHUKEI_LOG__FORMAT": "json",
    }
    with RelayProcess(environment) as relay:
        yield relay


async def ended(relay: RelayProcess) -> int:
    """Wait for the process's end and return its status."""
    return await asyncio.to_thread(relay.process.wait, 60)


def records(relay: RelayProcess) -> list[dict[str, object]]:
    """Return the lines of requests to models in the log."""
    relay.stop()
    lines = [json.loads(line) for line in relay.log if line.startswith("{")]
    return [line for line in lines if line.get("operation") == "chat"]


async def until_draining(client: RawClient) -> None:
    """Ask whether the relay is ready until it says no."""
    async with asyncio.timeout(60):
        while True:
            await client.request("GET", "/health/ready")
            status = await client.head()
            body = await client.rest()
            if status == 503:
                assert json.loads(body) == {"status": "not ready"}
                assert client.headers["connection"] == "close"
                return
            assert status == 200


async def test_what_runs_finishes_and_nothing_new_is_taken() -> None:
    async with FaultUpstream(SCRIPT) as upstream:
        with relay_to(upstream, grace=30) as relay:
            async with RawClient(relay.url) as probe, RawClient(relay.url) as late, RawClient(relay.url) as running:
                await late.request("GET", "/health/live")
                await late.rest()
                await running.post(CHAT, HARD.request)
                await running.until(FIRST)
                visit = await upstream.visit()
                relay.process.send_signal(signal.SIGTERM)
                await until_draining(probe)

                await late.post(CHAT, WHOLE)
                assert await late.head() == 503
                assert json.loads(await late.rest())["error"]["code"] == "server_shutdown"
                assert late.headers["connection"] == "close"
                assert (late.headers["retry-after"], late.headers["retry-after-ms"]) == ("1", "1000")
                await until_refused(relay.url)

                visit.release()
                assert await running.rest() == FIRST + SECOND + DONE
                assert await ended(relay) == 0
            assert sorted(str(record["end"]) for record in records(relay)) == ["completed", "server_shutdown"]
        assert len(upstream.visits) == 1


async def test_idle_connections_do_not_hold_up_the_end() -> None:
    async with FaultUpstream(SCRIPT) as upstream:
        with relay_to(upstream, grace=3600) as relay:
            async with RawClient(relay.url) as idle, RawClient(relay.url) as silent:
                await idle.request("GET", "/health/live")
                await idle.rest()
                await silent.send(b"GET /health/live HTTP/1.1\r\n")
                relay.process.send_signal(signal.SIGTERM)
                assert await idle.closed()
                assert await ended(relay) == 0


async def test_what_runs_beyond_the_grace_period_is_told() -> None:
    async with FaultUpstream() as upstream:
        with relay_to(upstream, grace=GRACE) as relay:
            async with RawClient(relay.url) as stream, RawClient(relay.url) as simple, RawClient(relay.url) as whole:
                upstream.script = SCRIPT
                await stream.post(CHAT, HARD.request)
                await stream.until(FIRST)
                await simple.post("/api/chat-stream", WHOLE)
                await simple.until(b"data: one\n\n")
                upstream.script = [Stall()]
                await whole.post(CHAT, WHOLE)
                visits = [await upstream.visit(number) for number in (1, 2, 3)]
                started = time.monotonic()
                relay.process.send_signal(signal.SIGTERM)

                body = await stream.rest()
                assert body.startswith(FIRST + b"data: ")
                assert json.loads(body.removeprefix(FIRST + b"data: "))["error"]["code"] == "server_shutdown"
                told = (await simple.rest()).removeprefix(b"data: one\n\n")
                assert told.startswith(b"event: error\ndata: {")
                assert json.loads(told.removeprefix(b"event: error\ndata: "))["error"]["code"] == "server_shutdown"
                assert await whole.head() == 503
                assert json.loads(await whole.rest())["error"]["code"] == "server_shutdown"
                for visit in visits:
                    await visit.peer_left()
                assert await ended(relay) == 0
                assert time.monotonic() - started >= GRACE
            assert [record["end"] for record in records(relay)] == ["server_shutdown"] * 3
            assert all(record["tokens_estimated"] for record in records(relay))


async def test_a_client_that_does_not_read_does_not_hold_up_the_end() -> None:
    flood: list[Step] = [Send(head()), Flood(chunk(delta("x" * 400)), 20_000), Stall()]
    async with FaultUpstream(flood) as upstream:
        with relay_to(upstream, grace=GRACE) as relay:
            async with RawClient(relay.url, receive_buffer=4096) as client:
                await client.post(CHAT, HARD.request)
                visit = await upstream.visit()
                await visit.full()
                relay.process.send_signal(signal.SIGTERM)
                await visit.peer_left()
                assert await ended(relay) == 0
            (record,) = records(relay)
            assert record["end"] == "server_shutdown"


async def test_an_interrupt_from_the_keyboard_does_the_same() -> None:
    async with FaultUpstream(SCRIPT) as upstream:
        with relay_to(upstream, grace=GRACE) as relay:
            async with RawClient(relay.url) as client:
                await client.post(CHAT, HARD.request)
                await client.until(FIRST)
                relay.process.send_signal(signal.SIGINT)
                assert b"server_shutdown" in await client.rest()
                assert await ended(relay) == 0


async def test_a_kill_cuts() -> None:
    async with FaultUpstream(SCRIPT) as upstream:
        with relay_to(upstream, grace=30) as relay:
            async with RawClient(relay.url) as client:
                await client.post(CHAT, HARD.request)
                await client.until(FIRST)
                visit = await upstream.visit()
                relay.process.send_signal(signal.SIGKILL)
                with pytest.raises(Cut):
                    await client.rest()
                await visit.peer_left()
                assert await ended(relay) == -signal.SIGKILL
            assert client.body == FIRST
            await eventually(lambda: relay.process.poll() is not None)

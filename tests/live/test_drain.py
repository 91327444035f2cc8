"""SIGTERM behind a balancer, restarts of workers, and what the operator is told: nobody is refused or cut."""

import asyncio
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import pytest
from tests.live.fault_scripts import LAST_CHUNK, Hold, Send, Step, chunk, head
from tests.live.fault_upstream import FaultUpstream
from tests.live.raw_client import RawClient
from tests.live.recordings import CHAT, DONE, HARD, delta
from tests.live.relays import RelayProcess, clean_environment, eventually, until_refused
from tests.live.test_shutdown import until_draining
from tests.live.test_workers import children, events, hurried, is_alive, relay_to

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")]

FIRST, SECOND = delta("one"), delta(" two")
SCRIPT: list[Step] = [Send(head() + chunk(FIRST)), Hold(), Send(chunk(SECOND + DONE) + LAST_CHUNK)]
WORKERS = pytest.mark.parametrize("workers", ["1", "2"])


def stops(relay: RelayProcess) -> list[str]:
    """Return what the log says about the end."""
    return [event for event in events(relay) if event.startswith("stop")]


async def go_on(upstream: FaultUpstream, number: int) -> None:
    """Let a stream end that has sent its first event."""
    visit = await upstream.visit(number)
    await visit.holding()
    visit.release()


@WORKERS
async def test_until_the_drain_period_is_over_everything_is_served(workers: str) -> None:
    async with FaultUpstream(SCRIPT) as upstream:
        with relay_to(upstream, "--workers", workers, CHUKEI_SERVER__DRAIN_SECONDS="3600") as relay:
            async with RawClient(relay.url) as idle, RawClient(relay.url) as running:
                await idle.request("GET", "/health/live")
                await idle.rest()
                await running.post(CHAT, HARD.request)
                await running.until(FIRST)
                relay.process.send_signal(signal.SIGTERM)
                await eventually(lambda: len(stops(relay)) == 1)  # each worker has begun to stop

                for client in (idle, RawClient(relay.url)):
                    async with client:
                        await client.post(CHAT, HARD.request)
                        await client.until(FIRST)
                        assert client.headers["connection"] == "close"
                        await go_on(upstream, len(upstream.visits))
                        assert await client.rest() == FIRST + SECOND + DONE
                async with RawClient(relay.url) as probe:
                    await until_draining(probe)
                await go_on(upstream, 1)
                assert await running.rest() == FIRST + SECOND + DONE

                await running.request("GET", "/health/live")  # its head could not announce an end
                assert await running.head() == 200
                assert running.headers["connection"] == "close"
                await running.rest()
            assert await hurried(relay, signal.SIGTERM) == 143
            relay.stop()
        assert stops(relay) == ["stopping: 1 request running", "stopped: 0 requests ended early"]
        assert not any("Traceback" in line for line in relay.log)


@WORKERS
async def test_after_the_drain_period_what_runs_finishes(workers: str) -> None:
    async with FaultUpstream(SCRIPT) as upstream:
        with relay_to(upstream, "--workers", workers, CHUKEI_SERVER__DRAIN_SECONDS="0.2") as relay:
            async with RawClient(relay.url) as idle, RawClient(relay.url) as running:
                await idle.request("GET", "/health/live")
                await idle.rest()
                await running.post(CHAT, HARD.request)
                await running.until(FIRST)
                relay.process.send_signal(signal.SIGTERM)
                await until_refused(relay.url)
                assert await idle.closed()
                await go_on(upstream, 1)
                assert await running.rest() == FIRST + SECOND + DONE
            assert await asyncio.to_thread(relay.process.wait, 30) == 0
            relay.stop()
        assert stops(relay) == ["stopping: 1 request running", "stopped: 0 requests ended early"]


@WORKERS
async def test_a_terminal_says_what_is_awaited(workers: str) -> None:
    async with FaultUpstream(SCRIPT) as upstream:
        with on_a_terminal(upstream, "--workers", workers) as (process, screen, url):
            async with RawClient(url) as running, RawClient(url) as other:
                for client in (running, other):
                    await client.post(CHAT, HARD.request)
                    await client.until(FIRST)
                os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of them
                await eventually(lambda: b"chukei: stopping: 2 requests running, Ctrl-C again to stop now" in screen)
                await go_on(upstream, 1)
                await eventually(lambda: b"chukei: 1 request running, Ctrl-C again to stop now" in screen)
                os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of them
                assert await asyncio.to_thread(process.wait, 30) == 130
                ends = [(await client.rest()).count(b"server_shutdown") for client in (running, other)]
                assert sorted(ends) == [0, 1]
            await eventually(lambda: b"chukei: stopped: 1 request ended early" in screen)
            assert b"Traceback" not in screen
            assert screen.count(b"Ctrl-C") == 2


@contextmanager
def on_a_terminal(
    upstream: FaultUpstream, *arguments: str
) -> Iterator[tuple["subprocess.Popen[bytes]", bytearray, str]]:
    """Run a relay on a terminal; give its process, what is on the screen, and its address."""
    environment = clean_environment(
        {
            "AZURE_OPENAI_ENDPOINT": upstream.url,
            "AZURE_OPENAI_API_KEY": "key",
            "AZURE_OPENAI_DEPLOYMENT": "gpt-4o",
            "CHUKEI_SERVER__GRACE_SECONDS": "300",
        }
    )
    ours, theirs = pty.openpty()
    os.set_blocking(ours, False)
    screen = bytearray()
    loop = asyncio.get_running_loop()

    def read() -> None:
        try:
            screen.extend(os.read(ours, 65536))
        except OSError:  # all processes have left the terminal
            loop.remove_reader(ours)

    command = [sys.executable, "-m", "chukei", "serve", "--port", "0", *arguments]
    with subprocess.Popen(
        command, env=environment, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    ) as process:
        os.close(theirs)
        try:
            while b"listening on " not in screen or b"/v1\r\n" not in screen:
                screen.extend(_read_waiting(ours))
            url = screen.partition(b"listening on ")[2].split()[0].decode()
            loop.add_reader(ours, read)
            yield process, screen, url
        finally:
            process.kill()
            loop.remove_reader(ours)
    os.close(ours)


def _read_waiting(descriptor: int) -> bytes:
    os.set_blocking(descriptor, True)
    try:
        return os.read(descriptor, 65536)
    finally:
        os.set_blocking(descriptor, False)


async def test_one_process_says_that_it_does_not_restart() -> None:
    async with FaultUpstream(SCRIPT) as upstream:
        with relay_to(upstream) as relay:
            relay.process.send_signal(signal.SIGUSR2)
            await eventually(lambda: any("does not restart itself" in event for event in events(relay)))
            async with RawClient(relay.url) as client:
                await client.request("GET", "/health/ready")
                assert await client.head() == 200


async def test_a_restart_replaces_each_worker_and_lets_its_streams_finish() -> None:
    async with FaultUpstream(SCRIPT) as upstream, AsyncExitStack() as stack:
        relay = stack.enter_context(relay_to(upstream, "--workers", "2", CHUKEI_SERVER__GRACE_SECONDS="300"))
        old = children(relay.process.pid)
        clients = [await stack.enter_async_context(RawClient(relay.url)) for _ in range(8)]
        for client in clients:
            await client.post(CHAT, HARD.request)
            await client.until(FIRST)
        relay.process.send_signal(signal.SIGUSR2)
        await eventually(lambda: any("takes the place of" in event for event in events(relay)))
        async with RawClient(relay.url) as probe:
            await probe.request("GET", "/health/ready")
            assert await probe.head() == 200
        for number in range(len(clients)):
            await go_on(upstream, number + 1)
        for client in clients:
            assert await client.rest() == FIRST + SECOND + DONE
        await eventually(lambda: not any(map(is_alive, old)))
        assert len(children(relay.process.pid)) == 2
        assert sum("takes the place of" in event for event in events(relay)) == 2


async def test_a_restart_stops_if_a_new_worker_cannot_start(tmp_path: Path) -> None:
    path = tmp_path / "relay.toml"
    path.write_text("")
    async with FaultUpstream(SCRIPT) as upstream:
        with relay_to(upstream, "--workers", "2", CHUKEI_CONFIG=str(path)) as relay:
            old = children(relay.process.pid)
            path.write_text("nonsense")
            relay.process.send_signal(signal.SIGUSR2)
            await eventually(lambda: any("the others go on" in event for event in events(relay)))
            assert set(children(relay.process.pid)) >= set(old)
            path.write_text("")
            os.kill(old[0], signal.SIGKILL)  # the one that was to be replaced first is an ordinary worker again
            await eventually(lambda: not is_alive(old[0]))
            await eventually(lambda: len(children(relay.process.pid)) == 2)
            relay.process.send_signal(signal.SIGUSR2)
            await eventually(lambda: not any(map(is_alive, old)))
        assert any("is not valid TOML" in event for event in events(relay))


async def test_a_worker_whose_loop_does_not_turn_is_killed_and_replaced() -> None:
    async with FaultUpstream(SCRIPT) as upstream:
        with relay_to(upstream, "--workers", "2", CHUKEI_SERVER__HANG_SECONDS="2") as relay:
            stopped, _ = children(relay.process.pid)
            os.kill(stopped, signal.SIGSTOP)
            await eventually(lambda: f"worker {stopped} has not answered for 2 s and is killed" in events(relay))
            await eventually(lambda: len([each for each in children(relay.process.pid) if each != stopped]) == 2)

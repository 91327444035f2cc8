"""Several processes on one socket: none is left behind, every death is logged, and limits are not multiplied."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.live.fault_scripts import LAST_CHUNK, Hold, Send, Stall, Step, chunk, head
from tests.live.fault_upstream import FaultUpstream
from tests.live.plain_http import JSON, ask, post
from tests.live.processes import end, running
from tests.live.raw_client import RawClient
from tests.live.recordings import CHAT, DONE, HARD, delta
from tests.live.relays import RelayProcess, clean_environment, eventually, in_process, until_refused
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from chukei.simulator import Simulator, SimulatorSettings

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")]

SCRIPT: list[Step] = [Send(head() + chunk(delta("one"))), Hold(), Send(chunk(delta(" two") + DONE) + LAST_CHUNK)]


@contextmanager
def relay_to(
    upstream: FaultUpstream | Simulator, *arguments: str, stdin: int | None = subprocess.DEVNULL, **more: str
) -> Iterator[RelayProcess]:
    environment = {
        "AZURE_OPENAI_ENDPOINT": upstream.url,
        "AZURE_OPENAI_API_KEY": "key",
        "AZURE_OPENAI_DEPLOYMENT": "gpt-4o",
        "CHUKEI_LOG__FORMAT": "json",
    }
    with RelayProcess(environment | more, *arguments, stdin=stdin) as relay:
        yield relay


def children(pid: int) -> list[int]:
    """Return the processes that listen for a parent; one of Python's own watches over resources."""
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        found += [int(each) for each in path.read_text().split()]
    return [each for each in found if b"spawn_main" in command(each)]


def command(pid: int) -> bytes:
    """Return the command of a process, or nothing if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def said_by(relay: RelayProcess, text: str, count: int) -> bool:
    return sum(text in line for line in events(relay)) == count


def events(relay: RelayProcess) -> list[str]:
    return [str(json.loads(line)["event"]) for line in relay.log]


async def test_workers_whose_parent_is_killed_finish_what_runs_and_end() -> None:
    async with FaultUpstream(SCRIPT) as upstream:
        with relay_to(upstream, "--workers", "2") as relay:
            workers = children(relay.process.pid)
            assert len(workers) == 2
            async with RawClient(relay.url) as running:
                await running.post(CHAT, HARD.request)
                await running.until(delta("one"))
                relay.process.kill()
                await eventually(lambda: sum(map(is_alive, workers)) == 1)
                (await upstream.visit()).release()
                assert (await running.rest()).endswith(DONE)
            await eventually(lambda: not any(map(is_alive, workers)))
            address = urlsplit(relay.url)
            with pytest.raises(ConnectionError):
                await asyncio.open_connection(address.hostname, address.port)


async def test_a_worker_that_dies_is_told_of_and_replaced() -> None:
    async with FaultUpstream(SCRIPT) as upstream:
        with relay_to(upstream, "--workers", "2") as relay:
            first, second = children(relay.process.pid)
            os.kill(first, signal.SIGKILL)
            told = f"worker {first} ended (signal SIGKILL), and another takes its place"
            await eventually(lambda: told in events(relay))
            await eventually(lambda: len(children(relay.process.pid)) == 2)
            assert second in children(relay.process.pid)
            assert relay.stop() == 0
        assert [line for line in relay.log if "Traceback" in line] == []


async def test_workers_that_cannot_start_end_all_and_say_so(tmp_path: Path) -> None:
    """The parent has read its configuration; what the workers find may be another."""
    path = tmp_path / "relay.toml"
    path.write_text("")
    code = f"""
import sys
from pathlib import Path
from chukei.cli import main
from chukei.hosts import server

listen = server.listen
def spoil(host, port):
    Path({str(path)!r}).write_text("nonsense")
    return listen(host, port)
server.listen = spoil
main(["serve", "--port", "0", "--workers", "2", "--config", {str(path)!r}])
"""
    environment = clean_environment({"CHUKEI_LOG__FORMAT": "json"})
    found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    lines = [json.loads(line) for line in found.stderr.splitlines()]
    assert found.returncode == 1
    assert any("ended before it served (exit status 1)" in line["event"] for line in lines)
    assert any("is not valid TOML" in line["event"] for line in lines)
    assert not any("exception" in line for line in lines)


async def test_a_worker_that_starts_while_the_file_has_mistakes_takes_the_settings_of_the_others(
    tmp_path: Path,
) -> None:
    """Those that were last put in force, here by a reload."""
    file = tmp_path / "relay.toml"
    file.write_text("[reload]\nwatch_seconds = 0\n", "utf-8")
    async with FaultUpstream(SCRIPT) as upstream:
        with relay_to(upstream, "--workers", "2", "--config", str(file)) as relay:
            file.write_text("[reload]\nwatch_seconds = 0\n[groups.everybody]\nmodels = ['none']\n", "utf-8")
            relay.process.send_signal(signal.SIGHUP)
            await eventually(partial(said_by, relay, "configuration reloaded (SIGHUP)", 2))
            file.write_text("nonsense", "utf-8")
            for worker in children(relay.process.pid):
                os.kill(worker, signal.SIGKILL)
            said = "is refused, and a new worker starts with the one in force: "
            await eventually(partial(said_by, relay, said, 2))
            async with RawClient(relay.url) as refused:
                await refused.post(CHAT, HARD.request)
                assert await refused.head() == 403
            relay.process.send_signal(signal.SIGUSR2)
            ends = "the restart of workers ends: a new one did not start, and the others go on"
            await eventually(partial(said_by, relay, ends, 1))
            assert relay.stop() == 0


async def test_a_worker_that_starts_later_has_the_changed_levels(tmp_path: Path) -> None:
    key = "the-administrators-key"
    ledger = f"sqlite:///{tmp_path}/ledger.db"
    async with FaultUpstream(SCRIPT) as upstream:
        with relay_to(upstream, "--workers", "2", CHUKEI_ADMIN__API_KEY=key, CHUKEI_STORES__LEDGER=ledger) as relay:
            body = b'{"logger": "chukei.request", "level": "error", "seconds": 3600}'
            answer = await ask(relay.url, "PUT", "/admin/log-level", [("authorization", f"Bearer {key}")], body)
            assert answer.status == 200
            os.kill(children(relay.process.pid)[0], signal.SIGKILL)
            taken = "the level of chukei.request is error for 3"  # and some 600 seconds
            await eventually(lambda: any(taken in line and "other workers" in line for line in events(relay)))
            assert relay.stop() == 0


async def test_an_ephemeral_key_works_at_each_worker() -> None:
    async with Simulator(SimulatorSettings(first_token_seconds=0, inter_token_seconds=0)) as simulator:
        named = "gpt-realtime"
        with relay_to(simulator, "--workers", "2", AZURE_OPENAI_DEPLOYMENT=named, CHUKEI_API_KEY="a key") as relay:
            key = await ephemeral_key(relay, "a key")
            assert [await opens(relay, key) for _ in range(20)] == [True] * 20
            assert not await opens(relay, key[:-1] + ("0" if key[-1] != "0" else "1"))


async def ephemeral_key(relay: RelayProcess, key: str) -> str:
    body = b'{"session":{"type":"realtime","model":"gpt-realtime"}}'
    answer = await post(relay.url, "/v1/realtime/client_secrets", body, [JSON, ("authorization", f"Bearer {key}")])
    assert answer.status == 200, answer.body
    return str(answer.json()["value"])


async def opens(relay: RelayProcess, key: str) -> bool:
    """Whether a key opens a session at the worker that takes the connection."""
    address, field = relay.url.replace("http", "ws") + "/v1/realtime", {"authorization": f"Bearer {key}"}
    with suppress(InvalidStatus):
        async with connect(address, proxy=None, additional_headers=field) as socket:
            return bool(json.loads(await socket.recv())["type"] == "session.created")
    return False


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_closed_terminal_lets_what_runs_finish(workers: str) -> None:
    ours, theirs = os.openpty()
    async with FaultUpstream(SCRIPT) as upstream:
        with relay_to(upstream, "--workers", workers, stdin=theirs) as relay:
            os.close(theirs)
            async with RawClient(relay.url) as running:
                await running.post(CHAT, HARD.request)
                await running.until(delta("one"))
                os.close(ours)
                relay.process.send_signal(signal.SIGHUP)
                await until_refused(relay.url)
                (await upstream.visit()).release()
                assert (await running.rest()).endswith(DONE)
            assert await asyncio.to_thread(relay.process.wait, 30) == 0


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_hangup_without_a_terminal_is_a_reload_in_all_workers(workers: int, tmp_path: Path) -> None:
    file = tmp_path / "relay.toml"
    file.write_text("[reload]\nwatch_seconds = 0\n", "utf-8")
    async with FaultUpstream(SCRIPT) as upstream:
        with relay_to(upstream, "--workers", str(workers), "--config", str(file)) as relay:
            async with RawClient(relay.url) as running:
                await running.post(CHAT, HARD.request)
                await running.until(delta("one"))
                for text, said in (
                    ("[groups.everybody]\nmodels = ['none']\n", "configuration reloaded (SIGHUP)"),
                    ("nonsense", "is refused and the old one stays (SIGHUP)"),
                ):
                    file.write_text(text, "utf-8")
                    relay.process.send_signal(signal.SIGHUP)
                    await eventually(partial(said_by, relay, said, workers))
                for _ in range(4):
                    async with RawClient(relay.url) as refused:
                        await refused.post(CHAT, HARD.request)
                        assert await refused.head() == 403
                (await upstream.visit()).release()
                assert (await running.rest()).endswith(DONE)


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_second_interrupt_ends_in_good_order_at_once(workers: str) -> None:
    async with FaultUpstream([Send(head() + chunk(delta("one"))), Stall()]) as upstream:
        with relay_to(upstream, "--workers", workers, CHUKEI_SERVER__GRACE_SECONDS="300") as relay:
            async with RawClient(relay.url) as running:
                await running.post(CHAT, HARD.request)
                await running.until(delta("one"))
                relay.process.send_signal(signal.SIGINT)
                await until_refused(relay.url)
                assert await hurried(relay, signal.SIGINT) == 130
                assert b"server_shutdown" in await running.rest()
            relay.stop()
        assert [json.loads(line).get("end") for line in relay.log if '"chat"' in line] == ["server_shutdown"]
        assert not any("Traceback" in line for line in relay.log)


async def hurried(relay: RelayProcess, how: signal.Signals) -> int:
    """Send a signal until the process has ended, and return its status: one that follows soon is only a repetition."""
    async with asyncio.timeout(60):
        while relay.process.poll() is None:
            relay.process.send_signal(how)
            await asyncio.sleep(0.1)
    return relay.process.wait()


def test_nohup_is_heeded(tmp_path: Path) -> None:
    with relay_under_nohup() as (process, url):
        process.send_signal(signal.SIGHUP)
        with urllib.request.urlopen(f"{url}/health/live", timeout=10) as answer:
            assert answer.status == 200
        assert end(process) == 0


@contextmanager
def relay_under_nohup() -> Iterator[tuple["subprocess.Popen[Any]", str]]:
    command = [sys.executable, "-m", "chukei", "serve", "--port", "0"]
    with running(
        ["nohup", *command],
        env=clean_environment({"CHUKEI_LOG__FORMAT": "json"}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        url = ""
        while not url:
            line = process.stderr.readline()
            assert line, "the relay has ended"
            url = json.loads(line).get("url", "") if line.startswith("{") else ""
        yield process, url


def test_a_parent_that_fails_ends_with_its_workers() -> None:
    """As where the command's output goes to ``head``, which closes it."""
    command = [sys.executable, "-m", "chukei", "serve", "--port", "0", "--workers", "2"]
    environment = clean_environment({"CHUKEI_LOG__FORMAT": "text"})
    with running(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "simulator" in process.stderr.readline()
        process.stderr.close()
        assert process.wait(60) == 1


SHARED = 'stores.quota = "redis://…"'


@pytest.mark.parametrize(("workers", "told"), [("1", False), ("2", True)])
def test_limits_that_each_worker_counts_alone_are_told_of(tmp_path: Path, workers: str, told: bool) -> None:
    path = tmp_path / "relay.toml"
    path.write_text("[groups.everybody.limits]\nrequests_per_minute = 10\n")
    with RelayProcess({"CHUKEI_LOG__FORMAT": "json"}, "--config", str(path), "--workers", workers) as relay:
        relay.stop()
    warnings = [line["event"] for line in map(json.loads, relay.log) if line["level"] == "warning"]
    assert any(f"each of the {workers} workers" in text and SHARED in text for text in warnings) is told


def test_check_says_that_limits_are_counted_by_each_process(tmp_path: Path) -> None:
    path = tmp_path / "relay.toml"
    for text, told in (("[groups.everybody.limits]\nconcurrent = 1\n", True), ("", False)):
        path.write_text(text)
        status, output = in_process("check", "--config", str(path))
        assert status == 0
        assert (SHARED in output) is told

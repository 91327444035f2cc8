"""Workers ask each other over their parent: real processes, large messages, deaths in the middle."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from tests.live.asking_workers import LARGE
from tests.live.processes import end, running
from tests.live.relays import clean_environment, eventually
from tests.live.test_workers import children

pytestmark = pytest.mark.anyio


class Connection:
    """A connection to one of the workers, whose process id is ``process``."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.process = 0

    async def tell(self, *command: object) -> Any:
        """Give a command and wait for its result."""
        self._writer.write(json.dumps(command).encode() + b"\n")
        line = await self._reader.readline()
        assert line, "the worker has ended"
        return json.loads(line)

    async def ask(self, subject: str, argument: str = "") -> Any:
        """Return all answers."""
        (answers,) = await self.tell("ask", subject, argument, 1)
        return answers

    async def until(self, subject: str, expected: list[str]) -> None:
        """Ask until the answers are as expected."""
        async with asyncio.timeout(60):
            while await self.ask(subject) != expected:
                await asyncio.sleep(0.05)

    async def close(self) -> None:
        """Close it."""
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()


class Workers:
    """Connections to running workers."""

    def __init__(self, parent: int, port: int, stack: AsyncExitStack) -> None:
        self.parent = parent
        self._port, self._stack = port, stack

    async def connect(self, *others: Connection) -> Connection:
        """Connect until a worker accepts that none of the others is connected to."""
        async with asyncio.timeout(60):
            while True:
                connection = Connection(*await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 24))
                self._stack.push_async_callback(connection.close)
                connection.process = await connection.tell("process")
                if connection.process not in {other.process for other in others}:
                    return connection


@asynccontextmanager
async def workers(count: int, wait: Path = Path("nowhere")) -> AsyncIterator[Workers]:
    """Run that many workers; while there is a file ``wait``, those that start do not serve."""
    command = [sys.executable, "-m", "tests.live.asking_workers", str(count)]
    environment, folder = clean_environment({"WAIT": str(wait)}), Path(__file__).parents[2]
    with running(command, env=environment, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        async with AsyncExitStack() as stack:
            yield Workers(process.pid, int(process.stdout.readline()), stack)
        assert end(process) == 0


async def test_every_worker_answers_however_many_ask_and_however_much() -> None:
    async with workers(3) as running:
        one = await running.connect()
        processes = await one.ask("process")
        assert len(set(processes)) == 3
        assert str(one.process) in processes
        assert await one.ask("echo", "é") == ["é"] * 3
        assert await one.ask("unknown") == []
        assert await one.ask("error") == []
        two, three = await running.connect(one), await running.connect(one)
        found = await asyncio.gather(
            one.tell("ask", "echo", "a", 200), two.tell("ask", "echo", "b", 200), three.ask("large")
        )
        assert list(found) == [[["a"] * 3] * 200, [["b"] * 3] * 200, [f"{LARGE} bytes"] * 3]


async def test_workers_that_end_leave_their_last_answers() -> None:
    """In order with all it has counted, by a kill with what was last seen, and no answer counts twice."""
    async with workers(2) as running:
        one = await running.connect()
        await one.tell("count", 1)
        two = await running.connect(one)
        await two.tell("count", 20)
        assert await one.ask("count") == ["1", "20"]
        await two.tell("count", 300)
        os.kill(two.process, signal.SIGKILL)
        await one.until("count", ["0", "1", "20"])  # a new worker has begun to count
        three = await running.connect(one)
        await three.tell("count", 4000)
        os.kill(three.process, signal.SIGTERM)
        await one.until("count", ["0", "1", "4020"])


async def test_a_worker_that_dies_of_a_question_does_not_hold_up_the_others() -> None:
    async with workers(2) as running:
        one = await running.connect()
        two = await running.connect(one)
        await two.tell("count", 5)
        assert await one.ask("death") == ["alive"]
        await one.until("death", ["alive", "alive"])


async def test_a_stopped_worker_is_left_out_until_it_answers_again() -> None:
    async with workers(2) as running:
        one = await running.connect()
        two = await running.connect(one)
        os.kill(two.process, signal.SIGSTOP)
        try:
            assert await one.ask("echo", "x" * 90) == ["x" * 90]
            assert await one.ask("large") == [f"{LARGE} bytes"]
        finally:
            os.kill(two.process, signal.SIGCONT)
        await one.until("process", sorted([str(one.process), str(two.process)]))


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
async def test_a_worker_that_starts_while_another_reloads_reloads_too(tmp_path: Path) -> None:
    wait = tmp_path / "wait"
    async with workers(2, wait) as running:
        one = await running.connect()
        two = await running.connect(one)
        await one.tell("in force")
        assert await one.ask("reloads") == ["0", "0"]
        wait.touch()
        os.kill(two.process, signal.SIGKILL)
        await eventually(lambda: len(set(children(running.parent)) - {one.process, two.process}) == 1)
        await one.tell("in force")
        assert await one.ask("reloads") == ["0"]  # so the parent has taken the message before
        wait.unlink()
        await one.until("reloads", ["0", "1"])


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
async def test_a_hangup_for_the_whole_group_does_not_end_a_worker_that_starts(tmp_path: Path) -> None:
    wait = tmp_path / "wait"
    async with workers(2, wait) as running:
        one = await running.connect()
        two = await running.connect(one)
        wait.touch()
        os.kill(two.process, signal.SIGKILL)
        await eventually(lambda: len(set(children(running.parent)) - {one.process, two.process}) == 1)
        (three,) = set(children(running.parent)) - {one.process, two.process}
        os.kill(three, signal.SIGHUP)
        wait.unlink()
        await one.until("process", sorted([str(one.process), str(three)]))

"""One relay with its ledger in SQLite while the file is locked, and while the disk is full: no stream stops for it."""

import asyncio
import contextlib
import resource
import sqlite3
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.live.callers import (
    ENVIRONMENT,
    OUTPUT,
    PROMPT,
    CountingUpstream,
    Table,
    ask,
    bearer,
    config,
    question,
    until,
)
from tests.live.plain_http import Answer
from tests.live.raw_client import RawClient
from tests.live.recordings import CHAT, DONE
from tests.live.relays import RelayProcess, eventually

pytestmark = pytest.mark.anyio

CALLERS: dict[str, Table] = {"one": {}, "long": {}}


@dataclass(frozen=True)
class Setup:
    """A relay and its file."""

    relay: RelayProcess
    upstream: CountingUpstream
    file: Path

    async def ask(self, count: int) -> Counter[int]:
        """Ask so many times, some at once, and return the statuses."""
        answers: list[Answer] = []
        for _ in range(count // 10):
            answers += await asyncio.gather(*(ask(self.relay.url, "one", stream=bool(n % 2)) for n in range(10)))
        for answer in answers:
            assert answer.status == 200 or answer.error["code"] == "ledger_full"
        return Counter(answer.status for answer in answers)

    def rows(self) -> int:
        """Return how many entries there are; each is there once and whole."""
        with contextlib.closing(sqlite3.connect(self.file)) as connection:
            if not connection.execute("PRAGMA user_version").fetchone()[0]:
                return 0  # it is being made
            rows = connection.execute("SELECT id, input_tokens, output_tokens, status FROM chukei_entries").fetchall()
        assert len({row[0] for row in rows}) == len(rows)
        assert all((row[1], row[2]) == (PROMPT, OUTPUT) for row in rows if row[3] == 200)
        return len([row for row in rows if row[3] == 200])

    def said(self, text: str) -> bool:
        return any(text in line for line in self.relay.log)


@asynccontextmanager
async def relay(directory: Path, spool_bytes: int = 1_048_576) -> AsyncIterator[Setup]:
    async with CountingUpstream() as upstream:
        file = directory / "ledger.db"
        ledger = {"max_spool_bytes": spool_bytes}
        path = config(directory / "chukei.toml", upstream.url, CALLERS, ledger=ledger)
        environment = ENVIRONMENT | {"CHUKEI_STORES__LEDGER": f"sqlite:///{file}"}
        with RelayProcess(environment, "--config", str(path)) as process:
            setup = Setup(process, upstream, file)
            assert (await setup.ask(10))[200] == 10
            await eventually(lambda: file.exists() and setup.rows() == 10)
            yield setup
            assert not setup.said("Traceback")


@contextlib.contextmanager
def locked(file: Path) -> Iterator[None]:
    """Keep the file from being written, as a backup or a curious administrator may."""
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


@contextlib.contextmanager
def full_disk(process: RelayProcess) -> Iterator[None]:
    """Let a process make no file larger: what it writes is refused, as it is on a full disk."""
    if sys.platform != "linux":
        pytest.skip("limits of another process are Linux's")
    pid = process.process.pid
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


async def test_a_locked_database(tmp_path: Path) -> None:
    """What it does not take waits in the spool; afterwards everything is there once."""
    async with relay(tmp_path) as setup, long_stream(setup):
        with locked(setup.file):
            assert await setup.ask(50) == {200: 50}
            await eventually(lambda: setup.said("the ledger's database is away"))
            assert await setup.ask(50) == {200: 50}
            await eventually(lambda: bool(spooled(tmp_path)))
        assert await setup.ask(10) == {200: 10}
        await eventually(lambda: setup.rows() == 120)
        await eventually(lambda: not spooled(tmp_path))
    assert setup.rows() == 121


async def test_only_a_locked_database_and_a_full_spool_refuse(tmp_path: Path) -> None:
    async with relay(tmp_path, spool_bytes=65_536) as setup, long_stream(setup):
        served: Counter[int] = Counter()
        with locked(setup.file):
            async with asyncio.timeout(60):
                while not served[503]:
                    served += await setup.ask(20)
                    await asyncio.sleep(0.1)
            assert setup.said("is full; nothing more can be accounted for")
            assert served[200] > 60  # as much as the spool takes
            refused = await ask(setup.relay.url, "one")
            assert (refused.status, refused.error["code"], refused.header("retry-after")) == (503, "ledger_full", "2")
        await until(lambda: _serves(setup))
        assert setup.said("the ledger takes entries again")
        await eventually(lambda: setup.rows() >= 10 + served[200] + 1)
    assert setup.rows() == setup.upstream.requests.total()


async def test_a_full_disk(tmp_path: Path) -> None:
    """Neither the database nor the spool takes anything; what runs goes on, and what was served is not lost."""
    async with relay(tmp_path) as setup, long_stream(setup):
        with full_disk(setup.relay):
            served: Counter[int] = Counter()
            async with asyncio.timeout(60):
                while not served[503]:
                    served += await setup.ask(20)
                    await asyncio.sleep(0.1)
            assert served[200]
            assert setup.said("nothing more can be accounted for")
        await until(lambda: _serves(setup))
        await eventually(lambda: setup.rows() >= 10 + served[200] + 1)
        # The relay has connected anew, and others have come and gone: none took itself to be the last to leave.
        assert setup.file.with_name("ledger.db-wal").exists()
    assert setup.rows() == setup.upstream.requests.total()


@asynccontextmanager
async def long_stream(setup: Setup) -> AsyncIterator[None]:
    """Begin a stream before something happens, and end it whole while it does."""
    setup.upstream.holding.add("long")
    async with RawClient(setup.relay.url) as client:
        await client.post(CHAT, question("long", stream=True), bearer("long"))
        await eventually(lambda: bool(setup.upstream.held("long")))
        yield
        setup.upstream.held("long")[0].release()
        assert (await client.rest()).endswith(DONE)


async def _serves(setup: Setup) -> bool:
    return (await ask(setup.relay.url, "one")).status == 200


def spooled(directory: Path) -> list[Path]:
    """Return the files in which entries wait."""
    folder = directory / "ledger.db-spool"
    return [*folder.iterdir()] if folder.is_dir() else []

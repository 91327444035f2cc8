"""Entries arrive exactly once despite failures of database, disk or process, and no request waits for them."""

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.adapters.ledger_entries import START, entries, entry, naive
from tests.fakes import FakeRules
from tests.live.postgres_server import PostgresServer
from tests.live.relays import eventually as within

from chukei.accounts.changes import Change
from chukei.accounts.ledger import Entry, Key, KeySearch, Question, Seen, Sum
from chukei.accounts.stores import Database, StoreAway
from chukei.adapters.ledger.databases import database_for
from chukei.adapters.ledger.sqlite import SqliteDatabase
from chukei.adapters.ledger.writer import BATCH, MAX_WAITING, LedgerWriter
from chukei.metrics.definitions import LEDGER_FULL, LEDGER_SPOOL_BYTES, LEDGER_SPOOLED, LEDGER_WAITING, STORE_AVAILABLE

pytestmark = pytest.mark.anyio

ALL = Question(by=())
AWAY, BACK = "the ledger's database is away", "the ledger's database takes entries again"


async def eventually(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait for longer than the pauses between two attempts to reach a database."""
    await within(condition, seconds)


class FakeDatabase(FakeRules):
    """A database that can be away, slow, or broken in ways that none should be."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[list[Entry]] = []
        self.problem: Exception | None = None
        self.slow = asyncio.Event()
        self.slow.set()
        self.forgotten: list[datetime | None] = []

    @property
    def ids(self) -> set[str]:
        return {each.id for batch in self.batches for each in batch}

    async def _answer(self) -> None:
        await self.slow.wait()
        if self.problem is not None:
            raise self.problem

    async def open(self) -> None:
        await self._answer()

    async def add(self, entries: Sequence[Entry]) -> None:
        await self._answer()
        self.batches.append(list(entries))

    async def forget(
        self, *, before: datetime | None = None, caller: str | None = None, change: Change | None = None
    ) -> int:
        self.forgotten.append(before)
        await self._answer()
        return 1

    async def sum(self, question: Question) -> list[Sum]:
        raise NotImplementedError

    async def seen(self, caller: str | None = None) -> list[Seen]:
        raise NotImplementedError

    async def keys(self) -> list[Key]:
        raise NotImplementedError

    async def find_keys(self, search: KeySearch) -> tuple[list[Key], int]:
        raise NotImplementedError

    async def keys_mark(self) -> str:
        raise NotImplementedError

    async def add_key(
        self, key: Key, *, replaces: tuple[str, datetime] | None = None, change: Change | None = None
    ) -> None:
        raise NotImplementedError

    async def end_key(
        self, id: str, *, expires: datetime | None, revoked: datetime | None, change: Change | None = None
    ) -> bool:
        raise NotImplementedError

    async def close(self) -> None:
        return None


@asynccontextmanager
async def writing(database: Database, spool: Path | None = None, **options: Any) -> AsyncIterator[LedgerWriter]:
    writer = LedgerWriter(database, spool=spool, **options)
    writer.start()
    try:
        yield writer
    finally:
        await writer.close()


def write(writer: LedgerWriter, given: list[Entry]) -> list[Entry]:
    for each in given:
        writer.write(each)
    return given


def count(caplog: pytest.LogCaptureFixture, text: str) -> int:
    return sum(text in record.getMessage() for record in caplog.records)


def status(writer: LedgerWriter) -> object:
    return writer.state()["status"]


def spooled(writer: LedgerWriter) -> object:
    return writer.state()["spooled"]


def settled(writer: LedgerWriter) -> bool:
    state = writer.state()
    return (state["status"], state["waiting"], state["spooled"]) == ("ok", 0, 0)


@pytest.fixture
def fake() -> FakeDatabase:
    return FakeDatabase()


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "spool"


# Everyday.


async def test_entries_go_in_batches(fake: FakeDatabase) -> None:
    async with writing(fake) as writer:
        given = write(writer, entries(10))
        assert fake.batches == [], "nobody waits"
        await eventually(lambda: bool(fake.batches))
        assert fake.batches == [given]
        assert settled(writer)


async def test_many_go_at_once_and_none_is_too_many_for_one_transaction(fake: FakeDatabase) -> None:
    async with writing(fake) as writer:
        given = write(writer, entries(3 * BATCH + 1))
        await eventually(lambda: len(fake.ids) == len(given))
        assert [each for batch in fake.batches for each in batch] == given
        assert max(map(len, fake.batches)) == BATCH


async def test_the_rest_of_many_waits_for_others(fake: FakeDatabase) -> None:
    async with writing(fake) as writer:
        await eventually(lambda: writer.state()["last_written"] is not None)
        first, rest, later = entries(2 * BATCH), entries(3), entries(2)
        write(writer, first + rest)
        await eventually(lambda: len(fake.batches) == 2)
        write(writer, later)
        await eventually(lambda: len(fake.batches) == 3)
    assert fake.batches[2] == rest + later
    assert fake.batches[0] + fake.batches[1] == first


async def test_what_comes_while_a_batch_is_written_waits_for_its_own_batch(fake: FakeDatabase) -> None:
    """Under a steady load each entry would else have a transaction of its own."""
    async with writing(fake) as writer:
        given = []
        for _ in range(60):
            given += write(writer, entries(1))
            await asyncio.sleep(0.01)
        await eventually(lambda: len(fake.ids) == len(given))
        assert len(fake.batches) < 20


async def test_closing_brings_what_waits(fake: FakeDatabase) -> None:
    async with writing(fake) as writer:
        given = write(writer, entries(700))
    assert fake.ids == {each.id for each in given}
    await writer.close()


async def test_what_was_written_before_the_start_is_kept(fake: FakeDatabase) -> None:
    writer = LedgerWriter(fake)
    given = write(writer, entries(3))
    writer.start()
    await eventually(lambda: fake.batches == [given])
    await writer.close()


async def test_after_the_end_it_is_lost_and_said(fake: FakeDatabase, caplog: pytest.LogCaptureFixture) -> None:
    async with writing(fake) as writer:
        pass
    write(writer, entries(2))
    assert writer.state()["lost"] == 2
    assert count(caplog, "loses entries") == 1


async def test_old_entries_are_deleted_again_and_again(fake: FakeDatabase) -> None:
    now = datetime(2026, 11, 22, tzinfo=UTC)
    async with writing(fake, retention_days=30, now=lambda: now, sweep_seconds=0.01):
        await eventually(lambda: len(fake.forgotten) > 1)
        fake.problem = StoreAway("it is away")
        seen = len(fake.forgotten)
        await eventually(lambda: len(fake.forgotten) > seen + 1)
    assert set(fake.forgotten) == {now - timedelta(days=30)}


async def test_by_default_nothing_is_deleted(fake: FakeDatabase) -> None:
    async with writing(fake, sweep_seconds=0.01) as writer:
        write(writer, entries(1))
        await eventually(lambda: bool(fake.batches))
        assert fake.forgotten == []


async def test_retention_on_a_real_database(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "ledger.db")
    await database.add([entry(time=START - timedelta(days=31)), entry(time=START - timedelta(days=29))])
    async with writing(database, retention_days=30, now=lambda: START):
        async with asyncio.timeout(60):
            while (await database.sum(ALL))[0].requests != 1:
                await asyncio.sleep(0.01)
    await database.close()


# The database is unavailable.


async def test_entries_wait_in_the_spool_while_the_database_is_away(
    fake: FakeDatabase, spool: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fake.problem = StoreAway("its disk is full: make room")
    async with writing(fake, spool) as writer:
        given = write(writer, entries(30))
        await eventually(lambda: spooled(writer) == 30)
        assert status(writer) == "away"
        values = {family.name: value for family, _, value in writer.readings()}
        size = sum(file.stat().st_size for file in spool.iterdir())
        assert (values[LEDGER_SPOOLED.name], values[LEDGER_SPOOL_BYTES.name]) == (30, size)
        assert (values[STORE_AVAILABLE.name], values[LEDGER_FULL.name], values[LEDGER_WAITING.name]) == (0, 0, 0)
        assert not writer.full
        assert writer.state()["last_error"] == "its disk is full: make room"
        given += write(writer, entries(30))
        await eventually(lambda: spooled(writer) == 60)
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        assert caplog.records[0].getMessage() == f"{AWAY}, and entries wait in {spool}: its disk is full: make room"
        fake.problem = None
        await eventually(lambda: settled(writer))
        assert [each for batch in fake.batches for each in batch] == given
        assert list(spool.iterdir()) == []
        assert count(caplog, BACK) == 1
        values = {family.name: value for family, _, value in writer.readings()}
        assert (values[LEDGER_SPOOL_BYTES.name], values[STORE_AVAILABLE.name]) == (0, 1)


async def test_what_waits_outlives_the_process(fake: FakeDatabase, spool: Path) -> None:
    fake.problem = StoreAway("it is away")
    async with writing(fake, spool) as first:
        given = write(first, entries(40))
        await eventually(lambda: spooled(first) == 40)
        given += write(first, entries(2))  # and what was written just before the end
    assert fake.batches == []
    fake.problem = None
    async with writing(fake, spool) as second:
        await eventually(lambda: len(fake.ids) == 42)
        await eventually(lambda: settled(second))
    assert [each for batch in fake.batches for each in batch] == given


async def test_a_slow_database_is_not_waited_for(fake: FakeDatabase, spool: Path) -> None:
    """What it does not take in time is on the local disk as well, and there once in the end."""
    async with writing(fake, spool) as writer:
        await eventually(lambda: writer.state()["last_written"] is not None)
        fake.slow.clear()
        given = write(writer, entries(5))
        await eventually(lambda: spooled(writer) == 5)
        given += write(writer, entries(5))
        await eventually(lambda: spooled(writer) == 10)
        fake.slow.set()
        await eventually(lambda: settled(writer))
        assert fake.ids == {each.id for each in given}
        assert writer.state()["lost"] == 0


async def test_a_database_that_is_always_slow_gets_everything(spool: Path) -> None:
    class Slow(FakeDatabase):
        async def _answer(self) -> None:
            await asyncio.sleep(0.4)

    fake = Slow()
    async with writing(fake, spool) as writer:
        given = write(writer, entries(BATCH + 100))
        await eventually(lambda: len(fake.ids) == len(given))
        await eventually(lambda: settled(writer))


async def test_one_that_never_answers_holds_nothing_up(fake: FakeDatabase, spool: Path) -> None:
    fake.slow.clear()
    async with writing(fake, spool) as writer:
        write(writer, entries(10))
    assert len(next(spool.iterdir()).read_bytes().splitlines()) == 10


async def test_an_unexpected_error_is_one_like_others(fake: FakeDatabase, spool: Path) -> None:
    fake.problem = RuntimeError("a bug")
    async with writing(fake, spool) as writer:
        given = write(writer, entries(3))
        await eventually(lambda: spooled(writer) == 3)
        assert writer.state()["last_error"] == "RuntimeError: a bug"
        fake.problem = None
        await eventually(lambda: fake.batches == [given])


# The spool is full.


async def test_a_full_spool_is_told(fake: FakeDatabase, spool: Path, caplog: pytest.LogCaptureFixture) -> None:
    fake.problem = StoreAway("it is away")
    async with writing(fake, spool, max_spool_bytes=30_000) as writer:
        given: list[Entry] = []
        while not writer.full:
            given += write(writer, entries(5))
            await asyncio.sleep(0.01)
            assert len(given) < 5000
        assert status(writer) == "full"
        given += write(writer, entries(5))  # of requests that were under way
        await asyncio.sleep(1.2)
        assert count(caplog, "is full; nothing more can be accounted for") == 1
        assert sum(file.stat().st_size for file in spool.iterdir()) <= 30_000
        fake.problem = None
        await eventually(lambda: settled(writer))
        assert fake.ids == {each.id for each in given}
        assert count(caplog, "the ledger takes entries again") == 1
    assert not writer.full


async def test_a_spool_that_cannot_be_written(
    fake: FakeDatabase, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    async with writing(fake, tmp_path / "file" / "spool") as writer:
        write(writer, entries(1))
        await eventually(lambda: settled(writer) and bool(fake.batches))
        assert not writer.full, "while the database is there, nobody needs it"
        fake.problem = StoreAway("it is away")
        write(writer, entries(1))
        await eventually(lambda: writer.full)
        assert count(caplog, "cannot be written: Not a directory; nothing more can be accounted for") == 1
        fake.problem = None
        await eventually(lambda: settled(writer) and len(fake.ids) == 2)


async def test_without_a_spool_memory_holds_what_it_can(fake: FakeDatabase, caplog: pytest.LogCaptureFixture) -> None:
    fake.problem = StoreAway("it is away")
    async with writing(fake) as writer:
        given = write(writer, entries(MAX_WAITING // 2))
        assert writer.full
        given += write(writer, entries(MAX_WAITING // 2 + 7))
        assert writer.state()["lost"] == 7
        assert count(caplog, "the ledger loses entries") == 1
        fake.problem = None
        await eventually(lambda: settled(writer))
        assert fake.ids == {each.id for each in given[:-7]}


async def test_what_nothing_takes_is_lost_in_the_end_and_said(
    fake: FakeDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    fake.problem = StoreAway("it is away")
    async with writing(fake) as writer:
        write(writer, entries(3))
    assert writer.state()["lost"] == 3
    assert count(caplog, "the ledger loses entries") == 1


# Real databases.


async def total(database: Database) -> list[Sum]:
    return await database.sum(ALL)


async def test_a_locked_sqlite_file(tmp_path: Path, spool: Path, caplog: pytest.LogCaptureFixture) -> None:
    database = SqliteDatabase(tmp_path / "ledger.db", busy_seconds=0.05)
    async with writing(database, spool) as writer:
        given = write(writer, entries(3))
        await eventually(lambda: settled(writer) and writer.state()["last_written"] is not None)
        with closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            given += write(writer, entries(3))
            await eventually(lambda: spooled(writer) == 3)
            assert "it was locked" in caplog.text
            other.execute("COMMIT")
        await eventually(lambda: settled(writer))
        assert await total(database) == naive(ALL, given)
    await database.close()


async def test_a_sqlite_file_that_is_gone(tmp_path: Path, spool: Path) -> None:
    path = tmp_path / "ledger.db"
    database = SqliteDatabase(path)
    async with writing(database, spool) as writer:
        write(writer, entries(3))
        await eventually(lambda: path.exists() and settled(writer) and writer.state()["last_written"] is not None)
        path.unlink()
        given = write(writer, entries(4))
        await eventually(lambda: spooled(writer) == 4)
        assert "restart the relay" in str(writer.state()["last_error"])
    await database.close()
    restarted = SqliteDatabase(path)
    async with writing(restarted, spool) as writer:
        await eventually(lambda: not any(spool.iterdir()))
        assert await total(restarted) == naive(ALL, given)
    await restarted.close()


async def load(writer: LedgerWriter, given: list[Entry], stop: asyncio.Event) -> None:
    while not stop.is_set():
        given += write(writer, entries(5))
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("fault", ["restart", "kill", "stall"])
async def test_postgres_fails_under_load(
    postgres_url: str, postgres_server: PostgresServer, spool: Path, fault: str
) -> None:
    database = database_for(postgres_url)
    given: list[Entry] = []
    stop = asyncio.Event()
    async with writing(database, spool) as writer:
        loading = asyncio.create_task(load(writer, given, stop))
        await eventually(lambda: writer.state()["last_written"] is not None and len(given) > 100)
        if fault == "restart":
            postgres_server.stop()
            try:
                await eventually(lambda: status(writer) == "away" and spooled(writer) != 0)
            finally:
                await asyncio.to_thread(postgres_server.start)
        elif fault == "kill":
            name = postgres_url.rsplit("/", 1)[1]
            kill = f"SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = '{name}'"
            assert int(await asyncio.to_thread(postgres_server.sql, kill)) > 0
        else:
            postgres_server.pause()
            try:
                await eventually(lambda: spooled(writer) != 0)
            finally:
                postgres_server.resume()
        seen = len(given)
        await eventually(lambda: len(given) > seen + 50)
        stop.set()
        await loading
        await eventually(lambda: settled(writer), seconds=40)
        assert writer.state()["lost"] == 0
        assert await total(database) == naive(ALL, given)
    await database.close()


async def test_workers_share_a_file_and_a_spool(tmp_path: Path, spool: Path) -> None:
    """Each has connections and a spool file of its own, as processes do."""
    path = tmp_path / "ledger.db"
    databases = [SqliteDatabase(path, busy_seconds=0.05) for _ in range(3)]
    writers = [LedgerWriter(database, spool=spool) for database in databases]
    for writer in writers:
        writer.start()
    await eventually(lambda: all(writer.state()["last_written"] for writer in writers))
    given: list[Entry] = []
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        for writer in writers:
            given += write(writer, entries(30))
        await eventually(lambda: all(spooled(writer) == 30 for writer in writers))
        assert len(list(spool.iterdir())) == 3
        await writers[0].close()
        await databases[0].close()
        other.execute("COMMIT")
    later = LedgerWriter(databases[1], spool=spool)
    later.start()
    await eventually(lambda: all(map(settled, [later, *writers[1:]])) and not any(spool.iterdir()))
    assert await total(databases[1]) == naive(ALL, given)
    for writer in (later, *writers[1:]):
        await writer.close()
    for database in databases[1:]:
        await database.close()


RELAY = """
import asyncio, sys
from pathlib import Path
from chukei.adapters.ledger.databases import database_for
from chukei.adapters.ledger.writer import LedgerWriter
from tests.adapters.ledger_entries import entry
from tests.loops import SteadyLoop

async def main():
    clock = asyncio.get_running_loop().time
    writer = LedgerWriter(database_for(sys.argv[1]), spool=Path(sys.argv[2]))
    writer.start()
    number = 0
    while True:
        print(number, clock(), flush=True)
        writer.write(entry(id=str(number)))
        number += 1
        await asyncio.sleep(0.002)

with asyncio.Runner(loop_factory=SteadyLoop) as runner:
    runner.run(main())
"""


@pytest.mark.parametrize("away", [False, True], ids=["there", "away"])
async def test_a_killed_process_loses_a_second_at_most(tmp_path: Path, spool: Path, away: bool) -> None:
    """What is there is whole, in one piece up to the last batch, and that was less than a second ago.

    The seconds are those of the process's steady loop, which does not count that a busy machine stopped it.
    """
    path = tmp_path / "ledger.db"
    url = f"sqlite:///{path}"
    database = SqliteDatabase(path)
    await database.open()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        if away:
            other.execute("BEGIN EXCLUSIVE")
        command = [sys.executable, "-c", RELAY, url, str(spool)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            written: dict[int, float] = {}
            while not written or written[max(written)] - written[0] < 2.5:
                number, at = (await asyncio.to_thread(process.stdout.readline)).split()
                written[int(number)] = float(at)
            process.kill()
            for line in process.stdout:
                if len(parts := line.split()) == 2:
                    written[int(parts[0])] = float(parts[1])
    async with writing(database, spool) as writer:
        await eventually(lambda: settled(writer) and not (spool.exists() and any(spool.iterdir())))
        with closing(sqlite3.connect(path)) as other:
            kept = sorted(int(id) for (id,) in other.execute("SELECT id FROM chukei_entries"))
    await database.close()
    assert kept == list(range(len(kept)))
    killed = max(written.values())
    assert killed - written.get(len(kept), killed) < 1.0
    assert len(kept) > 100

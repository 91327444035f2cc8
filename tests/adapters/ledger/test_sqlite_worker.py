"""An SQLite file that is locked, read-only, full, missing or invalid: the operator's message, and the recovery."""

import asyncio
import os
import resource
import sqlite3
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.adapters.ledger_entries import entries
from tests.rows import rows

from chukei.accounts.ledger import Question
from chukei.accounts.stores import StoreAway
from chukei.adapters.ledger.sqlite import SqliteDatabase

pytestmark = pytest.mark.anyio

ALL = Question(by=())
NOBODY = 65534


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that other users can reach too."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def path(folder: Path) -> Path:
    return folder / "ledger.db"


@pytest.fixture
async def database(path: Path) -> AsyncIterator[SqliteDatabase]:
    database = SqliteDatabase(path, busy_seconds=0.05)
    yield database
    await database.close()


@contextmanager
def other(path: Path) -> Iterator[sqlite3.Connection]:
    """Another program's connection."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        yield connection
    finally:
        connection.close()


@contextmanager
def without_rights() -> Iterator[None]:
    """Be a user that owns nothing; root may do everything."""
    if os.geteuid() == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if os.getuid() == 0:
            os.seteuid(0)


async def requests(database: SqliteDatabase) -> int:
    return sum(each.requests for each in await database.sum(ALL))


async def works(database: SqliteDatabase, expected: int) -> None:
    """It goes on as if nothing had been."""
    await database.add(entries(1))
    assert await requests(database) == expected


async def test_a_new_file_is_its_owners_alone(database: SqliteDatabase, path: Path) -> None:
    await database.add(entries(1))
    modes = {file.name: oct(file.stat().st_mode & 0o777) for file in path.parent.iterdir()}
    assert modes == dict.fromkeys(("ledger.db", "ledger.db-wal", "ledger.db-shm"), "0o600")


async def test_locked(database: SqliteDatabase, path: Path) -> None:
    await database.open()
    with other(path) as program:
        program.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreAway, match=r"ledger\.db: it was locked for 0\.05 s: end the program"):
            await database.add(entries(2))
        assert await requests(database) == 0, "questions do not wait for who writes"
        program.execute("COMMIT")
    await works(database, 1)


async def test_locked_before_it_was_opened(database: SqliteDatabase, path: Path) -> None:
    with other(path) as program:
        program.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreAway, match="locked"):
            await database.open()
    await works(database, 1)


async def test_a_lock_that_ends_soon_is_waited_for(path: Path) -> None:
    database = SqliteDatabase(path, busy_seconds=30)
    await database.open()
    with other(path) as program:
        program.execute("BEGIN EXCLUSIVE")
        adding = asyncio.create_task(database.add(entries(1)))
        await asyncio.sleep(0.05)
        assert not adding.done(), "and the loop was free meanwhile"
        program.execute("COMMIT")
    await adding
    await database.close()


async def test_read_only(database: SqliteDatabase, path: Path) -> None:
    await database.add(entries(1))
    await database.close()
    path.chmod(0o444)
    again = SqliteDatabase(path, busy_seconds=0.05)
    with without_rights(), pytest.raises(StoreAway, match="permission denied: see that the folder exists and"):
        await again.open()
    path.chmod(0o644)
    await works(again, 2)
    await again.close()


async def test_a_disk_that_became_read_only(database: SqliteDatabase, path: Path) -> None:
    await database.add(entries(1))
    await database._writer.run(lambda connection: connection.execute("PRAGMA query_only = ON").fetchone())
    with pytest.raises(StoreAway, match="read-only: give the relay's user the right to write"):
        await database.add(entries(1))
    await works(database, 2)


async def test_no_such_folder(folder: Path) -> None:
    database = SqliteDatabase(folder / "data" / "ledger.db")
    for attempt in (database.open(), database.add(entries(1)), requests(database)):
        with pytest.raises(StoreAway, match="no such file or directory: see that the folder exists"):
            await attempt
    (folder / "data").mkdir()
    await works(database, 1)
    await database.close()


async def test_a_folder_in_its_place(folder: Path) -> None:
    database = SqliteDatabase(folder)
    with pytest.raises(StoreAway, match="is a directory"):
        await database.open()
    await database.close()


@rows("content", [b"this is no database" * 100, b"\0" * 5000, os.urandom(4096)])
async def test_not_a_database(database: SqliteDatabase, path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(StoreAway, match="no SQLite database: choose another path"):
        await database.open()
    assert path.read_bytes() == content


async def test_another_programs_database(database: SqliteDatabase, path: Path) -> None:
    with other(path) as program:
        program.execute("CREATE TABLE recipes (name TEXT)")
    with pytest.raises(StoreAway, match="another program's data: choose another path"):
        await database.open()
    with other(path) as program:
        assert program.execute("SELECT name FROM sqlite_schema").fetchall() == [("recipes",)]


async def test_damaged(database: SqliteDatabase, path: Path) -> None:
    await database.add(entries(500))
    await database.close()
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    again = SqliteDatabase(path)
    with pytest.raises(StoreAway, match="damaged: restore a backup, or move it away"):
        await again.add(entries(1))
    await again.close()


async def test_full(database: SqliteDatabase, path: Path) -> None:
    """A disk with no room left, as SQLite itself sees it."""
    await database.add(entries(1))
    await database._writer.run(lambda connection: connection.execute("PRAGMA max_page_count = 1").fetchone())
    with pytest.raises(StoreAway, match="its disk is full: make room"):
        await database.add(entries(5000))
    await works(database, 2)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a file system")
async def test_a_file_system_that_is_full(folder: Path) -> None:
    small = folder / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(small)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("this container may not mount")
    database = SqliteDatabase(small / "ledger.db")
    try:
        await database.add(entries(1))
        (small / "ballast").write_bytes(b"\0" * 200_000)
        with pytest.raises(StoreAway, match="full"):
            await database.add(entries(5000))
        (small / "ballast").unlink()
        await works(database, 2)
    finally:
        await database.close()
        subprocess.run(["umount", str(small)], check=True)


async def test_a_limit_on_the_size_of_files(database: SqliteDatabase) -> None:
    await database.add(entries(1))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(StoreAway, match="its disk failed: see the system's log"):
            await database.add(entries(5000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    await works(database, 2)


async def test_a_file_that_was_moved_away(database: SqliteDatabase, path: Path) -> None:
    """Everything is in it. Nothing more is written there, nor into a new file, until somebody decides."""
    await database.add(entries(2))
    elsewhere = path.rename(path.with_name("elsewhere.db"))
    for _ in range(2):
        with pytest.raises(StoreAway, match="moved or deleted while in use: put it back, or restart the relay"):
            await database.add(entries(1))
    with pytest.raises(StoreAway, match="moved or deleted"):
        await requests(database)
    moved = SqliteDatabase(elsewhere)
    assert await requests(moved) == 2
    await moved.close()
    elsewhere.rename(path)
    await works(database, 3)


async def test_a_file_that_was_deleted(database: SqliteDatabase, path: Path) -> None:
    await database.add(entries(2))
    for file in path.parent.iterdir():
        file.unlink()
    with pytest.raises(StoreAway, match="restart the relay to begin a new one"):
        await database.add(entries(1))
    await database.close()
    restarted = SqliteDatabase(path)
    await works(restarted, 1)
    await restarted.close()

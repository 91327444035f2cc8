"""A thread with one connection to an SQLite file, and messages for operators about its errors."""

import asyncio
import errno
import os
import sqlite3
import stat
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from chukei.accounts.stores import StoreAway

BUSY_SECONDS = 2.0
"""Time limit for waiting for another program's lock."""

OLDEST = (3, 37, 0)
"""The oldest supported version, the first with STRICT tables (https://sqlite.org/stricttables.html)."""

APPLICATION = 0x63686B69
"""Marks the file as the relay's: "chki"."""

_Result = TypeVar("_Result")


class SqliteWorker:
    """One connection, used in one thread."""

    def __init__(
        self, path: Path, task: str, busy_seconds: float, prepare: Callable[[sqlite3.Connection], None]
    ) -> None:
        self._path = path
        self._busy_seconds = busy_seconds
        self._prepare = prepare
        self._makes = task == "writes"
        self._thread = ThreadPoolExecutor(1, f"chukei-ledger-{task}")
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None  # device and inode, to detect that the open file was replaced
        self._closed = False

    async def run(self, work: Callable[[sqlite3.Connection], _Result]) -> _Result:
        """Run ``work`` with the connection, after all earlier work. Connect if necessary."""
        if self._closed:
            raise StoreAway("the ledger is closed")
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._run, work)

    def _run(self, work: Callable[[sqlite3.Connection], _Result]) -> _Result:
        try:
            return work(self._connected())
        except (sqlite3.Error, OSError) as error:
            if not is_busy(error):
                self._disconnect()
            away = _away(error, self._path, self._busy_seconds)
        except StoreAway as error:
            if not isinstance(error, _Moved):
                self._disconnect()
            if isinstance(error, Gone):
                raise
            away = StoreAway(f"{self._path}: {error}")
        raise away  # outside the handler, without context: the message is sufficient

    def _connected(self) -> sqlite3.Connection:
        if self._connection is not None and self._file != _file(self._path):
            # A new file would share the name of the write-ahead log with the old one, and rows could be lost.
            with suppress(sqlite3.Error):
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # moves all rows to the old file
            raise _Moved("it was moved or deleted while in use: put it back, or restart the relay to begin a new one")
        if self._connection is None:
            if self._makes:
                _make(self._path)
            elif not self._path.exists():
                raise Gone(f"there is no file {self._path}")
            self._file = _file(self._path)
            connection = sqlite3.connect(
                f"file:{quote(self._path.absolute().as_posix())}?mode=rw",
                uri=True,
                timeout=self._busy_seconds,
                isolation_level=None,
                check_same_thread=False,
            )
            try:
                self._prepare(connection)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    async def close(self) -> None:
        """Disconnect after all earlier work."""
        if not self._closed:
            self._closed = True
            await asyncio.get_running_loop().run_in_executor(self._thread, self._disconnect)
            self._thread.shutdown(wait=False)


class Gone(StoreAway):
    """There is nothing to read yet: the writing connection must create it."""


class _Moved(StoreAway):
    """The open file was moved, deleted or replaced."""


def _make(path: Path) -> None:
    """Create the file, readable only by its owner, if it does not exist. An existing file is checked but not opened.

    If a process closes any descriptor of a file, the system releases all its locks on that file (POSIX, fcntl), also
    those of this process's other connection. Then the next program that closes the database would take itself for the
    last one and delete the write-ahead log in use (https://sqlite.org/howtocorrupt.html §2.2).

    Raises:
        OSError: the file can be neither created nor used.
    """
    if path.exists():
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not os.access(path, os.R_OK | os.W_OK, effective_ids=os.access in os.supports_effective_ids):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return
    with suppress(FileExistsError):
        if sys.platform == "linux":
            os.mknod(path, 0o600 | stat.S_IFREG)
        else:  # elsewhere mknod needs root; closing a new file is harmless, since no connection uses it yet
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def _file(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Commit on success, else roll back."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Switch to the write-ahead log. That fails without waiting if another process is doing the same, so retry."""
    if sqlite3.sqlite_version_info < OLDEST:
        raise StoreAway(f"SQLite {sqlite3.sqlite_version} is too old: 3.37 or later is needed, or use PostgreSQL")
    for attempt in range(20):
        try:
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
            break
        except sqlite3.OperationalError as error:
            if not is_busy(error) or attempt == 19:
                raise
            time.sleep(0.05)
    if mode != "wal":
        raise StoreAway("the file system has no shared memory for SQLite's write-ahead log: use a local disk")


def version_of(connection: sqlite3.Connection) -> int:
    """Return the schema's version.

    Raises:
        StoreAway: the file belongs to another program.
    """
    ours, version, tables = connection.execute(
        "SELECT application_id, user_version, (SELECT count(*) FROM sqlite_schema)"
        " FROM pragma_application_id, pragma_user_version"
    ).fetchone()
    if ours != APPLICATION and (ours or version or tables):
        raise StoreAway("the file holds another program's data: choose another path for the ledger")
    return int(version)


def is_busy(error: BaseException) -> bool:
    """Whether another connection holds a lock."""
    return _code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _code(error: BaseException) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _away(error: BaseException, path: Path, busy_seconds: float) -> StoreAway:
    """Return the error with advice."""
    words = {
        sqlite3.SQLITE_BUSY: f"it was locked for {busy_seconds:g} s: end the program that holds it (a backup, a shell)",
        sqlite3.SQLITE_READONLY: "it is read-only: give the relay's user the right to write the file and its folder",
        sqlite3.SQLITE_PERM: "the relay's user may not use it: give it the right to write the file and its folder",
        sqlite3.SQLITE_INTERRUPT: "the question took too long: ask about a shorter time",
        sqlite3.SQLITE_IOERR: "its disk failed: see the system's log, and whether a limit on files was reached",
        sqlite3.SQLITE_CORRUPT: "it is damaged: restore a backup, or move it away and a new one is begun",
        sqlite3.SQLITE_FULL: "its disk is full: make room",
        sqlite3.SQLITE_CANTOPEN: "it cannot be opened: see that the folder exists and the relay's user may write in it",
        sqlite3.SQLITE_NOTADB: "it is no SQLite database: choose another path for the ledger",
    }
    if isinstance(error, OSError):
        words[0] = f"{(error.strerror or 'it cannot be used').lower()}: see that the folder exists and can be written"
    return StoreAway(f"{path}: {words.get(_code(error), f'SQLite said {type(error).__name__}: {error}')}")

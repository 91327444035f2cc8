"""The ledger in one SQLite file, for the processes of one machine.

Plain ``sqlite3`` runs in two threads, so that the event loop never waits for the disk. One thread writes, the other
queries, so that a long query does not delay writing. The write-ahead log allows both at the same time. It needs shared
memory, so the file must be on a local disk. Times are whole microseconds since 1970 in UTC.

``synchronous=FULL`` ensures that each batch is on the disk when ``add`` returns, even after a power failure. NORMAL
would save a wait for the disk twice a second, outside the path of requests, but could lose batches that were already
removed from the spool.
"""

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar, cast

from chukei.accounts.ledger import Entry, Key, Question, Sum
from chukei.accounts.overrides import RuleChange
from chukei.adapters.ledger.rules_sql import CHANGES, RULES, RULES_MARK
from chukei.adapters.ledger.schema import Migration, migrations, pending
from chukei.adapters.ledger.sql import COLUMNS, KEY_COLUMNS, key_of, question_sql, row_of, sums_of, text_of
from chukei.adapters.ledger.sqlite_worker import (
    APPLICATION,
    BUSY_SECONDS,
    Gone,
    SqliteWorker,
    transaction,
    use_write_ahead_log,
    version_of,
)

QUESTION_SECONDS = 30.0
"""Time limit of a query of sums."""

LOG_BYTES = 64 * 1_048_576
"""Bytes to which the write-ahead log is truncated after a long query has made it grow."""

CHUNK = 1000
"""Entries deleted in one transaction."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST = datetime.max.replace(tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_FIRST_MICROS, _LAST_MICROS = 0, (datetime(2200, 1, 1, tzinfo=UTC) - _EPOCH) // _MICROSECOND
_PART = timedelta(days=31)
_DAY = "time / 86400000000"
_Result = TypeVar("_Result")


class SqliteDatabase:
    """See the Database port. The file at ``path`` is created if it does not exist, readable only by its owner."""

    def __init__(
        self,
        path: Path,
        *,
        steps: Sequence[Migration] | None = None,
        busy_seconds: float = BUSY_SECONDS,
        question_seconds: float = QUESTION_SECONDS,
    ) -> None:
        self._path = path
        self._steps = migrations("sqlite") if steps is None else steps
        self._question_seconds = question_seconds
        self._writer = SqliteWorker(path, "writes", busy_seconds, self._upgrade)
        self._reader = SqliteWorker(path, "reads", busy_seconds, self._only_read)

    def __repr__(self) -> str:
        return f"<SqliteDatabase {self._path}>"

    async def open(self) -> None:
        """See the Database port. Idempotent."""
        await self._writer.run(lambda _: None)
        await self._reader.run(lambda _: None)

    async def add(self, entries: Sequence[Entry]) -> None:
        """See the Database port."""

        def add(connection: sqlite3.Connection) -> None:
            if len(entries) in _ADD:  # one statement is a transaction by itself
                connection.execute(_ADD[len(entries)], _values_of(entries))
                return
            start = 0
            with transaction(connection):
                for count, sql in _ADD.items():
                    while len(entries) - start >= count:
                        connection.execute(sql, _values_of(entries[start : start + count]))
                        start += count

        if entries:
            await self._writer.run(add)

    async def sum(self, question: Question) -> list[Sum]:
        """See the Database port."""

        def ask(connection: sqlite3.Connection) -> list[Sum]:
            end = time.monotonic() + self._question_seconds
            connection.set_progress_handler(lambda: int(time.monotonic() > end), 100_000)
            try:
                return sums_of(question, _rows(connection, question), _date)
            finally:
                connection.set_progress_handler(None, 0)

        return await self._ask(ask)

    async def forget(self, *, before: datetime | None = None, caller: str | None = None) -> int:
        """See the Database port. It deletes in small transactions, so that writing can continue meanwhile."""
        wanted: list[tuple[str, object]] = []
        if before is not None:
            wanted.append(("time < ?", _micros(before)))
        if caller is not None:
            wanted.append(("caller = ?", text_of(caller)))
        if not wanted:
            raise ValueError("either a time or a caller must be given")
        chosen = f"SELECT rowid FROM chukei_entries WHERE {' AND '.join(sql for sql, _ in wanted)} LIMIT {CHUNK}"  # noqa: S608
        values = [value for _, value in wanted]

        def delete(connection: sqlite3.Connection) -> int:
            with transaction(connection):
                return connection.execute(f"DELETE FROM chukei_entries WHERE rowid IN ({chosen})", values).rowcount  # noqa: S608

        deleted = 0
        while count := await self._writer.run(delete):
            deleted += count
        return deleted

    async def keys(self) -> list[Key]:
        """See the Database port."""
        return await self._ask(lambda connection: [key_of(row, _moment) for row in connection.execute(_KEYS)])

    async def keys_mark(self) -> str:
        """See the Database port."""
        return str(await self._ask(lambda connection: connection.execute(_KEYS_MARK).fetchone()))

    async def add_key(self, key: Key) -> None:
        """See the Database port.

        Raises:
            ValueError: a key with this id exists.
        """
        times = [None if moment is None else _micros(moment) for moment in (key.created, key.expires, key.revoked)]
        values = (key.id, key.caller, key.group, key.digest, key.pepper, *times, key.note)
        if not await self._change(_ADD_KEY, values):
            raise ValueError(f"there is a key {key.id!r} already")

    async def end_key(self, id: str, *, expires: datetime | None, revoked: datetime | None) -> bool:
        """See the Database port."""
        times = [None if moment is None else _micros(moment) for moment in (expires, revoked)]
        return await self._change(_END_KEY, (*times, id)) > 0

    async def rules(self) -> dict[str, str]:
        """See the Database port."""
        return dict(await self._ask(lambda connection: connection.execute(RULES).fetchall()))

    async def rules_mark(self) -> str:
        """See the Database port."""
        return str(await self._ask(lambda connection: connection.execute(RULES_MARK).fetchone()))

    async def change_rules(
        self, subject: str, merge: Callable[[str | None], str | None], *, actor: str, time: datetime
    ) -> RuleChange:
        """See the Database port."""

        def change(connection: sqlite3.Connection) -> RuleChange:
            with transaction(connection):
                found = connection.execute("SELECT rules FROM chukei_rules WHERE subject = ?", (subject,)).fetchone()
                before = found[0] if found is not None else None
                after = merge(before)
                connection.execute("DELETE FROM chukei_rules WHERE subject = ?", (subject,))
                if after is not None:
                    connection.execute("INSERT INTO chukei_rules (subject, rules) VALUES (?, ?)", (subject, after))
                values = (_micros(time), actor, subject, before, after)
                number = connection.execute(_ADD_CHANGE, values).lastrowid
                return RuleChange(number or 0, time, actor, subject, before, after)

        return await self._writer.run(change)

    async def rule_changes(self, limit: int) -> list[RuleChange]:
        """See the Database port."""
        rows = await self._ask(lambda connection: connection.execute(f"{CHANGES} LIMIT ?", (limit,)).fetchall())
        return [RuleChange(number, _moment(time), *others) for number, time, *others in rows]

    async def close(self) -> None:
        """See the Database port."""
        await self._reader.close()
        await self._writer.close()

    async def _change(self, sql: str, values: Sequence[object]) -> int:
        def change(connection: sqlite3.Connection) -> int:
            with transaction(connection):
                return connection.execute(sql, values).rowcount

        return await self._writer.run(change)

    async def _ask(self, work: Callable[[sqlite3.Connection], _Result]) -> _Result:
        try:
            return await self._reader.run(work)
        except Gone:  # not created yet, or moved away: the writer creates it
            await self.open()
            return await self._reader.run(work)

    def _only_read(self, connection: sqlite3.Connection) -> None:
        """Prepare a connection for queries."""
        if pending(self._steps, version_of(connection)):
            raise Gone("the schema is not up to date")
        connection.execute("PRAGMA query_only = ON")
        connection.text_factory = partial(str, encoding="utf-8", errors="replace")  # another program may write anything

    def _upgrade(self, connection: sqlite3.Connection) -> None:
        """Migrate the schema; the lock keeps other processes from doing it at the same time."""
        use_write_ahead_log(connection)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA journal_size_limit = {LOG_BYTES}")
        if not pending(self._steps, version_of(connection)):
            return
        with transaction(connection):
            for step in pending(self._steps, version_of(connection)):
                for statement in step.statements:
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {step.number:d}")
            connection.execute(f"PRAGMA application_id = {APPLICATION}")


_ROWS = (512, 128, 32, 8, 1)
"""Entries in one statement, the largest number first. Before and after each statement the thread waits for the GIL, and
while the event loop is busy that costs both threads more than the writing itself."""


def _add(count: int) -> str:
    row = f"({', '.join('?' * len(COLUMNS))})"
    return (
        f"INSERT INTO chukei_entries ({', '.join(COLUMNS)}) VALUES {', '.join([row] * count)}"  # noqa: S608
        " ON CONFLICT (time, id) DO NOTHING"
    )


_ADD = {count: _add(count) for count in _ROWS}


def _values_of(entries: Sequence[Entry]) -> list[object]:
    return [value for entry in entries for value in row_of(entry, _micros)]


_TEXTS = frozenset({"id", "caller", "caller_group", "note"})
_KEY_VALUES = [f"CAST({name} AS BLOB)" if name in _TEXTS else name for name in KEY_COLUMNS]  # texts may not be UTF-8
_KEYS = f"SELECT {', '.join(_KEY_VALUES)} FROM chukei_keys ORDER BY created, id"  # noqa: S608
_KEYS_MARK = (
    "SELECT count(*), max(created), count(expires), total(expires), count(revoked), total(revoked) FROM chukei_keys"
)
_ADD_KEY = (
    f"INSERT INTO chukei_keys ({', '.join(KEY_COLUMNS)}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"  # noqa: S608
)
_END_KEY = "UPDATE chukei_keys SET expires = coalesce(?, expires), revoked = coalesce(revoked, ?) WHERE id = ?"


_ADD_CHANGE = "INSERT INTO chukei_changes (time, actor, subject, before, after) VALUES (?, ?, ?, ?, ?)"


def _rows(connection: sqlite3.Connection, question: Question) -> Iterator[tuple[object, ...]]:
    """Query month by month: SQLite sorts rows to group them, and a year of rows would be sorted on the disk."""
    parts = [question]
    first, last = connection.execute("SELECT min(time), max(time) FROM chukei_entries").fetchone()
    if question.caller is None and first is not None:
        first, last = (min(max(each, _FIRST_MICROS), _LAST_MICROS) for each in (first, last))  # ignores foreign values
        start = max(question.since or _EPOCH, _EPOCH + first * _MICROSECOND)
        end = min(question.until or _LAST, _EPOCH + (last + 1) * _MICROSECOND)
        starts = [start + number * _PART for number in range((end - start) // _PART + 1)] if start < end else []
        parts = [replace(question, since=since, until=min(since + _PART, end)) for since in starts]
    for part in parts:
        sql, values = question_sql(part, day=_DAY, mark=lambda _: "?", moment=_micros)
        yield from connection.execute(sql, values)


def _micros(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


def _moment(micros: object) -> datetime:
    return _EPOCH + cast(int, micros) * _MICROSECOND


def _date(days: object) -> date:
    return date(1970, 1, 1) + timedelta(days=cast(int, days))

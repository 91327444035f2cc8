"""The ledger in one SQLite file, for the processes of one machine.

Plain ``sqlite3`` runs in threads, so that the event loop never waits for the disk. One thread writes, one queries, and
one finds objects, for which requests wait, so that a long query delays neither. The write-ahead log allows all at the
same time. It needs shared memory, so the file must be on a local disk. Times are whole microseconds since 1970 in UTC.

``synchronous=FULL`` ensures that each batch is on the disk when ``add`` returns, even after a power failure. NORMAL
would save a wait for the disk twice a second, outside the path of requests, but could lose batches that were already
removed from the spool.
"""

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar, cast

from chukei.accounts.changes import Action, Actor, Change
from chukei.accounts.ledger import By, Entry, Key, KeySearch, Question, Seen, Sum
from chukei.accounts.objects import ObjectRecord, owners_of_name
from chukei.accounts.stores import ObjectRow
from chukei.adapters.ledger.keys_sql import KeyDialect, glob_of, key_search_sql
from chukei.adapters.ledger.objects_sql import DROP_OBJECTS, row_of_object
from chukei.adapters.ledger.rules_sql import (
    ADD_CHANGE,
    CHANGES,
    COUNT_DELETED,
    RULES,
    RULES_MARK,
    change_of,
    deleted,
    values_of,
)
from chukei.adapters.ledger.schema import Migration, migrations, pending
from chukei.adapters.ledger.sql import (
    COLUMNS,
    DEFER_JOB,
    DUE_JOBS,
    END_JOB,
    FIND_JOB,
    KEEP_JOB,
    KEY_COLUMNS,
    SEEN_ALL,
    SEEN_ONE,
    key_of,
    question_sql,
    row_of,
    seen_of,
    sums_of,
    text_of,
)
from chukei.adapters.ledger.sqlite_objects import find_objects, write_objects
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
_SPANS = {By.DAY: timedelta(days=1), By.HOUR: timedelta(hours=1)}
_STARTS = {by: f"time / {span // _MICROSECOND}" for by, span in _SPANS.items()}
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
        self._finder = SqliteWorker(path, "finds", busy_seconds, self._only_read)

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
                return sums_of(question, _rows(connection, question), _start)
            finally:
                connection.set_progress_handler(None, 0)

        return await self._ask(ask)

    async def seen(self, caller: str | None = None) -> list[Seen]:
        """See the Database port."""
        sql, values = (SEEN_ALL, ()) if caller is None else (SEEN_ONE.format("?"), (text_of(caller),))
        return await self._ask(lambda connection: seen_of(connection.execute(sql, values), _known_moment))

    async def forget(
        self, *, before: datetime | None = None, caller: str | None = None, change: Change | None = None
    ) -> int:
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
        number = await self.record(replace(change, after=deleted(0))) if change is not None else None
        gone = 0

        def delete(connection: sqlite3.Connection) -> int:
            with transaction(connection):
                count = connection.execute(f"DELETE FROM chukei_entries WHERE rowid IN ({chosen})", values).rowcount  # noqa: S608
                if number is not None and count:
                    connection.execute(COUNT_DELETED.format("?", "?"), (deleted(gone + count), number))
                return count

        while count := await self._writer.run(delete):
            gone += count
        if before is None and caller is not None:
            owners = owners_of_name(caller)
            await self._drop_objects(f"owner IN ({', '.join('?' * len(owners))})", owners)
        return gone

    async def keys(self) -> list[Key]:
        """See the Database port."""
        keys = f"{_KEYS} ORDER BY created, id"
        return await self._ask(lambda connection: [key_of(row, _moment) for row in connection.execute(keys)])

    async def find_keys(self, search: KeySearch) -> tuple[list[Key], int]:
        """See the Database port."""
        where, values = key_search_sql(search, _DIALECT)

        def find(connection: sqlite3.Connection) -> tuple[list[Key], int]:
            (count,) = connection.execute(f"SELECT count(*) FROM chukei_keys WHERE {where}", values).fetchone()  # noqa: S608
            page = f"{_KEYS} WHERE {where} ORDER BY created DESC, id LIMIT ? OFFSET ?"
            rows = connection.execute(page, (*values, search.limit, search.offset))
            return [key_of(row, _moment) for row in rows], count

        return await self._ask(find)

    async def keys_mark(self) -> str:
        """See the Database port."""
        return str(await self._ask(lambda connection: connection.execute(_KEYS_MARK).fetchone()))

    async def add_key(
        self, key: Key, *, replaces: tuple[str, datetime] | None = None, change: Change | None = None
    ) -> None:
        """See the Database port.

        Raises:
            ValueError: a key with this id exists.
        """
        times = [None if moment is None else _micros(moment) for moment in (key.created, key.expires, key.revoked)]
        values = (key.id, key.caller, key.group, key.digest, key.pepper, *times, key.note)

        def add(connection: sqlite3.Connection) -> bool:
            with transaction(connection):
                if not connection.execute(_ADD_KEY, values).rowcount:
                    return False
                if replaces is not None:
                    connection.execute(_END_KEY, (_micros(replaces[1]), None, replaces[0]))
                _record(connection, change)
                return True

        if not await self._writer.run(add):
            raise ValueError(f"there is a key {key.id!r} already")

    async def end_key(
        self, id: str, *, expires: datetime | None, revoked: datetime | None, change: Change | None = None
    ) -> bool:
        """See the Database port."""
        times = [None if moment is None else _micros(moment) for moment in (expires, revoked)]

        def end(connection: sqlite3.Connection) -> bool:
            with transaction(connection):
                if not connection.execute(_END_KEY, (*times, id)).rowcount:
                    return False
                _record(connection, change)
                return True

        return await self._writer.run(end)

    async def rules(self) -> dict[str, str]:
        """See the Database port."""
        return dict(await self._ask(lambda connection: connection.execute(RULES).fetchall()))

    async def rules_mark(self) -> str:
        """See the Database port."""
        return str(await self._ask(lambda connection: connection.execute(RULES_MARK).fetchone()))

    async def change_rules(
        self, subject: str, merge: Callable[[str | None], str | None], *, actor: Actor, time: datetime
    ) -> Change:
        """See the Database port."""

        def change(connection: sqlite3.Connection) -> Change:
            with transaction(connection):
                found = connection.execute("SELECT rules FROM chukei_rules WHERE subject = ?", (subject,)).fetchone()
                before = found[0] if found is not None else None
                after = merge(before)
                connection.execute("DELETE FROM chukei_rules WHERE subject = ?", (subject,))
                if after is not None:
                    connection.execute("INSERT INTO chukei_rules (subject, rules) VALUES (?, ?)", (subject, after))
                made = Change(Action.RULES, subject, actor, time, before, after)
                return replace(made, number=_record(connection, made))

        return await self._writer.run(change)

    async def record(self, change: Change) -> int:
        """See the Database port."""

        def record(connection: sqlite3.Connection) -> int:
            with transaction(connection):
                return _record(connection, change)

        return await self._writer.run(record)

    async def changes(self, limit: int, before: int | None = None) -> list[Change]:
        """See the Database port."""
        sql = f"{CHANGES} WHERE number < ? ORDER BY number DESC LIMIT ?"
        values = (before if before is not None else _LAST_NUMBER, limit)
        rows = await self._ask(lambda connection: connection.execute(sql, values).fetchall())
        return [change_of(row, _moment) for row in rows]

    async def keep_job(self, id: str, due: datetime, job: str) -> None:
        """See the JobStore port."""
        await self._change(KEEP_JOB.format(*"???"), (id, _micros(due), job))

    async def find_job(self, id: str) -> str | None:
        """See the JobStore port."""
        found = await self._ask(lambda connection: connection.execute(FIND_JOB.format("?"), (id,)).fetchone())
        return None if found is None else str(found[0])

    async def take_jobs(self, now: datetime, until: datetime, limit: int) -> list[str]:
        """See the JobStore port."""
        due = DUE_JOBS.format("?", "?")
        if not await self._ask(lambda connection: connection.execute(due, (_micros(now), 1)).fetchone()):
            return []  # the file is not locked for nothing

        def take(connection: sqlite3.Connection) -> list[str]:
            with transaction(connection):
                found = connection.execute(due, (_micros(now), limit)).fetchall()
                connection.executemany(DEFER_JOB.format("?", "?"), [(_micros(until), id) for id, _ in found])
            return [job for _, job in found]

        return await self._writer.run(take)

    async def defer_job(self, id: str, due: datetime) -> None:
        """See the JobStore port."""
        await self._change(DEFER_JOB.format("?", "?"), (_micros(due), id))

    async def settle_job(self, id: str, entry: Entry) -> bool:
        """See the JobStore port."""

        def settle(connection: sqlite3.Connection) -> bool:
            with transaction(connection):
                connection.execute(END_JOB.format("?"), (id,))
                return connection.execute(_ADD[1], _values_of([entry])).rowcount > 0

        return await self._writer.run(settle)

    async def write_objects(self, rows: Sequence[ObjectRow], gone: Sequence[bytes]) -> None:
        """See the Database port."""
        values = [(row.digest, *row_of_object(row.record), _micros(row.expires)) for row in rows]
        await self._writer.run(lambda connection: write_objects(connection, values, gone))

    async def find_objects(self, digests: Sequence[bytes]) -> dict[bytes, ObjectRecord]:
        """See the Database port."""
        return await self._ask(lambda connection: find_objects(connection, digests), self._finder)

    async def drop_objects(self, before: datetime) -> int:
        """See the Database port."""
        return await self._drop_objects("expires < ?", [_micros(before)])

    async def _drop_objects(self, where: str, values: Sequence[object]) -> int:
        gone = 0
        while count := await self._change(f"{DROP_OBJECTS} WHERE {where} LIMIT {CHUNK})", values):
            gone += count
        return gone

    async def close(self) -> None:
        """See the Database port."""
        await self._finder.close()
        await self._reader.close()
        await self._writer.close()

    async def _change(self, sql: str, values: Sequence[object]) -> int:
        def change(connection: sqlite3.Connection) -> int:
            with transaction(connection):
                return connection.execute(sql, values).rowcount

        return await self._writer.run(change)

    async def _ask(self, work: Callable[[sqlite3.Connection], _Result], worker: SqliteWorker | None = None) -> _Result:
        worker = worker or self._reader
        try:
            return await worker.run(work)
        except Gone:  # not created yet, or moved away: the writer creates it
            await self.open()
            return await worker.run(work)

    def _only_read(self, connection: sqlite3.Connection) -> None:
        """Prepare a connection for queries."""
        if pending(self._steps, version_of(connection)):
            raise Gone("the schema is not up to date")
        connection.execute("PRAGMA query_only = ON")
        connection.create_function("is_utf8", 1, _is_utf8, deterministic=True)
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
_KEYS = f"SELECT {', '.join(_KEY_VALUES)} FROM chukei_keys"  # noqa: S608
_KEYS_MARK = (
    "SELECT count(*), max(created), count(expires), total(expires), count(revoked), total(revoked) FROM chukei_keys"
)
_ADD_KEY = (
    f"INSERT INTO chukei_keys ({', '.join(KEY_COLUMNS)}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"  # noqa: S608
)
_END_KEY = "UPDATE chukei_keys SET expires = coalesce(?, expires), revoked = coalesce(revoked, ?) WHERE id = ?"


_ADD_CHANGE = ADD_CHANGE.format(*"???????")
_LAST_NUMBER = 2**63 - 1


def _record(connection: sqlite3.Connection, change: Change | None) -> int:
    """Record a change in the connection's transaction, if there is one; return its number."""
    if change is None:
        return 0
    return connection.execute(_ADD_CHANGE, values_of(change, _micros)).lastrowid or 0


# Each by itself is one look-up in an index; for both at once SQLite reads all of it: seconds for ten million entries.
_BOUNDS = "SELECT (SELECT min(time) FROM chukei_entries), (SELECT max(time) FROM chukei_entries)"


def _rows(connection: sqlite3.Connection, question: Question) -> Iterator[tuple[object, ...]]:
    """Query month by month: SQLite sorts rows to group them, and a year of rows would be sorted on the disk."""
    parts = [question]
    first, last = connection.execute(_BOUNDS).fetchone()
    if question.caller is None and question.callers is None and first is not None:
        first, last = (min(max(each, _FIRST_MICROS), _LAST_MICROS) for each in (first, last))  # ignores foreign values
        start = max(question.since or _EPOCH, _EPOCH + first * _MICROSECOND)
        end = min(question.until or _LAST, _EPOCH + (last + 1) * _MICROSECOND)
        starts = [start + number * _PART for number in range((end - start) // _PART + 1)] if start < end else []
        parts = [replace(question, since=since, until=min(since + _PART, end)) for since in starts]
    for part in parts:
        sql, values = question_sql(part, times=_STARTS, mark=lambda _: "?", moment=_micros)
        yield from connection.execute(sql, values)


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _micros(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


def _known_moment(micros: object) -> datetime:
    return _moment(min(max(cast(int, micros), _FIRST_MICROS), _LAST_MICROS))  # ignores foreign values


def _moment(micros: object) -> datetime:
    return _EPOCH + cast(int, micros) * _MICROSECOND


def _start(by: By, number: object) -> datetime:
    return _EPOCH + cast(int, number) * _SPANS[by]


_YEARS = tuple(_micros(each) for each in (datetime.min.replace(tzinfo=UTC), _LAST))
_DIALECT = KeyDialect(
    mark=lambda _: "?",
    moment=_micros,
    readable="created BETWEEN {0} AND {1} AND coalesce(expires, 0) BETWEEN {0} AND {1}".format(*_YEARS)
    + " AND is_utf8(CAST(id || caller || coalesce(caller_group, '') || coalesce(note, '') AS BLOB))",
    matches="GLOB",
    pattern=glob_of,
)

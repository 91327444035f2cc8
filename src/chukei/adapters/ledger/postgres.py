"""The ledger in PostgreSQL, for replicas that share it.

Every command is a transaction of its own. It uses no prepared statements beyond the transaction and no session state,
so it works through pgbouncer in session or transaction mode, but not in statement mode. Every wait has a time limit.

This module needs the ``postgres`` extra. Import it only if PostgreSQL is configured.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

import asyncpg
import msgspec
from asyncpg.exceptions import InterfaceError, PostgresError

from chukei.accounts.changes import Action, Actor, Change
from chukei.accounts.ledger import TIMES, Entry, Key, KeySearch, Question, Seen, Sum
from chukei.accounts.objects import ObjectRecord, owners_of_name
from chukei.accounts.stores import ObjectRow, StoreAway
from chukei.adapters.ledger.keys_sql import KeyDialect, key_search_sql, regex_of
from chukei.adapters.ledger.objects_sql import DROP_OBJECTS, FIND_OBJECTS, row_of_object
from chukei.adapters.ledger.postgres_errors import away
from chukei.adapters.ledger.postgres_objects import END_OBJECTS, KEEP_OBJECTS
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

CONNECT_SECONDS = 2.0
"""Time limit for connecting, and for waiting for a connection of the pool."""

COMMAND_SECONDS = 5.0
"""Time limit of a command."""

QUESTION_SECONDS = 30.0
"""Time limit of a query of sums."""

UPGRADE_SECONDS = 300.0
"""Time limit of a migration of a large schema."""

CONNECTIONS = 4
"""Connections of a process at most: one writes, the others query."""

CHUNK = 1000
"""Entries deleted in one transaction."""

LOCK = 0x63686B69
"""The number of the advisory lock for migrations: "chki"."""

_STARTS = {by: f"date_trunc('{by}', time AT TIME ZONE 'UTC')" for by in TIMES}
_Result = TypeVar("_Result")


class PostgresDatabase:
    """See the Database port.

    ``url`` is ``postgresql://user:password@host[:port]/database``; special characters in the password are
    percent-encoded. ``?sslmode=verify-full`` requires TLS with a verified certificate, which is not the default. The
    URL is neither logged nor shown.

    Raises:
        ValueError: the URL is not usable.
    """

    def __init__(self, url: str, *, steps: Sequence[Migration] | None = None) -> None:
        self._url = url
        self._place = place_of(url)
        self._steps = migrations("postgres") if steps is None else steps
        self._pool: Any = None
        self._upgrading = asyncio.Lock()
        self._ready = False
        self._closed = False

    def __repr__(self) -> str:
        return f"<PostgresDatabase {self._place}>"

    async def open(self) -> None:
        """See the Database port. Idempotent."""
        async with self._upgrading:
            if not self._ready:
                async with self._connection(UPGRADE_SECONDS) as connection:
                    await self._upgrade(connection)
                self._ready = True

    async def add(self, entries: Sequence[Entry]) -> None:
        """See the Database port. A batch is one JSON text, which takes half the CPU time of separate values."""
        rows = msgspec.json.encode([row_of(entry, _unchanged) for entry in entries]).decode()
        if entries:
            await self._do(lambda connection: connection.execute(_ADD, rows))

    async def sum(self, question: Question) -> list[Sum]:
        """See the Database port."""
        sql, values = question_sql(question, times=_STARTS, mark=lambda number: f"${number}", moment=_unchanged)
        rows = await self._do(
            lambda connection: connection.fetch(sql, *values, timeout=QUESTION_SECONDS), QUESTION_SECONDS
        )
        return sums_of(question, rows, lambda _, start: cast(datetime, start))

    async def seen(self, caller: str | None = None) -> list[Seen]:
        """See the Database port."""
        sql, values = (SEEN_ALL, ()) if caller is None else (SEEN_ONE.format("$1"), (text_of(caller),))
        rows = await self._do(
            lambda connection: connection.fetch(sql, *values, timeout=QUESTION_SECONDS), QUESTION_SECONDS
        )
        return seen_of(rows, lambda time: cast(datetime, time))

    async def forget(
        self, *, before: datetime | None = None, caller: str | None = None, change: Change | None = None
    ) -> int:
        """See the Database port. It deletes in small transactions. Each locks only the rows that it deletes."""
        wanted: list[tuple[str, object]] = []
        if before is not None:
            wanted.append(("time < ", before))
        if caller is not None:
            wanted.append(("caller = ", text_of(caller)))
        if not wanted:
            raise ValueError("either a time or a caller must be given")
        where = " AND ".join(f"{sql}${place}" for place, (sql, _) in enumerate(wanted, 1))
        chosen = f"SELECT time, id FROM chukei_entries WHERE {where} LIMIT {CHUNK} FOR UPDATE SKIP LOCKED"  # noqa: S608
        sql = f"DELETE FROM chukei_entries WHERE (time, id) IN ({chosen})"  # noqa: S608
        values = [value for _, value in wanted]
        number = await self.record(replace(change, after=deleted(0))) if change is not None else None
        gone = 0

        async def delete(connection: Any) -> int:
            count = _affected(await connection.execute(sql, *values))
            if number is not None and count:
                await connection.execute(COUNT_DELETED.format("$1", "$2"), deleted(gone + count), number)
            return count

        while count := await self._do(delete):
            gone += count
        if before is None and caller is not None:
            await self._drop_objects("owner = ANY($1::text[])", owners_of_name(caller))
        return gone

    async def keys(self) -> list[Key]:
        """See the Database port."""
        rows = await self._do(lambda connection: connection.fetch(f"{_KEYS} ORDER BY chukei_keys.created, id"))
        return [key_of(row, _moment) for row in rows]

    async def find_keys(self, search: KeySearch) -> tuple[list[Key], int]:
        """See the Database port."""
        where, values = key_search_sql(search, _DIALECT)
        bounds = f"LIMIT {search.limit:d} OFFSET {search.offset:d}"
        page = f"{_KEYS} WHERE {where} ORDER BY chukei_keys.created DESC, id {bounds}"

        async def find(connection: Any) -> tuple[list[Key], int]:
            count = await connection.fetchval(f"SELECT count(*) FROM chukei_keys WHERE {where}", *values)  # noqa: S608
            return [key_of(row, _moment) for row in await connection.fetch(page, *values)], count

        return await self._do(find)

    async def keys_mark(self) -> str:
        """See the Database port."""
        return str(await self._do(lambda connection: connection.fetchrow(_KEYS_MARK)))

    async def add_key(
        self, key: Key, *, replaces: tuple[str, datetime] | None = None, change: Change | None = None
    ) -> None:
        """See the Database port.

        Raises:
            ValueError: a key with this id exists.
        """
        times = (key.created, key.expires, key.revoked)
        values = (key.id, key.caller, key.group, key.digest, key.pepper, *times, key.note)

        async def add(connection: Any) -> bool:
            if not _affected(await connection.execute(_ADD_KEY, *values)):
                return False
            if replaces is not None:
                await connection.execute(_END_KEY, replaces[1], None, replaces[0])
            await _record(connection, change)
            return True

        if not await self._do(add):
            raise ValueError(f"there is a key {key.id!r} already")

    async def end_key(
        self, id: str, *, expires: datetime | None, revoked: datetime | None, change: Change | None = None
    ) -> bool:
        """See the Database port."""

        async def end(connection: Any) -> bool:
            if not _affected(await connection.execute(_END_KEY, expires, revoked, id)):
                return False
            await _record(connection, change)
            return True

        return await self._do(end)

    async def rules(self) -> dict[str, str]:
        """See the Database port."""
        return dict(await self._do(lambda connection: connection.fetch(RULES)))

    async def rules_mark(self) -> str:
        """See the Database port."""
        return str(await self._do(lambda connection: connection.fetchval(RULES_MARK)))

    async def change_rules(
        self, subject: str, merge: Callable[[str | None], str | None], *, actor: Actor, time: datetime
    ) -> Change:
        """See the Database port. The lock also orders the numbers of changes."""

        async def change(connection: Any) -> Change:
            await connection.execute("LOCK TABLE chukei_rules IN SHARE ROW EXCLUSIVE MODE")
            before = await connection.fetchval("SELECT rules FROM chukei_rules WHERE subject = $1", subject)
            after = merge(before)
            await connection.execute("DELETE FROM chukei_rules WHERE subject = $1", subject)
            if after is not None:
                await connection.execute("INSERT INTO chukei_rules (subject, rules) VALUES ($1, $2)", subject, after)
            made = Change(Action.RULES, subject, actor, time, before, after)
            return replace(made, number=await _record(connection, made))

        return await self._do(change)

    async def record(self, change: Change) -> int:
        """See the Database port."""
        return await self._do(lambda connection: _record(connection, change))

    async def changes(self, limit: int, before: int | None = None) -> list[Change]:
        """See the Database port."""
        sql = f"{CHANGES} WHERE $2::bigint IS NULL OR number < $2 ORDER BY number DESC LIMIT $1"
        rows = await self._do(lambda connection: connection.fetch(sql, limit, before))
        return [change_of(row, _unchanged) for row in rows]

    async def keep_job(self, id: str, due: datetime, job: str) -> None:
        """See the JobStore port."""
        await self._do(lambda connection: connection.execute(KEEP_JOB.format("$1", "$2", "$3"), id, due, job))

    async def find_job(self, id: str) -> str | None:
        """See the JobStore port."""
        found = await self._do(lambda connection: connection.fetchval(FIND_JOB.format("$1"), id))
        return None if found is None else str(found)

    async def take_jobs(self, now: datetime, until: datetime, limit: int) -> list[str]:
        """See the JobStore port."""

        async def take(connection: Any) -> list[str]:
            found = await connection.fetch(f"{DUE_JOBS.format('$1', '$2')} FOR UPDATE SKIP LOCKED", now, limit)
            if found:
                await connection.executemany(DEFER_JOB.format("$1", "$2"), [(until, row["id"]) for row in found])
            return [row["job"] for row in found]

        return await self._do(take)

    async def defer_job(self, id: str, due: datetime) -> None:
        """See the JobStore port."""
        await self._do(lambda connection: connection.execute(DEFER_JOB.format("$1", "$2"), due, id))

    async def settle_job(self, id: str, entry: Entry) -> bool:
        """See the JobStore port."""
        row = msgspec.json.encode([row_of(entry, _unchanged)]).decode()

        async def settle(connection: Any) -> bool:
            await connection.execute(END_JOB.format("$1"), id)
            return _affected(await connection.execute(_ADD, row)) > 0

        return await self._do(settle)

    async def write_objects(self, rows: Sequence[ObjectRow], gone: Sequence[bytes]) -> None:
        """See the Database port. Rows are sorted, so that two replicas never wait for each other in a circle."""
        made = sorted((row.digest.hex(), *row_of_object(row.record), row.expires) for row in rows)
        values = msgspec.json.encode(made).decode()

        async def write(connection: Any) -> None:
            await connection.execute(KEEP_OBJECTS, values)
            await connection.execute(END_OBJECTS, sorted(gone))

        await self._do(write)

    async def find_objects(self, digests: Sequence[bytes]) -> dict[bytes, ObjectRecord]:
        """See the Database port."""
        sql = f"{FIND_OBJECTS} = ANY($1::bytea[])"
        rows = await self._do(lambda connection: connection.fetch(sql, digests))
        return {digest: ObjectRecord(*record) for digest, *record in rows}

    async def drop_objects(self, before: datetime) -> int:
        """See the Database port."""
        return await self._drop_objects("expires < $1", before)

    async def _drop_objects(self, where: str, value: object) -> int:
        sql = f"{DROP_OBJECTS} WHERE {where} LIMIT {CHUNK} FOR UPDATE SKIP LOCKED)"
        gone = 0
        while count := _affected(await self._do(lambda connection: connection.execute(sql, value))):
            gone += count
        return gone

    async def close(self) -> None:
        """See the Database port. Running commands have a second to end."""
        self._closed = True
        pool, self._pool = self._pool, None
        if pool is not None:
            try:
                async with asyncio.timeout(1.0):
                    await pool.close()
            except (TimeoutError, OSError, PostgresError, InterfaceError):
                pool.terminate()

    async def _do(self, work: Callable[[Any], Awaitable[_Result]], seconds: float = COMMAND_SECONDS) -> _Result:
        if not self._ready:
            await self.open()
        async with self._connection(seconds) as connection:
            return await work(connection)

    @asynccontextmanager
    async def _connection(self, seconds: float) -> AsyncIterator[Any]:
        """Provide a connection for one transaction of at most ``seconds``. Every failure becomes StoreAway."""
        if self._closed:
            raise StoreAway("the ledger is closed")
        try:
            if self._pool is None:
                self._pool = await _pool_for(self._url)
            async with self._pool.acquire(timeout=CONNECT_SECONDS) as connection:
                async with asyncio.timeout(seconds):
                    async with connection.transaction():
                        yield connection
        except (PostgresError, InterfaceError, OSError, ValueError) as error:
            problem = away(error, self._place)
        except StoreAway as error:
            problem = StoreAway(f"PostgreSQL at {self._place}: {error}")
        else:
            return
        raise problem  # outside the handler, without context: the driver's message may contain secrets

    async def _upgrade(self, connection: Any) -> None:
        """Migrate the schema in one transaction, whose end also releases the lock."""
        await connection.execute(f"SELECT pg_advisory_xact_lock({LOCK})", timeout=COMMAND_SECONDS)
        await connection.execute(_MAKE_SCHEMA)
        version = await connection.fetchval("SELECT coalesce(max(version), 0) FROM chukei_schema")
        for step in pending(self._steps, version):
            for statement in step.statements:
                await connection.execute(statement, timeout=UPGRADE_SECONDS)
            await connection.execute("INSERT INTO chukei_schema (version) VALUES ($1)", step.number)


async def _pool_for(url: str) -> Any:
    """Return a pool without connections yet."""
    return await asyncpg.create_pool(
        url,
        min_size=0,
        max_size=CONNECTIONS,
        timeout=CONNECT_SECONDS,
        command_timeout=COMMAND_SECONDS,
        statement_cache_size=0,
        max_inactive_connection_lifetime=60.0,
        server_settings={"application_name": "chukei"},
    )


_MAKE_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS chukei_schema"
    " (version BIGINT NOT NULL PRIMARY KEY, applied TIMESTAMPTZ NOT NULL DEFAULT now())"
)
_TYPES = {
    "time": "timestamptz",
    "stream": "boolean",
    "status": "bigint",
    "input_tokens": "bigint",
    "cached_tokens": "bigint",
    "output_tokens": "bigint",
    "reasoning_tokens": "bigint",
    "estimated": "boolean",
    "wasted_tokens": "bigint",
    "cost": "bigint",
    "first_token_ms": "double precision",
    "duration_ms": "double precision",
    "retries": "bigint",
    "hedges": "bigint",
    "cache_written_tokens": "bigint",
    "audio_input_tokens": "bigint",
    "audio_output_tokens": "bigint",
    "images": "bigint",
    "characters": "bigint",
    "heard_ms": "bigint",
    "requests": "bigint",
}
_VALUES = [f"(entry->>{place})::{_TYPES.get(name, 'text')}" for place, name in enumerate(COLUMNS)]
_ADD = (
    f"INSERT INTO chukei_entries ({', '.join(COLUMNS)})"  # noqa: S608
    f" SELECT {', '.join(_VALUES)}"
    " FROM jsonb_array_elements($1::text::jsonb) AS entries (entry) ON CONFLICT (time, id) DO NOTHING"
)
_TIMES = frozenset({"created", "expires", "revoked"})
_YEARS = "BETWEEN '0001-01-01 00:00:00+00' AND '9999-12-31 23:59:59.999999+00'"
# The driver cannot represent infinity, years BC and years beyond 9999 as datetime, and would fail for the whole answer.
_KEY_VALUES = [
    f"CASE WHEN {name} {_YEARS}"
    f" THEN to_char({name} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US') ELSE {name}::text END"
    if name in _TIMES
    else name
    for name in KEY_COLUMNS
]
_KEYS = f"SELECT {', '.join(_KEY_VALUES)} FROM chukei_keys"  # noqa: S608
_DIALECT = KeyDialect(
    mark=lambda number: f"${number}",
    moment=lambda moment: moment,
    readable=f"chukei_keys.created {_YEARS} AND (chukei_keys.expires IS NULL OR chukei_keys.expires {_YEARS})",
    matches="~",
    pattern=regex_of,
)
_KEYS_MARK = (
    "SELECT count(*), max(created)::text, count(expires), count(revoked),"
    " sum(CASE WHEN isfinite(expires) THEN extract(epoch FROM expires) END),"
    " sum(CASE WHEN isfinite(revoked) THEN extract(epoch FROM revoked) END) FROM chukei_keys"
)
_ADD_KEY = (
    f"INSERT INTO chukei_keys ({', '.join(KEY_COLUMNS)})"  # noqa: S608
    f" VALUES ({', '.join(f'${place + 1}' for place in range(len(KEY_COLUMNS)))}) ON CONFLICT (id) DO NOTHING"
)
_END_KEY = "UPDATE chukei_keys SET expires = coalesce($1, expires), revoked = coalesce(revoked, $2) WHERE id = $3"


_ADD_CHANGE = f"{ADD_CHANGE.format(*(f'${place}' for place in range(1, 8)))} RETURNING number"


async def _record(connection: Any, change: Change | None) -> int:
    """Record a change in the connection's transaction, if there is one; return its number."""
    if change is None:
        return 0
    return cast(int, await connection.fetchval(_ADD_CHANGE, *values_of(change, _unchanged)))


def _unchanged(moment: datetime) -> datetime:
    return moment


def _moment(text: object) -> datetime:
    return datetime.fromisoformat(f"{text}+00:00")  # raises ValueError for a time outside the range above


def _affected(status: str) -> int:
    """Return the number of rows in a command's status, such as ``DELETE 7``."""
    return int(status.rsplit(" ", 1)[-1])


def place_of(url: str) -> str:
    """Return the parts of a URL that may be shown: the server and the database."""
    try:
        parts = urlsplit(url)
        if parts.scheme in ("postgres", "postgresql") and parts.hostname and parts.path.strip("/"):
            return f"{parts.hostname}:{parts.port or 5432}{parts.path}"
    except ValueError:
        pass
    raise ValueError(
        "a PostgreSQL URL is postgresql://user:password@host[:port]/database; special characters in the password must "
        "be percent-encoded"
    )

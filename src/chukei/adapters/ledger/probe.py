"""A look at the ledger's database that changes nothing: it neither creates nor migrates anything."""

import asyncio
import os
import sqlite3
import time
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from chukei.accounts.stores import StoreAway
from chukei.adapters.ledger.databases import sqlite_path
from chukei.adapters.ledger.schema import migrations, pending

PROBE_SECONDS = 5.0
_BUSY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Probe:
    """What a database is like.

    ``schema`` is the number of its newest migration, 0 if it is empty, and ``wanted`` that of this relay. ``path`` is
    SQLite's file. ``seconds`` is the time of a query, ``now`` PostgreSQL's clock in Unix time.
    """

    schema: int
    wanted: int
    version: str
    seconds: float
    path: Path | None = None
    exists: bool = True
    now: float | None = None
    may_create: bool = True
    standby: bool = False


async def probe(url: str) -> Probe:
    """Look at the database of an address that ``database_for`` accepts.

    Raises:
        StoreAway: it cannot be used; the message says why and what helps, without the address's password.
    """
    if url.startswith("sqlite:"):
        return await asyncio.to_thread(_sqlite, sqlite_path(url))
    return await _postgres(url)


def _sqlite(path: Path) -> Probe:
    wanted = migrations("sqlite")[-1].number
    if not path.exists():
        folder = next(each for each in path.absolute().parents if each.exists())
        if not os.access(folder, os.W_OK):
            raise StoreAway(f"{path}: the folder {folder} cannot be written: let the relay's user write there")
        return Probe(0, wanted, sqlite3.sqlite_version, 0.0, path, exists=False)
    if not os.access(path, os.R_OK | os.W_OK) or not os.access(path.absolute().parent, os.W_OK):
        raise StoreAway(f"{path}: the file or its folder cannot be written: let the relay's user write there")
    begun = time.monotonic()
    try:
        address = f"file:{quote(path.absolute().as_posix())}?mode=ro"
        with closing(sqlite3.connect(address, uri=True, timeout=_BUSY_SECONDS)) as connection:
            schema = int(connection.execute("PRAGMA user_version").fetchone()[0])
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error as error:
        raise StoreAway(f"{path}: {error}: restore a backup, or move the file away to begin a new one") from None
    pending(migrations("sqlite"), schema)
    return Probe(schema, wanted, sqlite3.sqlite_version, time.monotonic() - begun, path)


async def _postgres(url: str) -> Probe:
    import asyncpg  # only where it is configured
    from asyncpg.exceptions import InterfaceError, PostgresError

    from chukei.adapters.ledger.postgres import place_of
    from chukei.adapters.ledger.postgres_errors import away

    steps, place, connection = migrations("postgres"), place_of(url), None
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            connection = await asyncpg.connect(url, timeout=PROBE_SECONDS, statement_cache_size=0)
            begun = time.monotonic()
            row = await connection.fetchrow(_QUESTION)
            seconds = time.monotonic() - begun
            schema = 0
            if row["has_schema"]:
                schema = await connection.fetchval("SELECT coalesce(max(version), 0) FROM chukei_schema")
        pending(steps, schema)
        return Probe(
            schema,
            steps[-1].number,
            row["version"],
            seconds,
            now=row["now"],
            may_create=row["may_create"],
            standby=row["standby"],
        )
    except (PostgresError, InterfaceError, OSError, ValueError) as error:
        problem = away(error, place)
    except StoreAway as error:
        problem = StoreAway(f"PostgreSQL at {place}: {error}")
    finally:
        if connection is not None:
            with suppress(PostgresError, InterfaceError, OSError):
                await connection.close(timeout=1.0)
    raise problem  # outside the handler, without context: the driver's message may contain secrets


_QUESTION = """
SELECT current_setting('server_version') AS version,
       extract(epoch FROM clock_timestamp())::float8 AS now,
       pg_is_in_recovery() AS standby,
       to_regclass('chukei_schema') IS NOT NULL AS has_schema,
       coalesce(has_schema_privilege(current_schema(), 'CREATE'), false) AS may_create
"""

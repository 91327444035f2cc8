"""What is known about stored objects, in the SQLite file."""

import sqlite3
from collections.abc import Sequence

from chukei.accounts.objects import ObjectRecord
from chukei.adapters.ledger.objects_sql import FIND_OBJECTS, KEPT_BY_OWNER, OBJECT_COLUMNS
from chukei.adapters.ledger.sqlite_worker import transaction

AT_ONCE = 1000
"""Objects in one query. SQLite allows 32,766 parameters (https://sqlite.org/limits.html)."""

_KEEP = f"INSERT INTO chukei_objects ({', '.join(OBJECT_COLUMNS)}) VALUES (?, ?, ?, ?, ?, ?) {KEPT_BY_OWNER}"  # noqa: S608


def write_objects(connection: sqlite3.Connection, rows: Sequence[Sequence[object]], gone: Sequence[bytes]) -> None:
    """Store rows, in the order of the columns, and delete those of the digests in ``gone``, in one transaction."""
    with transaction(connection):
        connection.executemany(_KEEP, rows)
        connection.executemany("DELETE FROM chukei_objects WHERE id = ?", [(each,) for each in gone])


def find_objects(connection: sqlite3.Connection, digests: Sequence[bytes]) -> dict[bytes, ObjectRecord]:
    """Return what is known about objects, by the digests of their ids."""
    found = {}
    for start in range(0, len(digests), AT_ONCE):
        part = digests[start : start + AT_ONCE]
        for digest, *record in connection.execute(f"{FIND_OBJECTS} IN ({', '.join('?' * len(part))})", part):
            found[digest] = ObjectRecord(*record)
    return found

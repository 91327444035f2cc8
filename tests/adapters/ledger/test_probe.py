"""A look at databases that changes nothing."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import asyncpg
import pytest
from tests.live.postgres_server import PostgresServer
from tests.rows import rows

from chukei.accounts.stores import StoreAway
from chukei.adapters.ledger.databases import database_for
from chukei.adapters.ledger.probe import probe

pytestmark = pytest.mark.anyio


async def test_an_sqlite_file(tmp_path: Path) -> None:
    """Neither the file nor its folder is made."""
    url = f"sqlite:///{tmp_path}/state/ledger.db"
    found = await probe(url)
    assert (found.exists, found.schema, list(tmp_path.iterdir())) == (False, 0, [])
    (tmp_path / "state").mkdir()
    database = database_for(url)
    await database.open()
    await database.close()
    found = await probe(url)
    assert (found.exists, found.schema) == (True, found.wanted)


@pytest.mark.parametrize("kind", ["text", "newer", "folder"])
async def test_an_sqlite_file_that_cannot_be_used(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "ledger.db"
    if kind == "text":
        path.write_text("This is not a database, but long enough to be taken for one. " * 40)
    elif kind == "folder":
        path.mkdir()
    else:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA user_version = 999")
    with pytest.raises(StoreAway, match=r": .+"):
        await probe(f"sqlite:///{path}")


async def test_postgres(new_database: Callable[[], str]) -> None:
    url = new_database()
    before = await probe(url)
    assert (before.schema, before.may_create, before.standby) == (0, True, False)
    assert (await probe(url)).schema == 0
    database = database_for(url)
    await database.open()
    await database.close()
    after = await probe(url)
    assert after.schema == after.wanted > 0
    assert after.now is not None


@rows(
    ("change", "words"),
    [
        (lambda url: f"{url}_missing", "there is no such database"),
        (lambda _: "postgresql://x:planted@127.0.0.1:1/x", "nothing listens"),
    ],
)
async def test_postgres_that_cannot_be_used(
    change: Callable[[str], str], words: str, postgres_server: PostgresServer
) -> None:
    with pytest.raises(StoreAway, match=words) as caught:
        await probe(change(postgres_server.url("postgres")))
    assert "planted" not in str(caught.value)


async def test_postgres_that_is_newer(new_database: Callable[[], str]) -> None:
    url = new_database()
    database = database_for(url)
    await database.open()
    await database.close()
    connection = await asyncpg.connect(url)
    await connection.execute("INSERT INTO chukei_schema (version) VALUES (999)")
    await connection.close()
    with pytest.raises(StoreAway, match="made by a newer relay"):
        await probe(url)

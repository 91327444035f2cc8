"""What is known about objects in both databases, and how it gets there."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from tests.adapters.ledger.test_databases import database, url
from tests.fakes import FakeDatabase
from tests.live.relays import eventually

from chukei.accounts.objects import ObjectRecord, owner_of, owner_of_group
from chukei.accounts.stores import Database, ObjectRow, StoreAway
from chukei.adapters.ledger.databases import database_for
from chukei.adapters.ledger.object_writer import MAX_WAITING, ObjectWriter
from chukei.model import Caller, CallerKind

__all__ = ["database", "url"]

pytestmark = pytest.mark.anyio

ANN, BOB = (owner_of(Caller(name, CallerKind.KEY)) for name in ("ann", "bob"))
NOW = datetime(2026, 3, 1, tzinfo=UTC)
RECORD = ObjectRecord("response", "https://east/gpt 4o", ANN, "gpt 4o")
FILE = ObjectRecord("file", "https://east/", BOB)


def row(number: int, record: ObjectRecord = RECORD, days: int = 30) -> ObjectRow:
    return ObjectRow(number.to_bytes(16, "big"), record, NOW + timedelta(days=days))


def digest(number: int) -> bytes:
    return row(number).digest


async def test_what_is_written_is_found(database: Database) -> None:
    strange = ObjectRecord("item", "https://a/\0\ud800", ANN, "x" * 10_000)
    await database.write_objects([row(1), row(2, FILE), row(3, strange)], [])
    found = await database.find_objects([digest(1), digest(2), digest(3), digest(4)])
    assert (found[digest(1)], found[digest(2)]) == (RECORD, FILE)
    assert found.keys() == {digest(1), digest(2), digest(3)}
    await database.write_objects([], [digest(1), digest(4)])
    assert (await database.find_objects([digest(1), digest(2)])).keys() == {digest(2)}
    assert await database.find_objects([]) == {}


async def test_an_object_may_move_but_keeps_its_first_owner(database: Database) -> None:
    moved = RECORD._replace(identity="https://west/gpt", model=None)
    await database.write_objects([row(1), row(2, RECORD._replace(owner=""))], [])
    await database.write_objects([row(1, moved), row(2, moved._replace(owner=BOB))], [])
    await database.write_objects([row(1, moved._replace(owner=BOB, identity="https://bob/"))], [])
    found = await database.find_objects([digest(1), digest(2)])
    assert found == {digest(1): moved, digest(2): moved._replace(owner=BOB)}


async def test_many_are_found_at_once_and_forgotten_in_time(database: Database) -> None:
    rows = [row(number, days=number % 2) for number in range(2500)]
    await database.write_objects(rows, [])
    assert len(await database.find_objects([each.digest for each in rows])) == 2500
    assert await database.drop_objects(NOW + timedelta(hours=1)) == 1250
    assert await database.drop_objects(NOW + timedelta(hours=1)) == 0
    assert digest(1) in await database.find_objects([digest(0), digest(1)])


async def test_a_caller_that_is_forgotten_leaves_no_objects(database: Database) -> None:
    user = RECORD._replace(owner=owner_of(Caller("ann", CallerKind.USER)))
    group = RECORD._replace(owner=owner_of_group("ann"))
    await database.write_objects([row(1), row(2, FILE), row(3, user), row(4, group)], [])
    await database.forget(before=NOW, caller="ann")
    assert len(await database.find_objects([digest(1), digest(3)])) == 2, "only what is older was to be forgotten"
    await database.forget(caller="ann")
    assert (await database.find_objects([digest(each) for each in range(5)])).keys() == {digest(2), digest(4)}


@asynccontextmanager
async def writing(database: Database) -> AsyncIterator[ObjectWriter]:
    writer = ObjectWriter(database, now=lambda: NOW)
    writer.start()
    try:
        yield writer
    finally:
        await writer.close()


async def test_another_process_finds_what_one_has_written(url: str) -> None:
    one, other = database_for(url), database_for(url)
    async with writing(one) as writer, writing(other) as reader:
        writer.keep("resp_1", RECORD)
        writer.keep("file-1", FILE)
        assert await writer.find(["resp_1", "resp_2", "file-1"]) == [RECORD, None, FILE], "before it is written"

        async def found() -> bool:
            return await reader.find(["resp_1", "resp_2", "file-1"]) == [RECORD, None, FILE]

        async with asyncio.timeout(60):
            while not await found():
                await asyncio.sleep(0.01)
        reader.drop("resp_1")
        assert await reader.find(["resp_1"]) == [None], "before it is deleted"
    await one.close()
    await other.close()


async def test_what_waits_is_written_when_the_process_ends(url: str) -> None:
    one, later = database_for(url), database_for(url)
    async with writing(one) as writer:
        writer.keep("resp_\ud800", RECORD)
    assert await ObjectWriter(later).find(["resp_\ud800"]) == [RECORD]
    await one.close()
    await later.close()


async def test_a_database_that_is_away_gets_all_when_it_is_back(caplog: pytest.LogCaptureFixture) -> None:
    fake = FakeDatabase()
    fake.away = True
    async with writing(fake) as writer:
        writer.keep("resp_1", RECORD)
        with pytest.raises(StoreAway):
            await writer.find(["resp_2"])
        assert await writer.find(["resp_1"]) == [RECORD], "it is known here"
        await eventually(lambda: "waits for the database" in caplog.text)
        fake.away = False
        await eventually(lambda: len(fake.objects) == 1)
    assert caplog.text.count("waits for the database") == 1


async def test_a_database_that_does_not_answer_is_away() -> None:
    fake = FakeDatabase()
    fake.silent = True
    with pytest.raises(StoreAway):
        await ObjectWriter(fake).find(["resp_1"])


async def test_what_waits_is_bounded() -> None:
    writer = ObjectWriter(FakeDatabase())
    for number in range(MAX_WAITING + 10):
        writer.keep(f"resp_{number}", RECORD)
    assert len(writer._waiting) == MAX_WAITING
    assert await writer.find(["resp_0", f"resp_{MAX_WAITING + 9}"]) == [None, RECORD]
    await writer.close()

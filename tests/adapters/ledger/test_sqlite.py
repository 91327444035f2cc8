"""Tests for SQLite only: a concurrent writer and reader, and limits on the cost of a query."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from tests.adapters.ledger_entries import START, entries, naive

from chukei.accounts.ledger import By, Question
from chukei.accounts.stores import StoreAway
from chukei.adapters.ledger.sql import question_sql
from chukei.adapters.ledger.sqlite import SqliteDatabase

pytestmark = pytest.mark.anyio


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    database = SqliteDatabase(tmp_path / "ledger.db")
    await database.open()
    yield database
    await database.close()


async def test_every_batch_reaches_the_disk(database: SqliteDatabase) -> None:
    for name, value in (("journal_mode", "wal"), ("synchronous", 2)):
        found = await database._writer.run(lambda connection: connection.execute(f"PRAGMA {name}").fetchone())  # noqa: B023
        assert found == (value,)


@pytest.mark.parametrize("count", [1, 7, 8, 41, 511, 512, 513, 1201])
async def test_any_number_of_entries_is_added_and_a_second_time_nothing(database: SqliteDatabase, count: int) -> None:
    given = entries(count)
    await database.add(given[: count // 2])
    for _ in range(2):
        await database.add(given)
    assert await database.sum(Question(by=())) == naive(Question(by=()), given)


async def test_times_and_flags_are_whole_numbers(database: SqliteDatabase, tmp_path: Path) -> None:
    await database.add(entries(1, time=START + timedelta(microseconds=1)))
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as other:
        row = other.execute("SELECT time, stream, cost, typeof(time) FROM chukei_entries").fetchone()
    assert row == (1_767_225_600_000_001, 1, 550, "integer")


async def test_writing_does_not_wait_for_a_question(database: SqliteDatabase) -> None:
    asked, answer = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow(_: sqlite3.Connection) -> None:
        loop.call_soon_threadsafe(asked.set)
        asyncio.run_coroutine_threadsafe(answer.wait(), loop).result()

    asking = asyncio.create_task(database._reader.run(slow))
    await asked.wait()
    await database.add(entries(3))
    answer.set()
    await asking
    assert (await database.sum(Question(by=())))[0].requests == 3


async def test_a_question_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "ledger.db", question_seconds=0)
    await database.add(entries(20_000))
    with pytest.raises(StoreAway, match="the question took too long: ask about a shorter time"):
        await database.sum(Question(by=tuple(By)))
    assert await database.keys() == [], "the limit was for that question"
    await database.close()


QUESTIONS = {
    "time": (Question(since=START, until=START + timedelta(days=30)), "sqlite_autoindex_chukei_entries_1 (time>"),
    "caller": (Question(caller="a", since=START), "chukei_entries_by_caller (caller=? AND time>"),
}


@pytest.mark.parametrize("name", QUESTIONS)
async def test_questions_use_an_index(database: SqliteDatabase, tmp_path: Path, name: str) -> None:
    question, index = QUESTIONS[name]
    sql, values = question_sql(question, times={}, mark=lambda _: "?", moment=lambda moment: 0)
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as other:
        plan = [row[3] for row in other.execute(f"EXPLAIN QUERY PLAN {sql}", values)]
    assert index in plan[0]

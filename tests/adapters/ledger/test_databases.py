"""Common behaviour of both databases, on real ones; and the selection of one by its address."""

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from functools import partial
from pathlib import Path

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.adapters.ledger_entries import START, entries, entry, naive
from tests.rows import rows

from chukei.accounts.ledger import By, Entry, Key, Question, Sum
from chukei.accounts.overrides import RuleChange
from chukei.accounts.stores import Database, StoreAway
from chukei.adapters.ledger.databases import database_for, spool_for
from chukei.adapters.ledger.postgres import PostgresDatabase
from chukei.adapters.ledger.schema import Migration, migrations
from chukei.adapters.ledger.sqlite import CHUNK, SqliteDatabase
from chukei.callers.keys import Peppers
from chukei.callers.registry import KeyRegistry

pytestmark = pytest.mark.anyio

ALL = Question(by=())


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a new database of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/ledger.db"
    return str(request.getfixturevalue("postgres_url"))


@asynccontextmanager
async def opened(database: Database) -> AsyncIterator[Database]:
    try:
        await database.open()
        yield database
    finally:
        await database.close()


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    async with opened(database_for(url)) as database:
        yield database


def with_steps(url: str, steps: tuple[Migration, ...]) -> Database:
    """Return a database as another version of the relay knows it."""
    if url.startswith("sqlite"):
        return SqliteDatabase(Path(url.removeprefix("sqlite:///")), steps=steps)
    return PostgresDatabase(url, steps=steps)


def steps_of(url: str) -> tuple[Migration, ...]:
    return migrations("sqlite" if url.startswith("sqlite") else "postgres")


async def count(database: Database, question: Question = ALL) -> int:
    sums = await database.sum(question)
    return sums[0].requests if sums else 0


# Writing.


async def test_what_was_added_is_summed(database: Database) -> None:
    given = [entry(caller="a", input=7), entry(caller="b", input=9, output=1, cost=None), entry(caller="a", input=1)]
    await database.add(given)
    sums = await database.sum(Question())
    assert sums == naive(Question(), given)
    assert [each.names for each in sums] == [("a",), ("b",)]


async def test_an_empty_ledger_has_no_sums(database: Database) -> None:
    await database.add([])
    assert await database.sum(Question()) == []
    assert await database.sum(ALL) == []


async def test_an_entry_is_there_once_however_often_it_is_added(database: Database) -> None:
    first, second, third = entries(3)
    await database.add([first, second, first])
    await database.add([second, third])
    await asyncio.gather(*(database.add([third, first, second]) for _ in range(5)))
    assert await database.sum(ALL) == naive(ALL, [first, second, third])


async def test_one_that_is_there_is_left_as_it_is(database: Database) -> None:
    first = entry(input=1)
    await database.add([first])
    await database.add([entry(id=first.id, time=first.time, input=1000)])
    assert (await database.sum(ALL))[0].input == 1


STRANGE = [
    {"caller": "a\0b", "model": "\0"},
    {"request_id": "\ud800 alone", "code": "\udfff"},
    {"caller": "x" * 100_000, "upstream_request_id": "é" * 100_000},
    {"caller": "'; DROP TABLE chukei_entries; --", "model": '"', "group": "%_\\"},
    {"input": 2**200, "output": -5, "cost": 10**30, "status": 2**40, "retries": 2**70},
    {"duration": float("nan"), "first_token": float("inf")},
    {"duration": 3, "first_token": 4, "time": datetime(1999, 12, 31, 23, 59, tzinfo=timezone(timedelta(hours=9)))},
    {"caller": "利用者", "group": "研究", "model": "モデル"},
]


@rows("fields", STRANGE)
async def test_no_entry_is_refused(url: str, database: Database, fields: dict[str, object]) -> None:
    """One that were would hold up all that come after it."""
    await meddle(url, "DELETE FROM chukei_entries")
    strange = entry(**fields)
    await database.add([entry(), strange, entry()])
    await database.add([strange])
    assert await count(database) == 3
    assert all(each.requests for each in await database.sum(Question(by=tuple(By))))


async def test_both_find_what_has_strange_names(database: Database) -> None:
    for name in ("a\0b", "'; DROP TABLE chukei_entries; --", "利用者", "%", "\ud800"):
        await database.add([entry(caller=name, group=name, model=name)])
        assert await count(database, Question(by=(), caller=name, group=name, model=name)) == 1
        assert await database.forget(caller=name) == 1
    assert await count(database) == 0


# Queries.

names = st.sampled_from(["a", "B", "é", "Z", "aa"])
maybe = st.none() | names
moments = st.datetimes(datetime(2025, 11, 1), datetime(2026, 3, 31)).map(lambda moment: moment.replace(tzinfo=UTC))  # noqa: DTZ001
tokens = st.integers(0, 10**9)
some_entries = st.lists(
    st.builds(
        lambda **fields: entry(**fields),
        time=moments,
        caller=names,
        group=maybe,
        model=maybe,
        deployment=maybe,
        stream=st.booleans(),
        end=st.sampled_from(["completed", "length", "client_aborted", "truncated", "refused"]),
        input=tokens,
        cached=tokens,
        output=tokens,
        reasoning=tokens,
        estimated=st.booleans(),
        wasted=tokens,
        cost=st.none() | tokens,
        requests=st.integers(1, 10**6),
        first_token=st.none() | st.floats(0, 1e6),
    ),
    max_size=12,
)
questions = st.builds(
    Question,
    by=st.lists(st.sampled_from(By), max_size=4, unique=True).map(tuple),
    since=st.none() | moments,
    until=st.none() | moments,
    caller=maybe,
    group=maybe,
    model=maybe,
)


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def asked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., object]]:
    """A function that adds entries to an empty ledger and asks."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('ledger')}/ledger.db"
    else:
        url = request.getfixturevalue("new_database")()
    database = database_for(url)

    async def ask(given: list[Entry], question: Question) -> list[Sum]:
        await database.forget(before=datetime(2100, 1, 1, tzinfo=UTC))
        await database.add(given)
        return await database.sum(question)

    with asyncio.Runner() as runner:
        yield lambda given, question: runner.run(ask(given, question))
        runner.run(database.close())


@given(given=some_entries, question=questions)
def test_sums_are_those_of_plain_python(
    asked: Callable[[list[Entry], Question], list[Sum]], given: list[Entry], question: Question
) -> None:
    found, expected = asked(given, question), naive(question, given)
    assert [(each.names, each.requests) for each in found] == [(each.names, each.requests) for each in expected]
    for one, other in zip(found, expected, strict=True):
        assert one.first_token == pytest.approx(other.first_token)
        whole = ("failed", "input", "cached", "output", "reasoning", "wasted", "estimated", "cost", "unpriced")
        assert {name: getattr(one, name) for name in whole} == {name: getattr(other, name) for name in whole}


async def test_days_are_those_of_utc(database: Database) -> None:
    tokyo = timezone(timedelta(hours=9))
    await database.add([entry(time=datetime(2026, 3, 2, 8, 59, 59, 999_999, tzinfo=tokyo))])
    await database.add([entry(time=datetime(2026, 3, 2, 9, 0, tzinfo=tokyo))])
    assert [each.names for each in await database.sum(Question(by=(By.DAY,)))] == [("2026-03-01",), ("2026-03-02",)]


# Deleting.


async def test_what_is_too_old_is_forgotten(database: Database) -> None:
    await database.add([entry(time=START + timedelta(days=day)) for day in range(10)])
    assert await database.forget(before=START + timedelta(days=3)) == 3
    days = [date.fromisoformat(each.names[0]) for each in await database.sum(Question(by=(By.DAY,)))]
    assert days[0] == date(2026, 1, 4)
    assert len(days) == 7
    assert await database.forget(before=START) == 0


async def test_one_caller_is_forgotten_and_writing_goes_on_meanwhile(database: Database) -> None:
    await database.add(entries(2 * CHUNK + 1, caller="gone"))
    await database.add(entries(3, caller="stays"))
    forgetting = asyncio.create_task(database.forget(caller="gone"))
    await database.add(entries(2, caller="stays"))
    assert await forgetting == 2 * CHUNK + 1
    assert [(each.names, each.requests) for each in await database.sum(Question())] == [(("stays",), 5)]


async def test_forgetting_everything_must_be_meant(database: Database) -> None:
    with pytest.raises(ValueError, match="must be given"):
        await database.forget()


# Keys.

KEY = Key("k1", "team-a", "research", bytes(range(32)), 1, START, START + timedelta(days=90), None, "for the batch job")


async def test_keys_come_back_as_they_were(database: Database) -> None:
    bare = Key("k2", "team-b", None, b"\0" * 32, 2, START + timedelta(microseconds=1), None, None, None)
    await database.add_key(KEY)
    await database.add_key(bare)
    assert await database.keys() == [KEY, bare]


async def test_an_id_of_a_key_is_taken_once(database: Database) -> None:
    await database.add_key(KEY)
    with pytest.raises(ValueError, match="already"):
        await database.add_key(KEY)


# What another program may write into a row: the time of a column, in SQLite's form and in PostgreSQL's.
FOREIGN_TIMES = {
    "beyond 9999": (253_402_318_799_000_000, "9999-12-31T23:59:59-05:00"),
    "for ever": (2**63 - 1, "infinity"),
    "since ever": (-(2**63), "-infinity"),
    "before Christ": (-62_198_755_200_000_000, "0044-03-15 BC"),
}


@rows("column", ["created", "expires"])
@rows("foreign", FOREIGN_TIMES)
async def test_a_key_that_cannot_be_read_hides_no_other_and_can_be_revoked(
    url: str, database: Database, column: str, foreign: str
) -> None:
    await meddle(url, "DELETE FROM chukei_keys")
    other = replace(KEY, id="k2", created=START + timedelta(days=1))
    for key in (KEY, other):
        await database.add_key(key)
    micros, text = FOREIGN_TIMES[foreign]
    await meddle(url, f"UPDATE chukei_keys SET {column} = {{}} WHERE id = 'k1'", micros, f"'{text}'")
    found = {key.id: key for key in await database.keys()}
    assert found["k2"] == other
    assert (found["k1"].unreadable, found["k1"].state(START)) == (True, "unreadable")
    mark = await database.keys_mark()
    assert await database.end_key("k2", expires=START + timedelta(days=2), revoked=None)
    assert await database.keys_mark() not in (mark, "")
    registry = KeyRegistry(database, Peppers(), lambda: START)
    await registry.revoke("k1")
    await registry.revoke("k2")
    assert [key.state(START) for key in await registry.all()] == ["revoked", "revoked"]


async def test_a_time_of_revoking_that_cannot_be_read_revokes(url: str, database: Database) -> None:
    await database.add_key(KEY)
    await meddle(url, "UPDATE chukei_keys SET revoked = {}", 2**63 - 1, "'infinity'")
    assert [key.state(START) for key in await database.keys()] == ["revoked"]


async def test_names_in_no_utf_8_hide_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    async with opened(database_for(url)) as database:
        await database.add_key(KEY)
        await database.add_key(replace(KEY, id="k2"))
        await database.add([entry(), entry(caller="team-b")])
        await meddle(url, "UPDATE chukei_keys SET caller = CAST(x'66ff' AS TEXT) WHERE id = 'k1'")
        await meddle(url, "UPDATE chukei_entries SET caller = CAST(x'66ff' AS TEXT) WHERE caller = 'team-a'")
        assert [(key.id, key.unreadable) for key in await database.keys()] == [("k1", True), ("k2", False)]
        assert {each.names[0] for each in await database.sum(Question())} == {"f\ufffd", "team-b"}


@pytest.mark.parametrize("micros", [-(2**63), 2**63 - 1])
async def test_a_time_of_an_entry_that_no_calendar_knows_hides_no_other(tmp_path: Path, micros: int) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    async with opened(database_for(url)) as database:
        await database.add([entry(caller="strange"), entry()])
        await meddle(url, f"UPDATE chukei_entries SET time = {micros} WHERE caller = 'strange'")
        assert (("team-a",), 1) in [(each.names, each.requests) for each in await database.sum(Question())]


async def meddle(url: str, sql: str, *values: object) -> None:
    """Do what another program might; ``values`` are how SQLite and PostgreSQL write one."""
    kind = url.startswith("postgres")
    sql = sql.format(values[kind]) if values else sql
    if kind:
        connection = await asyncpg.connect(url)
        await connection.execute(sql)
        await connection.close()
    else:
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection, connection:
            connection.execute(sql)


async def test_ending_a_key(database: Database) -> None:
    await database.add_key(KEY)
    soon, now = START + timedelta(hours=1), START + timedelta(minutes=1)
    assert await database.end_key("k1", expires=soon, revoked=None)
    [key] = await database.keys()
    assert (key.expires, key.revoked) == (soon, None)
    assert await database.end_key("k1", expires=None, revoked=now)
    assert await database.end_key("k1", expires=None, revoked=soon)
    [key] = await database.keys()
    assert (key.expires, key.revoked) == (soon, now)
    assert not await database.end_key("k2", expires=None, revoked=now)


# The schema.


async def test_what_is_there_outlives_closing(url: str) -> None:
    for expected in (0, 2):
        async with opened(database_for(url)) as database:
            assert await count(database) == expected
            await database.add(entries(2))


async def test_many_open_at_once(url: str) -> None:
    databases = [database_for(url) for _ in range(6)]
    await asyncio.gather(*(database.open() for database in databases))
    await asyncio.gather(*(database.add(entries(10)) for database in databases))
    assert await count(databases[0]) == 60
    await asyncio.gather(*(database.close() for database in databases))


OPEN = """
import asyncio, sys
from chukei.adapters.ledger.databases import database_for
async def main():
    database = database_for(sys.argv[1])
    sys.stdin.readline()
    await database.open()
    await database.close()
asyncio.run(main())
"""


def test_processes_open_at_once(url: str) -> None:
    running = [
        subprocess.Popen([sys.executable, "-c", OPEN, url], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    for process in running:
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.flush()
    assert [process.communicate()[1] for process in running] == [b""] * len(running)


LATER = ("ALTER TABLE chukei_entries ADD COLUMN purpose TEXT;", "CREATE TABLE chukei_purposes (name TEXT);")


async def test_an_older_schema_is_brought_up_to_date_with_its_rows(url: str) -> None:
    steps = steps_of(url)
    later = (*steps, Migration(len(steps) + 1, LATER[:1]), Migration(len(steps) + 2, LATER[1:]))
    async with opened(with_steps(url, steps)) as older:
        await older.add(entries(5))
        await older.add_key(KEY)
        async with opened(with_steps(url, later)) as newer:
            assert await count(newer) == 5
            assert await newer.keys() == [KEY]
            await newer.add(entries(1))
        await older.add(entries(1))  # the older relay is still running, as in a rolling update
        assert await count(older) == 7


async def test_a_newer_schema_is_refused(url: str) -> None:
    steps = steps_of(url)
    async with opened(with_steps(url, (*steps, Migration(len(steps) + 1, LATER)))) as newer:
        await newer.add(entries(1))
    database = database_for(url)
    said = rf"number {len(steps) + 1}.*newer relay.*knows up to {len(steps)}.*backup"
    for ask in (database.open, partial(database.add, entries(1)), database.keys):
        with pytest.raises(StoreAway, match=said):
            await ask()
    await database.close()


async def test_a_step_that_fails_leaves_nothing_half_done(url: str) -> None:
    steps = steps_of(url)
    bad = Migration(len(steps) + 1, (LATER[0], "CREATE TABLE nonsense;;"))
    async with opened(with_steps(url, steps)) as database:
        await database.add(entries(1))
    broken = with_steps(url, (*steps, bad))
    with pytest.raises(StoreAway):
        await broken.open()
    await broken.close()
    async with opened(with_steps(url, (*steps, Migration(len(steps) + 1, LATER)))) as repaired:
        assert await count(repaired) == 1


async def test_a_closed_one_says_so(url: str) -> None:
    database = database_for(url)
    await database.open()
    await database.close()
    await database.close()
    with pytest.raises(StoreAway, match="closed"):
        await database.add(entries(1))


# Addresses.

BAD = [
    "",
    "ledger.db",
    "mysql://root:hunter2@localhost/ledger",
    "sqlite://",
    "sqlite:///",
    "sqlite:///folder/",
    "sqlite://hunter2/ledger.db",
    "sqlite:///ledger.db?password=hunter2",
    "postgresql://",
    "postgresql://relay:hunter2@localhost",
    "postgresql://relay:hunter2@localhost:port/ledger",
    "postgresql://relay:hunter2/x@localhost/ledger",
    "postgresql://relay:hunter2@[::1/ledger",
]


@rows("address", BAD)
def test_an_unusable_address_is_refused_without_being_repeated(address: str) -> None:
    with pytest.raises(ValueError, match="is ") as caught:
        database_for(address)
    assert "hunter2" not in f"{caught.value!r} {caught.value.__cause__!r}"


def test_paths_of_sqlite() -> None:
    assert repr(database_for("sqlite:///a%20b/ledger.db")) == "<SqliteDatabase a b/ledger.db>"
    assert repr(database_for("sqlite:////var/lib/ledger.db")) == "<SqliteDatabase /var/lib/ledger.db>"


def test_no_password_is_shown() -> None:
    assert repr(database_for("postgresql://relay:hunter2@db:6432/ledger")) == "<PostgresDatabase db:6432/ledger>"


def test_only_the_driver_that_is_needed_is_imported() -> None:
    code = (
        "import sys; from chukei.adapters.ledger.databases import database_for; assert 'sqlite3' not in sys.modules;"
        "database_for('sqlite:///x.db'); assert 'asyncpg' not in sys.modules"
    )
    # Measuring coverage imports sqlite3 itself.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("COVERAGE", "COV_CORE"))}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


def test_each_database_has_a_spool_of_its_own(tmp_path: Path) -> None:
    assert spool_for(f"sqlite:///{tmp_path}/ledger.db") == tmp_path / "ledger.db-spool"
    one, other = (spool_for(f"postgresql://relay:hunter2@db/{name}") for name in ("one", "other"))
    assert one != other
    assert "hunter2" not in str(one)
    assert one == spool_for("postgresql://somebody:else@db:5432/one")


STATE = """
import os
from chukei.adapters.ledger.databases import spool_for
print(spool_for("postgresql://db/ledger").parent)
"""


@rows(
    ("variables", "folder"),
    [
        ({"STATE_DIRECTORY": "/var/lib/relay:/x", "XDG_STATE_HOME": "/state", "HOME": "{}"}, "/var/lib/relay"),
        ({"XDG_STATE_HOME": "/state", "HOME": "{}"}, "/state/chukei"),
        ({"XDG_STATE_HOME": "not/absolute", "HOME": "{}"}, "{}/.local/state/chukei"),
        ({"HOME": "/nowhere", "TMPDIR": "{}"}, f"{{}}/chukei-{os.getuid()}"),
    ],
)
def test_where_postgresqls_spool_is(tmp_path: Path, variables: dict[str, str], folder: str) -> None:
    environment = {name: value.format(tmp_path) for name, value in variables.items()}
    done = subprocess.run([sys.executable, "-c", STATE], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == folder.format(tmp_path)


async def test_what_is_set_and_its_record_change_together(database: Database) -> None:
    assert (await database.rules(), await database.rule_changes(9)) == ({}, [])
    marks = [await database.rules_mark()]

    async def change(subject: str, text: str | None) -> RuleChange:
        def merge(before: str | None) -> str | None:
            return text if before is None or text is None else before + text

        made = await database.change_rules(subject, merge, actor="key 1", time=START)
        marks.append(await database.rules_mark())
        return made

    made = [await change("caller:a", "x"), await change("caller:b", "y"), await change("caller:a", "z")]
    assert await database.rules() == {"caller:a": "xz", "caller:b": "y"}
    assert [(each.before, each.after) for each in made] == [(None, "x"), (None, "y"), ("x", "xz")]
    made.append(await change("caller:a", None))
    assert await database.rules() == {"caller:b": "y"}
    assert await database.rule_changes(9) == made[::-1]
    assert await database.rule_changes(1) == made[-1:]
    assert len(set(marks)) == 5


async def test_a_change_that_fails_changes_nothing(database: Database) -> None:
    def merge(before: str | None) -> str | None:
        raise LookupError

    with pytest.raises(LookupError):
        await database.change_rules("caller:a", merge, actor="key 1", time=START)
    assert (await database.rules(), await database.rule_changes(9)) == ({}, [])


async def test_changes_at_the_same_time_wait_for_each_other(url: str, database: Database) -> None:
    async with opened(database_for(url)) as other:
        await asyncio.gather(
            *(
                each.change_rules("caller:a", lambda before: (before or "") + "x", actor="key 1", time=START)
                for each in (database, other) * 5
            )
        )
        assert await other.rules() == {"caller:a": 10 * "x"}
        assert [len(each.after or "") for each in await database.rule_changes(20)] == [*range(10, 0, -1)]

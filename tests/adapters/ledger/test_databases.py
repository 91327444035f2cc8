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

from chukei.accounts.changes import Action, Actor, Change
from chukei.accounts.ledger import By, Entry, Key, KeySearch, Question, Seen, Sum
from chukei.accounts.outcomes import Outcome
from chukei.accounts.stores import Database, StoreAway
from chukei.adapters.ledger.databases import database_for, spool_for
from chukei.adapters.ledger.postgres import PostgresDatabase
from chukei.adapters.ledger.schema import Migration, migrations
from chukei.adapters.ledger.sqlite import CHUNK, SqliteDatabase
from chukei.callers.keys import Peppers
from chukei.callers.registry import KeyRegistry
from chukei.model import End

pytestmark = pytest.mark.anyio

ALL = Question(by=())
KEY_HOLDER = Actor("key 1")
ANN = Actor("user:tenant/ann", "ann@contoso.com")


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
ends = st.sampled_from([*End, "unheard-of"]).map(str)
some_entries = st.lists(
    st.builds(
        lambda **fields: entry(**fields),
        time=moments,
        caller=names,
        group=maybe,
        model=maybe,
        deployment=maybe,
        stream=st.booleans(),
        status=st.sampled_from([None, 200, 400, 429, 499, 500, 503]),
        end=ends,
        code=maybe,
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
    end_reason=st.none() | ends,
    code=maybe,
    outcome=st.none() | st.sampled_from(Outcome),
    callers=st.none() | st.lists(names, max_size=3).map(tuple),
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
        whole = (
            "refused",
            "failed",
            "input",
            "cached",
            "output",
            "reasoning",
            "wasted",
            "estimated",
            "cost",
            "unpriced",
        )
        assert {name: getattr(one, name) for name in whole} == {name: getattr(other, name) for name in whole}


async def test_days_are_those_of_utc(database: Database) -> None:
    tokyo = timezone(timedelta(hours=9))
    await database.add([entry(time=datetime(2026, 3, 2, 8, 59, 59, 999_999, tzinfo=tokyo))])
    await database.add([entry(time=datetime(2026, 3, 2, 9, 0, tzinfo=tokyo))])
    assert [each.names for each in await database.sum(Question(by=(By.DAY,)))] == [("2026-03-01",), ("2026-03-02",)]


async def test_hours_are_those_of_utc(database: Database) -> None:
    kolkata = timezone(timedelta(hours=5, minutes=30))
    await database.add([entry(time=datetime(2026, 3, 2, 6, 29, 59, 999_999, tzinfo=kolkata))])
    await database.add([entry(time=datetime(2026, 3, 2, 6, 30, tzinfo=kolkata))])
    hours = [each.names for each in await database.sum(Question(by=(By.HOUR,)))]
    assert hours == [("2026-03-02T00:00:00Z",), ("2026-03-02T01:00:00Z",)]


async def test_the_latest_entry_of_each_caller_is_known(database: Database) -> None:
    assert await database.seen() == []
    latest = START + timedelta(days=1)
    for name in ("b", "Z", "ä", "b/c", "\0"):
        older, newer = entry(caller=name, time=START, group="old"), entry(caller=name, time=latest, group=None)
        await database.add([older, newer, entry(caller=name, time=latest, group=None)])
    found = await database.seen()
    assert sorted(found, key=lambda each: each.caller) == [
        Seen(name, latest, "key", None) for name in ("Z", "b", "b/c", "ä", "\ufffd")
    ]
    assert await database.seen("b") == [Seen("b", latest, "key", None)]
    assert await database.seen("\0") == [Seen("\ufffd", latest, "key", None)]
    assert await database.seen("B") == []


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


AFTERWARDS = START + timedelta(days=100)
FOUND = [
    Key("Ab1", "Team-Search", None, b"", 1, START, None, None, "nightly"),
    Key("Cd2", "team-b", "research", b"", 1, START + timedelta(days=1), None, AFTERWARDS, None),
    Key("Ef3", "other", None, b"", 1, START + timedelta(days=2), AFTERWARDS, None, "for SEARCH, 100% *[a-b]\\d"),
    Key("Gh4", "Änderung ŠČ", "研究", b"", 1, START + timedelta(days=3), AFTERWARDS + timedelta(days=1), None, None),
]


@rows(
    ("wanted", "ids"),
    [
        ({}, ["Gh4", "Ef3", "Cd2", "Ab1"]),
        ({"text": "search"}, ["Ef3", "Cd2", "Ab1"]),
        ({"text": "FOR search"}, ["Ef3"]),
        ({"text": "TEAM"}, ["Cd2", "Ab1"]),
        ({"text": "cD2"}, ["Cd2"]),
        ({"text": "äNDERUNG šČ"}, ["Gh4"]),
        ({"text": "研究"}, ["Gh4"]),
        ({"text": "% *[A-b]\\d"}, ["Ef3"]),
        ({"text": "t.am"}, []),
        ({"text": "team%"}, []),
        ({"text": "te*m"}, []),
        ({"text": "' OR 1=1 --"}, []),
        ({"text": "a\0b"}, []),
        ({"text": "x" * 4000}, []),
        ({"text": "search", "state": "active"}, ["Ab1"]),
        ({"state": "active"}, ["Gh4", "Ab1"]),
        ({"state": "expired"}, ["Ef3"]),
        ({"state": "revoked"}, ["Cd2"]),
        ({"state": "unreadable"}, []),
        ({"id": "Cd2"}, ["Cd2"]),
        ({"id": "cd2"}, []),
        ({"caller": "team-b"}, ["Cd2"]),
        ({"caller": "team"}, []),
    ],
)
async def test_both_find_the_same_keys(database: Database, wanted: dict[str, str], ids: list[str]) -> None:
    if not await database.keys():
        for key in FOUND:
            await database.add_key(key)
    found, count = await database.find_keys(KeySearch(AFTERWARDS, **wanted))  # type: ignore[arg-type]
    assert ([key.id for key in found], count) == (ids, len(ids))
    assert found == [key for key in reversed(FOUND) if key.id in ids]
    rest, count = await database.find_keys(KeySearch(AFTERWARDS, **wanted, limit=1, offset=1))
    assert ([key.id for key in rest], count) == (ids[1:2], len(ids))


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
    by_state = {state: await database.find_keys(KeySearch(START, state=state)) for state in ("active", "unreadable")}
    assert by_state == {"active": ([other], 1), "unreadable": ([found["k1"]], 1)}
    mark = await database.keys_mark()
    assert await database.end_key("k2", expires=START + timedelta(days=2), revoked=None)
    assert await database.keys_mark() not in (mark, "")
    registry = KeyRegistry(database, Peppers(), lambda: START)
    await registry.revoke("k1", actor=KEY_HOLDER)
    await registry.revoke("k2", actor=KEY_HOLDER)
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
        for state, id in (("unreadable", "k1"), ("active", "k2")):
            assert [key.id for key in (await database.find_keys(KeySearch(START, state=state)))[0]] == [id]
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
    assert (await database.rules(), await database.changes(9)) == ({}, [])
    marks = [await database.rules_mark()]

    async def change(subject: str, text: str | None) -> Change:
        def merge(before: str | None) -> str | None:
            return text if before is None or text is None else before + text

        made = await database.change_rules(subject, merge, actor=KEY_HOLDER, time=START)
        marks.append(await database.rules_mark())
        return made

    made = [await change("caller:a", "x"), await change("caller:b", "y"), await change("caller:a", "z")]
    assert await database.rules() == {"caller:a": "xz", "caller:b": "y"}
    assert [(each.before, each.after) for each in made] == [(None, "x"), (None, "y"), ("x", "xz")]
    made.append(await change("caller:a", None))
    assert await database.rules() == {"caller:b": "y"}
    assert await database.changes(9) == made[::-1]
    assert await database.changes(1) == made[-1:]
    assert len(set(marks)) == 5


async def test_a_change_that_fails_changes_nothing(database: Database) -> None:
    def merge(before: str | None) -> str | None:
        raise LookupError

    with pytest.raises(LookupError):
        await database.change_rules("caller:a", merge, actor=KEY_HOLDER, time=START)
    assert (await database.rules(), await database.changes(9)) == ({}, [])


async def test_changes_at_the_same_time_wait_for_each_other(url: str, database: Database) -> None:
    async with opened(database_for(url)) as other:
        await asyncio.gather(
            *(
                each.change_rules("caller:a", lambda before: (before or "") + "x", actor=KEY_HOLDER, time=START)
                for each in (database, other) * 5
            )
        )
        assert await other.rules() == {"caller:a": 10 * "x"}
        assert [len(each.after or "") for each in await database.changes(20)] == [*range(10, 0, -1)]


def made_change(action: Action = Action.KEY_MADE, after: str | None = '{"caller":"a"}') -> Change:
    return Change(action, "key:k1", ANN, START, None, after)


async def test_keys_and_their_record_change_together(database: Database) -> None:
    await database.add_key(KEY, change=made_change())
    with pytest.raises(ValueError, match="already"):
        await database.add_key(KEY, change=made_change())
    later = START + timedelta(days=1)
    new = replace(KEY, id="k2")
    await database.add_key(new, replaces=("k1", later), change=made_change(Action.KEY_REPLACED))
    assert {key.id: key.expires for key in await database.keys()} == {"k1": later, "k2": KEY.expires}
    assert await database.end_key("k2", expires=None, revoked=later, change=made_change(Action.KEY_REVOKED))
    assert not await database.end_key("k3", expires=None, revoked=later, change=made_change(Action.KEY_REVOKED))
    found = await database.changes(9)
    assert [each.action for each in found] == ["key_revoked", "key_replaced", "key_made"]
    assert found[-1] == replace(made_change(), number=found[-1].number)


async def test_a_deletion_is_recorded_with_its_count(database: Database) -> None:
    await database.add([entry(caller="gone") for _ in range(CHUNK + 3)])
    change = Change(Action.ENTRIES_DELETED, "caller:gone", KEY_HOLDER, START)
    assert await database.forget(caller="gone", change=change) == CHUNK + 3
    assert await database.forget(caller="gone", change=change) == 0
    assert [each.after for each in await database.changes(9)] == ['{"deleted":0}', f'{{"deleted":{CHUNK + 3}}}']


async def test_other_changes_are_recorded_and_paged(database: Database) -> None:
    mark = await database.rules_mark()
    numbers = [await database.record(made_change(Action.RELOAD, f'{{"version":"{each}"}}')) for each in range(5)]
    assert numbers == sorted(set(numbers))
    first = await database.changes(2)
    assert [each.number for each in first] == numbers[:2:-1]
    assert [each.number for each in await database.changes(9, numbers[3])] == numbers[2::-1]
    assert await database.changes(9, numbers[0]) == []
    assert await database.rules_mark() == mark, "only changes of rules need the rules to be read again"


async def test_names_of_administrators_are_only_text(database: Database) -> None:
    hostile = Actor("user:x\0y", "\ud800" + "a" * 1000 + "'; DROP TABLE chukei_changes; --")
    await database.record(Change(Action.RELOAD, "configuration", hostile, START))
    [found] = await database.changes(9)
    assert (found.actor.id, len(found.actor.name or "")) == ("user:x\ufffdy", 128)


async def test_records_of_before_are_of_rules(url: str) -> None:
    older = tuple(step for step in steps_of(url) if step.number < 8)
    async with opened(with_steps(url, older)) as database:
        if isinstance(database, SqliteDatabase):
            sql = "INSERT INTO chukei_changes (time, actor, subject, before, after) VALUES (?, ?, ?, ?, ?)"
            with closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as connection:
                connection.execute(sql, (0, "key 1", "caller:a", None, "{}"))
        else:
            connection = await asyncpg.connect(url)
            sql = "INSERT INTO chukei_changes (time, actor, subject, after) VALUES (now(), 'key 1', 'caller:a', '{}')"
            await connection.execute(sql)
            await connection.close()
    async with opened(database_for(url)) as database:
        [found] = await database.changes(9)
        assert (found.action, found.subject, found.actor, found.after) == ("rules", "caller:a", KEY_HOLDER, "{}")


async def test_a_response_in_the_making_is_kept_until_it_is_billed(database: Database) -> None:
    bill = entry()
    await database.keep_job("resp_1", START, "first")
    await database.keep_job("resp_1", START, "second")
    assert await database.find_job("resp_1") == "first"
    assert await database.find_job("resp_2") is None
    assert await database.settle_job("resp_1", bill)
    assert await database.find_job("resp_1") is None
    assert not await database.settle_job("resp_1", bill), "the bill is there"
    assert (await database.sum(ALL))[0].requests == bill.requests


async def test_a_bill_is_written_although_the_job_is_not(database: Database) -> None:
    assert await database.settle_job("resp_1", entry())
    assert len(await database.sum(ALL)) == 1


async def test_due_jobs_are_taken_once_the_oldest_first(database: Database) -> None:
    minute = timedelta(minutes=1)
    for number in (3, 1, 2):
        await database.keep_job(f"resp_{number}", START + number * minute, f"job {number}")
    await database.defer_job("resp_1", START)
    now, until = START + 2 * minute, START + 10 * minute
    assert await database.take_jobs(START - minute, until, 10) == []
    assert await database.take_jobs(now, until, 1) == ["job 1"]
    assert await database.take_jobs(now, until, 10) == ["job 2"]
    assert await database.take_jobs(now, until, 10) == []
    assert sorted(await database.take_jobs(until, until + minute, 10)) == ["job 1", "job 2", "job 3"]


async def test_relays_that_take_jobs_at_once_take_each_once(url: str) -> None:
    async with opened(database_for(url)) as one, opened(database_for(url)) as other:
        for number in range(40):
            await one.keep_job(f"resp_{number}", START, str(number))
        until = START + timedelta(hours=1)
        taken = await asyncio.gather(*(each.take_jobs(START, until, 10) for _ in range(6) for each in (one, other)))
        found = [job for jobs in taken for job in jobs]
        assert len(found) == len(set(found))
        assert len(found) == 40

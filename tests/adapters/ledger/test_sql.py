"""Rows that every database accepts, and queries without SQL injection."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import fields
from tests.adapters.ledger_entries import entry
from tests.rows import rows

from chukei.accounts.ledger import TIMES, By, Entry, Question
from chukei.adapters.ledger.sql import COLUMNS, MAX_TEXT, MOST, question_sql, row_of

texts = st.text() | st.text(st.characters(categories=["Cs", "Cc", "Lo"]))
numbers = st.integers() | st.integers(-10, 10)
VALUES = {
    "str": texts,
    "str | None": st.none() | texts,
    "int": numbers,
    "int | None": st.none() | numbers,
    "float": st.floats(),
    "float | None": st.none() | st.floats(),
    "bool": st.booleans(),
    "datetime": st.just(datetime(2026, 1, 1, tzinfo=UTC)),
}


def name_of(kind: object) -> str:
    return kind.__name__ if isinstance(kind, type) else str(kind)


any_entry = st.builds(Entry, **{field.name: VALUES[name_of(field.type)] for field in fields(Entry)})


@given(made=any_entry)
def test_every_row_is_one_that_databases_take(made: Entry) -> None:
    row = row_of(made, lambda moment: moment)
    assert len(row) == len(COLUMNS)
    for value in row:
        if isinstance(value, str):
            assert "\0" not in value
            assert len(value.encode()) <= 4 * MAX_TEXT
        elif isinstance(value, int):
            assert 0 <= value <= MOST
        elif isinstance(value, float):
            assert abs(value) < float("inf")


@given(made=any_entry)
def test_what_is_missing_stays_missing(made: Entry) -> None:
    row = row_of(made, lambda moment: moment)
    given = [getattr(made, field.name) for field in fields(made)]
    assert [value is None for value in row] == [value is None for value in given]
    assert [type(value) for value in row] == [type(value) for value in given]


def test_a_plain_entry_is_written_as_it_is() -> None:
    made = entry(caller="x" * 100)
    assert row_of(made, lambda moment: moment) == tuple(getattr(made, field.name) for field in fields(made))


@rows("name", ["caller", "group", "model", "end_reason", "code"])
def test_names_are_bound(name: str) -> None:
    hostile = "x' OR 1=1; --"
    question = Question(by=tuple(By), **{name: hostile})  # type: ignore[arg-type]
    sql, values = question_sql(
        question, times=dict.fromkeys(TIMES, "time"), mark=lambda number: f"?{number}", moment=lambda moment: moment
    )
    assert hostile not in sql
    assert values[-1] == hostile
    assert sql.count("?") == len(values)

"""The packaged migrations, and the splitting of a script into statements."""

import re

import pytest
from tests.rows import rows

from chukei.accounts.stores import StoreAway
from chukei.adapters.ledger.schema import Migration, migrations, pending, split
from chukei.adapters.ledger.sql import COLUMNS, KEY_COLUMNS

STEPS = tuple(Migration(number, ("SELECT 1;",)) for number in (1, 2, 3))


@rows("kind", ["sqlite", "postgres"])
def test_both_have_the_columns_that_are_written(kind: str) -> None:
    text = "\n".join(statement for step in migrations(kind) for statement in step.statements)
    for table, columns in (("chukei_entries", COLUMNS), ("chukei_keys", KEY_COLUMNS)):
        [body] = re.findall(rf"CREATE TABLE {table} \((.*?)\n\)", text, re.DOTALL)
        added = re.findall(rf"ALTER TABLE {table} ADD COLUMN (\w+) ", text)
        assert (*re.findall(r"^    ([a-z]\w*) ", body, re.MULTILINE), *added) == columns


def test_both_kinds_have_the_same_steps() -> None:
    assert [step.number for step in migrations("sqlite")] == [step.number for step in migrations("postgres")]


def test_a_script_is_split_at_the_ends_of_statements() -> None:
    text = "-- one; two\nCREATE TABLE a (\n  -- not; here;\n  b TEXT DEFAULT ';'\n);\n\nSELECT ';' || b FROM a;\n"
    assert split(text) == ("CREATE TABLE a (\n  b TEXT DEFAULT ';'\n);", "SELECT ';' || b FROM a;")
    assert split("-- nothing\n\n") == ()


@rows(("version", "left"), [(0, [1, 2, 3]), (1, [2, 3]), (3, [])])
def test_what_is_pending(version: int, left: list[int]) -> None:
    assert [step.number for step in pending(STEPS, version)] == left


def test_a_newer_schema() -> None:
    with pytest.raises(StoreAway, match="number 4, made by a newer relay, and this one knows up to 3"):
        pending(STEPS, 4)

"""Patterns that find a part of a text, in either case. That both databases find the same is in test_databases.py."""

import re
import sqlite3
from contextlib import closing

from hypothesis import given
from hypothesis import strategies as st

from chukei.adapters.ledger.keys_sql import glob_of, regex_of

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
strange = st.text("aÄäßİŠ*?[]^-\\.(){}|+$%_'", max_size=8)


@given(before=strange, text=strange | texts, after=texts)
def test_sqlite_finds_every_text_in_itself_and_no_other(before: str, text: str, after: str) -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        [[inside]] = connection.execute("SELECT ? GLOB ?", (before + text + after, glob_of(text)))
        [[shorter]] = connection.execute("SELECT ? GLOB ?", (text[:-1], glob_of(text)))
    assert inside
    assert not (shorter and text)


def test_letters_are_found_in_either_case_and_signs_mean_themselves() -> None:
    assert glob_of("aÄ1*[]") == "*[Aa][Ää]1[*][[]]*"
    assert regex_of("aÄ1.(") == r"***:[Aa][Ää]1\.\("
    assert re.search(regex_of("a.b").removeprefix("***:"), "xA.Bx")

"""Text in cells: what is harmful is replaced, wide characters count two, nothing is wider than its place."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.rows import rows
from tests.top.views import HOSTILE

from chukei.top.cells import clean, cut, fit, width, wrapped


@rows(
    ("text", "cells"),
    [
        ("abc", 3),
        ("検索チーム", 10),
        ("ﾃｽﾄ", 3),
        ("é", 1),
        ("e\u0301", 1),
        ("한국", 4),
        ("\N{FULLWIDTH LATIN CAPITAL LETTER A}", 2),
        ("🚀", 2),
        ("", 0),
    ],
)
def test_width_is_in_cells(text: str, cells: int) -> None:
    assert width(text) == cells


def test_nothing_harmful_is_left_of_a_hostile_name() -> None:
    shown = clean(HOSTILE)
    assert len(shown) == len(HOSTILE)
    assert not [each for each in shown if unicodedata.category(each).startswith(("C", "Zl", "Zp"))]
    assert "<img src=x" in shown  # harmless in a terminal


@pytest.mark.parametrize("right", [False, True])
@given(text=st.text(max_size=40), cells=st.integers(0, 30))
def test_a_place_is_filled_exactly(right: bool, text: str, cells: int) -> None:
    assert width(fit(clean(text), cells, right=right)) == cells


@rows(
    ("text", "cells", "shown"),
    [("abcdef", 6, "abcdef"), ("abcdef", 4, "abc…"), ("検索チーム", 5, "検索…"), ("検索", 2, "…"), ("ab", 0, "")],
)
def test_what_is_too_long_ends_with_an_ellipsis(text: str, cells: int, shown: str) -> None:
    assert cut(text, cells) == shown


@rows(
    ("text", "lines"),
    [
        ("short", ["short"]),
        ("one two three", ["one two", "three"]),
        ("abcdefghijkl", ["abcdefghij", "kl"]),
        ("one two three four five six", ["one two", "three fou…"]),
        ("検索チーム 待機", ["検索チーム", "待機"]),
    ],
)
def test_a_sentence_takes_two_lines_at_most(text: str, lines: list[str]) -> None:
    assert wrapped(text, 10) == lines
    assert all(width(line) <= 10 for line in wrapped(text, 10))

"""Lines of a text that comes in parts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chukei.request.lines import Lines, TooLong

BOM = b"\xef\xbb\xbf"


def lines_of(*parts: bytes, longest: int = 100) -> list[bytes]:
    lines = Lines(longest)
    found = [line for part in parts for line in lines.feed(part)]
    return [*found, lines.end()]


@given(st.lists(st.binary(max_size=8) | st.sampled_from([b"\n", b"\r\n", BOM, "中".encode()])), st.integers(1, 5))
def test_however_a_text_is_split_its_lines_are_the_same(pieces: list[bytes], size: int) -> None:
    text = b"".join(pieces)
    parts = [text[begin : begin + size] for begin in range(0, len(text), size)]
    found = lines_of(*parts, longest=10_000)
    assert found == lines_of(text, longest=10_000)
    assert b"".join(found) == text.removeprefix(BOM)
    assert all(line.count(b"\n") == line.endswith(b"\n") <= 1 for line in found)


def test_only_the_mark_in_front_is_dropped() -> None:
    assert lines_of(BOM + b"a\n" + BOM + b"b") == [b"a\n", BOM + b"b"]


def test_a_long_line_ends_it_before_it_is_complete() -> None:
    lines = Lines(10)
    assert lines.feed(b"x" * 10) == []
    assert lines.held == 10
    with pytest.raises(TooLong):
        lines.feed(b"x")
    assert lines_of(b"x" * 10 + b"\n" + b"y" * 10, longest=10) == [b"x" * 10 + b"\n", b"y" * 10]

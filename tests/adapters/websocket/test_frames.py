"""The bytes of frames: both lengths' forms, heads that are wrong, and text in parts."""

import pytest
from tests.adapters.websocket.sides import wire
from tests.rows import rows

from chukei.adapters.websocket.frames import MASKED, TextCheck, extent, fault_of, is_utf8, written
from chukei.ports import Frame


@rows("size", [0, 1, 125, 126, 127, 65_535, 65_536])
@rows("masked", [0, MASKED])
def test_what_is_written_is_measured_again(size: int, masked: int) -> None:
    data = b"x" * size
    frame = written(2, data, masked)
    begin, end = extent(b"??" + frame + b"more", 2)
    assert end == 2 + len(frame)
    assert end - begin == size
    if not masked:
        assert frame == wire(0x82, data, masked=False)


@rows("size", [126, 65_536])
def test_the_extent_is_unknown_until_the_length_has_arrived(size: int) -> None:
    frame = written(2, b"x" * size, 0)
    known = [extent(frame[:at], 0) != (0, 0) for at in range(2, 12)]
    assert known == sorted(known)
    assert known.count(False) == (2 if size == 126 else 8)


@rows(
    ("first", "second", "length", "fault"),
    [
        (0x81, 0x85, 5, ""),
        (0x88, 0x80, 0, ""),
        (0xC1, 0x85, 5, "reserved bits must be 0"),
        (0x81, 0x05, 5, "incorrect masking"),
        (0x83, 0x85, 5, "invalid opcode"),
        (0x89, 0xFE, 126, "control frame too long or fragmented"),
        (0x09, 0x85, 5, "control frame too long or fragmented"),
    ],
)
def test_a_wrong_head_is_recognised(first: int, second: int, length: int, fault: str) -> None:
    assert fault_of(first, second, length, MASKED) == fault


@pytest.mark.parametrize("text", ["", "ascii", "ü☃𝄞"])
def test_text_is_valid_whole_and_in_parts(text: str) -> None:
    data = text.encode()
    assert is_utf8(data)
    check = TextCheck()
    for at, byte in enumerate(data):
        assert check.accepts(Frame(0 if at else 1, bytes([byte]), at == len(data) - 1))


def test_bytes_need_not_be_text() -> None:
    assert not is_utf8(b"\xff")
    assert TextCheck().accepts(Frame(2, b"\xff", False))

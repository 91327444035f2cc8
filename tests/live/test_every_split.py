"""Byte fidelity of a stream without sockets: every position of a split, and any chunking of any events."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.live.recordings import CHAT, DONE, FILTER, FINISH, HARD, RESPONSES, ROLE, USAGE, Recording, delta, parameters

from chukei.model import Dialect
from chukei.stream.stream import Stream

CAP = 1 << 20
# The whole of a stream is fed once for each place, which costs its length squared.
STRIDE = 1 if os.environ.get("HYPOTHESIS_PROFILE") == "deep" else 31
EVERYWHERE_UP_TO = 15_000


def through(reads: list[bytes], path: str, *, strip_usage: bool = False) -> bytes:
    dialect = Dialect.RESPONSES if path == RESPONSES else Dialect.CHAT
    stream = Stream(dialect, strip_usage=strip_usage, cap=CAP)
    out = b"".join(stream.feed(read) for read in reads) + stream.finish()
    assert stream.complete
    return out


@pytest.mark.parametrize("recording", parameters(limit=60_000))
def test_every_place_to_cut(recording: Recording) -> None:
    stream = recording.stream
    for cut in range(1, len(stream), 1 if len(stream) <= EVERYWHERE_UP_TO else STRIDE):
        assert through([stream[:cut], stream[cut:]], recording.path) == stream, cut


@pytest.mark.parametrize("recording", parameters(limit=1_000_000))
def test_one_byte_at_a_time(recording: Recording) -> None:
    stream = recording.stream
    assert through([stream[at : at + 1] for at in range(len(stream))], recording.path) == stream


@pytest.mark.parametrize("line_end", [b"\r\n", b"\r"], ids=["crlf", "cr"])
def test_every_place_to_cut_with_other_line_ends(line_end: bytes) -> None:
    stream = HARD.stream.replace(b"\n", line_end)
    for cut in range(1, len(stream)):
        assert through([stream[:cut], stream[cut:]], CHAT) == stream, cut


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"], ids=["lf", "crlf", "cr"])
def test_the_usage_event_goes_wherever_it_is_cut(line_end: bytes) -> None:
    stream = HARD.stream.replace(b"\n", line_end)
    expected = HARD.stream.replace(USAGE, b"").replace(b"\n", line_end)
    for cut in range(1, len(stream)):
        assert through([stream[:cut], stream[cut:]], CHAT, strip_usage=True) == expected, cut


line_ends = st.sampled_from([b"\n", b"\r\n", b"\r"])
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
lines = st.one_of(
    texts.map(delta),
    texts.map(lambda text: delta(text, usage=None, obfuscation="x" * (len(text) % 5))),
    st.sampled_from([FILTER, ROLE, FINISH, USAGE]),
    st.binary(max_size=12).map(lambda raw: b": " + raw.translate(None, b"\r\n") + b"\n\n"),
    st.binary(max_size=12).map(lambda raw: b"x: " + raw.translate(None, b"\r\n") + b"\ndata: 1\n\n"),
)


@st.composite
def rechunked(draw: st.DrawFn) -> list[bytes]:
    """Any events, each with line ends of its own, cut anywhere."""
    events = draw(st.lists(lines, max_size=12))
    stream = b"".join(event.replace(b"\n", draw(line_ends)) for event in events) + DONE
    cuts = sorted(draw(st.sets(st.integers(1, len(stream) - 1), max_size=20)))
    return [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]


@given(rechunked())
def test_any_cutting_of_any_events(reads: list[bytes]) -> None:
    assert through(reads, CHAT) == b"".join(reads)

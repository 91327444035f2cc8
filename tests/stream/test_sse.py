"""Framing: the same events come out however the bytes came in."""

import re
import time
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.fakes import bytewise, every_split
from tests.rows import rows

from chukei.stream import sse

LF = b'data: {"a":1}\n\ndata: \xf0\x9f\x8c\x8a\n\n: ping\n\ndata: [DONE]\n\n'
CRLF = LF.replace(b"\n", b"\r\n")
CR = LF.replace(b"\n", b"\r")
MIXED = b"data: a\r\n\ndata: b\n\r\ndata: c\r\rdata: d\n\ndata: e\r\n\r\n"
CAP = 1 << 20


def feed(reads: list[bytes], cap: int = CAP) -> tuple[list[bytes], sse.Framer]:
    framer = sse.Framer(cap)
    return [framer.feed(read) for read in reads], framer


def events(reads: list[bytes]) -> list[bytes]:
    out, framer = feed(reads)
    return [event for block in [*out, framer.finish()] for event in sse.split(block)]


# What stands between two events, and what they say. The last blank line of CR and CRLF needs the end to be known.
SAMPLES = [
    pytest.param(LF, [b'{"a":1}', b"\xf0\x9f\x8c\x8a", b"", b"[DONE]"], id="lf"),
    pytest.param(CRLF, [b'{"a":1}', b"\xf0\x9f\x8c\x8a", b"", b"[DONE]"], id="crlf"),
    pytest.param(CR, [b'{"a":1}', b"\xf0\x9f\x8c\x8a", b"", b"[DONE]"], id="cr"),
    pytest.param(MIXED, [b"a", b"b", b"c", b"d", b"e"], id="mixed"),
]


@rows(("stream", "data"), SAMPLES)
def test_events_are_the_same_whole_bytewise_and_at_every_split(stream: bytes, data: list[bytes]) -> None:
    for reads in ([stream], bytewise(stream), *every_split(stream)):
        found = events(reads)
        assert b"".join(found) == stream
        assert [sse.data_of(event) for event in found] == data


@rows(("stream", "data"), SAMPLES)
def test_nothing_but_whole_events_leaves_before_the_end(stream: bytes, data: list[bytes]) -> None:
    ends = set()
    position = 0
    for event in sse.split(stream):
        position += len(event)
        ends.add(position)
    framer = sse.Framer(CAP)
    position = 0
    for byte in bytewise(stream):
        position += len(framer.feed(byte))
        assert position in ends | {0}
    assert len(ends) == len(data)


def test_an_event_leaves_with_the_byte_that_ends_it() -> None:
    out, _ = feed([b"data: a\n", b"\n", b"data: b\n\nda", b"ta: c\n\n"])
    assert out == [b"", b"data: a\n\n", b"data: b\n\n", b"data: c\n\n"]


def test_a_line_end_split_between_reads_is_one() -> None:
    out, framer = feed([b"data: a\r", b"\ndata: b\r", b"\n\r", b"\ndata: c"])
    assert b"".join(out) == b"data: a\r\ndata: b\r\n\r\n"
    assert framer.finish() == b""


def test_a_carriage_return_at_the_end_waits_for_what_follows() -> None:
    out, framer = feed([b"data: a\r\r"])
    assert out == [b""]
    assert framer.finish() == b"data: a\r\r"


@rows("rest", [b"data: half", b"data: half\n", b"data: half\r\n", b"data: [DONE", b"event: x\n"])
def test_an_unfinished_event_is_dropped_at_the_end(rest: bytes) -> None:
    out, framer = feed([b"data: a\n\n" + rest])
    assert out == [b"data: a\n\n"]
    assert framer.finish() == b""
    assert framer.finish() == b""


@rows("rest", [b"data: [DONE]", b"data: [DONE]\n", b"data: [DONE]\r\n"])
def test_a_done_without_its_blank_line_is_completed(rest: bytes) -> None:
    _, framer = feed([rest])
    assert framer.finish() == sse.DONE


def test_an_event_beyond_the_cap_overflows_and_is_forgotten() -> None:
    out, framer = feed([b"data: ok\n\n", b"data: ", b"x" * 95], cap=100)
    assert out == [b"data: ok\n\n", b"", b""]
    assert framer.overflowed
    assert framer.finish() == b""


def test_an_event_of_just_the_cap_passes() -> None:
    event = b"data: " + b"x" * 92 + b"\n\n"
    out, framer = feed([event[:-1], event[-1:]], cap=100)
    assert out == [b"", event]
    assert not framer.overflowed


def test_an_unfinished_event_may_be_as_long_as_the_cap_and_no_longer() -> None:
    _, framer = feed([b"x" * 60, b"x" * 40], cap=100)
    assert not framer.overflowed
    framer.feed(b"x")
    assert framer.overflowed


def test_small_events_never_overflow_together() -> None:
    _, framer = feed([b"data: x\n\n" * 1000 + b"data: y"], cap=100)
    assert not framer.overflowed


def cpu_seconds(stream: bytes) -> float:
    """Return what feeding byte by byte costs, at best of three."""
    reads = bytewise(stream)
    costs = []
    for _ in range(3):
        framer = sse.Framer(len(stream) + 1)
        before = time.process_time()
        for read in reads:
            framer.feed(read)
        costs.append(time.process_time() - before)
    return min(costs)


@rows("byte", [b"x", b"\r\n:"], ids=["one long line", "line ends without a blank line"])
def test_one_giant_event_byte_by_byte_costs_linear_time(byte: bytes) -> None:
    short, long = byte * (24 * 1024 // len(byte)), byte * (192 * 1024 // len(byte))
    ratio = cpu_seconds(long) / cpu_seconds(short)
    assert ratio < 24, f"8 times the bytes took {ratio:.0f} times as long; quadratic would be 64"


LINE_END = st.sampled_from([b"\n", b"\r\n", b"\r"])
FIELD = st.one_of(
    st.binary(max_size=20).map(lambda raw: b"data:" + raw.replace(b"\r", b"").replace(b"\n", b"")),
    st.sampled_from([b": ping", b"event: x", b"data", b"data: [DONE]", b"", b"id"]),
)
STREAM = st.lists(st.tuples(FIELD, LINE_END), max_size=12).map(
    lambda lines: b"".join(field + end for field, end in lines)
)


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    return [stream[start:end] for start, end in pairwise(edges)]


@given(stream=STREAM, places=st.lists(st.integers(min_value=0, max_value=400), max_size=8))
@example(stream=b"data:x\n\n\n", places=[10])
def test_what_leaves_is_a_prefix_of_what_came_and_the_cuts_do_not_matter(stream: bytes, places: list[int]) -> None:
    out, framer = feed(cut(stream, places))
    sent = b"".join(out)
    assert stream.startswith(sent)
    end = framer.finish()
    whole_out, whole = feed([stream])
    # Of several blank lines at the end, a cut may keep back the last, which says nothing.
    assert sent.rstrip(b"\r\n") == b"".join(whole_out).rstrip(b"\r\n")
    assert end == whole.finish()
    assert (sent + end).rstrip(b"\r\n") == stream[: len((sent + end).rstrip(b"\r\n"))], "only a blank line is added"


@given(stream=STREAM, places=st.lists(st.integers(min_value=0, max_value=400), max_size=8))
def test_blocks_end_at_event_boundaries(stream: bytes, places: list[int]) -> None:
    out, _ = feed(cut(stream, places))
    for block in out:
        assert block == b"" or re.search(rb"(\r\n|\n|\r)(\r\n|\n|\r)\Z", block) or block.strip(b"\r\n") == b""
        assert b"".join(sse.split(block)) == block


@given(raw=st.binary(max_size=300))
def test_any_bytes_at_all_are_framed_without_failing(raw: bytes) -> None:
    out, framer = feed(bytewise(raw), cap=100)
    framer.finish()
    assert raw.startswith(b"".join(out)) or framer.overflowed
    for block in out:
        for event in sse.split(block):
            sse.data_of(event)


@rows(
    ("event", "data"),
    [
        (b"data: x\n\n", b"x"),
        (b"data:x\n\n", b"x"),
        (b"data:  x\n\n", b" x"),
        (b"data\n\n", b""),
        (b"data:\n\n", b""),
        (b"data: a\ndata: b\n\n", b"a\nb"),
        (b"data: a\r\ndata: b\r\n\r\n", b"a\nb"),
        (b"data: a\rdata\rdata: b\r\r", b"a\n\nb"),
        (b"event: e\nid: 1\ndata: x\nretry: 3\n\n", b"x"),
        (b": data: no\n\n", b""),
        (b"datax: no\n\n", b""),
        (b" data: no\n\n", b""),
        (b"\xef\xbb\xbfdata: x\n\n", b"x"),
        (b"data: a\xe2\x80\xa8b\n\n", b"a\xe2\x80\xa8b"),
    ],
)
def test_data_of_follows_the_standard(event: bytes, data: bytes) -> None:
    assert sse.data_of(event) == data


def read_as_the_standard_says(block: bytes) -> list[tuple[str, str]]:
    """A reader written from WHATWG HTML §9.2.6 alone, to check the writer against."""
    found: list[tuple[str, str]] = []
    name, data = "", list[str]()
    for line in block.decode().replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        field, colon, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if data:
                found.append((name, "\n".join(data)))
            name, data = "", []
        elif field == "data" and (colon or line == "data"):
            data.append(value)
        elif field == "event":
            name = value
    return found


@given(text=st.text(), event=st.sampled_from([None, "error", "finish"]))
def test_what_is_written_is_read_back_with_lf_for_every_line_end(text: str, event: str | None) -> None:
    written = sse.write(text, event)
    expected = text.replace("\r\n", "\n").replace("\r", "\n")
    assert read_as_the_standard_says(written) == [(event or "", expected)]
    assert sse.data_of(written).decode() == expected
    assert events([written]) == [written]


def test_comments_and_done_are_what_clients_expect() -> None:
    assert sse.HEARTBEAT == b": keep-alive\n\n"
    assert sse.DONE == b"data: [DONE]\n\n"
    assert read_as_the_standard_says(sse.HEARTBEAT) == []

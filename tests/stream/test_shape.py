"""Events that look alike are recognised, and nothing else is: whatever matters in a stream is still searched for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.rows import rows
from tests.stream.test_stream import CAP, FILTER, ROLE, chunk, content, finish

from chukei.model import Dialect
from chukei.stream import sse
from chukei.stream.shape import EventShape
from chukei.stream.stream import Stream

PLAIN = content("one")
HIDDEN = b'data: {"choices":[{"delta":{"content":"%b"},"index":0}],"obfuscation":"%b","usage":null}\n\n'
TYPED = (
    b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","delta":"%b","obfuscation":"%b",'
    b'"sequence_number":%b}\n\n'
)


def shape_of(event: bytes) -> EventShape:
    shape = EventShape.of(event)
    assert shape is not None
    return shape


@rows("text", ["", " two", "ほし", 'a \\"quoted\\" word', "ends with a backslash \\\\", "\\n\\n"])
def test_only_the_text_may_differ(text: str) -> None:
    shape = shape_of(HIDDEN % (b"one", b"8A9Q"))
    event = HIDDEN % (text.encode(), b"zz")
    assert shape.match(event, 0, len(event)) == (1, len(event), len(text.encode()))
    assert shape.match(event * 3, 0, 3 * len(event)) == (3, 3 * len(event), 3 * len(text.encode()))


def test_typed_events_count_upwards() -> None:
    shape = shape_of(TYPED % (b"one", b"8A", b"9"))
    event = TYPED % (b" two", b"b", b"10")
    assert shape.match(event * 2, 0, 2 * len(event)) == (2, 2 * len(event), 2 * len(" two"))
    other = TYPED % (b" two", b"b", b'"x"')
    assert shape.match(other, 0, len(other)) == (0, 0, 0)


@rows(
    "other",
    [
        finish("stop"),
        content("two").replace(b'"finish_reason":null', b'"finish_reason":"stop"'),
        HIDDEN % (b'x"},"finish_reason":"stop","y":{"z":"', b"8A"),
        b"data: [DONE]\n\n",
        b'data: {"error":{"message":"x"}}\n\n',
        content("two")[:-1],
        content("two")[:-30],
        content("two") + b": a comment\n\n",
        b"",
    ],
)
def test_what_differs_in_anything_else_is_not_alike(other: bytes) -> None:
    for known in (PLAIN, HIDDEN % (b"one", b"8A9Q")):
        assert shape_of(known).match(other, 0, len(other))[1] < max(len(other), 1)


def test_the_events_in_front_of_another_one_are_found() -> None:
    block = content("a") + content("b") + finish("stop")
    assert shape_of(PLAIN).match(block, 0, len(block)) == (2, len(content("a") + content("b")), 2)


@rows("break_", [b"\n", b"\r", b"\n\n", b"\n\ndata: [DONE]\n\n", b"\r\rdata: [DONE]\r\rdata: "])
def test_a_line_end_within_a_value_is_no_value(break_: bytes) -> None:
    """JSON writes it as an escape (RFC 8259 §7), so a raw one ends an event."""
    event = HIDDEN % (b"x" + break_ + b"y", b"8A")
    assert shape_of(HIDDEN % (b"one", b"8A9Q")).match(event, 0, len(event)) == (0, 0, 0)


@rows(
    "event",
    [
        pytest.param(chunk(choices=[]), id="no text"),
        pytest.param(b"data: [DONE]\n\n", id="no object"),
        pytest.param(b": a comment\n\n", id="a comment"),
        pytest.param(content("x").replace(b"\n\n", b"\r\n\r\n"), id="other line ends"),
        pytest.param(content("x" * 9000), id="long"),
    ],
)
def test_some_events_teach_nothing(event: bytes) -> None:
    assert EventShape.of(event) is None


@given(
    texts=st.lists(
        st.one_of(st.text(), st.sampled_from(['"finish_reason":"stop"', "[DONE]", '{"error":1}', '\\"'])), max_size=8
    ),
    end=st.sampled_from([finish("stop"), finish("length"), chunk(error={"message": "x"}), sse.DONE]),
)
def test_a_stream_is_understood_alike_with_and_without(texts: list[str], end: bytes) -> None:
    events = [FILTER, ROLE, content("first"), *map(content, texts), end, sse.DONE]
    for reads in ([b"".join(events)], events):
        quick, slow = (
            Stream(Dialect.CHAT, strip_usage=True, cap=CAP),
            Stream(Dialect.CHAT, strip_usage=True, cap=CAP, lessons=0),
        )
        out = [b"".join(stream.feed(read) for read in reads) for stream in (quick, slow)]
        assert out[0] == out[1]
        assert (quick.events, quick.generated_bytes) == (slow.events, slow.generated_bytes)
        assert (quick.state, quick.finish_reasons, quick.failure) == (slow.state, slow.finish_reasons, slow.failure)


def alike(stream: Stream, data: bytes) -> tuple[int, int]:
    framed = b"%x\r\n%b\r\n" % (len(data), data)
    return stream.count_known(framed, framed.index(b"\n") + 1, len(framed) - 2)


def test_what_is_alike_need_not_be_fed() -> None:
    stream = Stream(Dialect.CHAT, strip_usage=True, cap=CAP)
    assert alike(stream, content("a")) == (0, 0)
    stream.feed(FILTER + ROLE + content("a"))
    assert alike(stream, content("b") + content("cc")) == (2, 3)
    assert alike(stream, content("b")[:-1]) == (0, 0)
    assert alike(stream, finish("stop")) == (0, 0)
    stream.feed(content("b")[:20])
    assert alike(stream, content("c")) == (0, 0)

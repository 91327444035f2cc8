"""The simple form: the text of the chunks comes back exactly, whatever is in it."""

import json

from hypothesis import given
from hypothesis import strategies as st
from tests.rows import rows

from chukei.stream import sse
from chukei.stream.plaintext import PlainText
from chukei.usage import Usage


def chunk(text: str | None, index: int = 0, key: str = "content") -> bytes:
    data = {"choices": [{"index": index, "delta": {key: text}}]}
    return b"data: " + json.dumps(data).encode() + b"\n\n"


def read(block: bytes) -> list[str]:
    """Return the data of each event."""
    return [sse.data_of(event).decode() for event in sse.split(block)]


@rows("text", [" leading", "trailing ", "two\nlines", "\n", "\n\n", "🌊 中継", "data: x", ": c", "event: error"])
def test_a_text_survives(text: str) -> None:
    assert read(PlainText().rewrite(chunk(text))) == [text]


@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=6))
def test_any_text_survives_with_lf_for_every_line_end(texts: list[str]) -> None:
    plain = PlainText()
    out = b"".join(plain.rewrite(chunk(text)) for text in texts)
    assert "".join(read(out)) == "".join(texts).replace("\r\n", "\n").replace("\r", "\n")


def test_a_line_end_split_between_chunks_is_one() -> None:
    plain = PlainText()
    assert plain.rewrite(chunk("a\r")) == b"data: a\ndata: \n\n"
    assert plain.rewrite(chunk("\n")) == b""
    assert plain.rewrite(chunk("\nb")) == b"data: \ndata: b\n\n"


def test_a_text_that_reads_done_is_not_the_end() -> None:
    out = PlainText().rewrite(chunk("[DONE]"))
    assert read(out) == ["[DONE", "]"]


def test_a_refusal_is_text_too() -> None:
    assert read(PlainText().rewrite(chunk("I cannot", key="refusal"))) == ["I cannot"]


@rows(
    "event",
    [
        chunk(None),
        chunk(""),
        chunk("other choice", 1),
        sse.DONE,
        sse.HEARTBEAT,
        b'data: {"choices":[]}\n\n',
        b'data: {"choices":[{"index":0}]}\n\n',
        b'data: {"error":{"message":"x"}}\n\n',
        b"data: no JSON\n\n",
    ],
)
def test_what_holds_no_text_writes_nothing(event: bytes) -> None:
    assert PlainText().rewrite(event) == b""


def test_a_block_of_several_chunks_becomes_one_of_as_many_events() -> None:
    assert read(PlainText().rewrite(chunk("a") + chunk("b") + chunk("c"))) == ["a", "b", "c"]


def test_the_end_says_why_and_how_much() -> None:
    end = PlainText().finish({0: "stop"}, Usage(input=3, output=4))
    usage = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
    first, last = sse.split(end)
    assert first.startswith(b"event: finish\n")
    assert json.loads(sse.data_of(first)) == {"finish_reason": "stop", "usage": usage}
    assert last == sse.DONE


def test_an_end_without_usage_says_so() -> None:
    first = next(iter(sse.split(PlainText().finish({}, None))))
    assert json.loads(sse.data_of(first)) == {"finish_reason": None, "usage": None}

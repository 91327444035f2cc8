"""What a whole answer says of itself is found in it at any size, and only where it says so."""

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.rows import rows

from chukei.model import End
from chukei.stream.events import Item
from chukei.stream.whole_answer import BLOCK_BYTES, LONGEST_STRING, SMALL_BYTES, AnswerReport, Reader
from chukei.usage import Usage

WIRE = {"prompt_tokens": 11, "completion_tokens": 12, "prompt_tokens_details": {"cached_tokens": 4}}
LARGE = "x" * SMALL_BYTES
CUT = {"reason": "max_output_tokens"}
FILTERED = {"reason": "content_filter"}
FAKE = '"usage":{"prompt_tokens":999999}'


def read(body: bytes, size: int) -> AnswerReport:
    reader = Reader()
    for begin in range(0, len(body), size):
        reader.feed(body[begin : begin + size])
    return reader.report()


def choice(index: int, reason: str | None, **more: object) -> dict[str, object]:
    return {"content_filter_results": {"hate": {"filtered": False}}, "finish_reason": reason, "index": index, **more}


EMBEDDING = {"object": "embedding", "index": 0, "embedding": [0.0123, -1.5e-7] * 700}
LOGPROB = {"token": '"}{', "logprob": -0.1, "bytes": [34], "top_logprobs": [{"token": "\\", "usage": {"x": [{}]}}] * 5}
ANSWERS: list[Any] = [
    pytest.param({"data": [EMBEDDING] * 40, "model": "ada", "usage": WIRE}, id="embeddings"),
    pytest.param({"usage": WIRE, "data": [{"b64_json": LARGE}, {"b64_json": LARGE}]}, id="pictures behind it"),
    pytest.param({"created": 1, "data": [{"b64_json": LARGE}], "size": "1x1", "usage": WIRE}, id="pictures before it"),
    pytest.param({"data": [{"b64_json": LARGE}], "usage": WIRE, "more": [{"b64_json": LARGE}]}, id="in the middle"),
    pytest.param(
        {
            "choices": [choice(0, "length", logprobs={"content": [LOGPROB] * 2000}), choice(1, "stop")],
            "model": "gpt-4o",
            "service_tier": "default",
            "usage": WIRE,
        },
        id="logprobs",
    ),
    pytest.param({"choices": [choice(0, "stop", message={"content": FAKE * 9000})], "usage": WIRE}, id="told"),
    pytest.param({"choices": [choice(0, "stop", message={"content": '\\"' * 99000})], "usage": WIRE}, id="escaped"),
    pytest.param({"text": FAKE * 9000, "usage": WIRE, "words": [{"usage": WIRE | {"prompt_tokens": 5}}]}, id="text"),
    pytest.param({"usage": WIRE, "metadata": {"usage": {"prompt_tokens": 5}}, "text": LARGE}, id="nested, behind it"),
    pytest.param({"tools": [{"usage": {"prompt_tokens": 5}}] * 9000, "usage": WIRE}, id="nested, before it"),
    pytest.param({'a"usage': {"prompt_tokens": 5}, "b\\": 7, "usage": WIRE, "text": LARGE}, id="keys that resemble it"),
    pytest.param({"a": ["usage", {"b": "usage"}], "c": "usage", "usage": WIRE, "text": LARGE}, id="values"),
    pytest.param({"a": {"": [[[[{"x": LARGE}]]]]}, "choices": [], "usage": WIRE}, id="deep"),
    pytest.param(
        {"status": "incomplete", "incomplete_details": CUT, "output": [LARGE], "usage": WIRE},
        id="response",
    ),
    pytest.param({"text": LARGE}, id="none"),
    pytest.param({"text": LARGE, "usage": None, "choices": None}, id="null"),
    pytest.param({"text": LARGE, "usage": [WIRE], "model": 7, "choices": [{"index": "x"}]}, id="other types"),
]


@rows("answer", ANSWERS)
@rows(("indent", "ascii_only"), [(None, True), (1, False)])
def test_a_large_answer_says_what_it_would_say_if_it_were_decoded(
    answer: object, indent: int | None, ascii_only: bool
) -> None:
    body = json.dumps(answer, indent=indent, ensure_ascii=ascii_only).encode()
    assert len(body) > SMALL_BYTES
    decoded = AnswerReport.of(body)
    assert decoded.usage in (None, Usage(11, 12, 4))
    for size in (1000, BLOCK_BYTES, 65536, len(body)):
        assert read(body, size) == decoded


LEAVES = st.one_of(
    st.none(), st.integers(), st.text(max_size=9), st.sampled_from(["usage", FAKE, '\\"', "\\", "}]", "x" * 2000])
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(["usage", "a", 'u"', "\\"]), inner, max_size=3)
    ),
    max_leaves=20,
)


@given(
    before=VALUES,
    after=VALUES,
    where=st.integers(0, 2),
    size=st.integers(1, 70),
    indent=st.sampled_from([None, 0]),
)
def test_no_value_around_it_is_taken_for_it(before: object, after: object, where: int, size: int, indent: int) -> None:
    members = [("first", before), ("filler", LARGE), ("last", [after, LARGE])]
    members.insert(where, ("usage", WIRE))
    body = json.dumps(dict(members), indent=indent).encode()
    # Small reads only around what is generated; the filler comes in one piece.
    head, tail = body.index(LARGE.encode()), body.rindex(LARGE.encode()) + len(LARGE)
    reader = Reader()
    for begin, end, step in ((0, head, size), (head, tail, BLOCK_BYTES), (tail, len(body), size)):
        for at in range(begin, end, step):
            reader.feed(body[at : min(at + step, end)])
    assert reader.report().usage == Usage(11, 12, 4)


@rows("white", [b"\n", b"\r\n", b" \t\n" * 100, b"\n" * SMALL_BYTES, b"\xef\xbb\xbf\r\n"])
@rows("filler", ["", LARGE])
def test_white_space_before_an_answer_is_jsons(white: bytes, filler: str) -> None:
    body = white + json.dumps({"text": filler, "usage": WIRE}).encode() + white.lstrip(b"\xef\xbb\xbf")
    for size in (1, 5000) if not filler and len(white) < 1000 else (5000, len(body)):
        assert read(body, size).usage == Usage(11, 12, 4)


ENDS = [
    ({"choices": [choice(0, "stop")]}, {0: "stop"}, End.COMPLETED),
    ({"choices": [choice(0, "content_filter")]}, {0: "content_filter"}, End.CONTENT_FILTER),
    ({"choices": [choice(1, "length"), choice(0, "stop")]}, {1: "length", 0: "stop"}, End.LENGTH),
    ({"choices": [choice(0, None)]}, {}, End.COMPLETED),
    ({"status": "completed", "incomplete_details": None}, {0: "completed"}, End.COMPLETED),
    ({"status": "incomplete", "incomplete_details": FILTERED}, {0: "content_filter"}, End.CONTENT_FILTER),
    ({"status": "incomplete", "incomplete_details": CUT}, {0: "max_output_tokens"}, End.LENGTH),
    ({"status": "failed", "error": {"code": "server_error"}}, {0: "failed"}, End.UPSTREAM_ERROR),
    ({"data": []}, {}, End.COMPLETED),
]


@rows(("answer", "reasons", "end"), ENDS)
@rows("filler", ["", LARGE])
def test_an_answer_says_how_it_ended(answer: dict[str, object], reasons: dict[int, str], end: End, filler: str) -> None:
    said = read(json.dumps({"filler": filler, **answer}).encode(), 5000)
    assert said.finish_reasons == reasons
    assert said.end is end


def test_it_says_who_served_it() -> None:
    for filler in ("", LARGE):
        body = json.dumps({"model": "gpt-5-2025-08-07", "text": filler, "service_tier": "priority"}).encode()
        said = read(body, 5000)
        assert (said.model, said.service_tier) == ("gpt-5-2025-08-07", "priority")


@rows(
    "body",
    [
        b"",
        b" ",
        b"[]",
        b"{",
        b"RIFF" + b"\xff" * SMALL_BYTES,
        b"1\n00:00:00,000 --> 00:00:01,000\n" + FAKE.encode() * 9000,
        b"{" + b"\xff" * 2 * SMALL_BYTES,
        b"{" + b"}" * 2 * SMALL_BYTES,
        b"{" + b"]" * 2 * SMALL_BYTES + b'"usage":{"prompt_tokens":1}}',
        b'{"a":' + b"[" * 2 * SMALL_BYTES,
        b'{"a":"' + b"\\" * (2 * SMALL_BYTES + 1),
        b'{"a":[[["' + b'\\"' * SMALL_BYTES,
        b'{"text":"' + LARGE.encode() + b'","usage":{"prompt_tokens":1',
        b'{"text":"' + LARGE.encode() + b'"}{"usage":{"prompt_tokens":1}}',
        b'{"usage":{"prompt_tokens":"' + b"1" * 2 * SMALL_BYTES + b'"}}',
        b'{"usage":{"a":[' + b"1," * SMALL_BYTES + b"1]}}",
    ],
)
def test_what_is_no_such_answer_says_nothing(body: bytes) -> None:
    for size in (1000, 65536):
        assert read(body, size).usage is None


def test_invalid_utf_8_in_a_text_does_not_hide_usage() -> None:
    for filler in (b"", LARGE.encode()):
        body = b'{"choices":[{"index":0,"message":{"content":"\xff%b"}}],"usage":{"prompt_tokens":3}}' % filler
        assert read(body, 5000).usage == Usage(3)


def test_memory_does_not_grow_with_an_answer() -> None:
    def held(reader: Reader) -> int:
        """Count bytes that it keeps."""
        picker = reader._members
        assert picker is not None
        return len(picker._value) + len(picker._carried) + sum(map(len, picker._found.values()))

    for endless in (b'"x",', b"{},", b"[1,", b'"' + b"y" * (LONGEST_STRING + 1) + b'",', b"1,"):
        for start in (b'{"data":[', b'{"choices":[', b'{"usage":['):
            reader = Reader()
            reader.feed(start)
            for _ in range(12):
                reader.feed(endless * (32 * 1024 // len(endless)))
            assert held(reader) <= SMALL_BYTES + BLOCK_BYTES


def test_a_member_of_another_type_hides_no_other(subtests: pytest.Subtests) -> None:
    whole: dict[str, Any] = {"usage": WIRE, "model": "m", "service_tier": "flex", "status": "incomplete"}
    whole["incomplete_details"] = CUT
    said = AnswerReport(Usage(11, 12, 4), "m", "flex", {0: "max_output_tokens"})
    assert AnswerReport.of(json.dumps(whole).encode()) == said
    rows: list[tuple[str, dict[str, Any]]] = [
        ("usage", {"usage": None}),
        ("model", {"model": None}),
        ("service_tier", {"service_tier": None}),
        ("status", {}),
        ("incomplete_details", {"finish_reasons": {0: "incomplete"}}),
        ("choices", {}),
    ]
    for (name, changed), filler, other in itertools.product(rows, ("", LARGE), (7, [7], {"reason": 7}, True)):
        with subtests.test(name=name, large=bool(filler), other=other):
            body = json.dumps(whole | {name: other} | {"text": filler}).encode()
            assert read(body, BLOCK_BYTES) == replace(said, **changed)
    without = {"incomplete_details": {"reason": None}, "status": "completed", "choices": [], "model": 7}
    assert AnswerReport.of(json.dumps(whole | without).encode()).finish_reasons == {0: "completed"}
    choices = {"choices": [choice(1, "length"), choice(2, None)], "model": 7}
    assert AnswerReport.of(json.dumps(whole | choices).encode()).finish_reasons == {1: "length"}


def test_the_items_of_a_response_are_found_at_any_size() -> None:
    output = [{"id": "rs_1", "encrypted_content": "gAAA", "summary": [{"id": "no"}]}, {"id": "msg_1", "content": [{}]}]
    small = json.dumps({"id": "resp_1", "output": output}).encode()
    assert read(small, len(small)).items == (Item("rs_1", "gAAA"), Item("msg_1"))
    large = json.dumps({"instructions": LARGE, "output": output, "usage": WIRE}).encode()
    assert read(large, BLOCK_BYTES).items == (Item("rs_1", "gAAA"), Item("msg_1"))
    for other in (7, [7], [{"id": 7}], None):
        assert AnswerReport.of(json.dumps({"output": other, "model": "m"}).encode()) == AnswerReport(model="m")


@pytest.mark.parametrize(("letters", "kept"), [(LONGEST_STRING - 2, True), (LONGEST_STRING - 1, False)])
def test_a_long_string_of_a_large_answer_is_no_name(letters: int, kept: bool) -> None:
    name = "m" * letters
    body = json.dumps({"model": name, "text": LARGE, "service_tier": name}).encode()
    assert read(body, len(body)) == AnswerReport(model=name if kept else "", service_tier=name if kept else "")


@rows("filler", ["", LARGE])
def test_a_message_says_how_it_ended_and_its_tier_beside_its_counts(filler: str) -> None:
    usage = {"input_tokens": 3, "cache_read_input_tokens": 8, "output_tokens": 2, "service_tier": "priority"}
    message = {
        "content": [{"type": "text", "text": filler}],
        "model": "claude",
        "stop_reason": "refusal",
        "usage": usage,
    }
    body = json.dumps({"type": "message", **message}).encode()
    assert read(body, len(body)) == AnswerReport(Usage(11, 2, 8), "claude", "priority", {0: "content_filter"})


@rows("filler", ["", LARGE])
@rows(
    ("container", "found"),
    [
        ({"id": "container_1", "expires_at": "2026-12-01"}, ["container_1"]),
        ({"id": 7}, []),
        ({}, []),
        ("container_1", []),
        (None, []),
    ],
)
def test_a_message_names_the_container_of_its_tools(container: object, found: list[str], filler: str) -> None:
    body = json.dumps({"content": [{"text": filler}], "stop_reason": "end_turn", "container": container}).encode()
    report = read(body, len(body))
    assert ([item.container_id for item in report.items], report.finish_reasons) == (found, {0: "stop"})


@rows("filler", ["", LARGE])
@rows(
    ("tools", "usage"),
    [
        ({"image_gen": {"input_tokens": 5, "output_tokens": 70}}, Usage(16, 82, 4, image_output=70)),
        ({"image_gen": {"input_tokens": 0, "output_tokens": 0}}, Usage(11, 12, 4)),
        ({"image_gen": 7}, Usage(11, 12, 4)),
        ({"image_gen": None, "web_search": {"num_requests": 1}}, Usage(11, 12, 4)),
        ("image_gen", Usage(11, 12, 4)),
        (None, Usage(11, 12, 4)),
    ],
)
def test_the_images_of_a_response_are_counted(tools: object, usage: Usage, filler: str) -> None:
    body = json.dumps({"text": filler, "usage": WIRE, "tool_usage": tools}).encode()
    assert read(body, len(body)).usage == usage


def test_a_tier_of_no_text_is_none() -> None:
    for usage in (7, {"service_tier": 7}, None):
        body = json.dumps({"stop_reason": "end_turn", "usage": usage}).encode()
        assert AnswerReport.of(body).service_tier is None

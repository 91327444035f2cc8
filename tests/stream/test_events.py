"""What the relay reads in an upstream's event; everything else is skipped."""

import json

import msgspec
import pytest
from tests.rows import rows

from chukei.model import End
from chukei.stream.events import Chunk, ResponseEvent, cause_of, end_of, is_chat_preamble, is_empty, read
from chukei.usage import Usage, reported


def chunk(**fields: object) -> Chunk:
    return msgspec.json.decode(json.dumps(fields).encode(), type=Chunk)


def delta(**fields: object) -> Chunk:
    return chunk(choices=[{"index": 0, "delta": fields, "finish_reason": None}])


@rows(
    "silent",
    [
        chunk(choices=[], prompt_filter_results=[{"prompt_index": 0}]),
        delta(role="assistant"),
        delta(role="assistant", content=""),
        delta(role="assistant", content=None, refusal=None, tool_calls=[]),
        delta(),
        chunk(choices=[{"index": 0, "text": ""}], usage=None, error=None),
    ],
)
def test_filter_results_role_and_emptiness_are_no_output(silent: Chunk) -> None:
    assert is_chat_preamble(silent)


@rows(
    "speaking",
    [
        delta(content="a"),
        delta(content=" "),
        delta(reasoning_content="hm"),
        delta(tool_calls=[{"index": 0}]),
        delta(refusal="no"),
        chunk(choices=[{"index": 0, "text": "a"}]),
        chunk(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}]),
        chunk(choices=[], usage={"prompt_tokens": 1}),
        chunk(error={"message": "x"}),
        chunk(object="something else"),
    ],
)
def test_everything_else_is_output(speaking: Chunk) -> None:
    assert not is_chat_preamble(speaking)


@rows(
    ("event", "code"),
    [
        ({"type": "error", "error": {"code": "server_error"}}, "server_error"),
        ({"type": "response.failed", "response": {"error": {"code": "rate_limit_exceeded"}}}, "rate_limit_exceeded"),
        ({"type": "error", "code": "no_capacity", "message": "…"}, "no_capacity"),
        ({"type": "error", "error": {"code": "a"}, "response": {"error": {"code": "b"}}}, "a"),
        ({"type": "error", "error": "words", "code": "c"}, "c"),
        ({"type": "response.failed", "response": {"error": None}}, None),
    ],
)
def test_a_failure_of_the_responses_api_has_its_cause_in_one_of_three_places(
    event: dict[str, object], code: str | None
) -> None:
    cause = cause_of(msgspec.json.decode(json.dumps(event).encode(), type=ResponseEvent))
    assert json.loads(cause)["code"] == code


def test_missing_and_null_are_both_empty() -> None:
    assert is_empty(chunk().error)
    assert is_empty(chunk(error=None).error)
    assert not is_empty(chunk(error={}).error)


def test_a_field_of_another_type_is_left_out_of_an_event_and_the_rest_is_read() -> None:
    said = read(
        b'{"choices":[{"index":"1","delta":[],"finish_reason":"stop"},{"index":null}],"model":5,"service_tier":{},'
        b'"usage":{"prompt_tokens":3}}',
        Chunk,
    )
    assert said.choices is not None
    assert [(choice.index, choice.finish_reason) for choice in said.choices] == [(0, "stop"), (0, None)]
    assert reported(said.usage) == Usage(3)
    event = read(b'{"type":"error","code":429.5,"response":{"id":5,"usage":{"input_tokens":2}}}', ResponseEvent)
    assert (event.type, event.code) == ("error", None)
    assert event.response is not None
    assert event.response.usage is not None


@rows("data", [b"", b"[]", b"5", b"{", b'{"choices":[1]'])
def test_what_is_no_object_is_no_event(data: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        read(data, Chunk)


def test_each_field_of_an_event_is_read_beside_one_of_another_type() -> None:
    response = {"id": "r", "model": "m", "service_tier": "flex", "incomplete_details": {"reason": "x"}, "usage": {}}
    event = {"type": "t", "code": "c", "response": response, "error": {"code": 1}, "usage": {"a": 1}}
    found = read(json.dumps(event | {"code": [1], "response": response | {"id": 5}}).encode(), ResponseEvent)
    assert (found.type, found.code, bytes(found.error), bytes(found.usage)) == ("t", None, b'{"code": 1}', b'{"a": 1}')
    inner = found.response
    assert inner is not None
    assert inner.incomplete_details is not None
    assert (inner.id, inner.model, inner.service_tier, inner.incomplete_details.reason) == (None, "m", "flex", "x")
    assert read(b'{"type":5,"code":3}', ResponseEvent) == ResponseEvent(code=3)
    chunk = read(b'{"choices":[{"index":"x","text":"a"},{"index":1,"finish_reason":"stop"}],"model":"m"}', Chunk)
    assert [(each.index, each.text, each.finish_reason) for each in chunk.choices or ()] == [
        (0, "a", None),
        (1, None, "stop"),
    ]


@pytest.mark.parametrize(
    ("reasons", "end"),
    [
        ((), End.COMPLETED),
        (("stop",), End.COMPLETED),
        (("stop", "length"), End.LENGTH),
        (("max_output_tokens",), End.LENGTH),
        (("length", "content_filter"), End.CONTENT_FILTER),
    ],
)
def test_how_an_answer_ended(reasons: tuple[str, ...], end: End) -> None:
    assert end_of(reasons) is end

"""Token counts in every shape that is sent."""

import json

import pytest
from tests.rows import rows

from chukei.stream.whole_answer import AnswerReport
from chukei.usage import Usage, estimate, reported


def usage_in(answer: bytes) -> Usage | None:
    return AnswerReport.of(answer).usage


CHAT = {
    "prompt_tokens": 10,
    "completion_tokens": 20,
    "total_tokens": 30,
    "prompt_tokens_details": {"audio_tokens": 0, "cached_tokens": 4},
    "completion_tokens_details": {"accepted_prediction_tokens": 0, "reasoning_tokens": 8},
    "latency_checkpoint": {"engine_ttft_ms": 80},
}
SHAPES = [
    pytest.param(CHAT, Usage(10, 20, 4, 8), id="chat"),
    pytest.param(
        {
            "input_tokens": 1,
            "output_tokens": 2,
            "input_tokens_details": {"cached_tokens": 1},
            "output_tokens_details": {"reasoning_tokens": 2},
        },
        Usage(1, 2, 1, 2),
        id="responses",
    ),
    pytest.param({"prompt_tokens": 5, "total_tokens": 5}, Usage(5), id="embeddings"),
    pytest.param(
        {
            "input_tokens": 24,
            "cache_read_input_tokens": 4000,
            "cache_creation_input_tokens": 100,
            "output_tokens": 5,
            "cache_creation": {"ephemeral_5m_input_tokens": 30, "ephemeral_1h_input_tokens": 70},
            "service_tier": "standard",
        },
        Usage(4124, 5, 4000, cache_written=100, written_for_hour=70),
        id="messages, whose cache is beside the input",
    ),
    pytest.param(
        {
            "prompt_tokens": 2459,
            "completion_tokens": 23,
            "total_tokens": 2482,
            "cache_read_input_tokens": 2455,
            "cache_creation_input_tokens": 0,
            "prompt_tokens_details": {"cached_tokens": 0},
        },
        Usage(2459, 23, 2455),
        id="the same names of a gateway whose input includes the cache (BerriAI/litellm#11789)",
    ),
    pytest.param(
        {"input_tokens": 3, "cache_read_input_tokens": None, "cache_creation_input_tokens": -4, "output_tokens": 2},
        Usage(3, 2),
        id="odd caches",
    ),
    pytest.param({"prompt_tokens": 3, "completion_tokens": 4, "reasoning_tokens": 2}, Usage(3, 4, 0, 2), id="Foundry"),
    pytest.param(
        {"prompt_tokens": None, "completion_tokens": 2, "prompt_tokens_details": None}, Usage(0, 2), id="null"
    ),
    pytest.param({"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": None}}, Usage(9), id="null inside"),
    pytest.param(
        {"prompt_tokens": 2219, "completion_tokens": 5, "prompt_tokens_details": {"cache_write_tokens": 2216}},
        Usage(2219, 5, cache_written=2216),
        id="cache written",
    ),
    pytest.param(
        {
            "prompt_tokens": 18,
            "completion_tokens": 16,
            "prompt_tokens_details": {"audio_tokens": 3, "text_tokens": 15},
            "completion_tokens_details": {"audio_tokens": 11, "text_tokens": 5},
        },
        Usage(18, 16, audio_input=3, audio_output=11),
        id="audio",
    ),
    pytest.param(
        {
            "type": "tokens",
            "input_tokens": 37,
            "input_token_details": {"text_tokens": 0, "audio_tokens": 37},
            "output_tokens": 12,
        },
        Usage(37, 12, audio_input=37),
        id="transcription",
    ),
    pytest.param({"type": "duration", "seconds": 2.5}, Usage(heard_ms=2500), id="duration"),
    pytest.param(
        {"input_tokens": 300, "output_tokens": 50, "input_tokens_details": {"image_tokens": 280, "text_tokens": 20}},
        Usage(300, 50, image_input=280),
        id="image",
    ),
    pytest.param(
        {
            "prompt_tokens": 10,
            "completion_tokens": 20,
            "total_tokens": 30,
            "completion_tokens_details": {"rejected_prediction_tokens": 6, "accepted_prediction_tokens": 4},
        },
        Usage(10, 20),
        id="rejected predictions are part of the output",
    ),
    pytest.param(
        {
            "prompt_tokens": 10,
            "completion_tokens": 20,
            "total_tokens": 130,
            "completion_tokens_details": {"reasoning_tokens": 100},
        },
        Usage(10, 120, reasoning=100),
        id="reasoning beside the output",
    ),
    pytest.param({"prompt_tokens": 5, "total_tokens": 900}, Usage(5), id="a total that nothing explains"),
    pytest.param(
        {"prompt_tokens": 5, "prompt_tokens_details": {"cached_tokens": 9}}, Usage(5, cached=5), id="a part is no more"
    ),
]


@rows(("wire", "usage"), SHAPES)
def test_a_whole_answer_reports_usage(wire: object, usage: Usage) -> None:
    assert AnswerReport.of(json.dumps({"id": "x", "usage": wire}).encode()).usage == usage


@rows(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"id":1}',
        b'{"usage":null}',
        b'{"usage":[1]}',
        b'{"usage":{}}',
        b'{"usage":{"prompt_tokens":0,"completion_tokens":null,"total_tokens":0}}',
        b"[" * 10_000,
        b'{"usage":{"prompt_tokens":"9"}}',
        b'{"usage":{"prompt_tokens":\xff}}',
    ],
)
def test_an_answer_without_usage_reports_none(body: bytes) -> None:
    assert AnswerReport.of(body).usage is None


def test_an_estimate_is_the_larger_of_bytes_and_events() -> None:
    assert estimate(25, 3) == Usage(output=9, estimated=True)
    assert estimate(25, 10) == Usage(output=10, estimated=True)
    assert estimate() == Usage(estimated=True)


@rows(
    "absurd",
    [
        "1" * 400,
        "1" * 100_000,
        "1e400",
        "1e12",
        "12.5",
        "-5",
        "-1e400",
        '"9"',
        "true",
        "null",
        "[[[]]]",
        '{"a":[1]}',
        "9223372036854775808",
        "[" * 200 + "]" * 200,
    ],
)
def test_an_absurd_count_is_as_if_absent_and_the_others_hold(absurd: str) -> None:
    usage = usage_in(
        f"""{{"usage":{{"prompt_tokens":{absurd},"completion_tokens":3,"total_tokens":{absurd},"seconds":{absurd},
        "prompt_tokens_details":{absurd},"completion_tokens_details":{{"reasoning_tokens":{absurd},"audio_tokens":1}}}}}}""".encode()
    )
    assert usage is not None
    assert (usage.input, usage.output, usage.reasoning, usage.audio_output) == (0, 3, 0, 1)
    assert usage.cached == 0


@rows(("written", "count"), [("12.0", 12), ("1.2e1", 12), ("1E2", 100), ("0", 0)])
def test_a_whole_number_may_be_written_as_json_allows(written: str, count: int) -> None:
    usage = usage_in(f'{{"usage":{{"prompt_tokens":{written},"completion_tokens":1}}}}'.encode())
    assert usage == Usage(count, 1)


@rows(
    ("wire", "usage"),
    [
        ('{"prompt_tokens":1000,"completion_tokens":2000.5}', Usage(1000, 0, estimated=True)),
        ('{"prompt_tokens":1000,"completion_tokens":-3}', Usage(1000, 0, estimated=True)),
        ('{"prompt_tokens":1000,"completion_tokens":"x","total_tokens":1200}', Usage(1000, 200)),
        ('{"prompt_tokens":null,"completion_tokens":200,"total_tokens":1200}', Usage(1000, 200)),
        ('{"total_tokens":1234}', Usage(1234, 0)),
        ('{"prompt_tokens":1000,"completion_tokens":0.0,"total_tokens":1000}', Usage(1000, 0)),
        ('{"prompt_tokens":1000,"completion_tokens":null}', Usage(1000, 0)),
    ],
)
def test_a_count_that_is_none_is_never_taken_for_nothing(wire: str, usage: Usage) -> None:
    assert usage_in(f'{{"usage":{wire}}}'.encode()) == usage


def test_an_implausible_count_leaves_those_in_parts_of_parts() -> None:
    details = {"audio_tokens": 9, "cached_tokens": 8, "cached_tokens_details": {"audio_tokens": 7, "image_tokens": -1}}
    wire = {"input_tokens": 12, "output_tokens": 3.5, "total_tokens": 15, "input_token_details": details}
    assert reported(json.dumps(wire).encode()) == Usage(12, 3, 8, audio_input=9, cached_audio=7)
    stored = {"ephemeral_5m_input_tokens": None, "ephemeral_1h_input_tokens": 2}
    wire = {"input_tokens": 1, "cache_creation_input_tokens": 4, "output_tokens": "x", "cache_creation": stored}
    assert reported(json.dumps(wire).encode()) == Usage(5, 0, estimated=True, cache_written=4, written_for_hour=2)


def test_cached_sound_is_told_apart() -> None:
    details = {"audio_tokens": 1792, "cached_tokens": 1088, "cached_tokens_details": {"audio_tokens": 896}}
    usage = reported(json.dumps({"input_tokens": 2213, "input_token_details": details}).encode())
    assert usage is not None
    assert (usage.cached, usage.audio_input, usage.cached_audio, usage.cached_image) == (1088, 1792, 896, 0)

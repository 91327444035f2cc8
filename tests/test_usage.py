"""Token counts in every shape that is sent."""

import json

import pytest

from chukei.usage import Usage, estimate
from chukei.whole_answer import Said

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
    pytest.param({"prompt_tokens": 3, "completion_tokens": 4, "reasoning_tokens": 2}, Usage(3, 4, 0, 2), id="Foundry"),
    pytest.param(
        {"prompt_tokens": None, "completion_tokens": 2, "prompt_tokens_details": None}, Usage(0, 2), id="null"
    ),
    pytest.param({"prompt_tokens": 1, "prompt_tokens_details": {"cached_tokens": None}}, Usage(1), id="null inside"),
]


@pytest.mark.parametrize(("wire", "usage"), SHAPES)
def test_a_whole_answer_reports_usage(wire: object, usage: Usage) -> None:
    assert Said.of(json.dumps({"id": "x", "usage": wire}).encode()).usage == usage


@pytest.mark.parametrize(
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
    ],
)
def test_an_answer_without_usage_reports_none(body: bytes) -> None:
    assert Said.of(body).usage is None


def test_an_estimate_is_the_larger_of_bytes_and_events() -> None:
    assert estimate(4000, 25, 3) == Usage(1000, 7, estimated=True)
    assert estimate(4000, 25, 9) == Usage(1000, 9, estimated=True)
    assert estimate(3) == Usage(1, 0, estimated=True)

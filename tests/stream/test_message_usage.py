"""The usage of messages."""

import json
from typing import Any

import msgspec
from tests.rows import rows

from chukei.stream.message_usage import MessageUsage
from chukei.usage import Usage, reported

LEFT: dict[str, Any] = {"input_tokens": 23_000, "output_tokens": 1000}
COMPACTION = {
    "type": "compaction",
    "input_tokens": 20_000,
    "cache_read_input_tokens": 150_000,
    "cache_creation_input_tokens": 10_000,
    "cache_creation": {"ephemeral_1h_input_tokens": 4000},
    "output_tokens": 3500,
}
MESSAGE = {"type": "message", **LEFT}
ADVISOR = {"type": "advisor_message", "model": "claude-opus-4-8", "input_tokens": 823, "output_tokens": 531}
DECLINED = {"type": "fallback_message", "model": "claude-opus-4-8", "input_tokens": 23_000, "output_tokens": 1000}
WITH_COMPACTION = Usage(203_000, 4500, 150_000, cache_written=10_000, written_for_hour=4000)


def raw(usage: object) -> msgspec.Raw:
    return msgspec.Raw(json.dumps(usage).encode())


@rows(
    ("iterations", "usage"),
    [
        ([COMPACTION, MESSAGE], WITH_COMPACTION),
        ([MESSAGE, ADVISOR, MESSAGE], Usage(23_823, 1531)),
        ([DECLINED, MESSAGE], Usage(23_000, 1000)),
        ([{**ADVISOR, "output_tokens": -1}], Usage(23_823, 1000, estimated=True)),
        ([None], Usage(23_000, 1000)),
        ("x", Usage(23_000, 1000)),
        (None, Usage(23_000, 1000)),
    ],
)
def test_what_is_left_out_of_the_counts_of_a_message_is_added(iterations: object, usage: Usage) -> None:
    """pydantic/pydantic-ai#5065, BerriAI/litellm#27060, maximhq/bifrost#6500: a compaction reads the conversation."""
    assert reported(raw({**LEFT, "iterations": iterations})) == usage


def test_a_message_that_pauses_after_a_compaction_has_used_it() -> None:
    report = {"input_tokens": 0, "output_tokens": 0, "iterations": [ADVISOR]}
    assert reported(raw(report)) == Usage(823, 531)
    assert reported(raw({"input_tokens": 0})) is None


def test_a_stream_tells_its_iterations_at_its_end() -> None:
    usage = MessageUsage()
    assert usage.add(raw({**LEFT, "output_tokens": 1, "iterations": None})) == Usage(23_000, 1)
    assert usage.add(raw({"output_tokens": 1000, "iterations": [COMPACTION, MESSAGE]})) == WITH_COMPACTION
    assert usage.so_far == msgspec.structs.replace(WITH_COMPACTION, estimated=True)
    assert usage.add(raw({"output_tokens": 1000, "iterations": None, "cache_creation": None})) == WITH_COMPACTION

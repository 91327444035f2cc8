"""What a batch has used: as it says itself, or as its output file says."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tests.rows import rows

from chukei.objects import batch_report
from chukei.objects.batch_report import OutputReader, state_of
from chukei.stream.whole_answer import AnswerReport
from chukei.usage import Usage

TOLD = {"input_tokens": 7, "output_tokens": 3, "input_tokens_details": {"cached_tokens": 2}}
NOTHING = {"input_tokens": 0, "output_tokens": 0}


@rows("status", ["validating", "in_progress", "finalizing", "cancelling", "unheard-of", None, 7])
def test_a_batch_that_goes_on_has_used_nothing_yet(status: object) -> None:
    report, output = state_of({"status": status, "usage": TOLD, "output_file_id": "file-1"})
    assert report.pending
    assert (report.usage, output) == (None, None)


@rows(
    ("batch", "usage", "requests", "output"),
    [
        ({"usage": TOLD, "request_counts": {"completed": 4}, "output_file_id": "file-1"}, Usage(7, 3, 2), 4, None),
        ({"usage": TOLD}, Usage(7, 3, 2), 0, None),
        ({"usage": None, "request_counts": {"completed": 4}, "output_file_id": "file-1"}, None, 4, "file-1"),
        ({"usage": NOTHING, "request_counts": {"completed": 4}, "output_file_id": "file-1"}, None, 4, "file-1"),
        ({"output_file_id": "file-1"}, None, 0, "file-1"),
        ({"usage": NOTHING, "request_counts": {"completed": 0}, "output_file_id": "file-1"}, Usage(), 0, None),
        ({"usage": None, "output_file_id": None, "request_counts": None}, Usage(), 0, None),
        ({"request_counts": {"completed": 4}}, None, 4, None),
        ({"request_counts": {"completed": "4"}, "output_file_id": ""}, Usage(), 0, None),
        ({"usage": [], "request_counts": [], "output_file_id": {}, "model": []}, Usage(), 0, None),
    ],
)
def test_a_batch_that_has_ended(batch: dict[str, Any], usage: Usage | None, requests: int, output: str | None) -> None:
    for status in ("completed", "failed", "expired", "cancelled"):
        report, found = state_of(batch | {"status": status})
        assert (report.usage, report.requests, found) == (usage, requests, output)
        assert (report.finish_reasons, report.pending, report.service_tier) == ({0: status}, False, "batch")


BEFORE = AnswerReport(None, None, "batch", {0: "completed"}, requests=1)


def row(**usage: Any) -> bytes:
    body = {"id": "x", "model": "gpt-x", "usage": usage, "choices": [{"message": {"content": '{"usage": 中}'}}]}
    return json.dumps({"custom_id": "1", "response": {"status_code": 200, "body": body}, "error": None}).encode()


CHAT = row(
    prompt_tokens=10,
    completion_tokens=5,
    prompt_tokens_details={"cached_tokens": 4},
    completion_tokens_details={"reasoning_tokens": 2},
)
RESPONSE = row(input_tokens=1, output_tokens=2, total_tokens=3, output_tokens_details={"image_tokens": 2})
FAILED = b'{"custom_id":"2","response":{"status_code":400,"body":{"error":{"message":"no"}}},"error":null}'
EMPTY = b'{"custom_id":"3","response":null,"error":{"code":"batch_expired"}}'


@given(st.integers(1, 300), st.sampled_from([b"\n", b"\r\n", b"\n\n"]), st.booleans())
def test_the_usage_of_all_lines_is_summed_however_they_arrive(size: int, ending: bytes, ended: bool) -> None:
    data = ending.join([CHAT, FAILED, RESPONSE, EMPTY]) + ending * ended
    reader = OutputReader(BEFORE)
    for begin in range(0, len(data), size):
        reader.feed(data[begin : begin + size])
    report = reader.report()
    assert report.usage == Usage(11, 7, cached=4, reasoning=2, image_output=2)
    assert (report.model, report.requests, report.finish_reasons) == ("gpt-x", 2, {0: "completed"})


@rows("data", [b"no json", b'{"response": 7}', b"\xff\xfe", b"[" * 100_000, b'{"response":{"body":{"model":7}}}'])
def test_what_cannot_be_read_makes_it_an_estimate(data: bytes) -> None:
    reader = OutputReader(BEFORE)
    reader.feed(CHAT + b"\n" + data + b"\n" + RESPONSE)
    report = reader.report()
    assert report.usage == Usage(11, 7, cached=4, reasoning=2, estimated=True, image_output=2)


def test_a_line_without_end_is_not_kept() -> None:
    reader = OutputReader(BEFORE)
    reader.feed(CHAT + b"\n")
    part = b"x" * (1 << 20)
    for _ in range(batch_report.LONGEST_ANSWER // len(part) + 3):
        reader.feed(part)
    assert reader.report().usage == Usage(10, 5, cached=4, reasoning=2, estimated=True)

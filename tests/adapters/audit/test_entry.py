"""A line of the audit: what is shown of which body, and that nothing is kept if the redaction fails."""

import gzip
import json
from typing import Any

import pytest
from tests.rows import rows

from chukei.adapters.audit.entry import Content, Redactor, line_of, load_redactor

JSON, STREAM = "application/json", "text/event-stream"
ABOUT = {"request_id": "req_1", "caller": "team-a"}
PROMPT = "the-planted-prompt"


def entry(request: Content, answer: Content, redact: Redactor | None = None, most: int = 1000) -> Any:
    line, failed = line_of(ABOUT, request, answer, most, redact)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert failed is None
    return json.loads(line)


NOTHING = Content(b"", 0, "")


@rows(
    ("body", "shown"),
    [
        (Content(b'{\n "a": [1]\n}', 14, JSON), {"a": [1]}),
        (Content(b'{"a": ', 6, JSON), '{"a": '),
        (Content(b'{"a": "\xe4\xb8', 999, JSON, cut=True), '{"a": "\ufffd'),
        (Content(b'{"a": "\\ud800"}', 15, JSON), '{"a": "\\ud800"}'),
        (Content(b"data: {}\n\n: \r\n\n", 16, STREAM), "data: {}\n\n: \r\n\n"),
        (Content(b"ID3\x00", 4, "audio/mpeg"), {"media_type": "audio/mpeg", "bytes": 4}),
        (Content(b"--x", 3, "multipart/form-data"), {"media_type": "multipart/form-data", "bytes": 3}),
        (NOTHING, ""),
    ],
)
def test_json_is_json_text_is_text_and_of_media_there_is_a_note(body: Content, shown: object) -> None:
    assert entry(body, NOTHING)["request"] == shown
    made = entry(NOTHING, body)
    assert made["answer"] == shown
    assert (made["answer_bytes"], made["truncated"], made["caller"]) == (body.size, body.cut, "team-a")


def test_a_compressed_body_is_shown_decompressed_as_far_as_it_is_kept() -> None:
    raw = gzip.compress(b'{"a": 1}')
    assert entry(Content(raw, len(raw), JSON, "gzip"), NOTHING)["request"] == {"a": 1}
    bomb = gzip.compress(b'"' + b"a" * 1_000_000 + b'"')
    made = entry(Content(bomb, len(bomb), JSON, "gzip"), NOTHING)
    assert made["request"] == '"' + "a" * 999
    assert (made["truncated"], made["request_bytes"]) == (True, len(bomb))
    damaged = entry(Content(raw[:-4], len(raw), JSON, "gzip"), NOTHING)
    assert damaged["truncated"]


def test_the_redactor_sees_the_entry_and_decides_what_is_kept() -> None:
    def redact(seen: dict[str, Any]) -> dict[str, Any]:
        seen["request"]["messages"] = "…"
        return seen | {"by": "redactor"}

    body = Content(json.dumps({"messages": PROMPT}).encode(), 40, JSON)
    made = entry(body, NOTHING, redact)
    assert (made["request"], made["by"]) == ({"messages": "…"}, "redactor")
    assert line_of(ABOUT, body, NOTHING, 1000, lambda seen: None) == (b"", None)


def refuse(seen: dict[str, Any]) -> Any:
    raise ValueError(seen["request"])


def leave(seen: dict[str, Any]) -> Any:
    raise SystemExit(seen["request"])


@rows("redact", [refuse, leave, lambda seen: 7, lambda seen: {"request": object()}])
def test_a_failing_redactor_costs_the_content_and_not_the_secret(redact: Redactor) -> None:
    body = Content(PROMPT.encode(), 18, "text/plain")
    line, failed = line_of(ABOUT, body, body, 1000, redact)
    made = json.loads(line)
    assert (made["request"], made["answer"], made["redaction"]) == (None, None, "failed")
    assert (made["request_id"], made["request_bytes"]) == ("req_1", 18)
    assert failed is not None
    assert PROMPT not in line.decode() + failed


def test_a_redactor_is_a_function_of_a_module() -> None:
    assert load_redactor("tests.adapters.audit.test_entry:refuse").__name__ == "refuse"


@rows(
    ("name", "why"),
    [
        ("redact", "package.module:function"),
        ("no_such_module:redact", "ModuleNotFoundError"),
        ("tests.adapters.audit.test_entry:missing", "AttributeError"),
        ("tests.adapters.audit.test_entry:PROMPT", "is not a function"),
    ],
)
def test_what_is_no_function_is_told(name: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        load_redactor(name)

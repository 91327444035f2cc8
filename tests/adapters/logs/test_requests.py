"""One log line for each request, which clients can neither forge nor make too long."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
from tests.rows import rows

from chukei.adapters.logs import requests
from chukei.adapters.logs.formats import JsonFormatter
from chukei.adapters.logs.requests import fields_of, log_request
from chukei.model import End
from chukei.record import Attempt, RequestRecord
from chukei.trace import TraceContext
from chukei.usage import Usage

HOSTILE = 'x"\n{"forged":true}\r\x1b[31m\x00\u2028'


def record(**known: object) -> RequestRecord:
    made = RequestRecord("req_1", "POST", "/v1/chat/completions", status=200, end=End.COMPLETED, duration=1.23456)
    for name, value in known.items():
        setattr(made, name, value)
    return made


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """Collect what the request log writes, as JSON."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logger, level, handed = requests.logger, requests.logger.level, requests.logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    yield stream
    logger.removeHandler(handler)
    logger.setLevel(level)
    logger.propagate = handed


def test_one_json_line_with_what_is_known(lines: io.StringIO) -> None:
    log_request(
        record(
            operation="chat",
            model="gpt-4o",
            stream=True,
            finish_reasons={1: "length", 0: "stop"},
            usage=Usage(9, 3, 1, 2),
            first_token=0.2501,
            answer_bytes=10,
        )
    )
    [line] = lines.getvalue().splitlines()
    fields = json.loads(line)
    assert fields["event"] == "request"
    assert fields["level"] == "info"
    assert fields["time"].endswith("+00:00")
    assert (fields["request_id"], fields["model"], fields["end"]) == ("req_1", "gpt-4o", "completed")
    assert (fields["input_tokens"], fields["output_tokens"], fields["cached_tokens"]) == (9, 3, 1)
    assert (fields["reasoning_tokens"], fields["tokens_estimated"]) == (2, False)
    assert (fields["first_token_ms"], fields["duration_ms"]) == (250.1, 1234.6)
    assert sorted(fields["finish_reasons"]) == ["length", "stop"]
    assert "region" not in fields


@pytest.mark.parametrize("field", ["request_id", "path", "model", "code", "region", "upstream_request_id", "method"])
def test_a_hostile_value_stays_inside_its_field(lines: io.StringIO, field: str) -> None:
    log_request(record(**{field: HOSTILE}))
    text = lines.getvalue()
    assert text.count("\n") == 1
    assert text.rstrip("\n").isprintable() or "\u2028" in text
    assert "\x1b" not in text
    fields = json.loads(text)
    assert fields[field] == HOSTILE
    assert "forged" not in fields


def test_one_try_is_the_request_itself_and_several_are_listed_in_order(lines: io.StringIO) -> None:
    lost = Attempt("east", code="upstream_lost", seconds=0.0501, usage=Usage(9, 0, estimated=True))
    denied = Attempt("north", code="upstream_429", seconds=0.01)
    won = Attempt("west", hedge=True, seconds=0.25, usage=Usage(9, 3))
    log_request(record(tries=[won]))
    log_request(record(tries=[lost, denied, won]))
    one, several = map(json.loads, lines.getvalue().splitlines())
    assert "tries" not in one
    assert several["tries"] == [
        {"deployment": "east", "code": "upstream_lost", "duration_ms": 50.1, "input_tokens": 9},
        {"deployment": "north", "code": "upstream_429", "duration_ms": 10.0},
        {"deployment": "west", "code": "answered", "duration_ms": 250.0, "hedge": True},
    ]


def test_a_long_path_is_cut() -> None:
    assert len(str(fields_of(record(path="/" + "x" * 5000))["path"])) == requests.MAX_PATH


LEVELS = [
    ({"end": End.COMPLETED}, "info"),
    ({"end": End.REFUSED, "status": 401}, "info"),
    ({"end": End.CLIENT_ABORTED}, "info"),
    ({"end": End.TRUNCATED}, "warning"),
    ({"end": End.TLS_ERROR, "status": 502}, "warning"),
    ({"end": End.NO_DEPLOYMENT, "status": 429}, "warning"),
    ({"end": End.CLIENT_STALLED}, "warning"),
    ({"end": End.INTERNAL_ERROR, "status": 500}, "error"),
    ({"operation": "ready", "status": 503}, "info"),
]


@pytest.mark.parametrize(("known", "level"), LEVELS)
def test_levels(lines: io.StringIO, known: dict[str, object], level: str) -> None:
    log_request(record(**known))
    assert json.loads(lines.getvalue())["level"] == level


@rows("operation", ["live", "ready", "asset"])
def test_probes_and_files_are_quiet(lines: io.StringIO, operation: str) -> None:
    log_request(record(operation=operation))
    assert lines.getvalue() == ""


def test_the_ids_of_a_trace_are_fields() -> None:
    assert not {"trace_id", "span_id"} & fields_of(record()).keys()
    fields = fields_of(record(trace=TraceContext("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")))
    assert (fields["trace_id"], fields["span_id"]) == ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")

"""How a stream ends that the relay breaks off: the events of its API, as the API's own clients read them."""

import json
from typing import Any

import pytest
from tests.rows import rows

from chukei.model import Dialect
from chukei.stream import sse
from chukei.stream.failed import error_events, message_error
from chukei.stream.stream import Stream

ERROR = b'{"message":"It broke off.","type":"upstream_error","param":null,"code":"stream_incomplete"}'


def told(events: bytes) -> list[tuple[str, dict[str, Any]]]:
    names = [event.partition(b"\n")[0].removeprefix(b"event: ").decode() for event in sse.split(events)]
    return list(zip(names, [json.loads(sse.data_of(event)) for event in sse.split(events)], strict=True))


def typed(kind: str, number: int, **more: object) -> bytes:
    return sse.write(json.dumps({"type": kind, "sequence_number": number, **more}), kind)


@pytest.mark.parametrize(("dialect", "line"), [(Dialect.CHAT, b""), (Dialect.OPEN, b"event: error\n")])
def test_other_apis_get_one_event(dialect: Dialect, line: bytes) -> None:
    assert error_events(ERROR, dialect, None) == line + b'data: {"error":' + ERROR + b"}\n\n"


def test_a_message_ends_with_the_error_of_its_api() -> None:
    [(name, event)] = told(error_events(ERROR, Dialect.MESSAGES, None, 502))
    error = {"type": "api_error", "message": "It broke off.", "code": "stream_incomplete"}
    assert (name, event) == ("error", {"type": "error", "error": error})


@rows(
    ("error", "status", "kind"),
    [
        ({"type": "upstream_error"}, 504, "timeout_error"),
        ({"type": "overloaded_error"}, 500, "overloaded_error"),
        ({"type": None, "code": 429}, 429, "rate_limit_error"),
        ({"type": "insufficient_quota"}, 403, "permission_error"),
        ({"type": "invalid_request_error"}, 413, "request_too_large"),
        ({"type": 7}, 421, "invalid_request_error"),
        ({}, 503, "overloaded_error"),
        ({}, 502, "api_error"),
    ],
)
def test_the_type_of_a_messages_error_is_one_of_the_api(error: dict[str, Any], status: int, kind: str) -> None:
    body = json.loads(message_error(json.dumps({"message": None, **error}).encode(), status, "req_1"))
    assert (body["type"], body["request_id"]) == ("error", "req_1")
    assert (body["error"]["type"], body["error"]["message"]) == (kind, "")


def test_a_response_fails_with_both_events_of_its_api_and_the_next_numbers() -> None:
    stream = Stream(Dialect.RESPONSES, strip_usage=False, cap=1 << 16)
    sent = [
        typed("response.created", 0, response={"id": "resp_1", "model": "gpt-4o", "status": "in_progress"}),
        typed("response.in_progress", 1, response={"id": "resp_1", "model": "gpt-4o", "status": "in_progress"}),
        b": keep-alive\n\n",
        typed("response.output_item.added", 2, output_index=0),
        *(typed("response.output_text.delta", number, delta="a") for number in range(3, 9)),
    ]
    passed = b"".join(stream.feed(event) for event in sent)
    assert passed.count(b"data: ") == 9
    (first, error), (second, failed) = told(error_events(ERROR, Dialect.RESPONSES, stream))
    assert (first, second) == ("error", "response.failed")
    assert error == {"type": "error", "sequence_number": 9, "error": json.loads(ERROR)}
    assert (failed["type"], failed["sequence_number"]) == ("response.failed", 10)
    response = failed["response"]
    assert (response["id"], response["model"], response["status"]) == ("resp_1", "gpt-4o", "failed")
    assert response["error"] == {"code": "stream_incomplete", "message": "It broke off."}


@rows(
    ("error", "kind", "code", "message"),
    [
        ({"code": 429, "message": "Later."}, "upstream_error", "429", "Later."),
        ({"code": None, "message": None, "type": None}, "upstream_error", "upstream_error", ""),
        ({"type": "server_error", "inner": {"a": 1}}, "server_error", "server_error", ""),
    ],
)
def test_members_that_clients_require_are_texts(error: dict[str, object], kind: str, code: str, message: str) -> None:
    """Azure's own errors are passed on, whatever they hold; a client's schema refuses null and numbers."""
    (_, event), (_, failed) = told(error_events(json.dumps(error).encode(), Dialect.RESPONSES, None))
    assert event["error"] == {**error, "type": kind, "code": code, "message": message}
    assert event["sequence_number"] == 0
    assert failed["response"]["error"] == {"code": code, "message": message}

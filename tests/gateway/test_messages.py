"""Messages of Claude on their way through: the same path, with the events, counts and errors of another API."""

import json
from typing import Any

import pytest
from tests.fakes import JSON, FakeAnswer, FakeIncoming, FakeQuota, FakeReply
from tests.gateway.test_gateway import GatewayHarness
from tests.rows import rows

from chukei.accounts.limits import Amounts, Limit, Refusal
from chukei.model import End, Headers
from chukei.stream import sse
from chukei.usage import Usage

pytestmark = pytest.mark.anyio

CLAUDE = {
    "CHUKEI_DEPLOYMENTS__AZURE__ENDPOINT": "https://c.services.ai.azure.com/anthropic",
    "CHUKEI_DEPLOYMENTS__AZURE__API": "anthropic",
    "CHUKEI_DEPLOYMENTS__AZURE__DEPLOYMENT": "claude-sonnet-4-5",
    "CHUKEI_DEPLOYMENTS__AZURE__API_KEY": "upstream-secret",
    "CHUKEI_MODELS__CLAUDE__DEPLOYMENTS": "azure",
    "CHUKEI_MODELS__CLAUDE__SYSTEM": "Be brief.",
    "CHUKEI_MODELS__CLAUDE__CAPS": "{ max_completion_tokens = 1000 }",
    "CHUKEI_MODELS__CLAUDE__PRICES": "{input = 3, cached = 0.3, cache_write = 3.75, cache_write_hour = 6, output = 15}",
}
ASKED: dict[str, Any] = {
    "model": "claude",
    "max_tokens": 4096,
    "messages": [{"role": "user", "content": "What is the weather in Florence?"}],
}
INPUT = {
    "input_tokens": 24,
    "cache_read_input_tokens": 4000,
    "cache_creation_input_tokens": 100,
    "cache_creation": {"ephemeral_5m_input_tokens": 60, "ephemeral_1h_input_tokens": 40},
    "output_tokens": 5,
}
COUNTED = Usage(4124, 119, cached=4000, cache_written=100, written_for_hour=40)
COST = 24 * 3 + 4000 * 0.3 + 60 * 3.75 + 40 * 6 + 119 * 15


def event(kind: str, **members: object) -> bytes:
    return sse.write(json.dumps({"type": kind, **members}, separators=(",", ":")).encode(), kind)


def delta(text: str, index: int = 0) -> bytes:
    return event("content_block_delta", index=index, delta={"type": "text_delta", "text": text})


START = event(
    "message_start",
    message={
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-5-20250929",
        "content": [],
        "stop_reason": None,
        "usage": {**INPUT, "service_tier": "standard"},
    },
)
PING = event("ping")
BLOCK = event("content_block_start", index=0, content_block={"type": "text", "text": ""})
END_OF_BLOCK = event("content_block_stop", index=0)
FINISH = event(
    "message_delta", delta={"stop_reason": "max_tokens", "stop_sequence": None}, usage={"output_tokens": 119}
)
STOP = event("message_stop")
ANSWER = [START, PING, BLOCK, delta("Sunny, "), delta("as far as I know."), END_OF_BLOCK, FINISH, STOP]
MESSAGE: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-5-20250929",
    "content": [{"type": "text", "text": "Sunny."}],
    "stop_reason": "tool_use",
    "usage": {**INPUT, "output_tokens": 119, "service_tier": "priority"},
}
OVERLOADED = b'{"type":"overloaded_error","message":"Overloaded"}'


def claude(*answers: FakeAnswer, quotas: FakeQuota | None = None, key: str | None = None) -> GatewayHarness:
    limits = {"CHUKEI_GROUPS__EVERYBODY__LIMITS": "{ tokens_per_minute = 100 }"} if quotas is not None else {}
    keys = {"CHUKEI_API_KEY": key} if key is not None else {}
    return GatewayHarness(*answers, quotas=quotas, environment={**CLAUDE, **limits, **keys})


def asking(path: str = "/v1/messages", headers: Headers | None = None, **fields: object) -> FakeIncoming:
    return FakeIncoming(json.dumps({**ASKED, **fields}).encode(), path=path, headers=headers)


def whole(body: object) -> FakeAnswer:
    return FakeAnswer([json.dumps(body).encode(), b""], headers=JSON)


def error_of(reply: FakeReply) -> dict[str, Any]:
    """The error in Anthropic's form."""
    body = json.loads(reply.body)
    assert body["type"] == "error"
    assert body["request_id"] == dict(reply.headers)[b"x-request-id"].decode()
    assert set(body["error"]) >= {"type", "message"}
    found: dict[str, Any] = body["error"]
    return found


@rows("path", ["/v1/messages", "/anthropic/v1/messages", "/anthropic//v1/messages/"])
async def test_a_stream_from_end_to_end(path: str) -> None:
    harness = claude(FakeAnswer(ANSWER))
    reply, record = await harness.serve(asking(path, stream=True))
    assert reply.body == b"".join(ANSWER)
    assert (record.end, record.operation, record.usage) == (End.LENGTH, "messages", COUNTED)
    assert (record.finish_reasons, record.served_model) == ({0: "length"}, "claude-sonnet-4-5-20250929")
    assert (record.service_tier, record.cost) == ("standard", COST)


async def test_what_goes_up() -> None:
    headers: Headers = [
        (b"host", b"localhost"),
        (b"content-type", b"application/json"),
        (b"x-api-key", b"the-callers"),
        (b"anthropic-beta", b"context-1m-2025-08-07"),
        (b"openai-beta", b"assistants=v2"),
    ]
    harness = claude(whole(MESSAGE))
    await harness.serve(asking(headers=headers))
    [(endpoint, target, sent, body)] = harness.upstream.requests
    assert (endpoint, target) == ("https://c.services.ai.azure.com", "/anthropic/v1/messages")
    fields = dict(sent)
    assert (fields[b"api-key"], fields[b"anthropic-beta"]) == (b"upstream-secret", b"context-1m-2025-08-07")
    assert fields[b"anthropic-version"] == b"2023-06-01", "the API requires one"
    assert not {b"x-api-key", b"openai-beta", b"authorization"} & set(fields)
    assert json.loads(body) == {**ASKED, "model": "claude-sonnet-4-5", "system": "Be brief.", "max_tokens": 1000}


async def test_a_whole_answer_is_counted_with_its_cache() -> None:
    reply, record = await claude(whole(MESSAGE)).serve(asking(system="Be long."))
    assert json.loads(reply.body) == MESSAGE
    assert (record.usage, record.cost, record.finish_reasons) == (COUNTED, COST, {0: "tool_calls"})
    assert (record.served_model, record.service_tier) == ("claude-sonnet-4-5-20250929", "priority")


async def test_counting_tokens_costs_nothing() -> None:
    quotas = FakeQuota()
    harness = claude(whole({"input_tokens": 2095}), quotas=quotas)
    reply, record = await harness.serve(asking("/v1/messages/count_tokens"))
    assert json.loads(reply.body) == {"input_tokens": 2095}
    assert harness.upstream.requests[0][1] == "/anthropic/v1/messages/count_tokens"
    assert (record.operation, record.usage, record.cost) == ("count_tokens", None, 0)
    assert [amounts for _, _, amounts in quotas.reserved] == [Amounts()]
    await harness.gateway.settled()
    assert [amounts for _, amounts in quotas.settled] == [Amounts()]


async def test_a_stream_that_breaks_is_charged_with_the_input_that_it_began_with() -> None:
    reply, record = await claude(FakeAnswer([START, BLOCK + delta("x" * 300), b""])).serve(asking(stream=True))
    *before, last = sse.split(reply.body)
    assert b"".join(before) == START + BLOCK + delta("x" * 300)
    assert last.startswith(b"event: error\n")
    told = json.loads(sse.data_of(last))
    assert (told["type"], told["error"]["type"], told["error"]["code"]) == ("error", "api_error", "stream_incomplete")
    assert record.usage is not None
    assert (record.usage.input, record.usage.cached, record.usage.estimated) == (4124, 4000, True)
    assert 100 <= record.usage.output < 1000


async def test_an_error_before_any_output_is_a_status_and_one_after_it_an_event() -> None:
    error = b'event: error\ndata: {"type":"error","error":' + OVERLOADED + b"}\n\n"
    reply, record = await claude(FakeAnswer([START + PING + error, b""])).serve(asking(stream=True))
    assert (reply.status, error_of(reply)) == (503, {"type": "overloaded_error", "message": "Overloaded"})
    reply, record = await claude(FakeAnswer([START + BLOCK + delta("Hi"), error, b""])).serve(asking(stream=True))
    assert (reply.status, reply.body) == (200, START + BLOCK + delta("Hi") + error)
    assert record.end is End.UPSTREAM_ERROR


@rows(
    ("status", "body", "shown", "kind"),
    [
        (529, {"type": "error", "error": {"type": "overloaded_error", "message": "Busy"}}, 529, "overloaded_error"),
        (400, {"type": "error", "error": {"type": "invalid_request_error", "message": "max_tokens: Field required"}},
         400, "invalid_request_error"),
        (429, {"error": {"code": "429", "message": "Rate limit is exceeded."}}, 429, "rate_limit_error"),
        (404, {"error": {"code": "DeploymentNotFound", "message": "It does not exist."}}, 404, "not_found_error"),
        (404, {"type": "error", "error": {"type": "not_found_error", "message": "model: claude-x"}}, 404,
         "not_found_error"),
        (401, {"error": {"code": "401", "message": "Access denied."}}, 502, "api_error"),
        (500, {"error": {"code": "x", "message": None}}, 500, "api_error"),
    ],
)  # fmt: skip
async def test_an_error_of_the_upstream_has_the_form_of_the_api(
    status: int, body: dict[str, Any], shown: int, kind: str
) -> None:
    answer = whole(body)
    answer.status = status
    reply, _ = await claude(answer).serve(asking())
    error = error_of(reply)
    assert (reply.status, error["type"]) == (shown, kind)
    if shown == status:
        assert error["message"] == (body["error"]["message"] or "")


async def test_a_limit_is_told_in_the_form_of_the_api() -> None:
    refusal = Refusal("caller:local", Limit.TOKENS_PER_MINUTE, 100, 90, 4000, 7.0)
    harness = claude(quotas=FakeQuota(refusal))
    reply, record = await harness.serve(asking(stream=True))
    error = error_of(reply)
    assert (reply.status, error["type"], error["code"]) == (429, "rate_limit_error", "rate_limit_exceeded")
    assert dict(reply.headers)[b"retry-after"] == b"7"
    assert record.code == "rate_limit_exceeded"


async def test_a_wrong_key_is_told_in_the_form_of_the_api() -> None:
    headers: Headers = [(b"host", b"localhost"), (b"content-type", b"application/json"), (b"x-api-key", b"wrong")]
    reply, _ = await claude(key="the-key-of-all").serve(asking(headers=headers))
    assert (reply.status, error_of(reply)["type"]) == (401, "authentication_error")


async def test_the_key_of_all_is_taken_where_anthropics_clients_send_it() -> None:
    headers: Headers = [
        (b"host", b"localhost"),
        (b"content-type", b"application/json"),
        (b"x-api-key", b"the-key-of-all"),
    ]
    reply, _ = await claude(whole(MESSAGE), key="the-key-of-all").serve(asking(headers=headers))
    assert reply.status == 200


@rows("path", ["/v1/chat/completions", "/v1/responses", "/openai/deployments/claude/chat/completions"])
async def test_a_model_of_claude_takes_nothing_but_messages(path: str) -> None:
    harness = claude()
    reply, _ = await harness.serve(FakeIncoming(json.dumps({**ASKED, "input": "x"}).encode(), path=path))
    error = json.loads(reply.body)["error"]
    assert (reply.status, error["code"], error["param"]) == (400, "wrong_api", "model")
    assert "/v1/messages" in error["message"]
    assert harness.upstream.requests == []


async def test_another_model_takes_no_messages() -> None:
    harness = GatewayHarness()
    reply, _ = await harness.serve(asking(model="gpt-4o"))
    error = error_of(reply)
    assert (reply.status, error["code"], error["type"]) == (400, "wrong_api", "invalid_request_error")
    assert "/v1/chat/completions" in error["message"]
    assert harness.upstream.requests == []


@rows("fields", [{"messages": []}, {"messages": None}, {"messages": "hi"}])
async def test_a_request_without_messages_is_refused(fields: dict[str, Any]) -> None:
    reply, _ = await claude().serve(asking(**fields))
    assert (reply.status, error_of(reply)["type"]) == (400, "invalid_request_error")

"""Anthropic's Messages API, as raw requests."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.simulator.conftest import Simulate
from tests.simulator.wire import Answer, post

from chukei.simulator import Simulator

pytestmark = pytest.mark.anyio

PATH = "/anthropic/v1/messages"
TOOL = {
    "name": "weather",
    "description": "Weather in a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


async def ask(sim: Simulator, text: str = "repeat: one two", path: str = PATH, **fields: Any) -> Answer:
    body = {"model": "claude-sonnet-4-5", "max_tokens": 1000, "messages": [{"role": "user", "content": text}], **fields}
    return await post(sim.url, path, body, anthropic_version="2023-06-01")


def events(answer: Answer) -> list[Any]:
    found = [json.loads(event.partition(b"data: ")[2]) for event in answer.events]
    names = [event.partition(b"\n")[0].removeprefix(b"event: ").decode() for event in answer.events]
    assert [event["type"] for event in found] == names
    return found


async def test_a_whole_answer(sim: Simulator) -> None:
    answer = await ask(sim)
    message = answer.json
    assert message["content"] == [{"type": "text", "text": "one two"}]
    assert (message["role"], message["stop_reason"], message["model"]) == ("assistant", "end_turn", "claude-sonnet-4-5")
    assert message["usage"]["output_tokens"] == 2
    exchange = sim.exchanges[-1]
    assert (exchange.operation, exchange.deployment) == ("messages", "claude-sonnet-4-5")
    assert (exchange.prompt_tokens, exchange.completion_tokens) == (message["usage"]["input_tokens"], 2)


async def test_a_stream(sim: Simulator) -> None:
    answer = await ask(sim, stream=True)
    assert answer.headers["content-type"].startswith("text/event-stream")
    found = events(answer)
    assert [event["type"] for event in found] == [
        "message_start",
        "content_block_start",
        "ping",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert found[0]["message"]["usage"]["output_tokens"] == 1
    assert found[-2]["delta"] == {"stop_reason": "end_turn", "stop_sequence": None}
    assert found[-2]["usage"]["output_tokens"] == 2
    assert found[-2]["usage"]["input_tokens"] == found[0]["message"]["usage"]["input_tokens"]


async def test_thinking_and_a_tool_in_a_stream(sim: Simulator) -> None:
    thinking = {"type": "enabled", "budget_tokens": 4000}
    answer = await ask(sim, "The weather in Vienna?", stream=True, tools=[TOOL], thinking=thinking)
    found = events(answer)
    starts = [event["content_block"]["type"] for event in found if event["type"] == "content_block_start"]
    assert starts == ["thinking", "tool_use"]
    deltas = [event["delta"] for event in found if event["type"] == "content_block_delta"]
    assert any(delta["type"] == "signature_delta" for delta in deltas)
    given = "".join(delta["partial_json"] for delta in deltas if delta["type"] == "input_json_delta")
    assert json.loads(given)["city"] == "Vienna"
    assert found[-2]["delta"]["stop_reason"] == "tool_use"
    assert found[-2]["usage"]["output_tokens"] == sim.exchanges[-1].completion_tokens


async def test_a_tools_result_is_answered_in_words(sim: Simulator) -> None:
    said = [
        {"role": "user", "content": "The weather in Vienna?"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "weather", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "sunny"}]},
    ]
    message = (await ask(sim, messages=said, tools=[TOOL])).json
    assert [block["type"] for block in message["content"]] == ["text"]


async def test_reasons_to_stop(sim: Simulator) -> None:
    limited = (await ask(sim, "write 50 words", max_tokens=5)).json
    assert (limited["stop_reason"], limited["usage"]["output_tokens"]) == ("max_tokens", 5)
    stopped = (await ask(sim, "repeat: one two three", stop_sequences=[" two"])).json
    assert (stopped["stop_reason"], stopped["stop_sequence"]) == ("stop_sequence", " two")
    assert stopped["content"][0]["text"] == "one"
    forced = (await ask(sim, tools=[TOOL], tool_choice={"type": "tool", "name": "weather"})).json
    assert forced["stop_reason"] == "tool_use"


async def test_counting_tokens_agrees_with_the_usage(sim: Simulator) -> None:
    counted = (await ask(sim, path=f"{PATH}/count_tokens")).json
    assert counted == {"input_tokens": (await ask(sim)).json["usage"]["input_tokens"]}


@pytest.mark.parametrize(
    ("fields", "status", "kind"),
    [
        ({"max_tokens": None}, 400, "invalid_request_error"),
        ({"messages": "hello"}, 400, "invalid_request_error"),
        ({"model": ""}, 400, "invalid_request_error"),
        ({"tools": [TOOL], "tool_choice": {"type": "tool", "name": "x"}}, 400, "invalid_request_error"),
        ({"model": "claude--429-after-3"}, 429, "rate_limit_error"),
        ({"model": "claude--500"}, 500, "api_error"),
        ({"model": "claude--529"}, 529, "overloaded_error"),
    ],
)
async def test_errors_have_the_form_of_the_api(sim: Simulator, fields: Any, status: int, kind: str) -> None:
    answer = await ask(sim, **fields)
    assert answer.status == status
    assert (answer.json["type"], answer.json["error"]["type"]) == ("error", kind)
    assert answer.headers["request-id"] == answer.json["request_id"]
    assert answer.headers.get("retry-after") == ("3" if status == 429 else None)


async def test_the_gateway_has_azures_errors(simulate: Simulate) -> None:
    sim = await simulate(api_key="right")
    refused = await post(sim.url, PATH, {}, x_api_key="wrong", api_key="")
    assert (refused.status, refused.json["error"]["code"]) == (401, "401")
    for name in ("api_key", "x_api_key"):
        answer = await post(sim.url, PATH, {"model": "claude"}, **{"api_key": "", name: "right"})
        assert answer.json["error"]["message"] == "anthropic-version: header is required"
    missing = await post(sim.url, PATH, {"model": "fault-404"}, api_key="right")
    assert missing.json["error"]["code"] == "DeploymentNotFound"


async def test_faults_of_streams(sim: Simulator) -> None:
    failed = events(await ask(sim, model="claude--error-event-3", stream=True))
    assert (len(failed), failed[-1]["error"]["type"]) == (4, "overloaded_error")
    assert (await ask(sim, model="claude--truncate-3", stream=True)).end == "cut"

"""What a chat request may ask for, and which requests are refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.simulator.test_chat_stream import TOOL
from tests.simulator.wire import CHAT, ask, post, question

from chukei.simulator import Simulator

pytestmark = pytest.mark.anyio


async def asked(sim: Simulator, text: str, deployment: str = "gpt-4o", **fields: Any) -> dict[str, Any]:
    """The first choice of an answer that is not streamed."""
    answer = await post(sim.url, CHAT.format(deployment), question(text, stream=False, **fields))
    assert answer.status == 200, answer.body
    choice: dict[str, Any] = answer.json["choices"][0]
    return choice | {"usage": answer.json["usage"]}


async def test_an_answer_ends_at_its_limit(sim: Simulator) -> None:
    for name in ["max_tokens", "max_completion_tokens"]:
        limit: dict[str, Any] = {name: 2}
        choice = await asked(sim, "repeat: one two three four", **limit)

        assert choice["message"]["content"] == "one two", name
        assert choice["finish_reason"] == "length", name
        assert choice["usage"]["completion_tokens"] == 2, name


async def test_a_limit_that_is_not_reached_changes_nothing(sim: Simulator) -> None:
    choice = await asked(sim, "repeat: one two", max_tokens=2)

    assert (choice["message"]["content"], choice["finish_reason"]) == ("one two", "stop")


STOPS: list[tuple[Any, str]] = [
    ("three", "one two "),
    ([" four", " two"], "one"),
    ("z", "one two three"),
]


async def test_a_stop_sequence_is_not_said(sim: Simulator) -> None:
    for stop, expected in STOPS:
        choice = await asked(sim, "repeat: one two three", stop=stop)

        assert (choice["message"]["content"], choice["finish_reason"]) == (expected, "stop"), stop


async def test_a_reasoning_model_thinks_first_and_is_billed_for_it(sim: Simulator) -> None:
    choice = await asked(sim, "repeat: yes", deployment="o4-mini")
    thoughts = choice["usage"]["completion_tokens_details"]["reasoning_tokens"]
    assert thoughts > 0
    assert choice["usage"]["completion_tokens"] == thoughts + 1

    short = await asked(sim, "repeat: yes", deployment="o4-mini", max_completion_tokens=10)
    assert (short["message"]["content"], short["finish_reason"]) == ("", "length")


TOOL_CHOICES: list[tuple[Any, str | None]] = [
    ("auto", "get_weather"),
    (None, "get_weather"),
    ("required", "get_weather"),
    ("none", None),
    ({"type": "function", "function": {"name": "get_time"}}, "get_time"),
]


async def test_tool_choice_is_honoured(sim: Simulator) -> None:
    for choice, called in TOOL_CHOICES:
        time: dict[str, Any] = {"type": "function", "function": {"name": "get_time", "parameters": {"type": "object"}}}

        message = (await asked(sim, "How is the weather in Oslo?", tools=[time, TOOL], tool_choice=choice))["message"]

        names = [call["function"]["name"] for call in message.get("tool_calls", [])]
        assert names == ([called] if called else []), choice
        assert (message["content"] is None) == bool(called), choice


async def test_one_call_at_a_time_if_the_client_wants_it(sim: Simulator) -> None:
    text = "The weather in Paris and Tokyo?"

    message = (await asked(sim, text, tools=[TOOL], parallel_tool_calls=False))["message"]

    assert len(message["tool_calls"]) == 1


async def test_a_limit_cuts_the_arguments_of_a_call(sim: Simulator) -> None:
    whole = (await asked(sim, "The weather in Paris and Tokyo?", tools=[TOOL], seed=1))["message"]["tool_calls"]
    choice = await asked(sim, "The weather in Paris and Tokyo?", tools=[TOOL], seed=1, max_tokens=6)
    none = await asked(sim, "The weather in Paris and Tokyo?", tools=[TOOL], seed=1, max_tokens=2)

    (cut,) = choice["message"]["tool_calls"]
    assert choice["finish_reason"] == "length"
    assert choice["usage"]["completion_tokens"] == 6
    assert whole[0]["function"]["arguments"].startswith(cut["function"]["arguments"])
    assert 0 < len(cut["function"]["arguments"]) < len(whole[0]["function"]["arguments"])
    assert (none["message"]["content"], none["finish_reason"]) == ("", "length")


async def test_the_result_of_a_tool_is_answered_in_words(sim: Simulator) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "How is the weather in Oslo?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "snow, -3 °C"},
    ]

    answer = await post(sim.url, CHAT.format("gpt-4o"), {"messages": messages, "tools": [TOOL], "stream": True})

    assert "snow, -3 °C" in answer.text
    assert answer.chunk_objects[-1]["choices"][0]["finish_reason"] == "stop"


async def test_a_greeting_is_answered_in_words_even_with_tools(sim: Simulator) -> None:
    assert (await asked(sim, "Hello!", tools=[TOOL]))["message"]["content"]


async def test_structured_answers_fit_their_schema(sim: Simulator) -> None:
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 3, "maximum": 5}},
        "required": ["city", "days"],
        "additionalProperties": False,
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "trip", "schema": schema, "strict": True}}

    value = json.loads((await asked(sim, "A trip to Lisbon", response_format=wanted))["message"]["content"])

    assert set(value) == {"city", "days"}
    assert value["city"] == "Lisbon"
    assert value["days"] in (3, 4, 5)


async def test_json_mode_wants_the_word_and_gives_an_object(sim: Simulator) -> None:
    wanted = {"type": "json_object"}
    refused = await ask(sim.url, text="some data please", response_format=wanted)
    assert refused.status == 400

    content = (await asked(sim, "some JSON please", response_format=wanted))["message"]["content"]
    assert isinstance(json.loads(content), dict)


BAD: list[tuple[Any, str | None, str | None]] = [
    (b"{", None, None),
    (b"\xff\xfe", None, None),
    (b'{"messages":[{"role":"user","content":"\\ud800"}]}', None, None),
    (b'{"messages":[],"x":' + b"[" * 100_000, None, None),
    ([], "", "invalid_type"),
    ({}, "messages", "missing_required_parameter"),
    ({"messages": []}, "messages", "empty_array"),
    ({"messages": "hello"}, "messages", "invalid_type"),
    ({"messages": [{"content": "x"}]}, "messages[0].role", "missing_required_parameter"),
    ({"messages": [{"role": "king", "content": "x"}]}, "messages[0].role", "invalid_value"),
    ({"messages": [{"role": "user", "content": None}]}, "messages[0].content", "invalid_type"),
    (question(n=0), "n", "invalid_value"),
    (question(n=129), "n", "invalid_value"),
    (question(max_tokens=0), "max_tokens", "invalid_value"),
    (question(max_tokens="many"), "max_tokens", "invalid_type"),
    (question(temperature=2.5), "temperature", "invalid_value"),
    (question(stop=["a"] * 5), "stop", "array_above_max_length"),
    (question(tools=[{"type": "function"}]), "tools[0].function.name", "missing_required_parameter"),
    (question(tools=[TOOL], tool_choice="perhaps"), "tool_choice", "invalid_value"),
    (
        question(tools=[TOOL], tool_choice={"type": "function", "function": {"name": "x"}}),
        "tool_choice",
        "invalid_value",
    ),
    (question(tool_choice="auto"), "tool_choice", "invalid_value"),
    (question(stream=False, stream_options={"include_usage": True}), "stream_options", "invalid_value"),
    (question(response_format={"type": "xml"}), "response_format.type", "invalid_value"),
    (
        question(response_format={"type": "json_schema"}),
        "response_format.json_schema.schema",
        "missing_required_parameter",
    ),
]


async def test_bad_requests_get_azures_errors(sim: Simulator) -> None:
    for body, param, code in BAD:
        answer = await post(sim.url, CHAT.format("gpt-4o"), body)

        assert answer.status == 400, answer.body
        error = answer.json["error"]
        assert error["type"] == "invalid_request_error", body
        assert (error["param"], error["code"]) == (param, code), body
        assert error["message"], body
        assert answer.headers["x-chukei-simulator"] == "true", body


async def test_a_reasoning_model_refuses_max_tokens(sim: Simulator) -> None:
    answer = await ask(sim.url, "o4-mini", max_tokens=100)

    assert answer.status == 400
    assert answer.json["error"]["code"] == "unsupported_parameter"


VERSIONS = [
    ("2024-02-01", 400),
    ("2024-08-01-preview", 400),
    ("2024-09-01-preview", 200),
    ("2025-04-01-preview", 200),
]
NEWER: list[tuple[dict[str, Any], dict[str, Any]]] = [
    (
        {"stream_options": {"include_usage": True}},
        {
            "message": "Unknown parameter: 'stream_options'.",
            "type": "invalid_request_error",
            "param": "stream_options",
            "code": "unknown_parameter",
        },
    ),
    (
        {"max_completion_tokens": 10},
        {
            "message": "Unrecognized request argument supplied: max_completion_tokens",
            "type": "invalid_request_error",
            "param": None,
            "code": None,
        },
    ),
]


async def test_old_versions_do_not_know_newer_parameters(sim: Simulator) -> None:
    for version, status in VERSIONS:
        for fields, error in NEWER:
            path = f"/openai/deployments/gpt-4o/chat/completions?api-version={version}"
            answer = await post(sim.url, path, question(**fields))
            assert answer.status == status, (version, fields)
            if status == 400:
                assert answer.json["error"] == error, version

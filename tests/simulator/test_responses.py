"""The Responses API: numbered events, function calls, limits, and the shape of the recordings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.simulator.conftest import Simulate
from tests.simulator.test_chat_stream import RECORDINGS, TOOL, shape
from tests.simulator.wire import Answer, post

from chukei.simulator import Simulator
from chukei.simulator.stored import KEPT, Budget, Kept, Shelf

pytestmark = pytest.mark.anyio

FUNCTION: dict[str, Any] = {"type": "function", **TOOL["function"]}


async def respond(sim: Simulator, asked: Any = "repeat: one two", model: str = "gpt-4o", **fields: Any) -> Answer:
    return await post(sim.url, "/openai/v1/responses", {"model": model, "input": asked, "stream": True, **fields})


def types(answer: Answer) -> list[str]:
    """The types of the events, runs once."""
    found: list[str] = []
    for event in answer.chunk_objects:
        if found[-1:] != [event["type"]]:
            found.append(event["type"])
    return found


TEXT_TYPES = [
    "response.created",
    "response.in_progress",
    "response.output_item.added",
    "response.content_part.added",
    "response.output_text.delta",
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
    "response.completed",
]


async def test_the_events_are_named_and_numbered_without_gaps(sim: Simulator) -> None:
    answer = await respond(sim)

    assert types(answer) == TEXT_TYPES
    assert [event["sequence_number"] for event in answer.chunk_objects] == list(range(len(answer.events)))
    for raw, event in zip(answer.events, answer.chunk_objects, strict=True):
        assert raw.startswith(f"event: {event['type']}\ndata: {{".encode())
    assert b"[DONE]" not in answer.body
    assert answer.chunks == answer.events


async def test_the_terminal_event_has_usage_filters_and_the_text(sim: Simulator) -> None:
    final = (await respond(sim)).chunk_objects[-1]["response"]

    assert final["output"][0]["content"][0]["text"] == "one two"
    assert final["usage"]["output_tokens"] == 2
    assert final["usage"]["total_tokens"] == final["usage"]["input_tokens"] + 2
    assert [row["source_type"] for row in final["content_filters"]] == ["prompt", "completion"]
    assert final["status"] == "completed"


@pytest.mark.skipif(not RECORDINGS.is_dir(), reason="the recorded streams are not beside the repository")
async def test_a_text_has_the_shape_of_a_recorded_one(sim: Simulator) -> None:
    lines = (RECORDINGS / "az-resp-text.chunks.jsonl").read_text().splitlines()
    recorded = [json.loads(line) for line in lines if line]

    events = (await respond(sim, "repeat: Hello")).chunk_objects

    assert [list(event) for event in events] == [list(event) for event in recorded]
    for ours, theirs in zip(events, recorded, strict=True):
        assert json.dumps(shape(ours)) == json.dumps(shape(theirs)), theirs["type"]


EVENT_ORDERS: list[tuple[str, str, dict[str, Any]]] = [
    ("oa-resp-functioncall.sse", "gpt-4o", {"tools": [FUNCTION]}),
    ("oa-resp-reasoning.sse", "o4-mini", {"reasoning": {"effort": "medium", "summary": "detailed"}}),
]


@pytest.mark.skipif(not RECORDINGS.is_dir(), reason="the recorded streams are not beside the repository")
async def test_the_order_of_events_is_the_recorded_one(sim: Simulator) -> None:
    for file, model, fields in EVENT_ORDERS:
        recorded = Answer(200, {}, [Path(RECORDINGS / file).read_bytes()])

        answer = await respond(sim, "What about Oslo?", model, **fields)

        assert types(answer) == types(recorded), file


async def test_function_calls(sim: Simulator) -> None:
    answer = await respond(sim, "The weather in Rome and in Cairo?", tools=[FUNCTION])

    calls = answer.chunk_objects[-1]["response"]["output"]
    assert [json.loads(call["arguments"])["city"] for call in calls] == ["Rome", "Cairo"]
    for at, call in enumerate(calls):
        deltas = [
            event["delta"]
            for event in answer.chunk_objects
            if event["type"] == "response.function_call_arguments.delta" and event["output_index"] == at
        ]
        assert "".join(deltas) == call["arguments"]


async def test_the_output_of_a_function_is_answered_in_words(sim: Simulator) -> None:
    items = [
        {"role": "user", "content": [{"type": "input_text", "text": "The weather in Rome?"}]},
        {"type": "function_call", "call_id": "c", "name": "get_weather", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "sun, 30 °C"},
    ]

    final = (await respond(sim, items, tools=[FUNCTION])).chunk_objects[-1]["response"]

    assert "sun, 30 °C" in final["output"][0]["content"][0]["text"]


async def test_a_limit_makes_it_incomplete(sim: Simulator) -> None:
    answer = await respond(sim, "write 100 words", max_output_tokens=16)

    final = answer.chunk_objects[-1]
    assert final["type"] == "response.incomplete"
    assert final["response"]["status"] == "incomplete"
    assert final["response"]["incomplete_details"] == {"reason": "max_output_tokens"}
    assert final["response"]["usage"]["output_tokens"] == 16
    assert final["response"]["output"][0]["status"] == "incomplete"


async def test_a_blocked_completion_is_incomplete(sim: Simulator) -> None:
    final = (await respond(sim, "hello", "gpt-4o--filter-completion-2")).chunk_objects[-1]["response"]

    assert final["incomplete_details"] == {"reason": "content_filter"}
    assert [row["blocked"] for row in final["content_filters"]] == [False, True]


async def test_whole_is_what_the_stream_ends_in(sim: Simulator) -> None:
    streamed = (await respond(sim, "tell me a joke", temperature=0)).chunk_objects[-1]["response"]
    whole = (await respond(sim, "tell me a joke", temperature=0, stream=False)).json

    assert list(whole) == list(streamed)
    assert whole["output"][0]["content"] == streamed["output"][0]["content"]
    assert whole["usage"] == streamed["usage"]


async def test_structured_output(sim: Simulator) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    wanted = {"format": {"type": "json_schema", "name": "x", "schema": schema}}

    final = (await respond(sim, "Somewhere in Kyoto", text=wanted)).chunk_objects[-1]["response"]

    assert json.loads(final["output"][0]["content"][0]["text"]) == {"city": "Kyoto"}


async def test_instructions_are_the_system_message(sim: Simulator) -> None:
    answer = await respond(sim, "What is your system message?", instructions="Be brief.", stream=False)

    assert answer.json["output"][0]["content"][0]["text"] == "My system message is: Be brief."


BAD_REQUESTS: list[tuple[dict[str, Any], str]] = [
    ({"input": 3}, "input"),
    ({"input": None}, "input"),
    ({"input": [{"type": "message", "content": "x"}]}, "input[0].role"),
    ({"input": [{"role": "user"}]}, "input[0].content"),
    ({"max_output_tokens": 3}, "max_output_tokens"),
    ({"tools": [{"type": "function"}]}, "tools[0].name"),
    ({"text": {"format": {"type": "json_schema"}}}, "text.format.schema"),
]


async def test_bad_requests(sim: Simulator) -> None:
    for fields, param in BAD_REQUESTS:
        answer = await post(sim.url, "/openai/v1/responses", {"model": "gpt-4o", "input": "x", **fields})

        assert (answer.status, answer.json["error"]["param"]) == (400, param), fields


async def test_the_input_must_be_there(sim: Simulator) -> None:
    answer = await post(sim.url, "/openai/v1/responses", {"model": "gpt-4o"})

    assert (answer.status, answer.json["error"]["code"]) == (400, "missing_required_parameter")


async def test_dated_versions_have_it_since_march_2025(sim: Simulator) -> None:
    for version, status in [("2024-10-21", 400), ("2025-03-01-preview", 200), ("preview", 200)]:
        path = f"/openai/responses?api-version={version}"

        assert (await post(sim.url, path, {"model": "gpt-4o", "input": "hello"})).status == status, version


# What is continued.


async def test_a_response_is_continued_by_the_deployment_that_made_it(sim: Simulator) -> None:
    whole = (await respond(sim, stream=False)).json
    streamed = (await respond(sim)).chunk_objects[-1]["response"]

    for before in (whole, streamed):
        answer = await respond(sim, stream=False, previous_response_id=before["id"])
        assert (answer.status, answer.json["previous_response_id"]) == (200, before["id"])


async def test_no_other_deployment_and_no_other_resource_knows_it(sim: Simulator, simulate: Simulate) -> None:
    made = (await respond(sim, stream=False)).json["id"]
    elsewhere = await simulate()

    for where, model in ((sim, "gpt-4o-mini"), (elsewhere, "gpt-4o")):
        answer = await respond(where, model=model, previous_response_id=made)
        assert (answer.status, answer.json["error"]) == (
            400,
            {
                "message": f"Previous response with id '{made}' not found.",
                "type": "invalid_request_error",
                "param": "previous_response_id",
                "code": "previous_response_not_found",
            },
        )


async def test_what_was_not_to_be_stored_cannot_be_continued(sim: Simulator) -> None:
    made = (await respond(sim, stream=False, store=False)).json["id"]

    answer = await respond(sim, previous_response_id=made)

    assert (answer.status, answer.json["error"]["code"]) == (400, "previous_response_not_found")


def test_the_oldest_responses_are_forgotten() -> None:
    shelf = Shelf(Budget())
    for number in range(KEPT + 1):
        shelf.put(Kept({"id": f"resp_{number}"}))

    assert shelf.get("resp_0") is None
    assert shelf.get("resp_1") is not None
    assert len(shelf) == KEPT


def test_what_is_kept_has_a_bound_in_bytes() -> None:
    budget = Budget(most=10_000)
    files, stores = Shelf(budget), Shelf(budget)
    store = stores.put(Kept({"id": "vs_0"}))
    for number in range(20):
        store.parts("vector_store_file").put(Kept({"id": f"file-{number}"}, b"x" * 900))
        files.put(Kept({"id": f"file-{number}"}, b"x" * 900))

    assert budget.bytes <= 10_000
    assert files.get("file-19") is not None
    assert files.get("file-0") is None
    assert stores.get("vs_0") is None
    for number in range(20):
        files.pop(f"file-{number}")
    store.empty()
    assert budget.bytes == 0


async def test_a_conversation_must_exist(simulate: Simulate) -> None:
    for named in ["conv_1", {"id": "conv_1"}]:
        with_it, without = await simulate(conversations=("conv_1",)), await simulate()

        assert (await respond(with_it, conversation=named)).status == 200, named
        answer = await respond(without, conversation=named)
        assert answer.status == 404, named
        assert answer.json["error"]["message"] == "Conversation with id 'conv_1' not found.", named
        assert answer.json["error"]["code"] is None, named

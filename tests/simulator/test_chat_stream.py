"""The chat stream, event by event, beside real recordings."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tests.simulator.wire import CHAT, Answer, ask, post, question

from chukei.simulator import Simulator

pytestmark = pytest.mark.anyio

RECORDINGS = Path(__file__).parents[3] / "shared" / "streams"
CHUNK_KEYS = ["choices", "created", "id", "model", "obfuscation", "object", "system_fingerprint"]
CHOICE_KEYS = ["content_filter_results", "delta", "finish_reason", "index", "logprobs"]


def shape(value: Any) -> Any:
    """A JSON value without its particulars: key order is kept, texts and numbers are not."""
    if isinstance(value, dict):
        return {key: shape(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [shape(entry) for entry in value]
    return value if value is None or isinstance(value, bool) else type(value).__name__


def outline(chunks: list[Any]) -> list[str]:
    """The shapes of a stream's chunks in order, runs of the same shape once, filter categories left out."""
    shapes: list[str] = []
    for chunk in chunks:
        bare = json.loads(json.dumps(chunk))
        for choice in bare["choices"]:
            choice["content_filter_results"] = None
        text = json.dumps(shape(bare))
        if shapes[-1:] != [text]:
            shapes.append(text)
    return shapes


async def test_the_events_come_in_order_and_are_framed_like_azures(sim: Simulator) -> None:
    answer = await ask(sim.url, stream_options={"include_usage": True})

    assert answer.end == "complete"
    assert answer.chunks == answer.events, "each event is one chunk of the body"
    assert answer.events[-1] == b"data: [DONE]\n\n"
    first, role, *content, finish, usage = answer.chunk_objects
    assert list(first) == ["choices", "created", "id", "model", "object", "prompt_filter_results"]
    assert (first["choices"], first["id"], first["model"], first["created"]) == ([], "", "", 0)
    assert role["choices"][0]["delta"] == {"content": "", "refusal": None, "role": "assistant"}
    assert [chunk["choices"][0]["delta"]["content"] for chunk in content] == ["one", " two", " three"]
    assert finish["choices"][0]["delta"] == {}
    assert finish["choices"][0]["finish_reason"] == "stop"
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] == 3
    assert usage["usage"]["total_tokens"] == usage["usage"]["prompt_tokens"] + 3
    assert all(chunk["usage"] is None for chunk in (role, *content, finish))
    assert len({chunk["id"] for chunk in (role, *content, finish, usage)}) == 1


async def test_the_bytes_are_compact_with_sorted_keys(sim: Simulator) -> None:
    answer = await ask(sim.url, text="repeat: 世界 👋")

    for event, chunk in zip(answer.events[1:-1], answer.chunk_objects[1:], strict=True):
        compact = json.dumps(chunk, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
        assert event == b"data: " + compact.encode() + b"\n\n"
        assert list(chunk) == CHUNK_KEYS
        assert [list(choice) for choice in chunk["choices"]] == [CHOICE_KEYS]


async def test_the_filter_chunk_is_the_recorded_one_byte_for_byte(sim: Simulator) -> None:
    expected = (
        b'data: {"choices":[],"created":0,"id":"","model":"","object":"","prompt_filter_results":[{"prompt_index":0,'
        b'"content_filter_results":{"hate":{"filtered":false,"severity":"safe"},"jailbreak":{"detected":false,'
        b'"filtered":false},"self_harm":{"filtered":false,"severity":"safe"},"sexual":{"filtered":false,"severity":'
        b'"safe"},"violence":{"filtered":false,"severity":"safe"}}}]}\n\n'
    )

    assert (await ask(sim.url)).events[0] == expected
    recording = RECORDINGS / "az-chat-2026-gpt41mini-finalfilter.sse"
    if recording.exists():
        assert recording.read_bytes().startswith(expected)


@pytest.mark.skipif(not RECORDINGS.is_dir(), reason="the recorded streams are not beside the repository")
async def test_a_stream_has_the_shape_of_a_recorded_one(sim: Simulator) -> None:
    data = (RECORDINGS / "az-chat-2026-gpt41mini-finalfilter.sse").read_bytes()
    recorded = Answer(200, {}, [data])

    answer = await ask(sim.url)

    assert outline(answer.chunk_objects) == outline(recorded.chunk_objects)
    assert recorded.events[-1] == answer.events[-1]


@pytest.mark.skipif(not RECORDINGS.is_dir(), reason="the recorded streams are not beside the repository")
async def test_the_headers_are_those_recorded(sim: Simulator) -> None:
    meta = json.loads((RECORDINGS / "az-chat-2026-gpt41mini-finalfilter.sse.meta.json").read_text())

    answer = await ask(sim.url)

    assert set(meta["response_headers"]) <= set(answer.headers)
    for name in ("content-type", "x-accel-buffering", "x-content-type-options", "strict-transport-security"):
        assert answer.headers[name] == meta["response_headers"][name].lower()


async def test_the_headers_say_what_it_is(sim: Simulator) -> None:
    answer = await ask(sim.url)

    assert answer.headers["x-chukei-simulator"] == "true"
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["transfer-encoding"] == "chunked"
    assert answer.headers["x-ms-deployment-name"] == "gpt-4o"
    assert answer.headers["x-request-id"] != answer.headers["apim-request-id"]
    assert answer.headers["x-ratelimit-limit-tokens"].isdigit()


TEXTS: list[str] = [
    "plain",
    "  two spaces before",
    "line\n\nline\n",
    "data: [DONE]",
    'tab\tand \\ and "',
    "👩‍👩‍👧 家族 é",
    "",
    "\r\n x ",
]


async def test_a_repeated_text_comes_exactly(sim: Simulator) -> None:
    for text in TEXTS:
        answer = await ask(sim.url, text=f"repeat: {text}")

        assert answer.text == text, text


async def test_obfuscation_pads_to_a_multiple_of_sixteen_unless_turned_off(sim: Simulator) -> None:
    padded = await ask(sim.url, text="repeat: a bb ccc dddd")
    for chunk in padded.chunk_objects[2:-1]:
        assert (len(chunk["choices"][0]["delta"]["content"]) + len(chunk["obfuscation"])) % 16 == 0

    plain = await ask(sim.url, stream_options={"include_obfuscation": False})
    assert not any("obfuscation" in chunk for chunk in plain.chunk_objects)


async def test_two_choices_come_interleaved_with_one_usage(sim: Simulator) -> None:
    answer = await ask(sim.url, text="tell me a story", n=2, stream_options={"include_usage": True})

    chunks = answer.chunk_objects[1:-1]
    order = [chunk["choices"][0]["index"] for chunk in chunks]
    assert 0 in order[: order.index(1) + 5]
    assert sum(1 for before, after in pairwise(order) if before != after) > 10
    for index in (0, 1):
        own = [chunk["choices"][0] for chunk in chunks if chunk["choices"][0]["index"] == index]
        assert own[0]["delta"]["role"] == "assistant"
        assert own[-1]["finish_reason"] == "stop"
        assert all(choice["finish_reason"] is None for choice in own[:-1])
    spoken = sum(1 for chunk in chunks if chunk["choices"][0]["delta"].get("content"))
    assert answer.chunk_objects[-1]["usage"]["completion_tokens"] == spoken


TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather in a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "unit": {"type": "string", "enum": ["celsius", "kelvin"]}},
            "required": ["city", "unit"],
        },
    },
}


async def test_tool_calls_stream_as_recorded(sim: Simulator) -> None:
    answer = await ask(sim.url, text="What is the weather in Paris and Tokyo?", tools=[TOOL])

    role, *deltas, finish = [chunk["choices"][0] for chunk in answer.chunk_objects[1:]]
    assert role["delta"]["content"] is None
    first = role["delta"]["tool_calls"][0]
    assert list(first) == ["function", "id", "index", "type"]
    assert first["function"] == {"arguments": "", "name": "get_weather"}
    calls = {0: "", 1: ""}
    openings = 0
    for choice in deltas:
        (change,) = choice["delta"]["tool_calls"]
        calls[change["index"]] += change["function"]["arguments"]
        openings += "id" in change
        if "id" not in change:
            assert list(change) == ["function", "index"]
    assert openings == 1, "the first call is opened by the role chunk, the second by its own"
    assert [json.loads(call)["city"] for call in calls.values()] == ["Paris", "Tokyo"]
    assert all(json.loads(call)["unit"] in ("celsius", "kelvin") for call in calls.values())
    assert finish["finish_reason"] == "tool_calls"


async def test_the_asynchronous_filter_comments_without_a_delta(sim: Simulator) -> None:
    answer = await ask(sim.url, "gpt-4o--filter-async")

    *before, finish, annotation = answer.chunk_objects
    assert not any("content_filter_results" in choice for chunk in before for choice in chunk["choices"])
    assert finish["choices"][0]["finish_reason"] == "stop"
    (choice,) = annotation["choices"]
    assert "delta" not in choice
    assert (annotation["id"], annotation["model"], annotation["object"]) == ("", "", "")
    assert choice["content_filter_offsets"] == {"check_offset": 13, "end_offset": 13, "start_offset": 0}


async def test_a_whole_answer_says_what_the_stream_says(sim: Simulator) -> None:
    body = question("tell me a joke", temperature=0)

    streamed = await post(sim.url, CHAT.format("gpt-4o"), body)
    whole = await post(sim.url, CHAT.format("gpt-4o"), body | {"stream": False})

    (choice,) = whole.json["choices"]
    assert choice["message"]["content"] == streamed.text
    assert choice["finish_reason"] == "stop"
    assert list(whole.json) == sorted(whole.json)
    assert whole.headers["content-type"] == "application/json"
    assert whole.json["usage"]["completion_tokens"] == len(streamed.events) - 4

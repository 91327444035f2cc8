"""Bodies with anything in the wrong place: an answer or a 400 of Azure's, never a failure of the simulator's own."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

import pytest
from tests.simulator.test_chat_stream import TOOL
from tests.simulator.wire import Connection, post, question

from chukei.simulator import Simulator

pytestmark = pytest.mark.anyio

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer", "minimum": 1}}}
BODIES: dict[str, dict[str, Any]] = {
    "chat/completions": question(
        "hello",
        n=2,
        tools=[TOOL],
        tool_choice="auto",
        stream_options={"include_usage": True},
        response_format={"type": "json_schema", "json_schema": {"schema": SCHEMA}},
        stop=["x"],
        max_tokens=5,
    ),
    "responses": {
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "x"}]},
            {"type": "function_call_output", "output": "y"},
        ],
        "instructions": "x",
        "tools": [{"type": "function", "name": "f", "parameters": SCHEMA}],
        "tool_choice": "auto",
        "text": {"format": {"type": "json_schema", "schema": SCHEMA}},
        "reasoning": {"effort": "low"},
        "metadata": {},
        "max_output_tokens": 20,
    },
    "completions": {"prompt": ["x"], "n": 1, "max_tokens": 3, "echo": True, "stream": True},
    "embeddings": {"input": ["x"], "dimensions": 3, "encoding_format": "float"},
    "images/generations": {"prompt": "x", "n": 1},
    "audio/speech": {"input": "x", "voice": "a"},
}
WRONG: list[Any] = [
    *(None, 0, -1, 1, 1.5, 10**30, 1e308, "", "x", "\x00", True, False, [], {}, [[]], [{}], [None], [1, "a", [2]]),
    *({"type": "function"}, {"type": "json_schema"}, {"function": None}, {"function": "x"}, {"name": 3}),
]


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where something can be put instead: the path of every value inside."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = [at] if at else []
    for key, entry in inner:
        found += places(entry, (*at, key))
    return found


async def test_anything_may_stand_anywhere(sim: Simulator) -> None:
    for operation in BODIES:
        dice = random.Random(operation)
        async with await Connection.open(sim.url) as connection:
            for place in places(BODIES[operation]):
                for wrong in dice.sample(WRONG, 8):
                    body = copy.deepcopy(BODIES[operation])
                    *way, last = place
                    target: Any = body
                    for step in way:
                        target = target[step]
                    target[last] = wrong
                    connection.send("POST", f"/openai/v1/{operation}", json.dumps(body | {"model": "m"}).encode())
                    answer = await connection.answer()
                    assert answer.end == "complete", operation
                    assert answer.status in (200, 400), (body, answer.body)
                    if answer.status == 400:
                        assert answer.json["error"]["type"] == "invalid_request_error", operation


NO_OBJECTS: list[bytes] = [
    b"",
    b"{",
    b"null",
    b"3",
    b'"x"',
    b"[]",
    b"\xff",
    b'{"model": 3}',
    b"\x00" * 1000,
]


async def test_bodies_that_are_no_object(sim: Simulator) -> None:
    for operation in BODIES:
        for body in NO_OBJECTS:
            answer = await post(sim.url, f"/openai/v1/{operation}", body)

            assert answer.status == 400, operation
            assert answer.json["error"]["message"], operation

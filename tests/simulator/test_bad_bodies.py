"""Bodies with anything in the wrong place: an answer or a 400 of Azure's, never a failure of the simulator's own."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

import pytest
from tests.simulator.conftest import Simulate
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
        "include": ["reasoning.encrypted_content"],
        "service_tier": "auto",
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


def spoilt(body: dict[str, Any], seed: str) -> Iterator[dict[str, Any]]:
    """The body with something else in each of its places."""
    dice = random.Random(seed)
    for *way, last in places(body):
        for wrong in dice.sample(WRONG, 8):
            changed = copy.deepcopy(body)
            target: Any = changed
            for step in way:
                target = target[step]
            target[last] = wrong
            yield changed


async def test_anything_may_stand_anywhere(sim: Simulator) -> None:
    for operation in BODIES:
        async with await Connection.open(sim.url) as connection:
            for body in spoilt(BODIES[operation], operation):
                connection.send("POST", f"/openai/v1/{operation}", json.dumps(body | {"model": "m"}).encode())
                answer = await connection.answer()
                assert answer.end == "complete", operation
                assert answer.status in (200, 400), (body, answer.body)
                if answer.status == 400:
                    assert answer.json["error"]["type"] == "invalid_request_error", operation


ITEM = {"type": "message", "role": "user", "content": [{"type": "input_file", "file_id": "F"}]}
CRITERION = {"type": "string_check", "name": "c", "operation": "eq", "input": "{{item.a}}", "reference": "x"}
RUN = {"type": "jsonl", "model": "m", "source": {"type": "file_content", "content": [{"item": {"a": "x"}}]}}
OBJECTS: dict[str, dict[str, Any]] = {
    "responses": {
        "model": "o4-mini",
        "background": True,
        "stream": False,
        "input": [
            ITEM,
            {"type": "item_reference", "id": "msg_1"},
            {"type": "reasoning", "encrypted_content": "gAAAAA"},
        ],
        "conversation": {"id": "C"},
        "tools": [
            {"type": "file_search", "vector_store_ids": ["V"]},
            {"type": "image_generation", "partial_images": 1},
        ],
    },
    "responses/compact": {"model": "m", "input": "x"},
    "responses/input_tokens": {"input": [ITEM]},
    "conversations": {"items": [ITEM], "metadata": {}},
    "conversations/C/items": {"items": [ITEM]},
    "chat/completions": {**question("x", stream=False), "model": "m", "store": True, "metadata": {"a": "b"}},
    "uploads": {"filename": "x", "purpose": "batch", "bytes": 3},
    "containers": {"name": "x", "file_ids": ["F"], "expires_after": {"minutes": 3}, "memory_limit": "1g"},
    "vector_stores": {"name": "x", "file_ids": ["F"], "expires_after": {"days": 3}, "metadata": {}},
    "vector_stores/V": {"name": "x", "metadata": {}},
    "vector_stores/V/search": {"query": ["x"], "max_num_results": 3},
    "vector_stores/V/files": {"file_id": "F", "attributes": {"a": 1}},
    "vector_stores/V/file_batches": {"files": [{"file_id": "F", "attributes": {}}], "file_ids": ["F"]},
    "batches": {"input_file_id": "F", "endpoint": "/v1/responses", "completion_window": "24h", "metadata": {}},
    "fine_tuning/jobs": {"model": "m", "training_file": "F", "suffix": "s", "seed": 1, "hyperparameters": {}},
    "evals": {"name": "e", "data_source_config": {"type": "custom"}, "testing_criteria": [CRITERION]},
    "evals/E/runs": {"name": "r", "data_source": RUN},
}
LISTS = ("chat/completions", "vector_stores", "vector_stores/V/files", "batches", "fine_tuning/jobs", "evals/E/runs")
GONE_ON_THE_WAY = {200, 201, 400, 404}


async def test_anything_may_stand_anywhere_in_what_is_kept(simulate: Simulate) -> None:
    sim = await simulate(job_looks=0)
    file = await post(
        sim.url,
        "/openai/v1/files",
        b'--b\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
        b'--b\r\ncontent-disposition: form-data; name="file"; filename="f"\r\n\r\n{"custom_id": 1}\r\n--b--',
        content_type="multipart/form-data; boundary=b",
    )
    names = {'"F"': file.json["id"]}
    for letter, path in (("C", "conversations"), ("V", "vector_stores"), ("E", "evals")):
        body = {"data_source_config": {"type": "custom"}, "testing_criteria": [CRITERION]} if letter == "E" else {}
        names[f'"{letter}"'] = (await post(sim.url, f"/openai/v1/{path}", body)).json["id"]

    def filled(text: str) -> str:
        for name, id_ in names.items():
            text = text.replace(name, json.dumps(id_))
        return text

    async with await Connection.open(sim.url) as connection:
        for operation, body in OBJECTS.items():
            path = "/".join(names.get(f'"{part}"', part) for part in operation.split("/"))
            for changed in (body, *spoilt(body, operation)):
                connection.send("POST", f"/openai/v1/{path}", filled(json.dumps(changed)).encode())
                answer = await connection.answer()
                assert answer.status in GONE_ON_THE_WAY, (operation, changed, answer.body)
        for name in LISTS:
            path = "/".join(names.get(f'"{part}"', part) for part in name.split("/"))
            connection.send("GET", f"/openai/v1/{path}?limit=10000")
            assert (await connection.answer()).status == 200, name


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

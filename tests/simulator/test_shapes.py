"""The simulator beside recorded answers of the real services: fields, types, headers and the order of events.

The simulator gets the recorded requests. What it answers may hold only fields that some recording of its kind holds,
with the same types, and must hold those that every recording of Azure's holds.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from typing import Any

import pytest
from tests.live.recorded_exchanges import DIRECTORY, EXCHANGES, STREAMS, RecordedExchange
from tests.live.recordings import DIRECTORY as STREAM_DIRECTORY
from tests.simulator.wire import Answer, ask, post

from chukei.simulator import Simulator

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not EXCHANGES, reason="the recorded exchanges are not beside the repository"),
]

SIMULATED = ("chat", "chat stream", "completions", "embeddings", "images", "responses", "responses stream")
"""Kinds of recordings that the simulator has an answer to."""

OWN_HEADERS = {"x-chukei-simulator", "date", "content-length", "transfer-encoding", "connection"}

AZURE_HEADERS = {name for each in (*EXCHANGES, *STREAMS) if each.provider == "azure" for name, _ in each.answered_with}

Shape = dict[str, set[str]]
"""The types that stand at each place of some JSON; a place is written ``choices[].delta.content``."""


def shape_of(values: Iterable[Any]) -> Shape:
    """Return the places in some JSON values."""
    shape: Shape = defaultdict(set)
    for value in values:
        for place, kind in _places(value, ""):
            shape[place].add(kind)
    return shape


def _places(value: Any, place: str) -> Iterator[tuple[str, str]]:
    yield place, _TYPES.get(type(value), "number")
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _places(inner, f"{place}.{key}" if place else key)
    elif isinstance(value, list):
        for inner in value:
            yield from _places(inner, f"{place}[]")


_TYPES: dict[type, str] = {dict: "object", list: "list", str: "string", bool: "boolean", type(None): "null"}


def chunks_of(stream: bytes) -> list[Any]:
    """Return the JSON of a stream's events."""
    data = [line.removeprefix(b"data: ") for line in stream.splitlines() if line.startswith(b"data: {")]
    return [json.loads(each) for each in data]


@dataclass
class Recorded:
    """What the recordings of one kind have in common, and what any of them has."""

    seen: Shape = field(default_factory=lambda: defaultdict(set))
    always: set[str] = field(default_factory=set)
    headers: set[str] = field(default_factory=set)
    content_types: set[str] = field(default_factory=set)
    steps: set[tuple[str, str]] = field(default_factory=set)
    azure: int = 0

    def add(self, exchange: RecordedExchange, values: list[Any]) -> None:
        shape = shape_of(values)
        for place, kinds in shape.items():
            self.seen[place] |= kinds
        self.content_types.add(exchange.header("content-type"))
        self.steps |= steps_of(values)
        if exchange.provider == "azure":
            headers = {name for name, _ in exchange.answered_with}
            self.always = self.always & shape.keys() if self.azure else set(shape)
            self.headers = self.headers & headers if self.azure else headers
            self.azure += 1


def steps_of(values: list[Any]) -> set[tuple[str, str]]:
    """Return which kind of event follows which in a stream."""
    kinds = ["begin", *map(_kind, values), "end"]
    return {(before, after) for before, after in pairwise(kinds) if before != after}


def _kind(chunk: Any) -> str:
    if "type" in chunk:
        return str(chunk["type"])
    if not chunk.get("choices"):
        return "usage" if chunk.get("usage") else "filter"
    choice = chunk["choices"][0]
    if choice.get("finish_reason"):
        return "finish"
    return "role" if choice.get("delta", {}).get("role") else "output"


def _values(exchange: RecordedExchange) -> list[Any]:
    return chunks_of(exchange.answer) if exchange.streamed else [json.loads(exchange.answer)]


@cache
def recorded(kind: str) -> Recorded:
    """Gather the recordings of one kind."""
    found = Recorded()
    for exchange in (*EXCHANGES, *STREAMS):
        if exchange.kind == kind and exchange.status == 200 and b'"type":"error"' not in exchange.answer:
            found.add(exchange, _values(exchange))
    return found


_BEYOND = re.compile(
    r"reasoning|code-interpreter|stream-image|mcp|web-search|resume|copilot|deepseek|audio|refusal|error"
)
"""Recordings of what the simulator does not do, by name: hosted tools, reasoning, stored responses, audio in chats."""


def answerable() -> list[RecordedExchange]:
    """Return the exchanges whose requests the simulator answers in JSON."""
    return [
        each
        for each in (*EXCHANGES, *STREAMS)
        if each.kind in SIMULATED and each.status == 200 and not _BEYOND.search(each.name)
    ]


async def simulated(sim: Simulator, exchange: RecordedExchange) -> Answer:
    """Return the simulator's answer to a recorded request; what names a stored response names one of its own."""
    path = "/" + exchange.path.lstrip("/")
    asked = {"model": "gpt-4o", **exchange.asked}
    if "previous_response_id" in asked:
        first = await post(sim.url, "/openai/v1/responses", {"model": "gpt-4o", "input": "repeat: one"})
        asked["previous_response_id"] = first.json["id"]
    return await post(sim.url, path if path.startswith("/openai/") else f"/openai{path}", asked)


ALLOWED = {
    r"the header (x-ms-served-model|azureai-fe-is-streaming)": "seen on streams of 2026 that are not among these",
    r"(data\[\]\.revised_prompt|usage\.(in|out|total_)\S+|usage)": "of gpt-image, which is newer than the images",
    r"output after finish": "of several choices one ends first; in the recording all end together",
    r"data\[\]\.(content|prompt)_filter_results.*": "Azure's own, and the recordings of images are of OpenAI",
    r"(usage\.\w+_tokens_details|system_fingerprint|prompt_filter\S+\.jailbreak).*": "newer than the completion",
}
"""What may be in an answer although no recording has it, and why."""


def is_allowed(difference: str) -> bool:
    """Whether a difference is one of those."""
    return any(re.fullmatch(f"not recorded: {form}", difference) for form in ALLOWED)


def differences(known: Recorded, answer: Answer, exchange: RecordedExchange) -> set[str]:
    """Return in what an answer differs from the recordings of its kind."""
    values = chunks_of(answer.body) if exchange.streamed else [answer.json]
    shape = shape_of(values)
    found = {f"not recorded: {place}" for place in shape if place not in known.seen}
    for place, kinds in shape.items():
        if place in known.seen and (odd := kinds - known.seen[place] - {"null"}):
            found.add(f"not recorded: {place} as {', '.join(sorted(odd))}")
    if known.azure > 1 and exchange.provider == "azure":  # what one alone has may belong to its request
        found |= {f"always recorded: {place}" for place in known.always - shape.keys()}
        found |= {f"always recorded: the header {name}" for name in known.headers - answer.headers.keys()}
    found |= {f"not recorded: the header {name}" for name in answer.headers.keys() - AZURE_HEADERS - OWN_HEADERS}
    if answer.headers["content-type"] not in known.content_types:
        found.add(f"not recorded: the content type {answer.headers['content-type']}")
    if exchange.streamed:
        found |= {f"not recorded: {after} after {before}" for before, after in steps_of(values) - known.steps}
    return {difference for difference in found if not is_allowed(difference)}


async def test_an_answer_has_the_recorded_shape(sim: Simulator) -> None:
    assert answerable()
    for exchange in answerable():
        answer = await simulated(sim, exchange)
        assert (answer.status, answer.end) == (200, "complete"), answer.body
        assert differences(recorded(exchange.kind), answer, exchange) == set(), exchange.name


ERRORS = {
    "401": (DIRECTORY / "az-chat-401-subscription-key.response.json", set[str]()),
    "404": (STREAM_DIRECTORY / "az-error-404-deploymentnotfound.json", set[str]()),
    "429": (DIRECTORY / "az-chat-429-token-rate.response.json", {"retry-after"}),
    "filter-prompt": (DIRECTORY / "az-chat-400-content-filter.response.json", set[str]()),
}
"""The simulator's faults, the recorded bodies of the same errors, and the fields of the head that come with them."""


async def test_an_error_has_the_recorded_shape(sim: Simulator) -> None:
    for fault, (recording, headers) in ERRORS.items():
        answer = await ask(sim.url, f"fault-{fault}")
        error, told = answer.json["error"], json.loads(recording.read_bytes())["error"]
        assert {key: type(value) for key, value in error.items()} == {
            key: type(value) for key, value in told.items()
        }, fault
        assert error["code"] == told["code"], fault
        assert answer.headers["content-type"] == "application/json", fault
        assert headers <= answer.headers.keys(), fault

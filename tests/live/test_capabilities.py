"""Deployments that know different fields behind one name, on real sockets: each gets a request that it understands."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.live.plain_http import Answer, post
from tests.live.relays import InProcessRelay

from chukei.config import load
from chukei.simulator import Simulator, SimulatorSettings

pytestmark = pytest.mark.anyio

CONFIGURATION = """
[defaults]
model = "thinking"

[models.thinking]
deployments = ["thinker"]

[models.mixed]
deployments = ["busy", "old", "new"]
system = "Be brief."

[deployments.thinker]
endpoint = "{url}"
deployment = "o4-mini"
api_key = {{ env = "KEY" }}

[deployments.busy]
endpoint = "{url}"
deployment = "gpt-4o--429-after-60"
api_key = {{ env = "KEY" }}
priority = 1

[deployments.old]
endpoint = "{url}"
deployment = "gpt-4o--500"
api_key = {{ env = "KEY" }}
api_version = "2024-06-01"
priority = 2

[deployments.new]
endpoint = "{url}"
deployment = "gpt-4o"
api_key = {{ env = "KEY" }}
api_version = "2024-10-21"
priority = 3
"""
LIMITED = b'{"max_tokens" :  50 , "messages":[{"role":"user","content":"hi"}],"stream":true}'


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator(SimulatorSettings(first_token_seconds=0, inter_token_seconds=0)) as running:
        yield running


@pytest.fixture
async def relay(simulator: Simulator, tmp_path: Path) -> AsyncIterator[InProcessRelay]:
    file = tmp_path / "chukei.toml"
    file.write_text(CONFIGURATION.format(url=simulator.url))
    async with InProcessRelay(load(str(file), {"KEY": "upstream-key"})) as running:
        yield running


async def chat(relay: InProcessRelay, body: bytes) -> Answer:
    return await post(relay.url, "/v1/chat/completions", body)


def bodies(simulator: Simulator) -> list[dict[str, Any]]:
    return [json.loads(exchange.body) for exchange in simulator.exchanges]


async def test_a_refused_field_is_renamed_once_and_the_client_sees_nothing(
    relay: InProcessRelay, simulator: Simulator
) -> None:
    first = await chat(relay, LIMITED)
    assert first.status == 200
    assert first.body.endswith(b"data: [DONE]\n\n")
    assert [exchange.status for exchange in simulator.exchanges] == [400, 200]
    refused, renamed = simulator.exchanges
    assert renamed.body == refused.body.replace(b'"max_tokens" :  50 ', b'"max_completion_tokens" :  50 ')
    second = await chat(relay, LIMITED)
    assert second.status == 200
    assert [exchange.status for exchange in simulator.exchanges] == [400, 200, 200]


async def test_requests_that_are_refused_together_all_succeed(relay: InProcessRelay, simulator: Simulator) -> None:
    answers = await asyncio.gather(*(chat(relay, LIMITED) for _ in range(10)))
    assert [answer.status for answer in answers] == [200] * 10
    assert all(body.get("max_tokens") is None for body in bodies(simulator)[-10:])


async def test_any_other_400_is_asked_once_and_goes_to_the_client(relay: InProcessRelay, simulator: Simulator) -> None:
    answer = await chat(relay, b'{"temperature":9,"messages":[{"role":"user","content":"hi"}]}')
    assert answer.status == 400
    assert len(simulator.exchanges) == 1


async def test_each_deployment_of_a_pool_gets_what_its_version_knows(
    relay: InProcessRelay, simulator: Simulator
) -> None:
    own = b'"stream_options":{"include_usage":true},"max_completion_tokens":7,"stream":true}'
    answer = await chat(relay, b'{"model":"mixed","messages":[{"role":"user","content":"hi"}],' + own)
    assert answer.status == 200
    assert b'"total_tokens"' in answer.body
    busy, old, new = simulator.exchanges
    assert [busy.status, old.status, new.status] == [429, 500, 200]
    assert [exchange.query.get("api-version") for exchange in (busy, old, new)] == [None, "2024-06-01", "2024-10-21"]
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}]
    common: dict[str, Any] = {"messages": messages, "stream": True}
    full = common | {"stream_options": {"include_usage": True}, "max_completion_tokens": 7}
    assert bodies(simulator) == [
        full | {"model": "gpt-4o--429-after-60"},
        common | {"model": "mixed", "max_tokens": 7},
        full | {"model": "mixed"},
    ]

"""Conversations of stock clients against a model with two resources: each stays with the one that keeps what it names.

Either resource refuses what the other has made. Each turn asks the other of two relays, which share a Redis.
"""

import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.live.callers import ENVIRONMENT, config, key_of
from tests.live.client_packages import NODE, npm_packages
from tests.live.redis_server import RedisServer
from tests.live.relays import RelayProcess, clean_environment
from tests.live.simulated import SimulatorThread

from chukei.simulator import SimulatorSettings

CONVERSATIONS = 12
"""Of each kind. Their first turns are spread over both resources."""

KINDS = {
    "plain": "three",
    "reasoning": "three",
    "sealed": "three",
    "streamed": "three",
    "tool": "sunny in Kyoto",
    "previous": "three",
    "session": "three",
}
"""The kinds of conversations in tests/node/turns.mjs, and what the last turn of each must say."""

QUICK = SimulatorSettings(first_token_seconds=0, inter_token_seconds=0, exchanges_kept=10_000)


@pytest.fixture(scope="module")
def simulators() -> Iterator[list[SimulatorThread]]:
    with SimulatorThread(QUICK) as one, SimulatorThread(QUICK) as two:
        yield [one, two]


def settings(path: Path, simulators: list[SimulatorThread], redis: str) -> Path:
    """Write the configuration of a relay whose two models have a deployment on each resource."""
    names = {"chat": "gpt-4o", "gpt-5-mini": "gpt-5-mini"}
    deployments = {
        f"{model}-{number}": {
            "endpoint": simulator.url, "deployment": deployment, "api_key": {"env": "UPSTREAM_KEY"},
        }
        for model, deployment in names.items()
        for number, simulator in enumerate(simulators)
    }  # fmt: skip
    models = {model: {"deployments": [f"{model}-{number}" for number in range(len(simulators))]} for model in names}
    return config(path, "", {"ann": {}}, models=models, deployments=deployments, stores={"quota": redis})


@pytest.fixture(scope="module")
def said(simulators: list[SimulatorThread], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What the last turn of each conversation said. All run at once, in one program."""
    npm_packages()
    folder = tmp_path_factory.mktemp("relays")
    with ExitStack() as stack:
        redis = stack.enter_context(RedisServer())
        paths = [settings(folder / f"{name}.toml", simulators, redis.url) for name in ("one", "two")]
        relays = [stack.enter_context(RelayProcess({**ENVIRONMENT, "CHUKEI_CONFIG": str(path)})) for path in paths]
        task = {"urls": [relay.url for relay in relays], "key": key_of("ann"), "conversations": CONVERSATIONS}
        done = subprocess.run(
            ["node", "turns.mjs"],
            cwd=NODE,
            env=clean_environment(),
            input=json.dumps(task),
            capture_output=True,
            text=True,
            timeout=180,
        )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize("kind", KINDS)
def test_every_conversation_goes_on(kind: str, said: Any) -> None:
    assert len(said[kind]) == CONVERSATIONS
    assert [text for text in said[kind] if KINDS[kind] not in text or "Error" in text] == []


def test_relays_know_where_to_ask(said: object, simulators: list[SimulatorThread]) -> None:
    """Without the Redis, the other relay tries one resource after the other, some 40 times here.

    On a busy machine Redis may seem away for a moment, which costs a try too.
    """
    refused = 0
    for simulator in simulators:
        exchanges = simulator.simulator.exchanges
        refused += sum(exchange.status != 200 for exchange in exchanges)
        bodies = [exchange.body for exchange in exchanges if exchange.operation == "responses"]
        for mark in (b'"item_reference"', b'"previous_response_id"', b'"encrypted_content"'):
            assert sum(mark in body for body in bodies) >= 2, mark
    assert refused < CONVERSATIONS / 2

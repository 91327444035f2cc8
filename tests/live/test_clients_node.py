"""Vercel's AI SDK, LangChain and the Agents SDK for Node, with each API that they have."""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from tests.live.client_answers import CASES, KEYED, Case, check, left, tasks
from tests.live.client_packages import NODE, npm_packages
from tests.live.relays import RelayProcess, clean_environment

CLIENTS = [
    "ai-sdk-responses",
    "ai-sdk-chat",
    "ai-sdk-azure-responses",
    "ai-sdk-azure-chat",
    "ai-sdk-compatible",
    "langchain-chat",
    "langchain-responses",
    "langchain-azure",
    "agents-responses",
    "agents-chat",
]


@pytest.fixture(scope="module")
def relay() -> Iterator[RelayProcess]:
    npm_packages()
    with RelayProcess(KEYED) as relay:
        yield relay


@pytest.fixture(scope="module")
def answers(relay: RelayProcess) -> dict[tuple[str, str], dict[str, Any]]:
    """What each client gave back in each case. All run at once, since they mostly wait."""
    done = subprocess.run(
        ["node", "clients.mjs"],
        cwd=NODE,
        env=clean_environment(),
        input=tasks(CLIENTS, relay.url),
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    named = [(client, case.name) for client in CLIENTS for case in CASES]
    return dict(zip(named, json.loads(done.stdout), strict=True))


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.name).replace(" ", "-"))
def test_a_client_and_the_relay_understand_each_other(
    client: str, case: Case, answers: dict[tuple[str, str], dict[str, Any]]
) -> None:
    check(case, answers[client, case.name])


@pytest.mark.anyio
@pytest.mark.parametrize("client", CLIENTS)
async def test_a_client_that_leaves_stops_the_upstream(client: str, relay: RelayProcess, answers: object) -> None:
    await left(relay, client)

"""Vercel's AI SDK, LangChain and the Agents SDK for Node, with each API that they have."""

from collections.abc import Iterator

import pytest
from tests.live.client_answers import CASES, KEYED, Answers, Case, check, left, run
from tests.live.client_packages import NODE, npm_packages
from tests.live.relays import RelayProcess

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
def answers(relay: RelayProcess) -> Answers:
    """All run at once, since they mostly wait."""
    return run(["node", "clients.mjs"], CLIENTS, relay.url, NODE)


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.name).replace(" ", "-"))
def test_a_client_and_the_relay_understand_each_other(client: str, case: Case, answers: Answers) -> None:
    check(case, answers[client, case.name])


@pytest.mark.anyio
@pytest.mark.parametrize("client", CLIENTS)
async def test_a_client_that_leaves_stops_the_upstream(client: str, relay: RelayProcess, answers: object) -> None:
    await left(relay, client)

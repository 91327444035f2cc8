"""The Agents SDK and Semantic Kernel for Python, with each API that they have."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.live.client_answers import CASES, KEYED, Answers, Case, check, left, run
from tests.live.client_packages import python_clients
from tests.live.relays import RelayProcess

CLIENTS = ["agents-responses", "agents-chat", "kernel-openai", "kernel-azure"]
SCRIPT = Path(__file__).with_name("clients_script.py")


@pytest.fixture(scope="module")
def python() -> Path:
    return python_clients()


@pytest.fixture(scope="module")
def relay(python: Path) -> Iterator[RelayProcess]:
    with RelayProcess(KEYED) as relay:
        yield relay


@pytest.fixture(scope="module")
def answers(python: Path, relay: RelayProcess) -> Answers:
    """All run at once: importing them takes longer than all cases."""
    return run([python, SCRIPT], CLIENTS, relay.url)


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.name).replace(" ", "-"))
def test_a_client_and_the_relay_understand_each_other(client: str, case: Case, answers: Answers) -> None:
    check(case, answers[client, case.name])


@pytest.mark.anyio
@pytest.mark.parametrize("client", CLIENTS)
async def test_a_client_that_leaves_stops_the_upstream(client: str, relay: RelayProcess, answers: object) -> None:
    await left(relay, client)

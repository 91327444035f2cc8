"""The Agents SDK and Semantic Kernel for Python, with each API that they have."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.live.client_answers import CASES, KEYED, Case, check, left, tasks
from tests.live.client_packages import python_clients
from tests.live.relays import RelayProcess, clean_environment

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
def answers(python: Path, relay: RelayProcess) -> dict[tuple[str, str], dict[str, Any]]:
    """What each client gave back in each case. All run at once: importing them takes longer than all cases."""
    done = subprocess.run(
        [python, SCRIPT],
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

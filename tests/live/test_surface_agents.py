"""The Agents SDK for Python: its default model, sessions that the service keeps, and its WebSockets."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.live.client_answers import KEY, KEYED, requests
from tests.live.client_packages import python_clients
from tests.live.relays import RelayProcess, clean_environment, eventually

SCRIPT = Path(__file__).with_name("surface_script.py")
CASES: dict[str, list[object]] = {
    "default": ["one", "two"],
    "conversation": ["one", "two", 4, "two"],
    "conversation_at_the_service": ["two", 4],
    "compaction": ["one", "two"],
    "background": ["one two three"],
    "socket": ["one", "two", True],
    "socket_as_transport": ["one"],
}
"""What each case of surface_script.py returns."""


@pytest.fixture(scope="module")
def relay() -> Iterator[RelayProcess]:
    python_clients()
    with RelayProcess(KEYED) as relay:
        yield relay


@pytest.fixture(scope="module")
def answers(relay: RelayProcess) -> Any:
    """All cases run at once: to import the package takes longer than all of them."""
    done = subprocess.run(
        [python_clients(), SCRIPT],
        env=clean_environment(),
        input=json.dumps({"url": relay.url, "key": KEY}),
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize("case", CASES)
def test_a_case(case: str, answers: Any) -> None:
    assert answers[case] == {"value": CASES[case]}


@pytest.mark.anyio
async def test_its_sockets_are_sockets(answers: object, relay: RelayProcess) -> None:
    def statuses() -> list[int]:
        return [line["status"] for line in requests(relay) if line["operation"] == "responses_socket"]

    await eventually(lambda: statuses() == [101, 101])

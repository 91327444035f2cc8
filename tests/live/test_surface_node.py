"""OpenAI's npm package and the Agents SDK for Node: kept objects on both shapes of the API, and WebSockets."""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from tests.live.client_answers import KEY, KEYED
from tests.live.client_packages import NODE, npm_packages
from tests.live.relays import RelayProcess, clean_environment
from tests.live.tls_front import TlsFront

WORDS = "one two three four five six"

OPENAI: dict[str, list[object]] = {
    "stored": ["two", 1, 404],
    "background": [WORDS, "cancelled"],
    "resumed": [WORDS, "response.completed"],
    "conversation": ["two", 4, 404],
    "chat": ["kept", True, 404],
    "files": [True, "helloworld", True],
    "vectors": ["completed", "Bees make honey.", 404],
    "batch": ["in a batch", True],
    "socket": ["one two", "three"],
}
CASES: dict[str, list[object]] = {
    **{f"{shape} {name}": value for shape in ("openai", "azure") for name, value in OPENAI.items()},
    **{f"realtime {name}": ["one two", "one two"] for name in ("ws", "azure", "web")},
    "agents conversation": ["one", "two", 4],
    "agents socket": ["one", "two"],
}
"""What each case of tests/node/surface.mjs returns."""


@pytest.fixture(scope="module")
def relay() -> Iterator[RelayProcess]:
    npm_packages()
    with RelayProcess(KEYED) as relay:
        yield relay


@pytest.fixture(scope="module")
def answers(relay: RelayProcess, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """All cases run at once, in one program."""
    with TlsFront(relay.url, tmp_path_factory.mktemp("front")) as front:
        done = subprocess.run(
            ["node", "surface.mjs"],
            cwd=NODE,
            env=clean_environment({"NODE_EXTRA_CA_CERTS": str(front.authority)}),
            input=json.dumps({"url": relay.url, "secure": front.url, "key": KEY}),
            capture_output=True,
            text=True,
            timeout=180,
        )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize("case", CASES)
def test_a_case(case: str, answers: Any) -> None:
    assert answers[case] == {"value": CASES[case]}


def test_every_case_is_compared(answers: Any) -> None:
    assert set(answers) == set(CASES)

"""What every client must make of the relay, whatever its language and its API; a whole family runs at once."""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.live.relays import RelayProcess, clean_environment, eventually

KEY = "relay-key-0123456789"
TEXT = "one two three four five six seven eight"
KEYED = {
    "CHUKEI_API_KEY": KEY,
    "CHUKEI_SIMULATOR__FIRST_TOKEN_SECONDS": "0",
    "CHUKEI_SIMULATOR__INTER_TOKEN_SECONDS": "0",
    # Clients of one family share the deployments, and a failure of one must not be another's.
    "CHUKEI_POOL__MAX_COOLDOWN_SECONDS": "0",
    "CHUKEI_POOL__BREAKER_FAILURES": "0",
    "CHUKEI_POOL__MISCONFIGURED_SECONDS": "0",
}


@dataclass(frozen=True)
class Case:
    """A scenario with a model, and what the client must give back: a value, or an error with its message."""

    name: str
    scenario: str
    model: str
    value: object = None
    status: int | None = None
    message: str = ""
    key: str = KEY

    def task(self, client: str, url: str) -> dict[str, str]:
        """Return the task for a client. ``CLIENT`` in a model's name gives the client a deployment of its own."""
        model = self.model.replace("CLIENT", client)
        return {"client": client, "scenario": self.scenario, "url": url, "key": self.key, "model": model}


CASES = [
    Case("stream", "stream", "chat", TEXT),
    Case("comments between events", "stream", "chat--comments", TEXT),  # as the relay sends them while Azure is silent
    Case("tool", "tool", "chat"),
    Case("object", "object", "chat"),
    Case("leaving", "abort", "CLIENT--stall-8", True),
    Case("waiting after a 429", "stream", "CLIENT--429-0.1-times-1", TEXT),
    Case("429", "stream", "chat--429-0.1", status=429, message="exceeded token rate limit"),
    Case("wrong key", "stream", "chat", status=401, message="key", key="wrong"),
    Case("wrong model", "stream", "chat--404", status=404, message="deployment for this resource does not exist"),
    Case("content filter", "stream", "chat--filter-prompt", status=400, message="content"),
    Case("break in mid-stream", "stream", "chat--truncate-8", message="The upstream broke off before its answer"),
]


Answers = dict[tuple[str, str], dict[str, Any]]
"""What each client gave back in each case, by the names of both."""


def run(command: Sequence[str | Path], clients: Sequence[str], url: str, folder: Path | None = None) -> Answers:
    """Run all cases of a family in one program, which reads them as JSON and writes what came back."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=clean_environment(),
        input=json.dumps([case.task(client, url) for client in clients for case in CASES]),
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    named = [(client, case.name) for client in clients for case in CASES]
    return dict(zip(named, json.loads(done.stdout), strict=True))


def check(case: Case, answer: dict[str, Any]) -> None:
    """Check what a client gave back."""
    if case.message:
        error = answer["error"]
        assert case.message in error["message"]
        assert case.status is None or error["status"] == case.status
    elif case.scenario == "tool":
        assert "sunny in Kyoto" in answer["value"]
    elif case.scenario == "object":
        assert set(answer["value"]) == {"name", "minutes"}
        assert isinstance(answer["value"]["minutes"], (int, float))
    else:
        assert answer == {"value": case.value}


def requests(relay: RelayProcess) -> list[dict[str, Any]]:
    """Return the log lines of the requests that have ended."""
    lines = [json.loads(line) for line in tuple(relay.log) if line.startswith("{")]
    return [line for line in lines if line.get("event") == "request"]


async def left(relay: RelayProcess, client: str) -> None:
    """Wait until the relay has heard that a client left its stream."""
    model = f"{client}--stall-8"
    await eventually(
        lambda: [line["end"] for line in requests(relay) if line.get("model") == model] == ["client_aborted"]
    )

"""Codex, with the settings that docs/clients.md shows. Skipped where it cannot be installed: it is 424 MB."""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests import markdown
from tests.live.client_answers import KEY, KEYED, requests
from tests.live.client_packages import CODEX, npm_packages
from tests.live.relays import RelayProcess, clean_environment, eventually

NAME = "# ~/.codex/config.toml\n"
POSTED, REFUSED, OPENED = ("POST", "/v1/responses", 200), ("GET", "/v1/responses", 426), ("GET", "/v1/responses", 101)
SOCKETS = ("-c", "model_providers.chukei.supports_websockets=true")


@dataclass
class Codex:
    """Codex with a home of its own, and a relay whose requests it counts."""

    program: Path
    home: Path
    relay: RelayProcess

    def ask(self, prompt: str, *options: str, key: str = KEY) -> tuple[int, str]:
        """Ask once; return the status with which it ended, and what it printed in both streams."""
        home = self.home / ".codex"
        home.mkdir(exist_ok=True)
        if not (home / "config.toml").exists():
            [settings] = [fence.text for fence in markdown.fences("toml") if fence.text.startswith(NAME)]
            (home / "config.toml").write_text(settings.replace("http://127.0.0.1:7221", self.relay.url), "utf-8")
        done = subprocess.run(
            [self.program, "exec", "--skip-git-repo-check", *options, prompt],
            cwd=self.home,
            env=clean_environment({"HOME": str(self.home), "RELAY_KEY": key, "CODEX_API_KEY": key}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )
        return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def relay() -> Iterator[RelayProcess]:
    npm_packages(CODEX)
    with RelayProcess(KEYED) as relay:
        yield relay


@pytest.fixture(scope="module")
def relay_without_sockets() -> Iterator[RelayProcess]:
    npm_packages(CODEX)
    with RelayProcess({**KEYED, "CHUKEI_SOCKETS__ENABLED": "false"}) as relay:
        yield relay


@pytest.fixture
def codex(relay: RelayProcess, tmp_path: Path) -> Codex:
    relay.log.clear()
    return Codex(npm_packages(CODEX) / ".bin" / "codex", tmp_path, relay)


async def sent(codex: Codex, *expected: tuple[str, str, int]) -> None:
    """Wait until the relay has logged as many requests as expected, and compare them."""
    await eventually(lambda: len(requests(codex.relay)) >= len(expected))
    assert [(line["method"], line["path"], line["status"]) for line in requests(codex.relay)] == [*expected]


@pytest.mark.anyio
async def test_it_answers(codex: Codex) -> None:
    status, said = codex.ask("repeat: one two three")
    assert (status, "one two three" in said) == (0, True)
    await sent(codex, POSTED)


@pytest.mark.anyio
async def test_what_a_tool_says_goes_up_with_the_next_request(codex: Codex) -> None:
    status, said = codex.ask("Please update the task plan.")
    assert status == 0, said
    await sent(codex, POSTED, POSTED)
    assert requests(codex.relay)[1]["request_bytes"] > requests(codex.relay)[0]["request_bytes"]


async def sessions(codex: Codex, count: int = 1) -> list[dict[str, Any]]:
    """Wait until so many WebSockets have ended; return the turns on them, of which the first may have no answer.

    Codex opens a connection when it starts, and has the service read its instructions (``generate: false``) before
    there is a prompt.
    """
    await eventually(lambda: len(requests(codex.relay)) - len(turns(codex.relay)) == count)
    rest = [(line["method"], line["path"], line["status"]) for line in requests(codex.relay) if not is_turn(line)]
    assert rest == [OPENED] * count
    return turns(codex.relay)


def is_turn(line: dict[str, Any]) -> bool:
    """Whether a log line is that of a turn: its id is that of the session and a number."""
    return line["method"] == "POST" and "-" in line["request_id"]


def turns(relay: RelayProcess) -> list[dict[str, Any]]:
    """Return the log lines of the turns on WebSockets that have ended."""
    return [line for line in requests(relay) if is_turn(line)]


@pytest.mark.anyio
async def test_turns_over_a_websocket_add_to_those_before(codex: Codex) -> None:
    status, said = codex.ask("Please update the task plan.", *SOCKETS)
    assert status == 0, said
    first, *_, last = await sessions(codex)
    assert (first["status"], last["status"]) == (200, 200)
    assert last["request_bytes"] < first["request_bytes"]
    assert last["input_tokens"] > first["input_tokens"]


@pytest.mark.anyio
async def test_a_429_over_a_websocket_is_waited_for(codex: Codex) -> None:
    status, said = codex.ask("repeat: one two three", "-m", "socket--429-0.1-times-1", *SOCKETS)
    assert (status, "one two three" in said) == (0, True)
    assert [turn["status"] for turn in await sessions(codex, 2)] == [429, 200]


@pytest.mark.anyio
async def test_its_own_provider_with_another_address(codex: Codex) -> None:
    """That one always tries a WebSocket first."""
    own_provider(codex)
    status, said = codex.ask("repeat: one two three")
    assert (status, "one two three" in said) == (0, True)
    assert {turn["status"] for turn in await sessions(codex)} == {200}


@pytest.mark.anyio
async def test_where_websockets_are_off_http_does_it_at_once(
    relay_without_sockets: RelayProcess, tmp_path: Path
) -> None:
    codex = Codex(npm_packages(CODEX) / ".bin" / "codex", tmp_path, relay_without_sockets)
    own_provider(codex)
    status, said = codex.ask("repeat: one two three")
    assert (status, "one two three" in said) == (0, True)
    await sent(codex, REFUSED, POSTED)


def own_provider(codex: Codex) -> None:
    """Write the settings of Codex's own provider."""
    home = codex.home / ".codex"
    home.mkdir()
    (home / "config.toml").write_text(f'model = "chat"\nopenai_base_url = "{codex.relay.url}/v1"\n', "utf-8")


@pytest.mark.anyio
async def test_a_429_is_waited_for(codex: Codex) -> None:
    status, said = codex.ask("repeat: one two three", "-m", "codex--429-0.1-times-1")
    assert (status, "one two three" in said) == (0, True)
    await sent(codex, ("POST", "/v1/responses", 429), POSTED)


@pytest.mark.anyio
async def test_of_a_stream_that_broke_off_it_shows_what_the_relay_says(codex: Codex) -> None:
    status, said = codex.ask("repeat: one two three four five six", "-m", "chat--truncate-8")
    assert status != 0
    assert "stream disconnected before completion: The upstream broke off before its answer was complete." in said
    await sent(codex, POSTED, POSTED, POSTED)


ERRORS = [
    (("-m", "chat--404"), KEY, "The API deployment for this resource does not exist"),
    (("-m", "chat--filter-prompt"), KEY, "content management policy"),
    ((), "wrong", "401"),
]


@pytest.mark.parametrize(("options", "key", "message"), ERRORS, ids=["model", "filter", "key"])
def test_an_error_is_shown(codex: Codex, options: tuple[str, ...], key: str, message: str) -> None:
    status, said = codex.ask("repeat: one two three", *options, key=key)
    assert status != 0
    assert message in said

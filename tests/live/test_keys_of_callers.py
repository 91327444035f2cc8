"""Callers' keys from end to end: made on the command line, used on two relays with one database, replaced, revoked."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.live.plain_http import CHAT, Answer, post
from tests.live.raw_client import RawClient
from tests.live.relays import RelayProcess, clean_environment
from tests.live.simulated import SimulatorThread

pytestmark = pytest.mark.anyio

PEPPER = "a pepper of thirty-two characters or more"
WITHIN = 60.0
"""Seconds after which the test gives up. A replica looks every two seconds; tests/adapters/test_key_ring.py counts."""


class Commands:
    """Runs ``chukei keys`` as an administrator would."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = clean_environment(environment)

    def run(self, *arguments: str) -> str:
        """Return what one command wrote to standard output."""
        command = [sys.executable, "-m", "chukei", "keys", *arguments]
        found = subprocess.run(command, env=self._environment, capture_output=True, text=True, timeout=120)
        assert found.returncode == 0, found.stderr
        return found.stdout.strip()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys")


@pytest.fixture(scope="module")
def environment(folder: Path) -> dict[str, str]:
    return {"CHUKEI_STORES__LEDGER": f"sqlite:///{folder}/chukei.db", "CHUKEI_AUTH__PEPPER": PEPPER}


@pytest.fixture(scope="module")
def commands(environment: dict[str, str]) -> Commands:
    return Commands(environment)


@pytest.fixture(scope="module")
def relays(environment: dict[str, str], simulator_thread: SimulatorThread) -> Iterator[list[RelayProcess]]:
    resource = {
        "AZURE_OPENAI_ENDPOINT": simulator_thread.url,
        "AZURE_OPENAI_API_KEY": "upstream-secret-key",
        "AZURE_OPENAI_DEPLOYMENT": "gpt-4o",
        "CHUKEI_LOG__LEVEL": "debug",
        "CHUKEI_AUTH__FAILURES_PER_MINUTE": "0",
    }
    with RelayProcess(resource | environment) as one, RelayProcess(resource | environment) as two:
        yield [one, two]


@pytest.fixture
async def nothing_planted(relays: list[RelayProcess], folder: Path) -> AsyncIterator[list[str]]:
    """Keys that a test puts here must be in no log and not in the database, whole or in their secret part."""
    planted: list[str] = []
    yield planted
    kept = b"".join(path.read_bytes() for path in folder.iterdir())
    for key in planted:
        secret = key[17:60]
        assert secret.encode() not in kept
        assert PEPPER.encode() not in kept
        for relay in relays:
            assert secret not in "\n".join(relay.log)


async def ask(relay: RelayProcess, key: str) -> Answer:
    return await post(relay.url, "/v1/chat/completions", CHAT, [("authorization", f"Bearer {key}")])


async def until(relay: RelayProcess, key: str, code: str | None) -> None:
    """Ask until the answer is a success, or an error of that code, but not for longer than is promised."""
    async with asyncio.timeout(WITHIN):
        while True:
            answer = await ask(relay, key)
            if (None if answer.status == 200 else answer.error["code"]) == code:
                return
            await asyncio.sleep(0.05)


async def test_made_used_and_revoked_everywhere(
    commands: Commands, relays: list[RelayProcess], nothing_planted: list[str]
) -> None:
    key, other = await asyncio.gather(
        asyncio.to_thread(commands.run, "create", "team-a"), asyncio.to_thread(commands.run, "create", "team-b")
    )
    nothing_planted += [key, other]
    for relay in relays:
        await until(relay, key, None)
        await until(relay, other, None)
    await asyncio.to_thread(commands.run, "revoke", key[4:16])
    await asyncio.gather(*(until(relay, key, "key_revoked") for relay in relays))
    for relay in relays:
        assert (await ask(relay, other)).status == 200
        assert any('"team-b"' in line or "team-b" in line for line in relay.log)


async def test_revoked_while_a_stream_runs(
    commands: Commands, relays: list[RelayProcess], nothing_planted: list[str]
) -> None:
    """The other caller's stream, which stalls in the same way, goes on."""
    key, other = await asyncio.gather(
        asyncio.to_thread(commands.run, "create", "team-f"), asyncio.to_thread(commands.run, "create", "team-g")
    )
    nothing_planted += [key, other]
    await until(relays[0], key, None)
    await until(relays[0], other, None)
    body = b'{"model":"gpt-4o--stall","stream":true,"messages":[{"role":"user","content":"hi"}]}'
    async with RawClient(relays[0].url) as running, RawClient(relays[0].url) as spared:
        for client, theirs in ((running, key), (spared, other)):
            await client.post("/v1/chat/completions", body, ("authorization", f"Bearer {theirs}"))
            assert await client.head() == 200
        await asyncio.to_thread(commands.run, "revoke", key[4:16])
        last = (await running.rest()).strip().rpartition(b"\n\n")[2]
        assert json.loads(last.removeprefix(b"data: "))["error"]["code"] == "key_revoked"
        await until(relays[0], key, "key_revoked")
        assert (await ask(relays[0], other)).status == 200
        assert await spared.part(), "nothing has ended it"
        assert b"error" not in spared.body


async def test_replaced_with_both_working(
    commands: Commands, relays: list[RelayProcess], nothing_planted: list[str]
) -> None:
    old = await asyncio.to_thread(commands.run, "create", "team-c")
    new = await asyncio.to_thread(commands.run, "rotate", old[4:16], "--overlap", "1h")
    nothing_planted += [old, new]
    for relay in relays:
        await until(relay, new, None)
        assert (await ask(relay, old)).status == 200


async def test_made_with_another_pepper(
    environment: dict[str, str], commands: Commands, relays: list[RelayProcess], nothing_planted: list[str]
) -> None:
    """Whoever can write to the database still makes no key that works."""
    without = Commands({name: value for name, value in environment.items() if name != "CHUKEI_AUTH__PEPPER"})
    another = Commands(environment | {"CHUKEI_AUTH__PEPPER": PEPPER[::-1]})
    forged = [await asyncio.to_thread(maker.run, "create", "intruder") for maker in (without, another)]
    later = await asyncio.to_thread(commands.run, "create", "team-e")
    nothing_planted += [*forged, later]
    await until(relays[0], later, None)  # so the relay has read the others too
    for key in forged:
        assert (await ask(relays[0], key)).error["code"] == "invalid_api_key"


def test_nobody_else_may_read_the_database(folder: Path, commands: Commands) -> None:
    commands.run("list")
    assert (folder / "chukei.db").stat().st_mode & 0o007 == 0

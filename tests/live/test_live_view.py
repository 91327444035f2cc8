"""The live view of a relay under load, with failures: what the feed and ``chukei top`` show of it, and how they end."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.live.callers import ENVIRONMENT, bearer, config
from tests.live.plain_http import JSON, ask, connection, post, request, send
from tests.live.relays import RelayProcess, clean_environment
from tests.live.simulated import SimulatorThread
from tests.live.terminal import ENTER, LEAVE, TerminalProcess

pytestmark = pytest.mark.anyio

KEY = "admin-7d1f03b2c94e58a6-never-in-a-view"
ADMIN = [("authorization", f"Bearer {KEY}")]
FEED = "/admin/live/events"
PROMPT = "a-prompt-that-nobody-else-may-read"
DEAD = "http://127.0.0.1:9"

DEPLOYMENTS = {
    "good": {"deployment": "gpt-4o"},
    "failing": {"deployment": "fault-500"},
    "stuck": {"deployment": "fault-stall-before-first"},
    "unreachable": {"deployment": "gpt-4o", "endpoint": DEAD},
}


def configured(folder: Path, url: str) -> Path:
    deployments = {
        name: {"endpoint": url, "api_key": {"env": "UPSTREAM_KEY"}, **table} for name, table in DEPLOYMENTS.items()
    }
    models: dict[str, Any] = {name: {"deployments": [name]} for name in DEPLOYMENTS}
    models["both"] = {"deployments": ["failing", "good"]}
    callers = {"team-a": {}, "team-b": {"limits": {"requests_per_minute": 3}}}
    return config(
        folder / "chukei.toml", url, callers, models=models, deployments=deployments, defaults={"model": "good"}
    )


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("live")
    return {
        **ENVIRONMENT,
        "CHUKEI_ADMIN__API_KEY": KEY,
        "CHUKEI_STORES__LEDGER": f"sqlite:///{folder}/ledger.db",
        "CHUKEI_SERVER__GRACE_SECONDS": "30",
    }


@pytest.fixture(scope="module")
def file(simulator_thread: SimulatorThread, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return configured(tmp_path_factory.mktemp("live"), simulator_thread.url)


@pytest.fixture
def relay(environment: dict[str, str], file: Path) -> Iterator[RelayProcess]:
    with RelayProcess(environment, "--config", str(file)) as process:
        yield process


def asking(model: str) -> bytes:
    return json.dumps(
        {"model": model, "stream": True, "messages": [{"role": "user", "content": f"repeat: {PROMPT}"}]}
    ).encode()


@asynccontextmanager
async def watching(url: str) -> AsyncIterator[asyncio.StreamReader]:
    """Open the feed, past its head."""
    async with connection(url) as (reader, writer):
        await send(writer, request(url, "GET", FEED, ADMIN))
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        assert b"text/event-stream" in head
        yield reader


async def seen(reader: asyncio.StreamReader, condition: Callable[[Any], bool]) -> Any:
    """Read events until one fulfils a condition, and return it."""
    async with asyncio.timeout(60):
        while True:
            line = await reader.readline()
            assert line, "the feed has ended"
            if line.startswith(b"data: "):
                live = json.loads(line[6:])
                if condition(live):
                    return live


async def mixed_load(url: str) -> None:
    """Send 8 requests that are answered, 4 that fail over, 6 that fail, 5 of which 2 are refused, 2 without a key."""
    a, b = [bearer("team-a")], [bearer("team-b")]
    wanted = [*[("good", a)] * 8, *[("both", a)] * 4, *[("failing", a)] * 3, *[("unreachable", a)] * 3]
    wanted += [*[("good", b)] * 5, *[("good", [("authorization", "Bearer wrong")])] * 2]
    answers = [await post(url, "/v1/chat/completions", asking(model), headers) for model, headers in wanted]
    assert [answer.status for answer in answers[:12]] == [200] * 12
    assert [answer.status for answer in answers[12:]] == [500] * 3 + [502] * 3 + [200] * 3 + [429] * 2 + [401] * 2


async def test_the_feed_shows_what_has_happened_and_nothing_of_what_was_said(relay: RelayProcess) -> None:
    async with watching(relay.url) as reader:
        await mixed_load(relay.url)
        live = await seen(reader, lambda live: live["ended"]["requests"] >= 25)
        assert live["ended"] == {"requests": 25, "refused": 4, "failed": 6, "left": 0}
        deployments = {each["deployment"]: each for each in live["deployments"]}
        shown = {name: (each["asked"], each["failed"]) for name, each in deployments.items()}
        lost = shown["failing"][0] - 3
        assert 0 < lost <= 4, "the requests that failed over"
        assert shown == {"good": (15, 0), "failing": (3 + lost, 3 + lost), "unreachable": (3, 3), "stuck": (0, 0)}
        assert deployments["unreachable"]["codes"] == {"connect_error": 3}
        assert live["times"]["first_token"]["count"] == 15
        assert live["times"]["connect"]["count"] > 0
        callers = {each["caller"]: (each["requests"], each["refused"], each["failed"]) for each in live["callers"]}
        assert callers == {"team-a": (18, 0, 6), "team-b": (5, 2, 0), "": (2, 2, 0)}
        reasons = {(each["outcome"], each["code"]): each["count"] for each in live["reasons"]}
        assert reasons == {
            ("failed", "upstream_500"): 3,
            ("failed", "connect_error"): 3,
            ("refused", "rate_limit_exceeded"): 2,
            ("refused", "invalid_api_key"): 2,
        }
        assert {finding["rule"] for finding in live["findings"]} >= {"failing", "unreachable"}
        assert (live["places"]["network"], live["places"]["caller"]) == ("warning", "ok")
        told = json.dumps(live)
        assert [secret for secret in (PROMPT, KEY, "upstream-secret-key", "Bearer") if secret in told] == []


async def test_a_deployment_that_hangs_is_seen_while_it_hangs(relay: RelayProcess) -> None:
    async with watching(relay.url) as reader, connection(relay.url) as (_, writer):
        body = asking("stuck")
        await send(writer, request(relay.url, "POST", "/v1/chat/completions", [bearer("team-a"), JSON], body))
        live = await seen(reader, lambda live: live["open"]["waiting"] == 1)
        stuck = next(each for each in live["deployments"] if each["deployment"] == "stuck")
        assert (stuck["open"], stuck["waiting"], live["ended"]["requests"]) == (1, 1, 0)
        live = await seen(reader, lambda live: live["findings"])
        assert live["verdict"]["rule"] == "hanging"
        assert live["verdict"]["subject"] == "stuck"
        assert [each["open"] for each in live["callers"] if each["caller"] == "team-a"] == [1]


async def test_only_administrators_may_look(relay: RelayProcess) -> None:
    for headers in ([], [("authorization", "Bearer wrong")], [bearer("team-a")]):
        answer = await ask(relay.url, "GET", FEED, headers)
        assert (answer.status, answer.error["code"]) == (401, "invalid_admin_key")
    assert (await ask(relay.url, "GET", f"{FEED}?x=1", ADMIN)).error["code"] == "unknown_parameter"
    assert (await ask(relay.url, "POST", FEED, ADMIN)).status == 405
    page = await ask(relay.url, "GET", "/admin/live")
    assert (page.status, page.header("location")) == (308, "../admin#/now")
    assert (await ask(relay.url, "GET", "/admin/live/")).header("location") == "../live"


async def test_a_shutdown_ends_the_feed_properly_and_does_not_wait_for_it(relay: RelayProcess) -> None:
    async with watching(relay.url) as reader:
        await seen(reader, lambda live: True)
        relay.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(15):  # the grace period is longer
            rest = await reader.read()
        assert rest.endswith(b"0\r\n\r\n")
    assert await asyncio.to_thread(relay.stop) == 0


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="a terminal of its own is made on Unix only")
class TestTop:
    async def test_it_shows_sorts_and_restores_the_screen(
        self, relay: RelayProcess, environment: dict[str, str]
    ) -> None:
        await mixed_load(relay.url)
        async with TerminalProcess(clean_environment(environment), "top", relay.url, columns=100, rows=40) as top:
            lines = await top.shows(lambda lines: any("team-a" in line for line in lines))
            assert len(lines) <= 40
            assert max(map(len, lines)) <= 100
            text = "\n".join(lines)
            assert "connect_error" in text
            assert "AZURE" in text
            top.press(b"s")
            await top.shows(lambda lines: any(line.startswith("caller, by tokens") for line in lines))
            top.resize(80, 24)
            await top.shows(lambda lines: len(lines) == 24)
            top.press(b"q")
            assert await top.ends() == 0
            assert top.drawn.startswith(ENTER)
            assert top.drawn.endswith(LEAVE)

    async def test_it_survives_a_restart_and_ends_with_an_interrupt(
        self, environment: dict[str, str], file: Path
    ) -> None:
        with RelayProcess(environment, "--config", str(file)) as first:
            port = first.url.rpartition(":")[2]
            top = TerminalProcess(clean_environment(environment), "top", first.url)
            async with top:
                await top.shows(lambda lines: any(line.startswith("deployment") for line in lines))
                await asyncio.to_thread(first.stop)
                await top.shows(lambda lines: any("trying again" in line for line in lines))
                with RelayProcess(environment, "--config", str(file), "--port", port):
                    await top.shows(lambda lines: not any("trying again" in line for line in lines))
                    top.process.send_signal(signal.SIGINT)
                    assert await top.ends() == 130
                    assert top.drawn.endswith(LEAVE)

    async def test_a_wrong_key_is_told_and_no_screen_is_opened(
        self, relay: RelayProcess, environment: dict[str, str]
    ) -> None:
        wrong = clean_environment(environment | {"CHUKEI_ADMIN__API_KEY": "wrong-key-0123456789"})
        async with TerminalProcess(wrong, "top", relay.url) as top:
            assert await top.ends() == 4
            assert b"refuses the key" in top.drawn
            assert ENTER not in top.drawn

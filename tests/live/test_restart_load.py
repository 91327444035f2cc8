"""Restarts under load: no request is refused or lost, no stream is cut.

``CHUKEI_RESTART_LOAD=1`` is the whole load: 200 streams, and 200 short requests a second. The default is a tenth of it.
"""

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import pytest
from tests import markdown
from tests.live.nginx import nginx
from tests.live.ports import free_port
from tests.live.relays import RelayProcess, eventually
from tests.live.restart_load import Load, PacedUpstream
from tests.live.test_workers import children, is_alive, said_by

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")]

SHARE = float(os.environ.get("CHUKEI_RESTART_LOAD", "0.1"))
STREAMS, RATE = int(200 * SHARE), 200 * SHARE


def environment(upstream: PacedUpstream, **more: str) -> dict[str, str]:
    """Return the environment of a relay that serves everybody."""
    return {
        "AZURE_OPENAI_ENDPOINT": upstream.url,
        "AZURE_OPENAI_API_KEY": "key",
        "AZURE_OPENAI_DEPLOYMENT": "gpt-4o",
        "CHUKEI_AUTH__ANONYMOUS": "true",
        "CHUKEI_LOG__FORMAT": "json",
        **more,
    }


def whole(load: Load) -> bool:
    """Whether nothing was lost, of streams and short requests."""
    return load.counts.keys() == {"short 200", "stream whole"}


def configuration(port: int, *relays: str) -> str:
    """Return what the documentation prints for nginx, on plain HTTP and another port, in front of several relays."""
    [printed] = [fence.text for fence in markdown.fences("nginx")]
    lines = [line for line in printed.split("\n") if "ssl_certificate" not in line]
    text = "\n".join(lines).replace("listen 443 ssl", f"listen 127.0.0.1:{port}")
    return text.replace("127.0.0.1:7221", "; server ".join(relay.removeprefix("http://") for relay in relays))


async def test_a_restart_of_workers() -> None:
    async with PacedUpstream() as upstream:
        with RelayProcess(environment(upstream), "--workers", "2") as relay:
            old = children(relay.process.pid)
            load = Load(relay.url, STREAMS, RATE)
            async with load.running():
                relay.process.send_signal(signal.SIGUSR2)
                await eventually(lambda: not any(map(is_alive, old)))
            assert len(children(relay.process.pid)) == 2
    assert whole(load), load.counts


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_the_end_of_one_of_two_relays_behind_nginx(tmp_path: Path, workers: str) -> None:
    async with PacedUpstream() as upstream, AsyncExitStack() as stack:
        given = environment(upstream, CHUKEI_SERVER__DRAIN_SECONDS="1")
        one = stack.enter_context(RelayProcess(given, "--workers", workers))
        other = stack.enter_context(RelayProcess(given))
        port = free_port()
        stack.enter_context(nginx(tmp_path, configuration(port, one.url, other.url), port))
        load = Load(f"http://127.0.0.1:{port}", STREAMS, RATE)
        async with load.running():
            one.process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(one.process.wait, 60) == 0
            await load.more(STREAMS)
    assert whole(load), load.counts


async def test_reloads_of_changed_limits_and_of_nonsense(tmp_path: Path) -> None:
    file = tmp_path / "relay.toml"
    limits = "[reload]\nwatch_seconds = 0\n[groups.everybody.limits]\nrequests_per_minute = {}\n"
    file.write_text(limits.format(1_000_000), "utf-8")
    async with PacedUpstream() as upstream:
        given = environment(upstream, CHUKEI_CONFIG=str(file))
        with RelayProcess(given, "--workers", "2", stdin=subprocess.DEVNULL) as relay:
            load = Load(relay.url, STREAMS, RATE)
            async with load.running():
                for number in range(3):
                    for text, said in (
                        (limits.format(2_000_000 + number), "configuration reloaded (SIGHUP)"),
                        ("nonsense", "the old one stays (SIGHUP)"),
                    ):
                        file.write_text(text, "utf-8")
                        relay.process.send_signal(signal.SIGHUP)
                        await eventually(partial(said_by, relay, said, 2 * (number + 1)))
                await load.more(STREAMS)
    assert whole(load), load.counts

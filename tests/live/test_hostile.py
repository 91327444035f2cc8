"""A hostile caller beside ten who work: nothing that it does reaches them.

The run is as long as CHUKEI_HOSTILE_SECONDS says, five by default. What it costs the others in time is measured and
logged (``--log-cli-level=INFO``), not asserted: it depends on what else the machine does.
"""

import asyncio
import logging
import multiprocessing
import os
from collections import Counter
from collections.abc import AsyncIterator
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest
from tests.live.callers import ENVIRONMENT, Table, config
from tests.live.hostile import ATTACKS, MALLORY, WORKERS, Door, Seen, Upstream, attack, work
from tests.live.relays import RelayProcess

pytestmark = pytest.mark.anyio

logger = logging.getLogger(__name__)

SECONDS = float(os.environ.get("CHUKEI_HOSTILE_SECONDS", "5"))
MOST_BYTES = 600 << 20
"""What the relay may use at most meanwhile."""

LIMITS = {"concurrent": 20, "requests_per_minute": 100_000}
CALLERS: dict[str, Table] = {name: {"limits": LIMITS} for name in (MALLORY, *WORKERS)}


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream() as upstream:
        yield upstream


def hostile_process(url: str, over: Event) -> None:
    """Attack from a process of its own, so that the workers' clients are not slowed by the attackers' work."""

    async def run() -> None:
        done = asyncio.Event()
        rounds: Counter[str] = Counter()
        attacks = [asyncio.create_task(attack(Door(url, MALLORY), each, done, rounds)) for each in ATTACKS]
        await asyncio.to_thread(over.wait)
        done.set()
        for task in attacks:
            task.cancel()
        await asyncio.gather(*attacks, return_exceptions=True)

    asyncio.run(run())


def peak_bytes(pid: int) -> int:
    """Return the most memory that a process has had at once."""
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


async def working(url: str, seconds: float) -> Seen:
    over, seen = asyncio.Event(), Seen()
    workers = [asyncio.create_task(work(Door(url, name), over, seen)) for name in WORKERS]
    await asyncio.sleep(seconds)
    over.set()
    await asyncio.gather(*workers)
    return seen


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads a process's peak memory from /proc")
async def test_the_others_go_on_working(upstream: Upstream, tmp_path: Path) -> None:
    file = config(tmp_path / "chukei.toml", upstream.url, CALLERS, pool={}, stream={"first_token_seconds": 3})
    environment = {**ENVIRONMENT, "CHUKEI_STORES__LEDGER": f"sqlite:///{tmp_path / 'ledger.db'}"}
    with RelayProcess(environment, "--config", str(file)) as relay:
        alone = await working(relay.url, SECONDS / 3)
        context = multiprocessing.get_context("spawn")
        over = context.Event()
        hostile = context.Process(target=hostile_process, args=(relay.url, over))
        hostile.start()
        try:
            beside = await working(relay.url, SECONDS)
        finally:
            over.set()
            await asyncio.to_thread(hostile.join, 30)
        peak = peak_bytes(relay.process.pid)
    for name, seen in (("alone", alone), ("beside", beside)):
        p50, p99 = (seen.percentile(share) * 1000 for share in (0.5, 0.99))
        logger.info("first token %s: p50 %.1f ms, p99 %.1f ms of %d", name, p50, p99, len(seen.first_tokens))
    logger.info("the relay's memory at its peak: %d MiB", peak >> 20)
    assert not alone.errors
    assert not beside.errors
    assert beside.first_tokens
    assert peak < MOST_BYTES

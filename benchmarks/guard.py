"""What the relay costs beside the least that a relay can be: ``python -m benchmarks.guard``, about ten seconds.

The two take turns in short bursts, with this process for upstream and client. What counts is the CPU time of the
relay's process, in nanoseconds from the operating system. Medians of many bursts, and the ratio of the two, are what
others on the same machine change least. All run on one core: waking another one costs more than all else that an event
costs, and whether it must be woken is chance.

``tests/test_performance_guard.py`` holds the ratios to what they were.
"""

import argparse
import asyncio
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import msgspec

from benchmarks.bursts import KEY, Asked, Burst, Client, Upstream, short, streamed
from benchmarks.process import cpu_seconds, free_port, new_loop
from benchmarks.report import table

ROOT = Path(__file__).parents[1]
SITTINGS = 9
ROUNDS = 10
WARM_UP = 3
"""Bursts of each kind that do not count: first requests, caches, a specialising interpreter."""

PATIENCE_SECONDS = 20.0
"""For one burst, which takes some milliseconds."""

BURSTS: dict[str, Burst] = {
    "an event by itself": streamed(150, 1),
    "an event of a block of 20": streamed(20, 20),
    "a short request": short(30),
}

_NOT_FOR_IT = re.compile(
    r"(CHUKEI_|AZURE_|OPENAI_|OTEL_|APPLICATIONINSIGHTS_|IDENTITY_|MSI_|STATE_DIRECTORY|COV|(HTTPS?|NO|ALL)_PROXY$)",
    re.IGNORECASE,
)


class Relay:
    """A relay in a process of its own, and its client."""

    def __init__(self, name: str, program: list[str], port: int, environment: Mapping[str, str], folder: Path) -> None:
        self.name = name
        self._command = [sys.executable, "-m", *program]
        self._port = port
        self._environment = environment
        self._log = folder / f"{name}.log"

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command, cwd=ROOT, env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    async def connect(self) -> None:
        """Connect as soon as it listens."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                _, self.client = await loop.create_connection(Client, "127.0.0.1", self._port)
            except ConnectionRefusedError:
                if self._process.poll() is not None:
                    raise RuntimeError(f"{self.name} did not start:\n{self._log.read_text()}") from None
                await asyncio.sleep(0.002)
            else:
                return

    async def undergo(self, burst: Burst, asked: Asked) -> float:
        """Return what a burst costs.

        Raises:
            RuntimeError: not all that was sent arrived.
        """
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await burst(self.client, asked, self.cpu)
        except TimeoutError:
            end = self._log.read_text()[-2000:]
            raise RuntimeError(f"{self.name} did not pass on all that was sent; its log ends:\n{end}") from None

    def cpu(self) -> float:
        """Return the microseconds of CPU time that its process has used."""
        return cpu_seconds(self.pid) * 1e6


class Cost(msgspec.Struct, frozen=True):
    """Medians of CPU time in microseconds, of the relay and of the reference."""

    relay: float
    reference: float

    @property
    def ratio(self) -> float:
        """How many times the reference the relay costs."""
        return self.relay / self.reference


def plain_environment() -> dict[str, str]:
    """Return the environment without what would configure a relay, or measure it too."""
    return {name: value for name, value in os.environ.items() if not _NOT_FOR_IT.match(name)}


def configuration(upstream: int, folder: Path) -> dict[str, str]:
    """Return variables for a relay with all it has by itself: a key, a log, a ledger in SQLite."""
    return {
        "XDG_STATE_HOME": str(folder),  # where the relay keeps its ledger
        "AZURE_OPENAI_ENDPOINT": f"http://127.0.0.1:{upstream}",
        "AZURE_OPENAI_API_KEY": "upstream-key",
        "AZURE_OPENAI_DEPLOYMENT": "gpt-4o",
        "CHUKEI_API_KEY": KEY,
        "CHUKEI_LOG__FORMAT": "json",
        "CHUKEI_SERVER__DRAIN_SECONDS": "0",
    }


def _relays(upstream: int, folder: Path, *, costly: bool) -> list[Relay]:
    own, settings = plain_environment(), configuration(upstream, folder)
    port, other = free_port(), free_port()
    program = ["benchmarks.costly", str(port)] if costly else ["chukei", "serve", "--port", str(port)]
    return [
        Relay("relay", program, port, own | settings, folder),
        Relay("reference", ["benchmarks.reference", str(other), str(upstream)], other, own, folder),
    ]


async def sitting(rounds: int, *, costly: bool = False) -> dict[str, Cost]:
    """Start both anew, and return what each kind of burst costs."""
    asked: Asked = asyncio.Queue()
    server = await asyncio.get_running_loop().create_server(lambda: Upstream(asked), "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    spent: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        relay, reference = _relays(port, Path(folder), costly=costly)
        with relay, reference:
            await relay.connect()
            await reference.connect()
            for number in range(WARM_UP + rounds):
                for name, burst in BURSTS.items():
                    for one in (relay, reference) if number % 2 else (reference, relay):
                        cost = await one.undergo(burst, asked)
                        if number >= WARM_UP:
                            spent.setdefault((name, one.name), []).append(cost)
    server.close()
    return {
        name: Cost(statistics.median(spent[name, relay.name]), statistics.median(spent[name, reference.name]))
        for name in BURSTS
    }


async def measure(sittings: int, rounds: int, *, costly: bool = False) -> dict[str, Cost]:
    """Return what each kind of burst costs in the sitting whose ratio is the middle one.

    How a process lies in memory makes it up to a fifth dearer for all its life. ``costly`` has the relay do what it
    should not.
    """
    found = [await sitting(rounds, costly=costly) for _ in range(sittings)]
    return {name: sorted((one[name] for one in found), key=lambda cost: cost.ratio)[sittings // 2] for name in BURSTS}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.guard", description="Measure the relay's ratios.")
    parser.add_argument("--sittings", type=int, default=SITTINGS, help=f"new processes (default: {SITTINGS} times)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"interleaved rounds of each (default: {ROUNDS})")
    parser.add_argument("--costly", action="store_true", help="with JSON parsed for each event, to see the ratio rise")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # and all that it starts
    with asyncio.Runner(loop_factory=new_loop) as runner:
        costs = runner.run(measure(arguments.sittings, arguments.rounds, costly=arguments.costly))
    if arguments.json:
        print(msgspec.json.encode(costs).decode())
        return
    rows = [[name, f"{cost.relay:.1f}", f"{cost.reference:.1f}", f"{cost.ratio:.2f}"] for name, cost in costs.items()]
    print(table(["µs CPU of", "relay", "reference", "ratio"], rows))


if __name__ == "__main__":
    main()

"""What metrics cost: ``python -m benchmarks.metering``, about a minute.

Several relays that differ only in their settings take turns in short bursts, as in ``benchmarks.guard``. What counts is
the CPU time of each relay's process, and its ratio to the relay without metrics.
"""

import argparse
import asyncio
import os
import statistics
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from benchmarks.bursts import Asked, Burst, Upstream
from benchmarks.guard import BURSTS, ROUNDS, SITTINGS, WARM_UP, Relay, configuration, plain_environment
from benchmarks.process import free_port, new_loop
from benchmarks.report import table

OFF = "no metrics"
VARIANTS: dict[str, Mapping[str, str]] = {
    OFF: {"CHUKEI_METRICS__ENABLED": "false"},
    "metrics": {},
    "metrics by caller": {"CHUKEI_METRICS__CALLERS": "true"},
}
"""Variables of each relay; what is not set has its default."""

Spent = dict[tuple[str, str], float]
"""Medians of CPU time in microseconds, by burst and variant."""


async def sitting(variants: Mapping[str, Mapping[str, str]], rounds: int, bursts: Mapping[str, Burst]) -> Spent:
    """Start all anew, and return what each kind of burst costs each of them."""
    asked: Asked = asyncio.Queue()
    server = await asyncio.get_running_loop().create_server(lambda: Upstream(asked), "127.0.0.1", 0)
    upstream: int = server.sockets[0].getsockname()[1]
    spent: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as name, ExitStack() as running:
        relays = []
        for at, (variant, variables) in enumerate(variants.items()):
            folder, port = Path(name, str(at)), free_port()
            folder.mkdir()
            environment = plain_environment() | configuration(upstream, folder) | dict(variables)
            relay = Relay(variant, ["chukei", "serve", "--port", str(port)], port, environment, folder)
            relays.append(running.enter_context(relay))
        for relay in relays:
            await relay.connect()
        for number in range(WARM_UP + rounds):
            for kind, burst in bursts.items():
                turn = number % len(relays)
                for relay in (*relays[turn:], *relays[:turn]):
                    cost = await relay.undergo(burst, asked)
                    if number >= WARM_UP:
                        spent.setdefault((kind, relay.name), []).append(cost)
    server.close()
    return {key: statistics.median(costs) for key, costs in spent.items()}


async def measure(
    variants: Mapping[str, Mapping[str, str]], sittings: int, rounds: int, bursts: Mapping[str, Burst] = BURSTS
) -> list[Spent]:
    """Return the costs of several sittings: how a process lies in memory makes it dearer for all its life."""
    return [await sitting(variants, rounds, bursts) for _ in range(sittings)]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.metering", description="Measure what metrics cost.")
    parser.add_argument("--sittings", type=int, default=SITTINGS, help=f"new processes (default: {SITTINGS} times)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"interleaved rounds of each (default: {ROUNDS})")
    parser.add_argument("--compare", type=Path, metavar="CHECKOUT", help="measure another checkout of the relay too")
    arguments = parser.parse_args()
    variants = dict(VARIANTS)
    if arguments.compare is not None:
        variants["the other checkout"] = {"PYTHONPATH": str(arguments.compare.resolve() / "src")}
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # and all that it starts
    with asyncio.Runner(loop_factory=new_loop) as runner:
        found = runner.run(measure(variants, arguments.sittings, arguments.rounds))
    rows = []
    for kind in BURSTS:
        for variant in variants:
            ratios = [one[kind, variant] / one[kind, OFF] for one in found]
            cost = statistics.median(one[kind, variant] for one in found)
            rows.append([kind, variant, f"{cost:.2f}", f"{statistics.median(ratios):.3f}"])
    print(table(["", "relay", "µs CPU", "ratio"], rows))


if __name__ == "__main__":
    main()

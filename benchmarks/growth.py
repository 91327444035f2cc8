"""How costs grow with streams, prompts, callers, deployments and events: ``scripts/bench --growth``, eight minutes.

Prints a table for each of them and how it grows, and draws the plots of docs/performance.md. The exit status is 1 where
a cost of the relay is worse than linear, or anything was lost.
"""

import argparse
import contextlib
import os
import socket
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

import msgspec

from benchmarks import gateways, relays
from benchmarks.growth_report import Sample, medians, sweep_table, verdict
from benchmarks.growth_runs import sample
from benchmarks.growth_sweeps import SWEEPS, Sweep
from benchmarks.plot import lines
from benchmarks.process import raise_file_limit
from benchmarks.server import Server, Upstream

DOCS = Path(__file__).parents[1] / "docs"
OURS = "chukei"
QUICK_EFFORT = 0.3


def compared(sweep: Sweep, sizes: Sequence[int], upstream: Upstream, folder: Path) -> dict[int, list[Server]]:
    """Return the relays that are measured at each size; where a relay does not depend on it, they are the same."""
    if sweep.setting == "callers":
        return {size: [relays.chukei(OURS, upstream, folder, callers=size)] for size in sizes}
    if sweep.setting == "deployments":
        return {size: [relays.chukei(OURS, upstream, folder, deployments=size)] for size in sizes}
    ours, yardstick = relays.chukei(OURS, upstream, folder), gateways.nginx(upstream, folder)
    return {size: [ours] if yardstick is None else [ours, yardstick] for size in sizes}


def run(
    sweep: Sweep, sizes: Sequence[int], upstream: Upstream, folder: Path, *, rounds: int, effort: float
) -> Iterator[Sample]:
    """Measure a sweep, in rounds that take every relay at every size."""
    with contextlib.ExitStack() as running:
        by_size = compared(sweep, sizes, upstream, folder)
        for relay in {id(relay): relay for several in by_size.values() for relay in several}.values():
            running.enter_context(relay)
        for number in range(rounds):
            for size, several in by_size.items():
                for relay in several:
                    print(
                        f"{sweep.name} round {number + 1} of {rounds}: {size:,}, {relay.name}",
                        file=sys.stderr, flush=True,
                    )  # fmt: skip
                    found = sample(sweep, size, relay, upstream, effort)
                    if found.failed:
                        _check(upstream, folder / "upstream.log")
                    yield found


def _check(upstream: Upstream, log: Path) -> None:
    """Tell an upstream that has ended from a relay that fails."""
    with socket.socket() as client:
        if client.connect_ex(("127.0.0.1", upstream.port)):
            raise RuntimeError(f"the upstream has ended:\n{log.read_text()}")


def heading(sweep: Sweep) -> str:
    """Return the sweep's title with a capital letter."""
    return sweep.title[0].upper() + sweep.title[1:]


def report(sweep: Sweep, samples: Sequence[Sample]) -> tuple[str, bool]:
    """Return a sweep's table with how it grows, and whether the relay's costs are as they should be."""
    names = dict.fromkeys(one.relay for one in samples)
    verdicts = [verdict(samples, name, quantity) for quantity in sweep.quantities for name in names]
    judged = [one.linear for one in verdicts if one.relay == OURS]
    whole = not any(one.lost or one.failed for one in samples)
    told = "\n".join(f"- {one}" for one in verdicts)
    text = f"### {heading(sweep)}\n\n{sweep_table(sweep.of, samples, sweep.quantities)}\n\n{told}"
    return text if whole else f"{text}\n- **events were lost, or requests failed**", whole and all(judged)


def draw(sweep: Sweep, samples: Sequence[Sample], path: Path) -> None:
    """Draw the first figure of a sweep by size."""
    quantity = sweep.quantities[0]
    names = dict.fromkeys(one.relay for one in samples)
    series = {name: medians(samples, name, quantity.read) for name in names}
    lines(path, heading(sweep), sweep.of, quantity.title, series, log_x=True, log_y=sweep.log_y)


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench --growth", description="Measure how costs grow.")
    parser.add_argument("--rounds", type=int, help="interleaved rounds of each sweep (default: 3; quick: 1)")
    parser.add_argument("--quick", action="store_true", help="few sizes and short runs, for a look; draws nothing")
    names = [sweep.name for sweep in SWEEPS]
    parser.add_argument("--sweep", action="append", choices=names, help="only this one; may be repeated")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="where plots go (default: docs; quick: nowhere)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every single result to a file")
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> None:
    """Measure, print, draw, judge."""
    arguments = _arguments(given)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    raise_file_limit()
    rounds = arguments.rounds or (1 if arguments.quick else 3)
    plots = arguments.plots or (None if arguments.quick else DOCS)
    found: dict[str, list[Sample]] = {}
    good = True
    with tempfile.TemporaryDirectory() as name, Upstream(Path(name)) as upstream:
        for sweep in SWEEPS:
            if arguments.sweep and sweep.name not in arguments.sweep:
                continue
            sizes = sweep.quick if arguments.quick else sweep.sizes
            effort = QUICK_EFFORT if arguments.quick else 1.0
            samples = list(run(sweep, sizes, upstream, Path(name), rounds=rounds, effort=effort))
            text, passed = report(sweep, samples)
            print(text, end="\n\n", flush=True)
            found[sweep.name] = samples
            good = good and passed
            if plots is not None and find_spec("matplotlib") is None:
                print("note: matplotlib is not here, so nothing is drawn", file=sys.stderr)
            elif plots is not None:
                draw(sweep, samples, plots / f"growth-{sweep.name}.svg")
    if arguments.json is not None:
        arguments.json.write_bytes(msgspec.json.encode(found))
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()

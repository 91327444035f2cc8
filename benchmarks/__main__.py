"""The command: ``scripts/bench``, or ``python -m benchmarks``. Tables go to standard output, progress to the other."""

import argparse
import contextlib
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from datetime import date
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec

from benchmarks import gateways, measure, relays, report
from benchmarks.process import raise_file_limit
from benchmarks.server import Server, Upstream
from benchmarks.workloads import Workload, workloads

_SERVING = "chukei.cli, chukei.hosts.server, chukei.hosts.protocol"
_CORE = "chukei.hosts.asgi"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Measure the relay beside nginx.")
    parser.add_argument("--rounds", type=int, help="interleaved rounds of each workload (default: 5; quick: 1)")
    parser.add_argument("--quick", action="store_true", help="short runs, for a look; the figures are coarse")
    parser.add_argument("--workload", action="append", choices="ABCD", help="only this one; may be repeated")
    parser.add_argument("--compare", type=Path, metavar="CHECKOUT", help="measure another checkout of the relay too")
    parser.add_argument("--no-start", action="store_true", help="leave out how the relays start")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every single result to a file")
    return parser.parse_args()


def _versions() -> str:
    def of(package: str) -> str:
        try:
            return f"{package} {version(package)}"
        except PackageNotFoundError:
            return f"{package}: not here"

    packages = " · ".join(of(package) for package in ("uvicorn", "httptools", "uvloop", "msgspec"))
    return f"Python {platform.python_version()} · {packages} · {gateways.nginx_version()}"


def _has_uvloop() -> bool:
    try:
        version("uvloop")
    except PackageNotFoundError:
        return False
    return True


def _relays(upstream: Upstream, folder: Path, compare: Path | None) -> list[Server]:
    """Return what is compared, in the order of each round."""
    name = "chukei" if _has_uvloop() else "chukei, asyncio"
    found = [relays.chukei(name, upstream, folder)]
    if compare is not None:
        found.append(relays.chukei("chukei, other", upstream, folder, tree=compare))
    nginx = gateways.nginx(upstream, folder)
    if nginx is not None:
        found.append(nginx)
    else:
        print("note: nginx is not here and is left out", file=sys.stderr)
    if _has_uvloop():
        found.append(relays.chukei("chukei, asyncio", upstream, folder, uvloop=False))
    return found


def _run(chosen: list[Workload], compared: list[Server], upstream: Upstream, rounds: int) -> Iterator[measure.Result]:
    for workload in chosen:
        for number in range(rounds):
            for relay in [*compared, None]:
                name = "direct" if relay is None else relay.name
                print(f"{workload.name} round {number + 1} of {rounds}: {name}", file=sys.stderr, flush=True)
                yield measure.measure(workload, relay, upstream)


def _start_tables(upstream: Upstream, folder: Path, times: int) -> str:
    starts = {"chukei": partial(relays.chukei, "chukei", upstream, folder)}
    if _has_uvloop():
        starts["chukei, asyncio"] = partial(relays.chukei, "chukei", upstream, folder, uvloop=False)
    rows = []
    for name, make in starts.items():
        started = measure.start(make, times)
        rows.append([name, f"{started.seconds:.2f}", f"{started.idle / 2**20:.0f}"])
    probe = gateways.nginx(upstream, folder)
    if probe is not None:
        started = measure.start(lambda: probe, times)
        rows.append(["nginx", f"{started.seconds:.2f}", f"{started.idle / 2**20:.0f}"])
    head = ["relay", "seconds to the first connection", "MB resident, idle"]
    rows_of_imports = [
        [what, f"{cost.milliseconds:.0f}", f"{cost.cpu_milliseconds:.0f}", str(cost.modules)]
        for what, cost in (
            ("the server", measure.imports(_SERVING, times)),
            ("the relay without a server", measure.imports(_CORE, times)),
        )
    ]
    imports = report.table(["imports of", "ms", "ms CPU", "modules"], rows_of_imports)
    return f"### Start\n\n{report.table(head, rows)}\n\n{imports}"


def main() -> None:
    """Measure and print."""
    arguments = _arguments()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    raise_file_limit()
    every = workloads(quick=arguments.quick)
    chosen = [every[name] for name in sorted(set(arguments.workload or every))]
    rounds = arguments.rounds or (1 if arguments.quick else 5)
    print(f"{date.today().isoformat()} · {measure.processor()}\n{_versions()} · {rounds} rounds\n", flush=True)  # noqa: DTZ011
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as running:
        folder = Path(name)
        upstream = running.enter_context(Upstream(folder))
        if not arguments.no_start:
            print(_start_tables(upstream, folder, 3 if arguments.quick else 7), end="\n\n", flush=True)
        compared = [running.enter_context(server) for server in _relays(upstream, folder, arguments.compare)]
        results: list[measure.Result] = []
        for workload in chosen:
            results += _run([workload], compared, upstream, rounds)
            print(report.workload_table(workload, results), end="\n\n", flush=True)
        print(report.busiest(results))
    if arguments.json is not None:
        arguments.json.write_bytes(msgspec.json.encode(results))


if __name__ == "__main__":
    main()

"""The command ``scripts/bench``, or ``python -m benchmarks``. It prints tables to stdout and progress to stderr."""

import argparse
import contextlib
import os
import platform
import tempfile
from collections.abc import Iterator, Sequence
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec

from benchmarks import bars, field, gateways, measure, report, starts, targets, workers
from benchmarks.field import Field, note
from benchmarks.measure import Result
from benchmarks.process import raise_file_limit
from benchmarks.server import Server, Upstream
from benchmarks.workloads import Workload, workloads

ROUNDS_OF_MEMORY = 3
"""Rounds for memory. It varies little, and each round takes long."""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Measure the relay beside other gateways.")
    parser.add_argument("--rounds", type=int, help="interleaved rounds of each workload (default: 5; quick: 1)")
    parser.add_argument("--quick", action="store_true", help="short runs, for a look; the figures are coarse")
    names = [*workloads(quick=True), workers.NAME]
    parser.add_argument("--workload", action="append", choices=names, help="only this one; may be repeated")
    parser.add_argument("--compare", type=Path, metavar="CHECKOUT", help="measure another checkout of the relay too")
    parser.add_argument("--no-start", action="store_true", help="leave out how the relays start")
    parser.add_argument("--no-litellm", action="store_true", help="leave out LiteLLM, which takes long to start")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every single result to a file")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw the costs beside nginx's; needs matplotlib")
    return parser.parse_args()


def _versions() -> str:
    def of(package: str) -> str:
        try:
            return f"{package} {version(package)}"
        except PackageNotFoundError:
            return f"{package}: not here"

    packages = " · ".join(of(package) for package in ("uvicorn", "httptools", "uvloop", "msgspec"))
    others = (
        f"{gateways.nginx_version()} · {gateways.envoy_version()} · {gateways.litellm_version(field.LITELLM_FOLDER)}"
    )
    return f"Python {platform.python_version()} · {packages} · {others}"


def _run(workload: Workload, compared: Sequence[Server], upstream: Upstream, rounds: int) -> Iterator[Result]:
    everyone = [*compared, None]
    for number in range(rounds):
        first = number % len(everyone)  # each takes its turn at being first, next, last
        for relay in everyone[first:] + everyone[:first]:
            if workload.still and relay is not None and relay.slow and number:
                continue  # it starts afresh each time, which takes long
            name = report.DIRECT if relay is None else relay.name
            note(f"{workload.name} round {number + 1} of {rounds}: {name}")
            mine = workload.share or workload if relay is not None and relay.slow else workload
            yield measure.measure(mine, relay, upstream)


class Session:
    """One call of the command: its options, its output and its results."""

    def __init__(self, arguments: argparse.Namespace, everyone: Field) -> None:
        self._quick: bool = arguments.quick
        self._rounds: int = arguments.rounds or (1 if arguments.quick else 5)
        self._litellm = not arguments.no_litellm
        self._field = everyone
        self._upstream = everyone.upstream
        self.results: list[Result] = []
        self.started: dict[str, starts.Start] = {}
        self.imported: dict[str, starts.Imports] = {}
        self.workers: list[workers.Sample] = []

        print(f"Medians of {self._rounds} interleaved rounds, with their range in parentheses.\n", flush=True)

    def start(self) -> None:
        """Measure how relays start."""
        times = 3 if self._quick else 7
        servers = [*self._field.ours(), *self._field.without_uvloop(), *self._field.nginx(), *self._field.envoy()]
        for server in servers:
            note(f"start: {server.name}")
            self.started[server.name] = starts.start(server, times)
        for server in self._field.litellm() if self._litellm else []:
            note(f"start: {server.name}")
            self.started[server.name] = starts.start(server, 1 if self._quick else 3)
        for what, modules in (("the server", starts.SERVING), ("the relay without a server", starts.CORE)):
            self.imported[what] = starts.imports(modules, times)
        print(f"### Start\n\n{starts.start_table(self.started)}\n\n{starts.import_table(self.imported)}\n", flush=True)

    def plain(self, chosen: Sequence[Workload]) -> None:
        """Measure with a plain upstream."""
        one = self._field
        with contextlib.ExitStack() as stack:
            servers = one.ours()
            if any(workload.name == "B" for workload in chosen):
                servers += stack.enter_context(field.shared_stores(one))
            servers += [*one.without_uvloop(), *one.nginx(), *one.envoy(), *(one.litellm() if self._litellm else [])]
            self._measure(chosen, servers)

    def tls(self, chosen: Sequence[Workload]) -> None:
        """Measure with an upstream that uses TLS."""
        one = self._field
        self._measure(chosen, [*one.ours(tls=True), *one.nginx(tls=True), *one.envoy(tls=True)])

    def _measure(self, chosen: Sequence[Workload], servers: list[Server]) -> None:
        needed = [server for server in servers if any(field.runs_in(server, workload) for workload in chosen)]
        with field.running(needed, self._upstream) as relays:
            for workload in chosen:
                compared = [relay for relay in relays if field.runs_in(relay, workload)]
                rounds = min(self._rounds, ROUNDS_OF_MEMORY) if workload.still else self._rounds
                self.results += _run(workload, compared, self._upstream, rounds)
                print(report.workload_tables(workload, self.results), end="\n\n", flush=True)

    def scale(self) -> None:
        """Measure the gain of a second worker."""
        self.workers = workers.run(self._field, self._rounds, quick=self._quick)
        self.results += workers.results(self.workers)
        print(workers.tables(self.workers), end="\n\n", flush=True)

    def summary(self) -> str:
        """Return the summary of all results."""
        found = targets.Findings(self.results, self.started.get(field.OURS), self.imported, self.workers)
        return f"### Targets\n\n{targets.targets_table(found)}\n\n{report.busiest(self.results, field.OURS)}"


def main() -> None:
    """Measure and print."""
    arguments = _arguments()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    every = workloads(quick=arguments.quick, files=raise_file_limit())
    wanted = arguments.workload or [*every, workers.NAME]
    chosen = [workload for name, workload in every.items() if name in wanted]
    print(f"{date.today().isoformat()} · {measure.processor()}\n{_versions()}\n", flush=True)  # noqa: DTZ011
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with Upstream(folder) as upstream:
            session = Session(arguments, Field(upstream, folder, arguments.compare))
            if not arguments.no_start:
                session.start()
            for tls, measured in ((False, session.plain), (True, session.tls)):
                if some := [workload for workload in chosen if workload.tls == tls]:
                    measured(some)
            if workers.NAME in wanted:
                session.scale()
            print(session.summary())
    if arguments.json is not None:
        arguments.json.write_bytes(msgspec.json.encode(session.results))
    if arguments.svg is not None:
        bars.draw(arguments.svg, session.results)


if __name__ == "__main__":
    main()

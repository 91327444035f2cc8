"""What a second worker brings.

On a machine with two cores, upstream and clients leave no two for the relay. So besides a run without limits, which
tells the most where there are cores enough, each process of a relay gets a small share of a core and no more: then it
is workers that are scarce, and twice the load of one is what two could carry at best. How evenly connections fall to
two workers is seen in the CPU of each.
"""

import contextlib
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from msgspec.structs import replace as replace_fields

from benchmarks import gateways, relays
from benchmarks.field import OURS, Field, note, running
from benchmarks.measure import Result, measure
from benchmarks.process import tree
from benchmarks.quota import limited
from benchmarks.report import spread, table
from benchmarks.server import Server
from benchmarks.workloads import workloads

NAME = "workers"
SHARE = 0.15
"""Of a core, for each worker: so little that even nginx, twice, leaves upstream and clients time to spare."""

_CLIENTS = 64
_ALL_STARTED_SECONDS = 2.0
"""The port is open when the first worker is there; by then the others are too."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One run with so many workers; ``share`` of a core was each one's limit, 0 for none."""

    relay: str
    workers: int
    share: float
    result: Result

    @property
    def rate(self) -> float:
        """Events or requests a second."""
        tally = self.result.tally
        return (tally.events or tally.requests) / tally.seconds if tally.seconds else 0.0

    @property
    def busiest(self) -> float:
        """The busiest worker's part of what the workers spent."""
        parts = self.result.parts[: self.workers]
        return parts[0] / sum(parts)

    @property
    def used(self) -> float:
        """How much of what they were allowed the workers used: near 1 where they could do no more."""
        return self.result.relay_cpu / (self.workers * self.share * self.result.tally.seconds) if self.share else 0.0


def run(field: Field, rounds: int, *, quick: bool) -> list[Sample]:
    """Measure the relay and nginx with one worker and with two; nothing where the system knows no quotas."""
    every = workloads(quick=quick)
    paced = replace(every["A"], events=100)
    scarce = [replace(every[name], clients=_CLIENTS, share=None) for name in ("B", "C")]
    makers: dict[str, Callable[[int], Server | None]] = {
        OURS: lambda workers: relays.chukei(OURS, field.upstream, field.folder, workers=workers),
        "nginx": lambda workers: gateways.nginx(field.upstream, field.folder, workers=workers),
    }
    samples: list[Sample] = []
    with contextlib.ExitStack() as stack:
        servers = {}
        for name, make in makers.items():
            for workers in (1, 2):
                server = make(workers)
                if server is not None and stack.enter_context(running([server], field.upstream)):
                    servers[name, workers] = server
        time.sleep(_ALL_STARTED_SECONDS)
        for number in range(rounds):
            for (name, workers), server in servers.items():
                note(f"{NAME} round {number + 1} of {rounds}: {name}, {workers}")
                free = (paced, scarce[0]) if workers == 2 else (scarce[0],)
                samples += [Sample(name, workers, 0.0, measure(one, server, field.upstream)) for one in free]
                try:
                    with limited(list(tree(server.pid)), SHARE):
                        samples += [
                            Sample(name, workers, SHARE, measure(workload, server, field.upstream))
                            for workload in scarce
                        ]
                except OSError as error:
                    note(f"note: no quotas of CPU time here, so throughput by workers is left out: {error}")
    return samples


def results(samples: Sequence[Sample]) -> list[Result]:
    """Return the runs under names that keep them apart from those of other tables."""
    return [
        replace_fields(
            sample.result,
            relay=f"{sample.relay}, workers: {sample.workers}{', limited' if sample.share else ''}",
            workload=f"{NAME} {sample.result.workload}",
        )
        for sample in samples
    ]


def gains(samples: Sequence[Sample], relay: str, workload: str, share: float = SHARE) -> list[float]:
    """Return how many times the load of one worker two of them carried, for each round."""
    one, two = ([sample.rate for sample in _found(samples, relay, workload, workers, share)] for workers in (1, 2))
    return [more / less for more, less in zip(two, one, strict=False) if less]


def tables(samples: Sequence[Sample]) -> str:
    """Return what two workers carry, and how evenly."""
    shared = [
        [f"{relay}, {title}", spread([100 * sample.busiest for sample in found], 0)]
        for title, workload, share in (
            ("100 paced streams", "A", 0.0),
            (f"short, {_CLIENTS} clients", "B", 0.0),
            (f"short, {_CLIENTS} clients, limited", "B", SHARE),
            (f"flood, {_CLIENTS} clients, limited", "C", SHARE),
        )
        for relay in dict.fromkeys(sample.relay for sample in samples)
        if (found := _found(samples, relay, workload, 2, share))
    ]
    balance = table(["of two workers", "the busier one's % of their CPU"], shared)
    return f"### Workers\n\nLimited: each to {SHARE:.0%} of a core.\n\n{_throughput(samples)}\n\n{balance}"


def _throughput(samples: Sequence[Sample]) -> str:
    rows = []
    for workload, share, what in (
        ("B", 0.0, "short, requests/s"),
        ("B", SHARE, "short, limited, requests/s"),
        ("C", SHARE, "flood, limited, events/s"),
    ):
        for relay in dict.fromkeys(sample.relay for sample in samples):
            one, two = (_found(samples, relay, workload, workers, share) for workers in (1, 2))
            if not one or not two:
                continue
            rates = [spread([sample.rate for sample in found], 0) for found in (one, two)]
            costs = [f"{statistics.median(_each(found)):.1f}" for found in (one, two)]
            used = [f"{100 * min(sample.used for sample in found):.0f}" for found in (one, two)]
            wrong = sum(sample.result.tally.lost + sample.result.tally.failed for sample in (*one, *two))
            gain = spread(gains(samples, relay, workload, share), 2)
            row = [f"{relay}, {what}", *rates, gain, " / ".join(costs), " / ".join(used) if share else "–", str(wrong)]
            rows.append(row)
    head = ["relay", "one worker", "two", "× one", "µs CPU each", "% of its limit used, at least", "lost or failed"]
    return table(head, rows)


def _each(samples: Sequence[Sample]) -> list[float]:
    return [sample.result.unit_microseconds for sample in samples]


def _found(samples: Sequence[Sample], relay: str, workload: str, workers: int, share: float) -> list[Sample]:
    wanted = (relay, workload, workers, share)
    return [one for one in samples if (one.relay, one.result.workload, one.workers, one.share) == wanted]

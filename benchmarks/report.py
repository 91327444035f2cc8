"""Many results into tables: medians over the rounds, the range, and ratios to nginx and Envoy of the same round."""

import statistics
from collections.abc import Callable, Iterable, Sequence

from benchmarks.measure import Result
from benchmarks.workloads import Workload

YARDSTICKS = "nginx", "Envoy"
DIRECT = "direct"
"""The name of no relay at all."""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table whose columns line up in a terminal too; all but the first are numbers."""
    lines = [head, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]

    def row(cells: Sequence[str]) -> str:
        first, *others = zip(cells, widths, strict=True)
        return "| " + " | ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]) + " |"

    return "\n".join([row(head), row(rule), *(row(line) for line in lines[1:])])


def spread(values: Sequence[float], digits: int) -> str:
    """Return the median and, of several values, the range."""
    middle = f"{statistics.median(values):.{digits}f}"
    return middle if len(values) < 2 else f"{middle} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def rounds(results: Iterable[Result], workload: str) -> dict[str, list[Result]]:
    """Return the results of one workload by relay, in the order of the rounds."""
    found: dict[str, list[Result]] = {}
    for result in results:
        if result.workload == workload:
            found.setdefault(result.relay, []).append(result)
    return found


def ratios(mine: Sequence[Result], theirs: Sequence[Result]) -> list[float]:
    """Return how many times as much CPU an event or a request took, for each round."""
    pairs = zip(mine, theirs, strict=False)
    return [one.unit_microseconds / other.unit_microseconds for one, other in pairs]


def workload_tables(workload: Workload, results: Sequence[Result]) -> str:
    """Return what one workload showed: what it cost, and how late things came."""
    found = rounds(results, workload.name)
    parts = [f"### {workload.name} · {workload.title}", _memory(found) if workload.still else _costs(workload, found)]
    if workload.gap:
        parts.append(_delays(found))
    if workload.share is not None and any(runs[0].clients != workload.clients for runs in found.values()):
        names = ", ".join(name for name, runs in found.items() if runs[0].clients != workload.clients)
        parts.append(f"{names}: only {workload.share.title}, as the whole would be too much.")
    return "\n\n".join(parts)


def _shown(name: str) -> str:
    return "no relay" if name == DIRECT else name


def _costs(workload: Workload, found: dict[str, list[Result]]) -> str:
    yardsticks = [name for name in YARDSTICKS if name in found]
    unit = "event" if workload.streams else "request"
    rows = []
    for name, runs in found.items():
        per_second = [(run.tally.events or run.tally.requests) / run.tally.seconds for run in runs]
        wrong = f"{sum(run.tally.lost for run in runs)} / {sum(run.tally.failed for run in runs)}"
        cpu = [run.unit_microseconds for run in runs]
        costs = [spread(cpu, 1 if statistics.median(cpu) < 100 else 0)]
        costs += [spread(ratios(runs, found[other]), 2) for other in yardsticks]
        if name == DIRECT:
            costs = ["–"] * len(costs)
        rows.append([_shown(name), *costs, spread(per_second, 0), wrong])
    head = ["relay", f"µs CPU per {unit}", *(f"× {name}" for name in yardsticks), f"{unit}s/s", "lost / failed"]
    return table(head, rows)


def _memory(found: dict[str, list[Result]]) -> str:
    rows = []
    for name, runs in found.items():
        per_stream = spread([kib_per_stream(run) for run in runs], 1) if name != DIRECT else "–"
        wrong = f"{sum(run.tally.lost for run in runs)} / {sum(run.tally.failed for run in runs)}"
        rows.append([_shown(name), f"{min(run.tally.open for run in runs):,}", per_stream, wrong])
    return table(["relay", "streams open at once", "KiB per stream", "lost / failed"], rows)


def kib_per_stream(run: Result) -> float:
    """Return the memory of one open stream, in KiB."""
    return run.grown / max(run.tally.open, 1) / 1024


_TIMES: list[tuple[str, int, Callable[[Result], float]]] = [
    ("delay p50 ms", 2, lambda run: run.tally.delay[0]),
    ("delay p99 ms", 2, lambda run: run.tally.delay[1]),
    ("first event p50 ms", 1, lambda run: run.tally.first[0]),
]


def _delays(found: dict[str, list[Result]]) -> str:
    head = ["relay"]
    for title, _, _ in _TIMES:
        head += [title, "added"]
    rows = []
    for name, runs in found.items():
        cells = []
        for _, digits, value in _TIMES:
            cells.append(spread([value(run) for run in runs], digits))
            more = added(runs, found.get(DIRECT, []), value)
            cells.append(spread(more, digits) if more and name != DIRECT else "–")
        rows.append([_shown(name), *cells])
    return table(head, rows)


def added(runs: Sequence[Result], direct: Sequence[Result], value: Callable[[Result], float]) -> list[float]:
    """Return how much more a value is than without a relay, for each round."""
    return [value(one) - value(other) for one, other in zip(runs, direct, strict=False)]


def busiest(results: Sequence[Result], relay: str) -> str:
    """Return how busy the measuring processes were: near a core's all they would be what is measured."""
    parts = []
    for who, runs in ((relay, [run for run in results if run.relay == relay]), ("anything", results)):
        clients = max((run.tally.cpu / run.tally.seconds for run in runs if run.tally.seconds), default=0.0)
        upstream = max((run.upstream_cpu / run.tally.seconds for run in runs if run.tally.seconds), default=0.0)
        parts.append(f"{clients:.0%} of a core and the upstream {upstream:.0%} while {who} was measured")
    return f"The clients took at most {'; '.join(parts)}."

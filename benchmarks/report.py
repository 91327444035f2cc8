"""Many results into tables: medians over the rounds, the range, and the ratio to nginx of the same round."""

import statistics
from collections.abc import Callable, Iterable, Sequence

from benchmarks.measure import Result
from benchmarks.workloads import Workload

YARDSTICK = "nginx"


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


def workload_table(workload: Workload, results: Sequence[Result]) -> str:
    """Return the table of one workload."""
    by_relay: dict[str, list[Result]] = {}
    for result in results:
        if result.workload == workload.name:
            by_relay.setdefault(result.relay, []).append(result)
    yardstick = by_relay.get(YARDSTICK)
    columns = _columns(workload)
    rows = []
    for name, runs in by_relay.items():
        ratio = "–"
        if yardstick and name != "direct":
            pairs = zip(runs, yardstick, strict=False)
            ratio = spread([mine.unit_microseconds / theirs.unit_microseconds for mine, theirs in pairs], 2)
        cells = [spread([value(run) for run in runs], digits) for _, digits, value in columns]
        wrong = sum(run.tally.lost for run in runs), sum(run.tally.failed for run in runs)
        cpu = spread([run.unit_microseconds for run in runs], 1) if name != "direct" else "–"
        rows.append([name, cpu, ratio, *cells, f"{wrong[0]} / {wrong[1]}"])
    unit = "event" if workload.streams else "request"
    head = ["relay", f"µs CPU per {unit}", f"× {YARDSTICK}", *(title for title, _, _ in columns), "lost / failed"]
    return f"### {workload.name} · {workload.title}\n\n{table(head, rows)}"


Column = tuple[str, int, Callable[[Result], float]]


def _columns(workload: Workload) -> list[Column]:
    rate: Column = (
        ("events/s", 0, lambda run: run.tally.events / run.tally.seconds)
        if workload.streams
        else ("requests/s", 0, lambda run: run.tally.requests / run.tally.seconds)
    )
    late: list[Column] = [
        ("delay p50 ms", 2, lambda run: run.tally.delay[0]),
        ("p99 ms", 2, lambda run: run.tally.delay[1]),
    ]
    first: Column = ("first event p50 ms", 1, lambda run: run.tally.first[0])
    clients = workload.clients
    memory: Column = ("KiB per stream", 1, lambda run: run.grown / clients / 1024)
    if workload.still:
        return [memory, *late, first]
    if workload.gap:
        return [*late, first]
    return [rate]


def busiest(results: Sequence[Result]) -> str:
    """Return how busy the measuring processes were: near 1 they would be what is measured."""
    clients = max((run.tally.cpu / run.tally.seconds for run in results if run.tally.seconds), default=0.0)
    upstream = max((run.upstream_cpu / run.tally.seconds for run in results if run.tally.seconds), default=0.0)
    return f"The clients took at most {clients:.0%} of a core, the upstream {upstream:.0%}."

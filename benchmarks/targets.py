"""What the relay is to cost at most, and whether it does. Medians over the rounds, as in the tables."""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks import workers
from benchmarks.field import OURS
from benchmarks.measure import Result
from benchmarks.report import DIRECT, added, kib_per_stream, ratios, rounds, table
from benchmarks.starts import Imports, Start


@dataclass(frozen=True, slots=True)
class Findings:
    """All that a session has measured; what it has not is empty."""

    results: Sequence[Result]
    start: Start | None
    imports: dict[str, Imports]
    workers: Sequence[workers.Sample]

    def beside(self, workload: str, other: str) -> list[float]:
        """Return the relay's CPU as so many times another's."""
        found = rounds(self.results, workload)
        return ratios(found.get(OURS, []), found.get(other, []))

    def ours(self, workload: str) -> list[Result]:
        """Return what the relay did."""
        return rounds(self.results, workload).get(OURS, [])


Line = tuple[str, str, str, bool]
"""What, the target, what was measured, and whether it is met."""


def _at_most(what: str, values: Sequence[float], most: float, unit: str, digits: int = 2) -> Iterator[Line]:
    if values:
        middle = statistics.median(values)
        yield what, f"≤ {most:g}{unit}", f"{middle:.{digits}f}{unit}", round(middle, digits) <= most


def _at_least(what: str, values: Sequence[float], least: float, unit: str) -> Iterator[Line]:
    if values:
        middle = statistics.median(values)
        yield what, f"≥ {least:g}{unit}", f"{middle:.2f}{unit}", round(middle, 2) >= least


def lines(found: Findings) -> Iterator[Line]:
    """Yield each target for which there are figures."""
    yield from _at_most("A: CPU per event, beside Envoy", found.beside("A", "Envoy"), 1.0, " ×")
    yield from _at_most("A: CPU per event, beside nginx", found.beside("A", "nginx"), 2.0, " ×")
    yield from _at_most("A-TLS: CPU per event, beside nginx", found.beside("A-TLS", "nginx"), 2.0, " ×")
    short = [run.unit_microseconds / 1000 for run in found.ours("B")]
    yield from _at_most("B: CPU per short request", short, 0.2, " ms", 3)
    yield from _at_most("C: CPU per event of a flood, beside nginx", found.beside("C", "nginx"), 2.0, " ×")
    paced = rounds(found.results, "A")
    late = added(paced.get(OURS, []), paced.get(DIRECT, []), lambda run: run.tally.delay[0])
    yield from _at_most("A: added delay, p50", late, 0.5, " ms")
    tail = added(paced.get(OURS, []), paced.get("nginx", []), lambda run: run.tally.delay[1])
    yield from _at_most("A: delay beyond nginx's, p99", tail, 5.0, " ms")
    yield from _memory(found)
    if found.start is not None:
        yield from _at_most("idle memory", [found.start.idle / 2**20], 60.0, " MB", 0)
    yield from _at_most("import of the server", [one.milliseconds for one in found.imports.values()][:1], 300, " ms", 0)
    yield from _at_least("A: LiteLLM's CPU per event, beside the relay's", _litellm(paced), 25, " ×")
    for workload, what in (("B", "short requests"), ("C", "floods")):
        yield from _at_least(
            f"two workers: {what}, beside one", workers.gains(found.workers, OURS, workload), 1.8, " ×"
        )


def _litellm(paced: dict[str, list[Result]]) -> list[float]:
    return ratios(paced.get("LiteLLM", []), paced.get(OURS, []))


def _memory(found: Findings) -> Iterator[Line]:
    still = found.ours("D")
    if still:
        per_stream = [kib_per_stream(run) for run in still]
        yield from _at_most(
            f"D: memory of each of {min(run.tally.open for run in still):,} open streams", per_stream, 32, " KiB", 1
        )
    mine = [run for run in found.results if run.relay.startswith(OURS)]
    wrong = sum(run.tally.lost + run.tally.failed for run in mine)
    yield "lost, repeated or disordered events, failed requests", "0", str(wrong), wrong == 0


def targets_table(found: Findings) -> str:
    """Return the targets and what became of them."""
    rows = [[what, target, measured, "yes" if met else "**no**"] for what, target, measured, met in lines(found)]
    return table(["what", "target", "measured", "met"], rows)

"""How a cost grows with a size: exponents, and whether they are those of a straight line or of none at all.

An exponent is the slope of total cost over size where both are logarithms: 0 for a cost that does not grow, 1 for one
that grows as the size does, 2 for its square.
"""

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import msgspec

from benchmarks.report import spread, table

MOST = 1.15
"""The largest exponent that counts as linear: measuring is worth a tenth, a needless logarithm of the size less."""

NOISE = 0.1
"""A difference by this share is not one on a machine that does other things too."""

Points = Sequence[tuple[float, float]]
"""Pairs of size and cost, by size."""


class Sample(msgspec.Struct):
    """What one run showed: ``cost`` in microseconds of CPU for a unit, ``memory`` in bytes."""

    relay: str
    size: int
    cost: float
    memory: int = 0
    lost: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class Quantity:
    """One figure of a sweep. ``flat`` says that it is for one of what the size counts, so it should not grow at all;
    other figures are for all of it. ``each`` names what one more of the size costs, in units ``factor`` times smaller.
    """

    title: str
    read: Callable[[Sample], float]
    digits: int = 1
    flat: bool = True
    each: str = ""
    factor: float = 1.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """How one figure of one relay grows: ``overall`` and, with what the smallest size costs taken off, ``end``.

    ``times`` is the figure at the largest size, as a multiple of that at the smallest; ``each`` what one more costs.
    """

    relay: str
    quantity: Quantity
    each: float
    times: float
    overall: float
    end: float

    @property
    def linear(self) -> bool:
        """Whether it is no worse than linear."""
        return max(self.overall, self.end) <= MOST

    def __str__(self) -> str:
        judgement = "" if self.linear else f" — **worse than linear** (at most {MOST})"
        each = f"{self.each:.3g} {self.quantity.each}; " if self.quantity.each else ""
        return (
            f"{self.relay}, {self.quantity.title}: {each}× {self.times:.2f} from the smallest to the largest; "
            f"exponent of the total {self.overall:.2f}, at the end {self.end:.2f}{judgement}"
        )


def exponent(points: Points) -> float:
    """Return the slope of a straight line through the logarithms, by least squares.

    Raises:
        ValueError: a size or a cost is not above 0.
    """
    sizes, costs = zip(*((math.log(size), math.log(cost)) for size, cost in points), strict=True)
    return statistics.linear_regression(sizes, costs).slope


def end_exponent(points: Points) -> float:
    """Return the exponent over the last tenfold of size or so, of what is beyond the cost of the smallest size.

    That is 1 for every straight line, and 0 for a cost that does not grow. A large fixed cost would hide from
    ``exponent`` what comes upon it only at the end.
    """
    (first_size, first), *between, (last_size, last) = points
    near_size, near = next((one for one in reversed(between) if 10 * one[0] <= last_size), between[-1])
    before = max(near - first, NOISE * first)  # less than that cannot be told from nothing
    return math.log(max((last - first) / before, 1.0)) / math.log((last_size - first_size) / (near_size - first_size))


def slope(points: Points) -> float:
    """Return what one more of the size costs, from the smallest to the largest."""
    (first_size, first), *_, (last_size, last) = points
    return (last - first) / (last_size - first_size)


def medians(samples: Iterable[Sample], relay: str, read: Callable[[Sample], float]) -> list[tuple[float, float]]:
    """Return a relay's median for each size."""
    by_size: dict[int, list[float]] = {}
    for sample in samples:
        if sample.relay == relay:
            by_size.setdefault(sample.size, []).append(read(sample))
    return [(float(size), statistics.median(values)) for size, values in sorted(by_size.items())]


def verdict(samples: Sequence[Sample], relay: str, quantity: Quantity) -> Verdict:
    """Judge one figure of one relay."""
    found = medians(samples, relay, quantity.read)
    totals = [(size, value * size) if quantity.flat else (size, value) for size, value in found]
    return Verdict(
        relay,
        quantity,
        slope(found) * quantity.factor,
        found[-1][1] / found[0][1],
        exponent(totals),
        end_exponent(totals),
    )


def sweep_table(of: str, samples: Sequence[Sample], quantities: Sequence[Quantity]) -> str:
    """Return medians, with their range, of every figure and relay by size; ``of`` names what the sizes count."""
    names = list(dict.fromkeys(sample.relay for sample in samples))
    head = [of, *(f"{name}: {quantity.title}" for quantity in quantities for name in names), "lost / failed"]
    rows = []
    for size in sorted({sample.size for sample in samples}):
        here = [sample for sample in samples if sample.size == size]
        cells = [
            _cell([quantity.read(sample) for sample in here if sample.relay == name], quantity.digits)
            for quantity in quantities
            for name in names
        ]
        wrong = f"{sum(sample.lost for sample in here)} / {sum(sample.failed for sample in here)}"
        rows.append([f"{size:,}", *cells, wrong])
    return table(head, rows)


def _cell(values: Sequence[float], digits: int) -> str:
    return spread(values, digits) if values else "–"

"""Durations in buckets, each a tenth longer than the one before. Histograms can be added; lists of durations cannot."""

from bisect import bisect_left

from msgspec import Struct, field

FIRST = 0.001
"""Seconds up to which the first bucket counts."""

STEPS = 8
"""Buckets for each doubling: a percentile is wrong by a tenth at most, mostly by half of that."""

BUCKETS = 160
"""The last bucket counts everything above a quarter of an hour."""

BOUNDS = tuple(FIRST * 2 ** (number / STEPS) for number in range(BUCKETS - 1))


class Histogram(Struct):
    """How many durations fell into each bucket. Counts are fractions where old ones have decayed."""

    counts: dict[int, float] = field(default_factory=dict)

    def add(self, seconds: float, count: float = 1) -> None:
        """Count a duration."""
        bucket = bisect_left(BOUNDS, seconds)
        self.counts[bucket] = self.counts.get(bucket, 0) + count

    def merge(self, other: "Histogram", weight: float = 1) -> None:
        """Add the counts of another histogram, each multiplied by ``weight``."""
        counts = self.counts
        for bucket, count in other.counts.items():
            counts[bucket] = counts.get(bucket, 0) + count * weight

    def decay(self, factor: float) -> None:
        """Multiply all counts, and drop those that no longer matter."""
        self.counts = {bucket: left for bucket, count in self.counts.items() if (left := count * factor) > 0.01}

    @property
    def total(self) -> float:
        """The number of durations."""
        return sum(self.counts.values())

    def percentile(self, share: float, *, least: float = 1) -> float | None:
        """Return a percentile in seconds, interpolated inside its bucket; None if fewer than ``least`` were counted."""
        total = self.total
        if total < least or not total:
            return None
        wanted = share * total
        bucket = 0
        for bucket in sorted(self.counts):
            count = self.counts[bucket]
            if wanted <= count:
                break
            wanted -= count
        part = min(wanted / self.counts[bucket], 1.0)
        return FIRST * 2 ** ((bucket - 1 + part) / STEPS)

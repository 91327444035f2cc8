"""The values of all families at one moment, and the combination of several processes' snapshots into one. Pure."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import msgspec

from chukei.metrics.definitions import FAMILIES, MAX_LABEL, OTHER, Combine, Family

Labels = tuple[str, ...]
"""The values of a family's labels, in the family's order. An empty value is the same as a missing label."""

Reading = tuple[Family, Labels, float]
"""A value that is read when a snapshot is taken."""


class Sample(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One combination of labels. ``value`` is in the family's unit.

    For a histogram ``value`` is the sum of all observations, and ``counts`` has the number in each bucket, not
    cumulated; the last one counts what exceeds all bounds. ``weight`` is how many samples it combines.
    """

    labels: Labels
    value: float
    counts: tuple[int, ...] = ()
    weight: int = 1


class Snapshot(msgspec.Struct, frozen=True):
    """The samples of each family by its name. ``most`` is the most samples of a family."""

    most: int
    families: dict[str, list[Sample]]

    def encoded(self) -> bytes:
        """Return it as bytes, for another process."""
        return _encode(self)

    def samples(self, family: Family) -> list[Sample]:
        """Return a family's samples; none if nothing was counted."""
        return self.families.get(family.name, [])

    def value(self, family: Family, **labels: str) -> float:
        """Return the sum of the samples with these labels."""
        wanted = [(family.labels.index(name), value) for name, value in labels.items()]
        return math.fsum(
            each.value for each in self.samples(family) if all(each.labels[at] == value for at, value in wanted)
        )


_encode: Callable[[Snapshot], bytes] = msgspec.msgpack.Encoder().encode
_decode: Callable[[bytes], Snapshot] = msgspec.msgpack.Decoder(Snapshot).decode


def decoded(data: bytes) -> Snapshot:
    """Return the snapshot that was encoded.

    Raises:
        msgspec.DecodeError: the bytes are not a snapshot.
    """
    return _decode(data)


Row = TypeVar("Row")


class Rows(dict[Labels, Row]):
    """One row for each combination of labels, ``most`` at the most.

    The first nine tenths of the rows are for any labels. After them a sample is counted under its closed labels, with
    ``other`` for the open ones. The last row is ``other`` in every label. So nothing is dropped, and a row, once made,
    stays.
    """

    def __init__(self, family: Family, most: int, make: Callable[[], Row]) -> None:
        self._family = family
        self._most = most
        self._make = make

    def __missing__(self, labels: Labels) -> Row:
        """Return the row under which labels without a row of their own are counted; make it if necessary."""
        labels = tuple([_clean(label) for label in labels])
        if labels not in self and len(self) >= self._most * 9 // 10:
            labels = self._family.other(labels)
            if labels not in self and len(self) >= self._most - 1:
                labels = (OTHER,) * len(labels)
        found = self.get(labels)
        if found is None:
            found = self[labels] = self._make()
        return found


def _clean(label: str) -> str:
    """Return a label's value as printable text of bounded length that can be encoded."""
    label = label[:MAX_LABEL]
    return label if label.isprintable() else "".join(each if each.isprintable() else "\ufffd" for each in label)


class _Total:
    """The combination of samples with the same labels."""

    __slots__ = ("counts", "value", "weight")

    def __init__(self) -> None:
        self.value = 0.0
        self.counts: tuple[int, ...] = ()
        self.weight = 0

    def add(self, sample: Sample, combine: Combine) -> None:
        if not self.weight:
            self.value = sample.value
        elif combine is Combine.MAX:
            self.value = max(self.value, sample.value)
        elif combine is Combine.MIN:
            self.value = min(self.value, sample.value)
        elif combine is Combine.MEAN:
            both = self.weight + sample.weight
            self.value = (self.value * self.weight + sample.value * sample.weight) / both
        else:
            self.value += sample.value
        self.weight += sample.weight
        if not self.counts:
            self.counts = sample.counts
        elif len(self.counts) == len(sample.counts):
            self.counts = tuple([one + other for one, other in zip(self.counts, sample.counts, strict=True)])


def bounded(family: Family, samples: Iterable[Sample], most: int) -> list[Sample]:
    """Combine the samples with the same labels, and those for which there is no row of their own."""
    rows = Rows(family, most, _Total)
    for sample in samples:
        if len(sample.labels) == len(family.labels):
            rows[sample.labels].add(sample, family.combine)
    return [Sample(labels, each.value, each.counts, each.weight) for labels, each in rows.items()]


def combined(snapshots: Sequence[Snapshot]) -> Snapshot:
    """Combine the snapshots of several processes: add counters and histograms, combine gauges by their rule.

    A sample keeps its row if the snapshots come in the same order each time. Families that this version does not know,
    and samples with other labels than it knows, are left out.
    """
    most = max([each.most for each in snapshots], default=1)
    families = {}
    for name, family in FAMILIES.items():
        samples = [sample for each in snapshots for sample in each.families.get(name, ())]
        if samples:
            families[name] = bounded(family, samples, most)
    return Snapshot(most, families)


def merge(snapshots: Sequence[bytes]) -> bytes:
    """Combine encoded snapshots, as ``combined`` does.

    Raises:
        msgspec.DecodeError: one of them is not a snapshot.
    """
    return combined([decoded(each) for each in snapshots]).encoded()

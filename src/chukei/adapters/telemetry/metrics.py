"""The meter's snapshots as metrics of OpenTelemetry: the GenAI conventions' histograms, and all families.

A family ``chukei_some_name_seconds`` becomes the metric ``chukei.some_name`` with the unit ``s``, and keeps its labels.
Conversion happens in the thread that sends.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource

from chukei.adapters.telemetry import genai
from chukei.adapters.telemetry.exporters import SCOPE
from chukei.adapters.telemetry.genai import Names
from chukei.adapters.telemetry.spans import Attributes
from chukei.metrics import definitions as of
from chukei.metrics.definitions import FAMILIES, Family, Kind
from chukei.metrics.snapshot import Rows, Sample, Snapshot
from chukei.record import RequestRecord

_TOKENS = Family(
    "tokens", Kind.HISTOGRAM, "Number of input and output tokens used.", ("operation", "model", "deployment", "type"),
    "tokens", genai.TOKENS,
)  # fmt: skip

_PROCESS = {
    "process_cpu_seconds": "process.cpu.time",
    "process_resident_memory_bytes": "process.memory.usage",
    "process_open_fds": "process.unix.file_descriptor.count",
}
"""Families for which OpenTelemetry has a name of its own."""

MOST_ROWS = 1000
"""Combinations of operation, model and deployment that are told apart in the counts of tokens."""

_UNITS = {"seconds": "s", "bytes": "By", "tokens": "{token}"}


class _Counts:
    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(genai.TOKENS) + 1)
        self.total = 0


class TokenUsage:
    """Counts the tokens of each request by their number, which the meter does not. It implements the Hook port.

    Estimates do not count, as the conventions say.
    """

    def __init__(self) -> None:
        self._rows: Rows[_Counts] = Rows(_TOKENS, MOST_ROWS, _Counts)

    def __call__(self, record: RequestRecord) -> None:
        """Count the tokens of a finished request."""
        usage = record.usage
        if usage is None or usage.estimated:
            return
        call = (record.operation or "", record.model or "", record.deployment or "")
        for kind, tokens in (("input", usage.input), ("output", usage.output)):
            row = self._rows[*call, kind]
            row.counts[bisect_left(genai.TOKENS, tokens)] += 1
            row.total += tokens

    def samples(self) -> list[Sample]:
        """Return what was counted so far."""
        return [Sample(labels, row.total, tuple(row.counts)) for labels, row in self._rows.items()]


class Reading(NamedTuple):
    """All values at one moment: the meter's, the counts of tokens, and the time in nanoseconds since 1970."""

    snapshot: Snapshot
    tokens: list[Sample]
    moment: int


class _Series(NamedTuple):
    """One metric: its name, family, and samples with their attributes."""

    name: str
    family: Family
    samples: Sequence[tuple[Attributes, Sample]]
    unit: str


class Metrics:
    """Makes the SDK's metrics of readings, the first of which began at ``start``.

    If ``delta``, counts are those since the reading before, and a count that has not changed is left out.
    """

    def __init__(
        self,
        names: Names,
        place: Callable[[str], tuple[str, int] | None],
        resource: Resource,
        start: int,
        *,
        delta: bool,
    ) -> None:
        self._names = names
        self._place = place
        self._resource = resource
        self._start = start
        self._delta = delta
        self._before: dict[tuple[str, frozenset[tuple[str, object]]], Sample] = {}

    def of(self, reading: Reading) -> MetricsData:
        """Return the metrics of a reading."""
        made = [self._metric(series, reading.moment) for series in self._series(reading)]
        if self._delta:
            self._start = reading.moment
        scope = ScopeMetrics(SCOPE, [metric for metric in made if metric is not None], "")
        return MetricsData([ResourceMetrics(self._resource, [scope], "")])

    def _series(self, reading: Reading) -> Iterable[_Series]:
        snapshot, names = reading.snapshot, self._names
        for name, family, samples in (
            (names.duration, of.DURATION, snapshot.samples(of.DURATION)),
            (names.time_to_first_chunk, of.FIRST_TOKEN, snapshot.samples(of.FIRST_TOKEN)),
            (names.time_per_output_chunk, of.GAPS, snapshot.samples(of.GAPS)),
            (names.token_usage, _TOKENS, reading.tokens),
            (names.input_tokens, _TOKENS, [each for each in reading.tokens if each.labels[3] == "input"]),
            (names.output_tokens, _TOKENS, [each for each in reading.tokens if each.labels[3] == "output"]),
        ):
            if name is not None and samples:
                typed = name == names.token_usage
                found = [(self._described(each, typed=typed), each) for each in samples]
                yield _Series(name, family, _merged(found), _UNITS[family.unit])
        for family in FAMILIES.values():
            found = [(_labelled(family, each), each) for each in snapshot.samples(family)]
            if found:
                yield _Series(_name_of(family), family, found, _UNITS.get(family.unit, "1"))

    def _described(self, sample: Sample, *, typed: bool) -> Attributes:
        """Return a sample's attributes by the GenAI conventions."""
        operation, model, deployment = sample.labels[:3]
        attributes: Attributes = {
            genai.OPERATION: genai.OPERATIONS.get(operation, operation),
            self._names.provider: self._names.provider_value,
            genai.REQUEST_MODEL: model,
        }
        place = self._place(deployment)
        if place is not None:
            attributes["server.address"], attributes["server.port"] = place
        if typed:
            attributes[genai.TOKEN_TYPE] = sample.labels[3]
        return attributes

    def _metric(self, series: _Series, moment: int) -> Metric | None:
        name, family, samples, unit = series
        if family.kind is Kind.GAUGE:
            data: Gauge | Sum | Histogram = Gauge([_number(*each, moment, moment) for each in samples])
            return Metric(name, family.help, unit, data)
        if self._delta:
            grown = [(attributes, self._grown(name, attributes, each)) for attributes, each in samples]
            samples = [(attributes, each) for attributes, each in grown if each is not None]
        if not samples:
            return None
        kind = AggregationTemporality.DELTA if self._delta else AggregationTemporality.CUMULATIVE
        if family.kind is Kind.HISTOGRAM:
            data = Histogram([_histogram(family.buckets, *each, self._start, moment) for each in samples], kind)
        else:
            data = Sum([_number(*each, self._start, moment) for each in samples], kind, is_monotonic=True)
        return Metric(name, family.help, unit, data)

    def _grown(self, name: str, attributes: Attributes, sample: Sample) -> Sample | None:
        """Return by how much a sample has grown; None if it has not."""
        key = (name, frozenset(attributes.items()))
        before, self._before[key] = self._before.get(key), sample
        if before is None:
            return sample
        counts = tuple([now - then for now, then in zip(sample.counts, before.counts, strict=True)])
        value = sample.value - before.value
        return Sample(sample.labels, value, counts) if value or any(counts) else None


def _name_of(family: Family) -> str:
    suffix = f"_{family.unit}" if family.unit in ("seconds", "bytes") else ""
    return _PROCESS.get(family.name) or family.name.removesuffix(suffix).replace("_", ".", 1)


def _labelled(family: Family, sample: Sample) -> Attributes:
    return {name: value for name, value in zip(family.labels, sample.labels, strict=True) if value}


def _merged(samples: Iterable[tuple[Attributes, Sample]]) -> list[tuple[Attributes, Sample]]:
    """Add up the samples with the same attributes: two deployments may have one address, two operations one name."""
    found: dict[frozenset[tuple[str, object]], tuple[Attributes, Sample]] = {}
    for attributes, sample in samples:
        key = frozenset(attributes.items())
        if key in found:
            other = found[key][1]
            counts = tuple([one + two for one, two in zip(sample.counts, other.counts, strict=True)])
            sample = Sample(sample.labels, sample.value + other.value, counts)
        found[key] = (attributes, sample)
    return list(found.values())


def _number(attributes: Attributes, sample: Sample, start: int, moment: int) -> NumberDataPoint:
    return NumberDataPoint(attributes, start, moment, sample.value)


def _histogram(
    bounds: Sequence[float], attributes: Attributes, sample: Sample, start: int, moment: int
) -> HistogramDataPoint:
    """Return a histogram without its least and greatest value, which the meter does not know."""
    return HistogramDataPoint(
        attributes,
        start,
        moment,
        count=sum(sample.counts),
        sum=sample.value,
        bucket_counts=sample.counts,
        explicit_bounds=bounds,
        min=None,  # type: ignore[arg-type] # optional in OTLP and for Azure Monitor
        max=None,  # type: ignore[arg-type]
    )

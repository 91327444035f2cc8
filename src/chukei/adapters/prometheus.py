"""Writes metrics in Prometheus' text format and in OpenMetrics', with prometheus-client.

Import this module when a page is asked for: the library takes longer to import than the page to write.
"""

import re
from collections.abc import Iterator, Sequence

from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from chukei.metrics.definitions import FAMILIES, Family, Kind
from chukei.metrics.snapshot import Labels, Snapshot, combined, decoded

_ODD_VERSION = re.compile(r";\s*version=(?!\d{1,4}(?:\.\d{1,4}){0,3}\s*(?:[;,]|$))[^;,]*")
"""A version that is none, which the library cannot compare with others."""


def write_page(snapshots: Sequence[bytes], accept: str) -> tuple[str, bytes]:
    """Combine encoded snapshots and write them in the best format that ``accept`` names.

    Return the content type and the page.
    """
    write, content_type = choose_encoder(_ODD_VERSION.sub("", accept))
    return content_type, write(_Page(combined([decoded(each) for each in snapshots])))


class _Page(Collector):
    """One snapshot in the form that the library writes."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        for family in FAMILIES.values():
            yield _metric(family, self._snapshot)


def _metric(family: Family, snapshot: Snapshot) -> Metric:
    metric = Metric(family.name, family.help, family.kind.value, family.unit)
    for sample in snapshot.samples(family):
        labels = _labels(family, sample.labels)
        if family.kind is Kind.HISTOGRAM:
            below = 0
            for bound, count in zip((*family.buckets, float("inf")), sample.counts, strict=True):
                below += count
                metric.add_sample(f"{family.name}_bucket", {**labels, "le": _bound(bound)}, below)
            metric.add_sample(f"{family.name}_count", labels, below)
            metric.add_sample(f"{family.name}_sum", labels, sample.value)
        else:
            metric.add_sample(family.full_name, labels, sample.value)
    return metric


def _labels(family: Family, values: Labels) -> dict[str, str]:
    """Return the labels that have a value; Prometheus takes an empty one for none."""
    return {name: value for name, value in zip(family.labels, values, strict=True) if value}


def _bound(bound: float) -> str:
    return "+Inf" if bound == float("inf") else str(float(bound))

"""Pages of metrics, read as Prometheus reads them."""

from prometheus_client.core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as _read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as _read_text

from chukei.metrics.definitions import FAMILIES, Kind
from chukei.metrics.snapshot import Sample, Snapshot

OPENMETRICS = "application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.3"
"""What Prometheus accepts."""


def families(page: str) -> dict[str, Metric]:
    """Return the families of a page in either format, by their names without ``_total``."""
    if page.endswith("# EOF\n"):
        return {each.name: each for each in _read_openmetrics(page)}  # type: ignore[no-untyped-call]
    return {each.name: each for each in _read_text(page)}


def read(page: str) -> Snapshot:
    """Return the counters and gauges of a page as a snapshot, and the sums and counts of its histograms."""
    found = families(page)
    samples: dict[str, list[Sample]] = {}
    for name, family in FAMILIES.items():
        histogram = family.kind is Kind.HISTOGRAM
        rows: dict[tuple[str, ...], dict[str, float]] = {}
        for each in found[name].samples:
            rows.setdefault(tuple(each.labels.get(label, "") for label in family.labels), {})[each.name] = each.value
        samples[name] = [
            Sample(labels, values[f"{name}_sum"], (int(values[f"{name}_count"]),))
            if histogram
            else Sample(labels, values[family.full_name])
            for labels, values in rows.items()
        ]
    return Snapshot(1, samples)

"""The names, units and labels of the families of metrics, by Prometheus' and OpenMetrics' conventions."""

import re

from tests.rows import rows

from chukei.metrics.definitions import FAMILIES, OPEN, SECONDS, STALL_SECONDS, Combine, Family, Kind


@rows(("name", "family"), FAMILIES.items())
def test_each_family_follows_the_conventions(name: str, family: Family) -> None:
    assert re.fullmatch(r"(chukei|process|python)_[a-z_]+", name)
    assert not name.endswith("_total")
    assert family.help.endswith(".")
    assert not family.unit or name.endswith(f"_{family.unit}")
    assert {unit for unit in ("seconds", "bytes") if name.endswith(unit)} <= {family.unit}
    assert len(set(family.labels)) == len(family.labels)
    assert bool(family.buckets) == (family.kind is Kind.HISTOGRAM)
    assert list(family.buckets) == sorted(family.buckets)
    assert family.kind is Kind.GAUGE or family.combine is Combine.SUM


def test_a_stall_is_counted_by_the_buckets() -> None:
    assert STALL_SECONDS in SECONDS


def test_open_labels_are_labels_of_families() -> None:
    assert {label for family in FAMILIES.values() for label in family.labels} >= OPEN

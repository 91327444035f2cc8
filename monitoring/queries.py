"""Queries in PromQL from the definitions of the metrics. A family or label that does not exist is an error."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from chukei.metrics.definitions import BUILD, Family, Kind

TARGET = ("job", "instance")
"""The labels that Prometheus adds to each sample: the job of its configuration, and the relay's address."""


@dataclass(frozen=True, slots=True)
class Reader:
    """Writes queries.

    ``variables`` are the dashboard's, by which each query is restricted where its family has that label. ``window`` is
    the time over which rates are taken, unless a query names its own.
    """

    variables: tuple[str, ...]
    window: str

    def select(self, family: Family, *where: str, part: str = "", window: str = "", offset: str = "") -> str:
        """Return the samples of a family.

        ``where`` are matchers, such as ``end="refused"``. ``part`` is ``bucket``, ``sum`` or ``count`` of a histogram.
        """
        if (family.kind is Kind.HISTOGRAM) != bool(part):
            raise ValueError(f"{family.name}: bucket, sum or count for histograms, and only for them")
        _check(family, [matcher[: re.search(r"\W", matcher).start()] for matcher in where])  # type: ignore[union-attr]
        shown = [name for name in self.variables if name in (*TARGET, *family.labels)]
        matchers = ", ".join([*(f'{name}=~"${name}"' for name in shown), *where])
        name = f"{family.full_name}_{part}" if part else family.full_name
        time = f"[{window}]" if window else ""
        return name + (f"{{{matchers}}}" if matchers else "") + time + (f" offset {offset}" if offset else "")

    def rate(
        self,
        family: Family,
        by: str = "",
        *where: str,
        part: str = "",
        window: str = "",
        offset: str = "",
        function: str = "rate",
    ) -> str:
        """Return how fast counters grow in a second, added up by labels ("model, deployment")."""
        if family.kind is Kind.GAUGE:
            raise ValueError(f"{family.name}: a gauge has no rate")
        _check(family, _names(by), extra=("le",))
        selected = self.select(family, *where, part=part, window=window or self.window, offset=offset)
        return f"sum{_by(by)}({function}({selected}))"

    def increase(self, family: Family, by: str = "", *where: str, part: str = "", window: str = "") -> str:
        """Return by how much counters have grown in the window."""
        return self.rate(family, by, *where, part=part, window=window, function="increase")

    def gauge(self, family: Family, by: str = "", *where: str, combine: str = "sum") -> str:
        """Return gauges, combined by labels."""
        if family.kind is not Kind.GAUGE:
            raise ValueError(f"{family.name}: not a gauge")
        _check(family, _names(by))
        return f"{combine}{_by(by)}({self.select(family, *where)})"

    def quantile(
        self, share: float, family: Family, by: str = "", *where: str, window: str = "", offset: str = ""
    ) -> str:
        """Return a quantile of a histogram, by labels."""
        grouped = ", ".join([*_names(by), "le"])
        rate = self.rate(family, grouped, *where, part="bucket", window=window, offset=offset)
        return f"histogram_quantile({share:g}, {rate})"

    def appeared(self, family: Family, by: str, *where: str, window: str) -> str:
        """Return where counters have grown, also those that did not exist before.

        A counter with labels appears with its first event. Its rate does not show this event, since nothing was zero
        before. So this also returns what was not there one window ago, of relays that were.
        """
        now, before = self.select(family, *where), self.select(family, *where, offset=window)
        known = f"and on (job, instance) {self.select(BUILD, offset=window)}"
        new = f"sum{_by(by)}({now} unless {before} {known})"
        return f"{self.increase(family, by, *where, window=window)} > 0\nor {new} > 0"


def any_of(label: str, values: Sequence[str]) -> str:
    """Return a matcher for one of several values, which may be regular expressions."""
    return f'{label}=~"{"|".join(values)}"'


def none_of(label: str, values: Sequence[str]) -> str:
    """Return a matcher for none of several values."""
    return f'{label}!~"{"|".join(values)}"'


def _names(by: str) -> list[str]:
    return re.findall(r"\w+", by)


def _by(by: str) -> str:
    return f" by ({by}) " if by else ""


def _check(family: Family, labels: Sequence[str], extra: Sequence[str] = ()) -> None:
    unknown = set(labels) - {*family.labels, *TARGET, *extra}
    if unknown:
        raise ValueError(f"{family.name} has no label {', '.join(sorted(unknown))}")

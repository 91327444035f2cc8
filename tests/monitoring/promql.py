"""What a query in PromQL reads, by a parser that knows nothing of this project."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

_VALUES = {"$__rate_interval": "1m", "$job": ".*", "$instance": ".*", "$model": ".*", "$deployment": ".*"}
"""What Grafana puts in the place of the dashboard's variables."""


@dataclass(frozen=True, slots=True)
class Reads:
    """A selection of samples: the name of the metric, and the labels that matchers or aggregations name."""

    metric: str
    labels: frozenset[str]


def filled(expression: str) -> str:
    """Return a query of the dashboard as Prometheus gets it."""
    for name, value in _VALUES.items():
        expression = expression.replace(name, value)
    return expression


def reads(expression: str) -> list[Reads]:
    """Parse a query and return what it selects.

    Raises:
        ValueError: it is not PromQL.
    """
    parser = pytest.importorskip("promql_parser")
    return list(_walk(parser, parser.parse(filled(expression)), frozenset()))


def _walk(parser: Any, found: Any, by: frozenset[str]) -> Iterator[Reads]:
    if isinstance(found, parser.AggregateExpr):
        by = frozenset(found.modifier.labels) if found.modifier is not None else frozenset()
        yield from _walk(parser, found.expr, by)
    elif isinstance(found, parser.VectorSelector):
        yield Reads(found.name, by | {matcher.name for matcher in found.matchers.matchers})
    elif isinstance(found, parser.MatrixSelector):
        yield from _walk(parser, found.vector_selector, by)
    elif isinstance(found, parser.BinaryExpr):
        yield from _walk(parser, found.lhs, by)
        filters = str(found.op) in {"and", "unless"}  # the right side has its own labels
        yield from _walk(parser, found.rhs, frozenset() if filters else by)
    elif isinstance(found, parser.Call):
        for argument in found.args:
            yield from _walk(parser, argument, by)
    elif not isinstance(found, (parser.NumberLiteral, parser.StringLiteral)):
        yield from _walk(parser, found.expr, by)


def legend_labels(legend: str) -> set[str]:
    """Return the labels that a legend shows."""
    return set(re.findall(r"\{\{(\w+)\}\}", legend))

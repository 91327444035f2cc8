"""The dashboard: made from its table, importable, and each query reads metrics that exist."""

import json
import re
from typing import Any

from monitoring.alerts import ALERTS
from monitoring.panels import ROWS, VARIABLES, Panel, Query, Shape
from tests import markdown
from tests.monitoring.promql import legend_labels, reads
from tests.rows import rows

from chukei.metrics.definitions import FAMILIES, Kind
from monitoring import dashboard

FILE = markdown.ROOT / "monitoring" / dashboard.FILE
PANELS = [panel for row in ROWS for panel in row.panels]
QUERIES = [(panel.title, query) for panel in PANELS for query in panel.queries]
EXPRESSIONS = [
    *((title, query.expression) for title, query in QUERIES),
    *((alert.name, alert.expression) for alert in ALERTS),
]

TARGET = {"job", "instance"}
KNOWN = {"up": TARGET}
"""The labels of each metric, by its full name; ``up`` is Prometheus' own."""
for family in FAMILIES.values():
    own = {*family.labels, *TARGET}
    if family.kind is Kind.HISTOGRAM:
        KNOWN |= {
            f"{family.name}_bucket": {*own, "le"},
            f"{family.name}_count": own,
            f"{family.name}_sum": own,
        }
    else:
        KNOWN[family.full_name] = own


def model() -> dict[str, Any]:
    return json.loads(FILE.read_text("utf-8"))  # type: ignore[no-any-return]


def test_the_file_is_what_the_table_says() -> None:
    assert FILE.read_text("utf-8") == dashboard.written(), "run python -m monitoring"


@rows(("where", "expression"), EXPRESSIONS)
def test_each_query_is_promql_and_reads_metrics_that_exist(where: str, expression: str) -> None:
    found = reads(expression)
    assert found
    for each in found:
        assert each.metric in KNOWN, where
        assert each.labels <= KNOWN[each.metric], where


@rows(("where", "expression"), EXPRESSIONS)
def test_quantiles_have_their_buckets(where: str, expression: str) -> None:
    """Without ``le`` in the aggregation, the result is empty and no error."""
    buckets = [each for each in reads(expression) if each.metric.endswith("_bucket")]
    assert bool(buckets) == ("histogram_quantile" in expression)
    assert all("le" in each.labels for each in buckets)


def test_every_family_is_shown() -> None:
    """What is measured and not shown is not looked at."""
    shown = {each.metric for _, query in QUERIES for each in reads(query.expression)}
    hidden = {
        family.name
        for family in FAMILIES.values()
        if not shown & {family.full_name, f"{family.name}_bucket", f"{family.name}_count"}
    }
    assert hidden == set()


@rows(("where", "query"), QUERIES)
def test_a_legend_shows_labels_that_the_result_has(where: str, query: Query) -> None:
    grouped = set(re.findall(r"\w+", " ".join(re.findall(r"\bby \(([^)]*)\)", query.expression))))
    assert legend_labels(query.legend) <= grouped


def test_grafana_can_import_it() -> None:
    """By the classic model: https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model/."""
    made = model()
    panels = made["panels"]
    assert made["schemaVersion"] == 42
    assert "id" not in made
    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,40}", made["uid"])
    assert {panel["type"] for panel in panels} <= {"row", *Shape}  # all built in
    assert len({panel["id"] for panel in panels}) == len(panels)
    variables = {each["name"] for each in made["templating"]["list"]}
    assert variables == {"datasource", *VARIABLES}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps([panel.get("targets") for panel in panels])))
    assert used == variables | {"__rate_interval"}


def test_panels_do_not_overlap_and_are_on_the_page() -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in model()["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= dashboard.PAGE
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"]
    first = {y for (x, y) in taken if x == 0}
    assert first == set(range(max(first) + 1)), "a gap between the rows"


@rows("panel", [panel for panel in PANELS if panel.runbook])
def test_a_panel_points_at_a_section_of_the_runbook(panel: Panel) -> None:
    assert panel.runbook in markdown.anchors(markdown.read("docs/runbook.md"))

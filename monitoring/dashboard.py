"""Writes the dashboard as Grafana imports it: in the last version of its classic JSON model, with built-in panels."""

import json
from typing import Any

from chukei.metrics import definitions as of
from monitoring.panels import ROWS, VARIABLES, Panel, Row, Shape

FILE = "grafana-dashboard.json"

SCHEMA = 42
"""The last version of the classic model (``DASHBOARD_SCHEMA_VERSION`` in Grafana's DashboardMigrator)."""

PAGE = 24
"""The width of Grafana's page in its units."""

_HEIGHTS = {Shape.LINES: 8, Shape.TABLE: 8, Shape.NUMBER: 4, Shape.TEXT: 3}
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_LAST = {"calcs": ["lastNotNull"], "fields": "", "values": False}

Json = dict[str, Any]


def written() -> str:
    """Return the dashboard's JSON."""
    return json.dumps(dashboard(), indent=1, ensure_ascii=False) + "\n"


def dashboard() -> Json:
    """Return the dashboard as an object."""
    return {
        "uid": "chukei",
        "title": "chukei",
        "description": "Where a slow or failing answer comes from. Made by python -m monitoring.",
        "tags": ["chukei"],
        "schemaVersion": SCHEMA,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "timezone": "browser",
        "time": {"from": "now-1h", "to": "now"},
        "refresh": "30s",
        "templating": {"list": [_source_variable(), *map(_variable, VARIABLES)]},
        "annotations": {"list": []},
        "links": [],
        "panels": _placed(),
    }


def _source_variable() -> Json:
    return {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "refresh": 1}


def _variable(name: str) -> Json:
    place = VARIABLES.index(name)
    family = of.BUILD if name in ("job", "instance") else of.DEPLOYMENT_STATE
    above = ", ".join(f'{each}=~"${each}"' for each in VARIABLES[:place])
    query = f"label_values({family.full_name}{{{above}}}, {name})" if above else f"label_values({family.name}, {name})"
    return {
        "name": name,
        "label": name.capitalize(),
        "type": "query",
        "datasource": _SOURCE,
        "definition": query,
        "query": {"query": query, "refId": "PrometheusVariableQueryEditor-VariableQuery"},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def _placed() -> list[Json]:
    """Return all panels with their places: from left to right, and a new line where there is no room."""
    placed: list[Json] = []
    top = 0
    for row in ROWS:
        placed.append(_heading(row, len(placed) + 1, top))
        top, left, height = top + 1, 0, 0
        for panel in row.panels:
            if left + panel.width > PAGE:
                top, left, height = top + height, 0, 0
            height = max(height, _HEIGHTS[panel.shape])
            place = {"x": left, "y": top, "w": panel.width, "h": _HEIGHTS[panel.shape]}
            placed.append(_panel(panel, len(placed) + 1) | {"gridPos": place})
            left += panel.width
        top += height
    return placed


def _heading(row: Row, number: int, top: int) -> Json:
    place = {"x": 0, "y": top, "w": PAGE, "h": 1}
    return {"id": number, "type": "row", "title": row.title, "collapsed": False, "panels": [], "gridPos": place}


def _panel(panel: Panel, number: int) -> Json:
    shown: Json = {"id": number, "type": panel.shape.value, "title": panel.title}
    if panel.shape is Shape.TEXT:
        return shown | {"title": "", "options": {"mode": "markdown", "content": panel.text}}
    runbook = f" In docs/runbook.md: #{panel.runbook}." if panel.runbook else ""
    return (
        shown
        | {
            "description": panel.text + runbook,
            "datasource": _SOURCE,
            "targets": [_target(panel, index) for index in range(len(panel.queries))],
            "fieldConfig": {"defaults": _defaults(panel), "overrides": _dashed(panel)},
            "options": _options(panel),
        }
        | ({"transformations": _columns()} if panel.shape is Shape.TABLE else {})
    )


def _target(panel: Panel, index: int) -> Json:
    query = panel.queries[index]
    now = panel.shape is Shape.TABLE
    return {
        "refId": chr(ord("A") + index),
        "datasource": _SOURCE,
        "expr": query.expression,
        "legendFormat": query.legend,
        "instant": now,
        "range": not now,
        "format": "table" if now else "time_series",
        "editorMode": "code",
    }


def _defaults(panel: Panel) -> Json:
    defaults: Json = {"unit": panel.unit}
    if panel.shape is Shape.LINES:
        defaults |= {"min": 0, "custom": _lines(panel)}
    if panel.alarm is not None:
        steps = [(None, "green"), (panel.warning, "yellow"), (panel.alarm, "red")]
        colours = {value: {"value": value, "color": colour} for value, colour in steps}
        defaults["color"] = {"mode": "thresholds"}
        defaults["thresholds"] = {"mode": "absolute", "steps": list(colours.values())}
    return defaults


def _lines(panel: Panel) -> Json:
    return {
        "drawStyle": "line",
        "lineWidth": 1,
        "fillOpacity": 20 if panel.stacked else 0,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
    }


def _dashed(panel: Panel) -> list[Json]:
    """Return the overrides that draw the past dashed."""
    style = {"id": "custom.lineStyle", "value": {"fill": "dash", "dash": [8, 8]}}
    return [
        {"matcher": {"id": "byFrameRefID", "options": chr(ord("A") + index)}, "properties": [style]}
        for index, query in enumerate(panel.queries)
        if query.past
    ]


def _options(panel: Panel) -> Json:
    if panel.shape is Shape.NUMBER:
        return {
            "reduceOptions": _LAST,
            "colorMode": "background",
            "graphMode": "area",
            "textMode": "value",
            "justifyMode": "auto",
            "orientation": "auto",
        }
    if panel.shape is Shape.TABLE:
        return {"showHeader": True, "cellHeight": "sm"}
    legend = {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []}
    return {"legend": legend, "tooltip": {"mode": "multi", "sort": "desc"}}


def _columns() -> list[Json]:
    return [{"id": "organize", "options": {"excludeByName": {"Time": True}, "renameByName": {"Value": "value"}}}]

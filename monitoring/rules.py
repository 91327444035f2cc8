"""Writes the alerts as a file of Prometheus rules. A quoted string of JSON is one of YAML too."""

import json
import re
from collections.abc import Sequence

from monitoring.alerts import ALERTS, Alert

FILE = "prometheus-rules.yaml"

_SHARES = re.compile(r"\{value\} of (the|its)\b")


def written(alerts: Sequence[Alert] = ALERTS) -> str:
    """Return the rules' YAML."""
    head = ["# Made by python -m monitoring from monitoring/alerts.py.", "groups:", "  - name: chukei", "    rules:"]
    return "\n".join([*head, *map(_rule, alerts)]) + "\n"


def _rule(alert: Alert) -> str:
    expression = "\n".join(f"          {line}" for line in alert.expression.splitlines())
    return "\n".join(
        [
            f"      - alert: {alert.name}",
            "        expr: |-",
            expression,
            f"        for: {alert.lasts}",
            "        labels:",
            f"          severity: {alert.severity}",
            "        annotations:",
            f"          summary: {json.dumps(_template(alert.summary), ensure_ascii=False)}",
            f"          runbook: docs/runbook.md#{alert.runbook}",
        ]
    )


def _template(summary: str) -> str:
    """Return the summary as Prometheus' template. A value that is a share is written in per cent."""
    filled = _SHARES.sub(r"{{ $value | humanizePercentage }} of \1", summary)
    filled = filled.replace("{value}", '{{ printf "%.3g" $value }}')
    return re.sub(r"(?<!\{)\{(\w+)\}", r"{{ $labels.\1 }}", filled)

"""The alert rules: made from their table, valid for Prometheus, and each fires when it shall and only then."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from monitoring.alerts import ALERTS, Alert
from tests import markdown
from tests.monitoring.alert_cases import CASES, Case
from tests.rows import rows

from monitoring import rules

FILE = markdown.ROOT / "monitoring" / rules.FILE
BY_NAME = {alert.name: alert for alert in ALERTS}


def promtool(*arguments: str) -> str:
    path = shutil.which("promtool")
    if path is None:
        pytest.skip("promtool is not installed")
    found = subprocess.run([path, *arguments], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout


def test_the_file_is_what_the_table_says() -> None:
    assert FILE.read_text("utf-8") == rules.written(), "run python -m monitoring"


def test_prometheus_accepts_the_rules() -> None:
    assert f"{len(ALERTS)} rules found" in promtool("check", "rules", str(FILE))


@rows("alert", ALERTS)
def test_the_runbook_has_a_section_for_each_alert(alert: Alert) -> None:
    """Two alerts may share a section, which names both."""
    page = markdown.read("docs/runbook.md")
    headings = re.findall(r"^## (.+)$", page, re.MULTILINE)
    (heading,) = [each for each in headings if markdown.anchors(f"## {each}") == {alert.runbook}]
    assert f"`{alert.name}`" in markdown.section(page, heading)


def test_the_runbook_names_no_other_alert() -> None:
    assert set(re.findall(r"Chukei[A-Z]\w+", markdown.read("docs/runbook.md"))) == BY_NAME.keys()


def test_the_documented_severities_are_the_tables() -> None:
    table = markdown.rows(markdown.section(markdown.read("docs/metrics.md"), "Dashboard and alerts"))
    documented = {(name, severity.strip("`")) for severity, names, _ in table for name in markdown.codes(names)}
    assert documented == {(alert.name, str(alert.severity)) for alert in ALERTS}


def test_each_alert_has_a_case() -> None:
    assert [case.alert for case in CASES] == [alert.name for alert in ALERTS]


def test_each_alert_fires_when_it_shall_and_only_then(tmp_path: Path) -> None:
    """Each is evaluated alone, since promtool evaluates all rules of a file in every minute of each test."""
    files = [_files(case, tmp_path) for case in CASES]
    promtool("test", "rules", *files)


def _files(case: Case, folder: Path) -> str:
    """Write the alert's rule and its tests, and return the path of the tests."""
    rule = folder / f"{case.alert}.yaml"
    rule.write_text(rules.written([BY_NAME[case.alert]]), "utf-8")
    tests = [_test(case, fires=True), _test(case, fires=False)]
    path = folder / f"{case.alert}-tests.json"  # JSON is YAML
    path.write_text(json.dumps({"rule_files": [rule.name], "evaluation_interval": "1m", "tests": tests}), "utf-8")
    return str(path)


def _test(case: Case, *, fires: bool) -> dict[str, object]:
    alert = BY_NAME[case.alert]
    expected = {
        "exp_labels": {**case.labels, "severity": str(alert.severity)},
        "exp_annotations": {"summary": case.summary, "runbook": f"docs/runbook.md#{alert.runbook}"},
    }
    series = case.fires if fires else case.quiet
    return {
        "name": f"{case.alert}, {'fires' if fires else 'quiet'}",
        "interval": "1m",
        "input_series": [{"series": name, "values": values.strip()} for name, values in series.items()],
        "alert_rule_test": [
            {"eval_time": f"{case.at}m", "alertname": case.alert, "exp_alerts": [expected] if fires else []}
        ],
    }

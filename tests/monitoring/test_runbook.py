"""The runbook: its queries read metrics that exist, and its commands read the log."""

import json
import re
import shutil
import subprocess
from dataclasses import fields
from pathlib import Path

import pytest
from tests import markdown
from tests.monitoring.promql import reads
from tests.monitoring.test_dashboard import KNOWN
from tests.rows import rows

from chukei.config import Settings

PAGE = markdown.read("docs/runbook.md")
FENCES = [fence for fence in markdown.fences("promql", "sh") if fence.page == "docs/runbook.md"]
QUERIES = [line for fence in FENCES if fence.language == "promql" for line in fence.text.splitlines()]
COMMANDS = [
    command
    for fence in FENCES
    if fence.language == "sh"
    for command in fence.text.replace("\n    ", " ").splitlines()
    if command.startswith("jq ")
]

LOG = [
    {"event": "request", "request_id": "ID", "model": "chat", "deployment": "east", "end": "completed", "time": "now"},
    {"event": "request", "request_id": "other", "end": "refused", "code": "invalid_api_key", "count": 12},
    {"event": "deployment east fails (upstream_500) and is left alone for 5.0 s", "logger": "chukei.pool"},
    {"event": "unexpected", "level": "error", "exception": "Traceback …"},
    {"event": "worker 7 ended (signal SIGKILL), and another takes its place", "level": "error"},
    {"event": "configuration reloaded (SIGHUP): changed: server.port", "level": "info"},
]


@rows("query", QUERIES)
def test_a_query_is_promql_and_reads_metrics_that_exist(query: str) -> None:
    for each in reads(query):
        assert each.metric in KNOWN
        assert each.labels <= KNOWN[each.metric]


def test_the_metrics_in_the_text_exist() -> None:
    named = set(re.findall(r"`(chukei_\w+)`", PAGE))
    assert named
    assert named <= KNOWN.keys()


def test_the_settings_in_the_text_exist() -> None:
    sections = "|".join(field.name for field in fields(Settings))
    named = set(re.findall(rf"`(?:{sections})\.([a-z_]+)(?: = [^`]*)?`", PAGE))
    known = set(re.findall(r"^\| `(\w+)`", markdown.read("docs/configuration.md"), re.MULTILINE))
    assert len(named) > 10
    assert named - known == set()


@rows("command", COMMANDS)
def test_a_command_finds_its_lines_in_a_log(command: str, tmp_path: Path) -> None:
    if shutil.which("jq") is None:
        pytest.skip("jq is not installed")
    lines = ["a line that is not JSON", *map(json.dumps, LOG)]
    (tmp_path / "chukei.log").write_text("\n".join(lines) + "\n", "utf-8")
    found = subprocess.run(["/bin/sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout.strip() not in ("", "[]")

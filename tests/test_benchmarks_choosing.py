"""The cost of choosing is measured, and drawn; how much it is is not judged here."""

import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks import choosing, plot

ROOT = Path(__file__).parents[1]


def test_a_short_run_prints_a_row_for_each_scenario() -> None:
    command = [sys.executable, "-m", "benchmarks.choosing", "--rounds", "2", "--requests", "200", "--sizes", "1", "20"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    assert ran.returncode == 0, ran.stderr
    head, rule, *rows = ran.stdout.strip().splitlines()
    assert [cell.strip() for cell in head.strip("|").split("|")] == ["deployments", "1", "20"]
    assert set(rule) <= set("|-: ")
    assert [row.strip("|").split("|")[0].strip() for row in rows] == list(choosing.SCENARIOS)
    assert all(float(cell) > 0 for row in rows for cell in row.strip("|").split("|")[1:])


def test_what_is_said_to_cool_does() -> None:
    traffic = choosing.SCENARIOS["half of them cooling"](10)
    traffic.run(500)
    served = next(iter(traffic._pool._models))
    assert [tier.available for tier in served.tiers] == [5]


def test_a_plot_is_the_same_each_time_and_says_nothing_of_the_machine(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="only whoever draws needs it")
    found = []
    for name in ("first.svg", "second.svg"):
        plot.lines(tmp_path / name, "A title", "across", "up", {"one": [(1, 2.0), (10, 3.0)]}, log_x=True)
        found.append((tmp_path / name).read_text())
    assert found[0] == found[1]
    assert found[0].count("<text") > 4
    assert "A title" in found[0]
    assert not any(word in found[0] for word in ("<dc:date>", str(tmp_path), "matplotlib.org"))

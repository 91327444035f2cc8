"""The benchmark runs, and loses nothing; how long anything takes is not judged here."""

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from benchmarks.measure import Result

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("workload", ["B", "C"])
def test_a_quick_run_measures_every_relay_and_loses_nothing(workload: str, tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    command = [
        sys.executable,
        "-m",
        "benchmarks",
        "--quick",
        "--no-start",
        "--workload",
        workload,
        "--json",
        str(results),
    ]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "µs CPU per" in ran.stdout
    found = msgspec.json.decode(results.read_bytes(), type=list[Result])
    assert {"chukei", "direct"} <= {result.relay for result in found}
    assert [(result.tally.lost, result.tally.failed) for result in found] == [(0, 0)] * len(found)

"""Cold starts are measured, of both hosts; how long they take is not judged here."""

import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks.cold_start import GROUPS, STARTS

ROOT = Path(__file__).parents[1]


def test_the_command_prints_a_row_for_each_import_and_each_start() -> None:
    pytest.importorskip("azure_functions_runtime")
    command = [sys.executable, "-m", "benchmarks.cold_start", "--times", "1"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    assert ran.returncode == 0, ran.stderr
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in ran.stdout.splitlines()]
    numbers = {name: cells for name, *cells in rows if cells and cells[0][:1].isdigit()}
    imports = [step for steps in GROUPS.values() for step in steps]
    assert list(numbers) == imports + [f"{name}, {kind}" for name in STARTS for kind in ("with bytecode", "without")]
    assert all(float(cell) > 0 for step in imports for cell in numbers[step])

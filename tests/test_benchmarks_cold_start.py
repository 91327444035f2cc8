"""Cold starts are measured, of both hosts; how long they take is not judged here."""

import asyncio
from pathlib import Path

import pytest
from benchmarks.cold_start import GROUPS, STARTS, environments_in, import_table, start_table, starts
from benchmarks.guard import configuration


def rows(table: str) -> dict[str, list[str]]:
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    return {name: numbers for name, *numbers in cells if numbers and numbers[0][:1].isdigit()}


def test_each_import_and_each_start_has_a_row(tmp_path: Path) -> None:
    """With bytecode alone: without it everything takes several times as long, and is measured in the same way."""
    pytest.importorskip("azure_functions_runtime")
    kind, environment = next(iter(environments_in(str(tmp_path)).items()))
    imports = rows(import_table(1, {kind: {**environment, **configuration(9, tmp_path)}}))
    assert list(imports) == [step for steps in GROUPS.values() for step in steps]
    assert all(float(cell) > 0 for cells in imports.values() for cell in cells)
    begun = rows(start_table(asyncio.run(starts(1, {kind: environment}))))
    assert list(begun) == [f"{name}, {kind}" for name in STARTS]
    assert all(float(cell) > 0 for cells in begun.values() for cell in cells)

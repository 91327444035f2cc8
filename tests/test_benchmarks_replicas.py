"""The simulation of many replicas runs, is the same under a seed, and sharing makes nothing worse where it is usual."""

import subprocess
import sys
from pathlib import Path

from benchmarks.fleet import HEARD_SECONDS, Case, Figures, Simulation
from benchmarks.replicas import cases, outage

ROOT = Path(__file__).parents[1]
REPLICAS = 20


def run(case: Case, *, shared: bool) -> Figures:
    return Simulation(case, shared=shared, replicas=REPLICAS).run()


def usual() -> Case:
    return cases(quick=True)["tiers"][1]


def test_the_same_seed_gives_the_same_figures() -> None:
    assert run(usual(), shared=True) == run(usual(), shared=True)


def test_sharing_saves_refusals_and_costs_no_answers() -> None:
    alone, together = run(usual(), shared=False), run(usual(), shared=True)
    assert alone.requests > 2000
    assert together.refused < alone.refused
    assert together.answered == together.requests == alone.requests == alone.answered
    assert (together.wrongly, together.rightly) == (0, 0)


def test_beyond_capacity_as_much_is_answered_with_sharing_as_without() -> None:
    case = cases(quick=True)["alike"][2]
    alone, together = run(case, shared=False), run(case, shared=True)
    assert alone.rightly > 0
    assert together.refused < alone.refused
    assert together.answered > 0.97 * alone.answered


def test_an_outage_reaches_everybody_at_once() -> None:
    alone, together = run(outage(quick=True), shared=False), run(outage(quick=True), shared=True)
    assert (alone.errors, together.errors) == (0, 0)
    assert together.wasted < alone.wasted
    assert len(together.knew) == len(together.back) == REPLICAS
    assert max(together.knew.values()) - min(together.knew.values()) <= 1.001 * HEARD_SECONDS


def test_the_command_prints_its_tables() -> None:
    command = [sys.executable, "-m", "benchmarks.replicas", "--quick"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count("| shared") == len(cases()) + 1

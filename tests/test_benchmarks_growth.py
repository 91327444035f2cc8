"""How costs grow is told rightly, and the sweeps run; how much anything costs is not judged here."""

import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from benchmarks.growth import report
from benchmarks.growth_report import Quantity, Sample, end_exponent, exponent, medians, slope, sweep_table, verdict
from benchmarks.growth_sweeps import EVENTS_PER_SECOND, SWEEPS
from tests.rows import rows

ROOT = Path(__file__).parents[1]
SIZES = (1, 10, 100, 1000)

COST = Quantity("µs", lambda sample: sample.cost)
TOTAL = Quantity("µs", lambda sample: sample.cost, flat=False)


def points(cost: Callable[[float], float]) -> list[tuple[float, float]]:
    return [(size, cost(size)) for size in SIZES]


def samples(cost: Callable[[float], float], relay: str = "chukei") -> list[Sample]:
    return [Sample(relay, size, cost(size)) for size in SIZES]


@rows("power", [0.0, 0.5, 1.0, 2.0])
def test_the_exponent_of_a_power_is_that_power(power: float) -> None:
    assert exponent(points(lambda size: 3.0 * size**power)) == pytest.approx(power)


def test_the_exponent_is_that_of_the_line_nearest_to_all_points() -> None:
    up_and_down = [(1.0, 1.1), (10.0, 10 / 1.1), (100.0, 100 / 1.1), (1000.0, 1100.0)]
    assert exponent(up_and_down) == pytest.approx(1.0)


@rows("fixed", [0.0, 30.0, 100.0])
def test_at_the_end_a_straight_line_has_exponent_one_whatever_its_fixed_cost(fixed: float) -> None:
    assert end_exponent(points(lambda size: fixed + 2.0 * size)) == pytest.approx(1.0)


def test_a_square_that_a_fixed_cost_hides_shows_at_the_end() -> None:
    hidden = points(lambda size: 300.0 + 0.003 * size * size)
    assert exponent(hidden) < 1.0
    assert end_exponent(hidden) > 1.5


def test_the_end_is_a_tenfold_though_sizes_are_closer() -> None:
    noisy = [(10, 300.0), (100, 3000.0), (500, 14_000.0), (1000, 30_000.0)]
    assert end_exponent(noisy) == pytest.approx(1.0)
    assert end_exponent([(10, 1.0), (20, 2.0), (40, 4.0)]) == pytest.approx(1.0)


@rows("noise", [0.98, 1.0, 1.02])
def test_noise_on_what_does_not_grow_is_no_growth(noise: float) -> None:
    assert end_exponent([(1, 300.0), (10, 301.0), (100, 300.5), (1000, 300.0 * noise)]) <= 0.0


def test_a_slope_is_what_one_more_costs() -> None:
    assert slope(points(lambda size: 250.0 + 0.5 * size)) == pytest.approx(0.5)


def test_medians_are_of_one_relay_by_size() -> None:
    found = [Sample("chukei", size, cost) for cost in (1.0, 9.0, 2.0) for size in (10, 1)]
    assert medians([*found, Sample("nginx", 1, 50.0)], "chukei", COST.read) == [(1.0, 2.0), (10.0, 2.0)]


@rows(
    ("quantity", "cost", "linear"),
    [
        (COST, lambda size: 30.0, True),
        (COST, lambda size: 30.0 + 2.0 * math.log10(size), True),
        (COST, lambda size: 30.0 * size**0.2, False),
        (COST, lambda size: 30.0 + size / 20, False),
        (TOTAL, lambda size: 250.0 + size, True),
        (TOTAL, lambda size: 250.0 + size**1.3, False),
    ],
)
def test_what_is_worse_than_linear_is_told(quantity: Quantity, cost: Callable[[float], float], linear: bool) -> None:
    found = verdict(samples(cost), "chukei", quantity)
    assert found.linear is linear
    assert ("worse than linear" in str(found)) is not linear


def test_a_table_has_a_row_for_each_size_and_a_column_for_each_relay() -> None:
    found = [*samples(lambda size: 30.0), *samples(lambda size: 40.0), *samples(lambda size: 12.0, "nginx")]
    found.append(Sample("nginx", 1, 12.0, lost=2, failed=1))
    lines = sweep_table("streams", found, [COST]).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[0] == ["streams", "chukei: µs", "nginx: µs", "lost / failed"]
    assert cells[2] == ["1", "35.0 (30.0–40.0)", "12.0 (12.0–12.0)", "2 / 1"]
    assert cells[5] == ["1,000", "35.0 (30.0–40.0)", "12.0", "0 / 0"]
    assert len({len(line) for line in lines}) == 1


def test_what_was_not_measured_at_a_size_is_left_open() -> None:
    found = [*samples(lambda size: 30.0), Sample("nginx", 1, 12.0)]
    cells = [cell.strip() for cell in sweep_table("streams", found, [COST]).splitlines()[-1].strip("|").split("|")]
    assert cells == ["1,000", "30.0", "–", "0 / 0"]


@rows(
    ("ours", "theirs", "lost", "good"),
    [(0.0, 0.0, 0, True), (0.0, 1.0, 0, True), (1.0, 0.0, 0, False), (0.0, 0.0, 1, False)],
)
def test_only_what_the_relay_costs_and_loses_is_held_against_it(
    ours: float, theirs: float, lost: int, good: bool
) -> None:
    (body,) = (sweep for sweep in SWEEPS if sweep.name == "body")
    found = [*samples(lambda size: size ** (1 + ours)), *samples(lambda size: size ** (1 + theirs), "nginx")]
    found[0].lost = lost
    text, passed = report(body, found)
    assert passed is good
    assert ("lost, or" in text) is bool(lost)
    assert text.count("worse than linear") == (ours > 0) + (theirs > 0)


def test_as_many_events_come_however_many_streams_there_are() -> None:
    (streams,) = (sweep for sweep in SWEEPS if sweep.name == "streams")
    for size in (*streams.sizes, *streams.quick):
        workload = streams.workload(size, 1.0)
        assert size * 1e6 / workload.gap == pytest.approx(EVENTS_PER_SECOND)
        assert size % 3, "then three streams out of step would be one"


def test_a_quick_sweep_measures_every_size_and_loses_nothing(tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    command = [sys.executable, "-m", "benchmarks.growth", "--quick", "--sweep", "deployments", "--json", str(results)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    found = msgspec.json.decode(results.read_bytes(), type=dict[str, list[Sample]])
    assert [sample.size for sample in found["deployments"]] == [1, 10, 100], ran.stderr
    assert [(sample.lost, sample.failed) for sample in found["deployments"]] == [(0, 0)] * 3
    assert all(sample.cost > 0 and sample.memory > 0 for sample in found["deployments"])
    assert ran.stdout.count("exponent of the total") == 2
    assert (ran.returncode != 0) is ("worse than linear" in ran.stdout)

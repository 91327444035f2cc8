"""Steps of time: how many are kept, which one a moment is in, and how a period divides among them."""

import pytest
from tests.rows import rows

from chukei.liveview.rings import Ring


class Step:
    def __init__(self) -> None:
        self.count = 0


def test_steps_follow_the_clock_and_old_ones_are_forgotten() -> None:
    ring = Ring(10.0, 3, Step)
    for now in (5.0, 9.9, 10.0, 25.0, 29.0, 39.0):
        ring.turn(now).count += 1
    assert [step.count for step in ring.steps] == [1, 2, 1]


def test_a_long_silence_empties_the_ring_and_ends_no_step_twice() -> None:
    ended: list[int] = []
    ring = Ring(1.0, 4, Step, lambda step: ended.append(step.count))
    ring.turn(0.5).count = 7
    ring.turn(1e9)
    assert [step.count for step in ring.steps] == [0, 0, 0, 0]
    assert ended == [7, 0, 0, 0]


def test_a_clock_that_stands_or_goes_back_begins_no_step() -> None:
    ring = Ring(1.0, 2, Step)
    first = ring.turn(5.2)
    assert ring.turn(5.2) is first
    assert ring.turn(4.0) is first


@rows(
    ("begin", "end", "expected"),
    [
        (102.0, 102.5, [(3, 1.0)]),
        (101.5, 102.5, [(2, 0.5), (3, 0.5)]),
        (99.0, 103.0, [(0, 0.25), (1, 0.25), (2, 0.25), (3, 0.25)]),
        (95.0, 103.0, [(0, 0.125), (1, 0.125), (2, 0.125), (3, 0.125)]),
        (102.0, 102.0, [(3, 1.0)]),
        (10.0, 20.0, []),
    ],
)
def test_a_period_divides_among_its_steps(begin: float, end: float, expected: list[tuple[int, float]]) -> None:
    ring = Ring(1.0, 4, Step)
    ring.turn(102.9)
    found = ring.covering(begin, end)
    assert [index for index, _ in found] == [index for index, _ in expected]
    assert [part for _, part in found] == pytest.approx([part for _, part in expected])

"""The ring: the same everywhere, fair by weight, and steady when one leaves."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.rows import rows

from chukei.pool.ring import MOST_POINTS, Ring, digest

KEYS = [digest(b"conversation %d" % number) for number in range(20_000)]


def owners(*weights: int) -> list[tuple[str, int]]:
    return [(f"https://r{number}.example/gpt-4o", weight) for number, weight in enumerate(weights)]


def first(ring: Ring, key: int) -> int:
    return next(ring.walk(key))


@rows("seed", ["1", "2"])
def test_a_key_has_the_same_owner_in_every_process(seed: str) -> None:
    """The interpreter's own hash differs from process to process."""
    program = (
        "from tests.pool.test_ring import KEYS, first, owners\n"
        "from chukei.pool.ring import Ring\n"
        "print([first(Ring(owners(1, 2, 3)), key) for key in KEYS[:50]])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[2],
        env={"PYTHONHASHSEED": seed, "PYTHONPATH": "src:."},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    ring = Ring(owners(1, 2, 3))
    assert ran.stdout.strip() == str([first(ring, key) for key in KEYS[:50]])


def test_the_order_of_the_configuration_does_not_matter() -> None:
    given = owners(1, 2, 3, 1)
    ring, other = Ring(given), Ring(given[::-1])
    for key in KEYS[:500]:
        assert [given[index] for index in ring.walk(key)] == [given[::-1][index] for index in other.walk(key)]


@given(key=st.integers(0, 2**64 - 1), weights=st.lists(st.integers(1, 50), min_size=1, max_size=12))
def test_a_walk_meets_each_once(key: int, weights: list[int]) -> None:
    assert sorted(Ring(owners(*weights)).walk(key)) == list(range(len(weights)))


@rows("weights", [(1, 1), (1, 1, 1), (3, 1), (5, 3, 2), (1,) * 10, (10, 1)])
def test_shares_follow_the_weights(weights: tuple[int, ...]) -> None:
    ring = Ring(owners(*weights))
    found = Counter(first(ring, key) for key in KEYS)
    for index, weight in enumerate(weights):
        assert found[index] == pytest.approx(len(KEYS) * weight / sum(weights), rel=0.15)


def test_when_one_leaves_only_its_keys_move() -> None:
    before, after = Ring(owners(1, 1, 1, 1)), Ring(owners(1, 1, 1, 1)[:3])
    moved = 0
    for key in KEYS:
        was = first(before, key)
        if was == 3:
            moved += 1
            # To where they go already while it is only away for a time.
            assert first(after, key) == next(index for index in before.walk(key) if index != 3)
        else:
            assert first(after, key) == was
    assert moved == pytest.approx(len(KEYS) / 4, rel=0.15)


def test_a_thousand_deployments_need_no_more_points_than_a_hundred() -> None:
    ring = Ring(owners(*[1] * 1000))
    assert len(ring._places) <= MOST_POINTS
    assert len({first(ring, key) for key in KEYS}) > 990


def test_very_different_weights_leave_everybody_a_place() -> None:
    assert sorted(Ring(owners(1_000_000, 1, 1)).walk(7)) == [0, 1, 2]


def test_a_digest_is_64_bits_and_always_the_same() -> None:
    assert digest(b"") == 0xE4A6A0577479B2B4
    assert all(0 <= key < 2**64 for key in KEYS)

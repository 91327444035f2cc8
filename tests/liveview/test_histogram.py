"""Durations in buckets: percentiles within a bucket's width, sums, decay."""

import math
import random

import pytest
from tests.rows import rows

from chukei.liveview.histogram import BUCKETS, STEPS, Histogram


def filled(*seconds: float) -> Histogram:
    histogram = Histogram()
    for each in seconds:
        histogram.add(each)
    return histogram


@rows("share", [0.01, 0.5, 0.9, 0.95, 0.99])
@rows("spread", [0.1, 1.0, 2.0])
def test_percentiles_are_within_a_bucket_of_the_real_ones(share: float, spread: float) -> None:
    draw = random.Random(7)
    durations = sorted(draw.lognormvariate(-1, spread) for _ in range(5000))
    found = filled(*durations).percentile(share)
    real = durations[math.ceil(share * len(durations)) - 1]
    assert found is not None
    assert 2 ** (-1 / STEPS) <= found / real <= 2 ** (1 / STEPS)


def test_sums_are_as_if_everything_had_been_added_to_one() -> None:
    draw = random.Random(8)
    durations = [draw.lognormvariate(-1, 1) for _ in range(300)]
    apart = filled(*durations[:100])
    apart.merge(filled(*durations[100:]))
    assert apart == filled(*durations)


def test_too_few_durations_have_no_percentile() -> None:
    assert Histogram().percentile(0.5) is None
    assert filled(1, 1).percentile(0.5, least=3) is None
    assert filled(1, 1, 1).percentile(0.5, least=3) == pytest.approx(1, rel=0.2)


@rows("seconds", [-1.0, 0.0, 1e-9, 0.001, 1e5, math.inf])
def test_any_duration_has_a_bucket(seconds: float) -> None:
    [bucket] = filled(seconds).counts
    assert 0 <= bucket < BUCKETS


def test_old_durations_decay_until_they_are_gone() -> None:
    histogram = filled(0.1, 0.1, 3.0)
    histogram.decay(0.5)
    assert histogram.total == 1.5
    for _ in range(10):
        histogram.decay(0.5)
    assert histogram.counts == {}

"""One deployment: its status in one word, its waits, its cool-downs and its pace."""

from dataclasses import replace

import pytest
from tests.pool.pools import NOW, deployment

from chukei.config import PoolSettings
from chukei.pool.breaker import Event
from chukei.pool.member import ENOUGH, RECENT, Member, Quota, Status

SETTINGS = PoolSettings()


def member(**changes: object) -> Member:
    return Member(deployment("east", **changes), Quota(), SETTINGS, lambda: 0.0, named=True)


def test_a_given_time_is_kept_to_the_moment() -> None:
    found = member()
    found.quota.cool(NOW, 7.25, "rate_limit_exceeded", SETTINGS)
    assert not found.available(NOW + 7.2499)
    assert found.available(NOW + 7.25)
    assert (found.status(NOW), found.wait(NOW), found.why(NOW)) == (Status.COOLING, 7.25, "rate_limit_exceeded")


def test_an_hour_is_bounded_and_a_running_time_never_shortened() -> None:
    quota = Quota()
    assert quota.cool(NOW, 3600.0, "busy", SETTINGS) == 300.0
    assert quota.cool(NOW + 1, 2.0, "busy", SETTINGS) == 299.0
    assert quota.until == NOW + 300


def test_without_a_time_each_is_double_the_last_until_one_is_answered() -> None:
    quota, now, times = Quota(), NOW, []
    for _ in range(8):
        times.append(quota.cool(now, None, "busy", SETTINGS))
        now = quota.until
    assert times == [10, 20, 40, 80, 160, 300, 300, 300]
    quota.served()
    assert quota.cool(now, None, "busy", SETTINGS) == 10
    for _ in range(10_000):  # nor does it grow into what no number holds
        now = quota.until
        assert quota.cool(now, None, "busy", SETTINGS) <= 300


def test_many_that_are_refused_together_double_nothing() -> None:
    quota = Quota()
    for number in range(200):
        quota.cool(NOW + number * 0.001, None, "busy", SETTINGS)
    assert quota.until == pytest.approx(NOW + 10.199)
    later = quota.until
    for number in range(200):
        quota.cool(later + number * 0.001, None, "busy", SETTINGS)
    assert quota.until == pytest.approx(later + 20.199)


def test_a_given_time_does_not_begin_the_doubling() -> None:
    quota = Quota()
    quota.cool(NOW, 1.0, "busy", SETTINGS)
    quota.cool(NOW + 1, 1.0, "busy", SETTINGS)
    assert quota.cool(NOW + 2, None, "busy", SETTINGS) == 10


def test_the_status_is_what_keeps_it_away() -> None:
    found = member(max_concurrent=1)
    assert found.status(NOW) is Status.READY
    found.outstanding = 1
    assert (found.status(NOW), found.available(NOW), found.wait(NOW)) == (Status.FULL, False, 1.0)
    found.breaker.trip(NOW, "upstream_lost", 5.0)
    found.quota.cool(NOW, 10.0, "rate_limit_exceeded", SETTINGS)
    assert (found.status(NOW), found.wait(NOW), found.why(NOW)) == (Status.OPEN, 10.0, "upstream_lost")
    assert (found.status(NOW + 5), found.why(NOW + 5)) == (Status.COOLING, "rate_limit_exceeded")
    found.outstanding = 0
    assert (found.status(NOW + 10), found.why(NOW + 10)) == (Status.HALF_OPEN, "upstream_lost")
    assert found.available(NOW + 10)
    found.breaker.enter(NOW + 10)
    assert (found.available(NOW + 10), found.wait(NOW + 10)) == (False, 1.0)
    found.breaker.close(NOW, Event.NEWS)
    assert (found.status(NOW + 10), found.why(NOW + 10)) == (Status.READY, None)


def test_a_closed_breaker_explains_no_cool_down() -> None:
    found = member()
    found.breaker.trip(NOW, "upstream_lost", 60.0)
    found.breaker.close(NOW, Event.NEWS)
    found.quota.cool(NOW, 10.0, "rate_limit_exceeded", SETTINGS)
    assert found.why(NOW + 1) == "rate_limit_exceeded"


def test_weight_0_is_drained() -> None:
    assert member(weight=0).status(NOW) is Status.DRAINED


def test_the_next_change_is_the_next_of_its_times() -> None:
    found = member()
    assert found.next_change(NOW) == float("inf")
    found.breaker.trip(NOW, "upstream_lost", 5.0)
    found.quota.cool(NOW, 10.0, "rate_limit_exceeded", SETTINGS)
    found.pressed_until = NOW + 2
    assert [found.next_change(NOW + after) for after in (0, 2, 5, 10)] == [NOW + 2, NOW + 5, NOW + 10, float("inf")]


def test_deployments_of_one_quota_cool_down_together() -> None:
    quota = Quota()
    two = [Member(deployment(name), quota, SETTINGS, lambda: 0.0, named=True) for name in ("east", "west")]
    assert quota.members == two
    quota.cool(NOW, 3.0, "busy", replace(SETTINGS, max_cooldown_seconds=2.0))
    assert [each.available(NOW + 1.9) for each in two] == [False, False]
    assert [each.available(NOW + 2) for each in two] == [True, True]


def test_percentiles_are_of_the_latest_and_only_where_there_are_enough() -> None:
    found = member()
    for number in range(ENOUGH - 1):
        found.record_first_token(number)
    assert found.percentile(0.5) is None
    found.record_first_token(ENOUGH - 1)
    assert (found.percentile(0.5), found.percentile(0.95), found.percentile(1.0)) == (5, 9, 9)
    for _ in range(RECENT):
        found.record_first_token(77.0)
    assert (found.percentile(0.0), found.percentile(0.95)) == (77.0, 77.0)

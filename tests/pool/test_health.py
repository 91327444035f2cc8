"""What becomes of deployments by what is said of them, and what other replicas hear of it."""

import random

import pytest
from tests.pool.pools import (
    FAILED,
    MISCONFIGURED,
    NO_HEADERS,
    NOW,
    begin,
    busy,
    deployment,
    fail,
    one,
    pool_of,
    refused,
    serve,
    told,
    wait_of,
)
from tests.rows import rows

from chukei.config import PoolSettings
from chukei.model import Change, Condition, Deployment, Model
from chukei.pool import Fault, Pool, Source, Verdict
from chukei.pool.member import Status

EAST = "https://east.example/gpt-4o"


def away(pool: Pool, now: float) -> tuple[int, object] | None:
    """Return the status and the seconds of a refusal."""
    refusal = pool.refusal(None, now)
    return (refusal.status, pytest.approx(wait_of(refusal), abs=0.002)) if refusal is not None else None


def test_429s_without_a_time_double_until_one_is_answered() -> None:
    pool, now = one(), NOW
    for seconds in (10.0, 20.0, 40.0):
        fail(pool, busy(None), now)
        assert away(pool, now) == (429, seconds)
        now += seconds
    serve(pool, now)
    fail(pool, busy(None), now)
    assert away(pool, now) == (429, 10.0)


def test_many_429s_of_requests_that_ran_together_double_nothing() -> None:
    pool = one()
    leases = [begin(pool) for _ in range(50)]
    for lease in leases:
        lease.failed(NOW, busy(None))
        lease.release(NOW)
    assert away(pool, NOW) == (429, 10.0)


@rows(("asked", "kept"), [(3600.0, 300.0), (0.1, 0.1), (12.5, 12.5)])
def test_what_the_upstream_asks_for_is_kept_up_to_the_maximum(asked: float, kept: float) -> None:
    pool = one()
    fail(pool, busy(asked))
    assert away(pool, NOW) == (429, kept)
    assert away(pool, NOW + kept) is None


def test_0_switches_cool_downs_off() -> None:
    pool = one(PoolSettings(max_cooldown_seconds=0.0))
    changes = told(pool)
    fail(pool, busy(60.0))
    pool.hear(Change(Condition.COOLING, EAST, 60.0, "heard"), NOW)
    assert away(pool, NOW) is None
    assert changes == []


def test_an_error_with_a_time_opens_the_breaker_for_that_time() -> None:
    pool = one()
    fail(pool, Verdict(Fault.FAILED, "upstream_error", 30.0))
    assert away(pool, NOW) == (503, 30.0)
    assert away(pool, NOW + 30) is None
    pool = one()
    fail(pool, Verdict(Fault.FAILED, "upstream_error", 3600.0))
    assert away(pool, NOW) == (503, 300.0)
    pool = one(PoolSettings(breaker_failures=0))
    fail(pool, Verdict(Fault.FAILED, "upstream_error", 30.0))
    assert away(pool, NOW) is None


@rows("fault", [Fault.CALLER, Fault.MISPLACED])
def test_what_is_not_the_deployments_affair_takes_nothing_out(fault: Fault) -> None:
    pool = one()
    changes = told(pool)
    for _ in range(50):
        fail(pool, Verdict(fault, "content_filter", 60.0))
    assert away(pool, NOW) is None
    assert changes == []


def test_a_trial_that_is_refused_for_quota_shows_that_the_deployment_is_well() -> None:
    pool = one()
    for _ in range(3):
        fail(pool, FAILED)
    fail(pool, busy(2.0), NOW + 5)
    assert away(pool, NOW + 5) == (429, 2.0)
    both = [begin(pool, NOW + 7), begin(pool, NOW + 7)]
    assert len(both) == 2


def test_a_trial_that_says_nothing_of_the_deployment_makes_room_for_the_next() -> None:
    pool = one()
    for _ in range(3):
        fail(pool, FAILED)
    now = NOW + 5
    fail(pool, Verdict(Fault.CALLER, "content_filter"), now)
    trial = begin(pool, now)
    assert away(pool, now) == (503, 1.0)
    trial.release(now)  # the client left
    assert serve(pool, now) == "east"
    assert len([begin(pool, now) for _ in range(3)]) == 3


def test_a_stream_that_was_a_trial_long_ago_does_not_judge_the_present() -> None:
    """It began, and closed the breaker; what becomes of it later is one request among others."""
    pool = one()
    for _ in range(3):
        fail(pool, FAILED)
    now = NOW + 5
    old = begin(pool, now)
    old.answered(now, 0.2, NO_HEADERS)
    for _ in range(3):
        fail(pool, FAILED, now + 1)
    late = now + 6
    trial = begin(pool, late)
    old.failed(late, busy(None))
    old.release(late)
    cooled = late + 10
    for now in (late + 4.99, cooled):
        assert (pool.refusal(None, now) is not None) is (now < cooled), "the old one's end has ended the trial"
    trial.answered(cooled, 0.2, NO_HEADERS)
    assert serve(pool, cooled) == "east"


# What replicas tell each other.


def test_what_it_finds_out_is_told() -> None:
    pool = one()
    changes = told(pool)
    fail(pool, busy(7.0))
    assert changes == [Change(Condition.COOLING, EAST, 7.0, "rate_limit_exceeded")]
    changes.clear()
    now = NOW + 7
    for _ in range(3):
        fail(pool, FAILED, now)
    (change,) = changes
    assert (change.condition, change.subject, change.why) == (Condition.OPEN, EAST, "upstream_lost")
    assert 4.5 <= change.seconds <= 5.0
    changes.clear()
    serve(pool, now + 5)
    assert changes == [Change(Condition.CLOSED, EAST, 0.0, "recovered")]
    changes.clear()
    fail(pool, MISCONFIGURED, now + 5)
    assert changes == [Change(Condition.OPEN, EAST, 60.0, "upstream_unauthorized")]


def test_many_refusals_at_once_are_told_once() -> None:
    pool = one()
    changes = told(pool)
    for lease in [begin(pool) for _ in range(50)]:
        lease.failed(NOW, busy(7.0))
        lease.release(NOW)
    assert len(changes) == 1


def test_what_it_hears_holds_as_if_it_had_found_it_out_but_is_not_told_on() -> None:
    pool = one()
    changes = told(pool)
    pool.hear(Change(Condition.COOLING, EAST, 4.0, "heard"), NOW)
    assert away(pool, NOW) == (429, 4.0)
    pool.hear(Change(Condition.OPEN, EAST, 30.0, "heard"), NOW)
    assert away(pool, NOW) == (503, 30.0)
    pool.hear(Change(Condition.CLOSED, EAST, 0.0, "heard"), NOW + 1)
    assert away(pool, NOW + 1) == (429, 3.0)
    assert away(pool, NOW + 4) is None
    assert changes == []


@rows("seconds", [-5.0, 0.0, float("-inf")])
@rows("condition", [Condition.COOLING, Condition.OPEN])
def test_news_of_a_time_that_is_over_is_none(condition: Condition, seconds: float) -> None:
    pool = one()
    pool.hear(Change(condition, EAST, seconds, "heard"), NOW)
    assert away(pool, NOW) is None


@rows("condition", [Condition.COOLING, Condition.OPEN])
def test_no_news_keeps_a_deployment_away_for_ever(condition: Condition) -> None:
    pool = one()
    pool.hear(Change(condition, EAST, float("inf"), "heard"), NOW)
    assert away(pool, NOW + 299) is not None
    assert away(pool, NOW + 300) is None


def test_news_of_what_it_does_not_know_is_ignored() -> None:
    pool = one()
    for condition in Condition:
        pool.hear(Change(condition, "https://elsewhere.example/gpt-4o", 60.0, "heard"), NOW)
    assert away(pool, NOW) is None


def test_subjects_are_quotas_and_deployments_each_once() -> None:
    group = [deployment(name, quota_group="sweden") for name in ("a", "b")]
    assert pool_of([*group, deployment("c")]).subjects == [
        "group:sweden",
        "https://c.example/gpt-4o",
        "https://a.example/gpt-4o",
        "https://b.example/gpt-4o",
    ]


def test_two_entries_for_one_place_hear_of_it_together() -> None:
    """One deployment may be configured twice, in two tiers for two models, say."""
    twice = (Deployment("x", "https://r.example", "gpt-4o"), Deployment("y", "https://r.example", "gpt-4o", priority=2))
    models = {name: Model(name, (each,)) for name, each in zip("xy", twice, strict=True)}
    pool = Pool(models, PoolSettings(), default=None, open=None, draw=random.Random(1).random)
    lease = pool.choose("x", NOW)
    lease.failed(NOW, busy(5.0))
    assert pool.refusal("y", NOW) is not None


def test_the_alarms_stay_few() -> None:
    pool = pool_of([deployment(f"d{number}", quota_group="all") for number in range(5)])
    now = NOW
    for number in range(10_000):
        now += 0.001
        pool.hear(Change(Condition.COOLING, "group:all", 10.0 + number % 7, "heard"), now)
    assert len(pool._health._wakes) <= 5
    assert pool.refusal(None, now + 16.0) is None
    assert pool._health._wakes == []


def test_one_that_is_away_for_two_reasons_is_back_when_the_later_is_over() -> None:
    pool = pool_of([deployment("east"), deployment("west", priority=2)])
    for _ in range(3):
        fail(pool, FAILED)
    pool.hear(Change(Condition.COOLING, EAST, 9.0, "heard"), NOW)
    assert [serve(pool, NOW + after) for after in (1.0, 5.0, 8.9, 9.0)] == ["west", "west", "west", "east"]


def test_a_trial_that_was_outrun_leaves_the_deployment_alone_again() -> None:
    pool = one()
    for _ in range(20):
        serve(pool)
    fail(pool, Verdict(Fault.FAILED, "connect_error", 30.0, transport=True))
    trial = begin(pool, NOW + 31)
    trial.outrun(NOW + 32, 60.0)
    trial.release(NOW + 32)
    [status] = pool.status(NOW + 32)["chat"]
    assert (status.status, status.why) == (Status.OPEN, "hedge_lost")
    assert refused(pool, NOW + 32) is not None


def test_what_another_replica_says_of_a_quota_is_shown_with_its_reason() -> None:
    pool = one()
    pool.hear(Change(Condition.COOLING, deployment("east").quota, 20.0, "slow_down"), NOW)
    [status] = pool.status(NOW)["chat"]
    assert (status.status, status.seconds, status.why) == (Status.COOLING, 20.0, "slow_down")


def test_all_that_others_are_told_of_a_deployment() -> None:
    pool = one()
    heard = told(pool)
    identity, quota = deployment("east").identity, deployment("east").quota

    def meet(verdict: Verdict | None, now: float, source: Source | None = None, cost: int = 100) -> None:
        lease = pool.choose(None, now, cost=cost, source=source)
        lease.answered(now, 0.3, NO_HEADERS) if verdict is None else lease.failed(now, verdict)
        lease.release(now)

    timeout = Verdict(Fault.FAILED, "upstream_timeout", 30.0)
    meet(timeout, NOW, Source("eve", b""))
    meet(None, NOW + 31, Source("eve", b""))
    meet(Verdict(Fault.FAILED, "connect_error", 30.0, transport=True), NOW + 40)
    meet(None, NOW + 71)
    meet(busy(20.0), NOW + 80)
    meet(Verdict(Fault.BUSY, "upstream_429", 60.0, room=50.0), NOW + 101, cost=5000)
    assert heard == [
        Change(Condition.OPEN, identity, 30.0, "upstream_timeout", "eve"),
        Change(Condition.CLOSED, identity, 0.0, "recovered", "eve"),
        Change(Condition.OPEN, identity, 30.0, "connect_error"),
        Change(Condition.CLOSED, identity, 0.0, "recovered"),
        Change(Condition.COOLING, quota, 20.0, "rate_limit_exceeded"),
        Change(Condition.COOLING, quota, 60.0, "upstream_429", "requests of 5,000 tokens or more"),
    ]

"""Whose failure counts: what one source meets is its own affair, what several meet is the deployment's."""

import random
from collections.abc import Iterator
from contextlib import suppress

import pytest
from tests.pool.pools import FAILED, MISCONFIGURED, NO_HEADERS, NOW, busy, deployment, one, pool_of, told, wait_of
from tests.rows import rows

from chukei.config import PoolSettings
from chukei.errors import Unavailable
from chukei.model import Change, Condition, Deployment, Model
from chukei.pool import Fault, Lease, Pool, Source, Verdict
from chukei.pool.member import Member, Status
from chukei.pool.source_breakers import MOST_SOURCES

SLOW = Verdict(Fault.FAILED, "upstream_timeout")
OVERLOADED = Verdict(Fault.FAILED, "upstream_503", 30.0)
ODD = Verdict(Fault.MISCONFIGURED, "unexpected_content_type")
UNREACHABLE = Verdict(Fault.FAILED, "connect_error", transport=True)
TOO_LARGE = Verdict(Fault.BUSY, "upstream_429", 60.0, room=250_000.0)

PROVOKED = [SLOW, FAILED, OVERLOADED, ODD, MISCONFIGURED]


def by(name: str) -> Source:
    """Return the source of one request of a caller."""
    return Source(name, b"")


def begin(pool: Pool, source: Source, now: float = NOW, *, cost: int = 100) -> Lease:
    return pool.choose(None, now, cost=cost, source=source)


def fail(pool: Pool, verdict: Verdict, name: str, now: float = NOW, *, cost: int = 100) -> str:
    lease = begin(pool, by(name), now, cost=cost)
    lease.failed(now, verdict)
    lease.release(now)
    return lease.deployment.name


def serve(pool: Pool, name: str, now: float = NOW, *, cost: int = 100) -> str:
    lease = begin(pool, by(name), now, cost=cost)
    lease.answered(now, 0.3, NO_HEADERS)
    lease.release(now)
    return lease.deployment.name


def refusal(pool: Pool, name: str, now: float, *, cost: int = 100) -> Unavailable | None:
    return pool.refusal(None, now, cost=cost, source=by(name))


def times() -> Iterator[float]:
    """Yield ten minutes, tenth of a second by tenth."""
    return (NOW + tenth / 10 for tenth in range(6000))


@rows("verdict", PROVOKED)
def test_one_caller_takes_the_only_deployment_from_nobody_but_itself(verdict: Verdict) -> None:
    pool = one()
    changes = told(pool)
    sent = 0
    for now in times():
        if refusal(pool, "eve", now) is None:
            fail(pool, verdict, "eve", now)
            sent += 1
        assert serve(pool, "ann", now) == "east"
    assert all(change.only == "eve" for change in changes)
    assert sent <= 30, "its own broken requests are let alone as well"


@rows("verdict", PROVOKED)
def test_failures_of_many_at_once_that_one_sent_are_still_one_callers(verdict: Verdict) -> None:
    pool = one()
    leases = [begin(pool, by("eve")) for _ in range(500)]
    for lease in leases:
        lease.failed(NOW, verdict)
        lease.release(NOW)
        assert serve(pool, "ann") == "east"


def test_two_callers_who_both_fail_take_it_from_everybody() -> None:
    pool = one()
    changes = told(pool)
    for name in ("eve", "eve", "bob", "bob"):
        fail(pool, SLOW, name)
    assert refusal(pool, "ann", NOW) is not None
    assert [(change.condition, change.only) for change in changes] == [(Condition.OPEN, None)]


def test_many_failures_of_one_make_no_outage_of_a_single_one_of_another() -> None:
    pool = one()
    for now in (NOW + hour for hour in range(0, 36_000, 600)):
        for _ in range(3):
            fail(pool, SLOW, "eve", now)
        fail(pool, SLOW, "bob", now)
        assert serve(pool, "ann", now) == "east"


@rows("verdict", [OVERLOADED, ODD, MISCONFIGURED])
def test_what_takes_it_out_at_once_takes_it_from_all_when_a_second_caller_meets_it(verdict: Verdict) -> None:
    pool = one()
    fail(pool, verdict, "eve")
    assert serve(pool, "ann") == "east"
    fail(pool, verdict, "eve", NOW + 60)
    fail(pool, verdict, "bob", NOW + 60)
    refused = refusal(pool, "ann", NOW + 60)
    assert refused is not None
    assert wait_of(refused) == (verdict.seconds or 60.0)


def test_what_no_request_can_provoke_counts_each_time() -> None:
    pool = one()
    for _ in range(3):
        fail(pool, UNREACHABLE, "eve")
    refused = refusal(pool, "ann", NOW)
    assert refused is not None
    assert "1 failing: connect_error" in refused.message


def test_unidentified_callers_are_told_apart_by_what_they_ask() -> None:
    pool = one()

    def ask(content: bytes, verdict: Verdict) -> None:
        lease = begin(pool, Source(None, content))
        lease.failed(NOW, verdict)
        lease.release(NOW)

    for _ in range(3):
        ask(b"poison", SLOW)
    assert pool.refusal(None, NOW, source=Source(None, b"poison")) is not None
    assert pool.refusal(None, NOW, source=Source(None, b"hello")) is None
    for content in (b"hello", b"good bye"):
        ask(content, SLOW)
    assert pool.refusal(None, NOW, source=Source(None, b"anything")) is not None


def test_whoever_is_left_alone_hears_why_and_until_when() -> None:
    pool = one()
    for _ in range(3):
        fail(pool, SLOW, "eve")
    refused = refusal(pool, "eve", NOW + 1)
    assert refused is not None
    assert (refused.status, refused.code) == (503, "no_deployment_available")
    assert 3.5 <= wait_of(refused) <= 4.0
    assert "1 left alone because your own requests failed there: upstream_timeout" in refused.message
    with pytest.raises(Unavailable):
        begin(pool, by("eve"), NOW + 4)
    with pytest.raises(Unavailable, match="holds what this request continues is left alone because your own"):
        pool.choose_home(None, "https://east.example/gpt-4o", NOW + 4, source=by("eve"))
    assert pool.choose_home(None, "https://east.example/gpt-4o", NOW + 4, source=by("ann")) is not None
    assert refusal(pool, "eve", NOW + 5) is None


def test_the_longer_of_two_waits_is_told() -> None:
    pool = one()
    for _ in range(3):
        fail(pool, SLOW, "eve")
    pool.hear(Change(Condition.COOLING, "https://east.example/gpt-4o", 2.0, "upstream_429"), NOW)
    for name, now, status in (("eve", NOW + 1, 503), ("ann", NOW + 1, 429), ("eve", NOW + 3, 503)):
        refused = refusal(pool, name, now)
        assert refused is not None
        assert refused.status == status
    pool.hear(Change(Condition.COOLING, "https://east.example/gpt-4o", 60.0, "upstream_429"), NOW + 3)
    refused = refusal(pool, "eve", NOW + 3)
    assert refused is not None
    assert (refused.status, wait_of(refused)) == (429, 60.0)


def test_its_own_trials_bring_a_caller_back_one_at_a_time() -> None:
    pool = one()
    for _ in range(3):
        fail(pool, SLOW, "eve")
    trial = begin(pool, by("eve"), NOW + 5)
    assert refusal(pool, "eve", NOW + 5) is not None
    trial.answered(NOW + 6, 0.3, NO_HEADERS)
    trial.release(NOW + 6)
    assert serve(pool, "eve", NOW + 6) == "east"


def test_it_is_sent_elsewhere_while_others_are_not() -> None:
    pool = pool_of([deployment("east"), deployment("west", priority=2)])
    for _ in range(3):
        assert fail(pool, SLOW, "eve") == "east"
    assert (serve(pool, "eve"), serve(pool, "ann")) == ("west", "east")
    assert pool.status(NOW)["chat"][0].left_out_for == 1
    assert repr(pool) == "<Pool [chat: east ready left out for 1, west ready]>"
    assert pool.status(NOW + 5)["chat"][0].left_out_for == 0


def test_what_one_request_makes_several_deployments_do_counts_once() -> None:
    pool = pool_of([deployment(name, priority=number) for number, name in enumerate("abc")])
    states = []
    for number in range(12):
        source = by(f"caller-{number}")
        tried: list[Member] = []
        with suppress(Unavailable):
            while True:
                lease = pool.choose(None, NOW, tried=tried, source=source)
                lease.failed(NOW, SLOW)
                lease.release(NOW)
                tried.append(lease.member)
        states.append("".join("o" if state.status is Status.OPEN else "." for state in pool.status(NOW)["chat"]))
    assert states == ["...", "...", "o..", "o..", "o..", "oo.", "oo.", "oo.", "ooo", "ooo", "ooo", "ooo"]


def test_transport_failures_of_one_request_count_at_each() -> None:
    pool = pool_of([deployment(name, priority=number) for number, name in enumerate("ab")])
    for _ in range(3):
        source = by("eve")
        for tried in ([], [pool._health.roster.members[deployment("a", priority=0)]]):
            lease = pool.choose(None, NOW, tried=tried, source=source)
            lease.failed(NOW, UNREACHABLE)
            lease.release(NOW)
    assert refusal(pool, "ann", NOW) is not None


def test_what_a_caller_has_under_way_at_what_it_is_kept_from_is_stranded_there() -> None:
    """All of it may move at once, beyond the budget for retries."""
    pool = one()
    leases = {name: [begin(pool, by(name)) for _ in range(2)] for name in ("eve", "ann")}
    for _ in range(3):
        fail(pool, SLOW, "eve")
    assert [lease.stranded for name in ("eve", "ann") for lease in leases[name]] == [True, True, False, False]


# Trials.


def opened() -> tuple[Pool, float]:
    """Return a pool whose only deployment is due to be tried again."""
    pool = one()
    for _ in range(3):
        fail(pool, UNREACHABLE, "bob")
    return pool, NOW + 5


@rows("verdict", PROVOKED)
def test_a_poisonous_trial_keeps_it_from_nobody_else(verdict: Verdict) -> None:
    pool, now = opened()
    fail(pool, verdict, "eve", now)
    assert refusal(pool, "eve", now) is not None
    assert serve(pool, "ann", now) == "east"
    assert serve(pool, "bob", now) == "east"


def test_a_slow_trial_keeps_others_waiting_no_longer_than_the_breaker_was_open() -> None:
    pool, now = opened()
    slow = begin(pool, by("eve"), now)
    assert refusal(pool, "ann", now + 4.9) is not None
    assert serve(pool, "ann", now + 5) == "east"
    slow.failed(now + 60, SLOW)
    slow.release(now + 60)
    assert serve(pool, "bob", now + 60) == "east"


def test_trials_of_two_callers_that_fail_open_it_again_for_longer() -> None:
    pool, now = opened()
    changes = told(pool)
    fail(pool, SLOW, "eve", now)
    fail(pool, SLOW, "bob", now)
    assert [(change.condition, change.only) for change in changes] == [
        (Condition.OPEN, "eve"),
        (Condition.OPEN, None),
    ]
    refused = refusal(pool, "ann", now)
    assert refused is not None
    assert 9.0 <= wait_of(refused) <= 10.0


def test_when_it_answers_anybody_again_nobody_is_left_out_any_longer() -> None:
    pool, now = opened()
    fail(pool, SLOW, "eve", now)
    serve(pool, "ann", now)
    assert serve(pool, "eve", now) == "east"


# Requests that are too large.


def test_a_request_larger_than_the_quota_keeps_only_such_requests_away() -> None:
    """Azure refuses at once what could never fit, with the limit and a time to wait, and serves all others."""
    pool = one()
    changes = told(pool)
    fail(pool, TOO_LARGE, "eve", cost=400_000)
    assert (serve(pool, "ann"), serve(pool, "eve", cost=300_000)) == ("east", "east")
    for name in ("eve", "ann"):
        refused = refusal(pool, name, NOW, cost=400_000)
        assert refused is not None
        assert (refused.status, refused.code, wait_of(refused)) == (429, "all_deployments_busy", 60.0)
        assert "1 without room for a request as large as yours" in refused.message
    assert [change.only for change in changes] == ["requests of 400,000 tokens or more"]
    fail(pool, TOO_LARGE, "eve", cost=300_000)
    assert refusal(pool, "ann", NOW, cost=300_000) is not None
    assert refusal(pool, "ann", NOW + 60, cost=400_000) is None


@rows("room", [None, 100.0])
def test_a_refusal_of_what_would_fit_is_everybodys(room: float | None) -> None:
    pool = one()
    fail(pool, Verdict(Fault.BUSY, "upstream_429", 60.0, room=room), "eve", cost=100)
    assert refusal(pool, "ann", NOW, cost=1) is not None


def test_a_large_request_goes_where_there_is_room() -> None:
    pool = pool_of([deployment("east"), deployment("west", priority=2)])
    fail(pool, TOO_LARGE, "eve", cost=400_000)
    assert (serve(pool, "eve", cost=400_000), serve(pool, "eve")) == ("west", "east")


def test_0_switches_that_off_as_well() -> None:
    pool = one(PoolSettings(max_cooldown_seconds=0.0, misconfigured_seconds=0.0, breaker_failures=0))
    changes = told(pool)
    for verdict in (*PROVOKED, TOO_LARGE, busy(None)):
        for _ in range(20):
            assert fail(pool, verdict, "eve", cost=400_000) == "east"
    assert changes == []


# What is kept.


def test_only_the_latest_sources_are_remembered() -> None:
    pool = one(PoolSettings(breaker_failures=1000))
    for number in range(3 * MOST_SOURCES):
        fail(pool, SLOW, f"caller-{number % (2 * MOST_SOURCES)}")
        assert (serve(pool, "ann"), serve(pool, "bob")) == ("east", "east")
    assert len(pool._health._own.by_source) == MOST_SOURCES


def test_in_the_end_all_is_forgotten_and_choosing_costs_nothing_more() -> None:
    pool = one()
    for number in range(10):
        fail(pool, SLOW, f"caller-{number}", NOW + 60 * number)
        for name in ("ann", "bob"):
            serve(pool, name, NOW + 60 * number)
    fail(pool, TOO_LARGE, "eve", NOW + 600, cost=400_000)
    assert pool._health.has_bars
    serve(pool, "ann", NOW + 1000)
    assert not pool._health.has_bars


def test_what_a_client_names_has_its_own_failures() -> None:
    place = Deployment("azure", "https://r.example", "")
    pool = Pool({}, PoolSettings(), default=None, open=place, draw=random.Random(1).random)
    for _ in range(20):
        for name in ("made-up", "gpt-4o"):
            if pool.refusal(name, NOW, source=by("eve")) is None:
                lease = pool.choose(name, NOW, source=by("eve"))
                lease.failed(NOW, ODD if name == "made-up" else SLOW)
                lease.release(NOW)
    assert pool.refusal("gpt-4o", NOW, source=by("ann")) is None
    assert pool.refusal("made-up", NOW, source=by("eve")) is None, "it may well not exist"


def test_the_deployments_of_two_models_share_what_is_known() -> None:
    east = deployment("east")
    models = {name: Model(name, (east,)) for name in ("chat", "fast")}
    pool = Pool(models, PoolSettings(), default="chat", open=None, draw=random.Random(1).random)
    for _ in range(3):
        fail(pool, SLOW, "eve")
    assert pool.refusal("fast", NOW, source=by("eve")) is not None
    assert pool.refusal("fast", NOW, source=by("ann")) is None

"""Which model is meant, who answers for it, and what is told when nobody can."""

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
    pool_of,
    serve,
    wait_of,
)
from tests.rows import rows

from chukei.config import PoolSettings
from chukei.errors import CallerError, Unavailable
from chukei.model import Change, Condition, Deployment, Model
from chukei.pool import Pool

EAST = Deployment("east", "https://east.example", "gpt-4o")
WEST = Deployment("west", "https://west.example", "gpt-4o-2", api_version="2024-10-21")
CHAT, FAST = Model("chat", (EAST, WEST)), Model("fast", (WEST,))
OPEN_PLACE = Deployment("azure", "https://r.example", "", api_version="2024-10-21")


def closed(default: str | None = "chat") -> Pool:
    models = {"fast": FAST, "chat": CHAT}
    return Pool(models, PoolSettings(), default=default, open=None, draw=random.Random(7).random)


def opened() -> Pool:
    return Pool({}, PoolSettings(), default=None, open=OPEN_PLACE, draw=random.Random(7).random)


def test_a_named_model_and_the_default() -> None:
    pool = closed()
    assert pool.choose("fast", NOW).deployment == WEST
    assert pool.choose(None, NOW).model == CHAT
    assert {pool.choose("chat", NOW).deployment for _ in range(4)} == {EAST, WEST}


def test_names_begin_with_the_default() -> None:
    assert closed().names == ["chat", "fast"]
    assert closed(default=None).names == ["fast", "chat"]


@rows("name", ["gpt-5", "", "CHAT", "chat ", "../chat", "x" * 5000, "\n"])
def test_an_unknown_model_is_404_and_names_the_known(name: str) -> None:
    with pytest.raises(CallerError) as caught:
        closed().choose(name, NOW)
    assert (caught.value.status, caught.value.code, caught.value.param) == (404, "model_not_found", "model")
    assert "chat, fast" in caught.value.message
    assert len(caught.value.message) < 400
    assert caught.value.message.isprintable()


@rows("asked", ["gpt-5", None])
def test_an_error_names_only_the_models_that_may_be_seen(asked: str | None) -> None:
    for seen, told in (("chat", "Known models: chat."), ("", "There is none that you may use.")):
        with pytest.raises(CallerError) as caught:
            closed(default=None).model(asked, seen.__eq__)
        assert caught.value.message.endswith(f" {told}")
    with pytest.raises(CallerError, match="Send the name of a deployment"):
        opened().model(None, lambda _: False)


def test_without_a_default_a_name_is_needed() -> None:
    with pytest.raises(CallerError) as caught:
        opened().choose(None, NOW)
    assert (caught.value.status, caught.value.code) == (400, "missing_model")


@rows("name", ["gpt-4o", "gpt.4_o-2", "A" * 128, ".a"])
def test_an_open_resource_serves_any_deployments_name(name: str) -> None:
    lease = opened().choose(name, NOW)
    assert lease.deployment == Deployment("azure", "https://r.example", name, api_version="2024-10-21")
    assert lease.model.name == name


@rows("name", ["", ".", "..", "...", "a/b", "a b", "a?b", "a#b", "a%2F", "中", "a\n", "A" * 129, "a\x00"])
def test_a_name_that_could_change_an_address_is_refused(name: str) -> None:
    with pytest.raises(CallerError) as caught:
        opened().choose(name, NOW)
    assert (caught.value.status, caught.value.code) == (400, "invalid_model")


def test_what_was_tried_is_not_chosen_again() -> None:
    pool = pool_of([deployment("a"), deployment("b"), deployment("c", priority=2)])
    first = begin(pool)
    second = pool.choose(None, NOW, tried=[first.member])
    third = pool.choose(None, NOW, tried=[first.member, second.member])
    assert {first.deployment.name, second.deployment.name} == {"a", "b"}
    assert third.deployment.name == "c"
    with pytest.raises(Unavailable):
        pool.choose(None, NOW, tried=[first.member, second.member, third.member])
    assert pool.refusal(None, NOW) is None


def test_a_time_is_kept_to_the_moment_and_the_deployment_is_back_at_once() -> None:
    pool = pool_of([deployment("a")])
    fail(pool, busy(7.25))
    for now in (NOW, NOW + 3, NOW + 7.2499):
        refusal = pool.refusal(None, now)
        assert refusal is not None
        assert refusal.status == 429
        assert 0 <= wait_of(refusal) - (NOW + 7.25 - now) < 0.002
        with pytest.raises(Unavailable):
            begin(pool, now)
    assert serve(pool, NOW + 7.25) == "a"


def test_a_tier_is_left_while_all_in_it_are_away_and_returned_to() -> None:
    pool = pool_of([deployment("ptu", max_concurrent=1), deployment("paygo", priority=2)])
    first = begin(pool)
    assert first.deployment.name == "ptu"
    assert begin(pool).deployment.name == "paygo"
    first.release(NOW)
    assert fail(pool, busy(2.0)) == "ptu"
    assert serve(pool, NOW + 1.9) == "paygo"
    assert fail(pool, MISCONFIGURED, NOW + 2) == "ptu"
    assert serve(pool, NOW + 61.9) == "paygo"
    assert serve(pool, NOW + 62) == "ptu"


def test_a_concurrency_cap_is_never_exceeded() -> None:
    pool = pool_of([deployment("a", max_concurrent=2), deployment("b", max_concurrent=3)])
    leases = [begin(pool) for _ in range(5)]
    with pytest.raises(Unavailable) as caught:
        begin(pool)
    assert (caught.value.status, wait_of(caught.value)) == (429, 1.0)
    for lease in leases:
        lease.release(NOW)
        assert begin(pool).deployment == lease.deployment


def test_deployments_of_one_quota_group_cool_down_together() -> None:
    group = [deployment(name, quota_group="sweden") for name in ("a", "b")]
    pool = pool_of([*group, deployment("c", priority=2)])
    fail(pool, busy(5.0))
    assert {serve(pool, NOW + 4.9) for _ in range(5)} == {"c"}
    assert {serve(pool, NOW + 5) for _ in range(5)} == {"a", "b"}


def test_a_place_that_is_given_back_twice_is_given_back_once() -> None:
    pool = pool_of([deployment("a", max_concurrent=2)])
    first, second = begin(pool, cost=7), begin(pool, cost=11)
    first.release(NOW)
    first.release(NOW)
    assert (second.member.outstanding, second.member.tokens) == (1, 11)


def test_what_only_one_can_continue_goes_there_or_nowhere() -> None:
    pool = pool_of([deployment("a"), deployment("b")])
    home = pool.choose_home(None, "https://a.example/gpt-4o", NOW)
    assert home is not None
    assert home.deployment.name == "a"
    home.failed(NOW, busy(5.0))
    home.release(NOW)
    with pytest.raises(Unavailable) as caught:
        pool.choose_home(None, "https://a.example/gpt-4o", NOW + 1)
    assert (caught.value.code, caught.value.status, wait_of(caught.value)) == ("stateful_deployment_busy", 429, 4.0)
    assert pool.choose_home(None, "https://elsewhere.example/gpt-4o", NOW) is None


@rows("seconds", [1.0, 3600.0, 86_400.0, 10.0**9])
def test_a_clock_that_jumps_ahead_only_ends_waits(seconds: float) -> None:
    pool = pool_of([deployment("a"), deployment("b")], PoolSettings(max_cooldown_seconds=1.0, breaker_seconds=1.0))
    fail(pool, busy(None))
    fail(pool, MISCONFIGURED) if seconds > 60 else fail(pool, busy(None))
    assert pool.refusal(None, NOW) is not None
    assert {serve(pool, NOW + seconds) for _ in range(4)} == {"a", "b"}


def test_ready_while_one_of_the_default_model_is_not_failing() -> None:
    pool = closed()
    assert pool.ready(NOW)
    for _ in range(2):
        lease = pool.choose("chat", NOW)
        lease.failed(NOW, MISCONFIGURED)
        lease.release(NOW)
    assert not pool.ready(NOW)
    assert pool.ready(NOW + 60)
    assert opened().ready(NOW)
    assert not Pool({}, PoolSettings(), default=None, open=None, draw=random.random).ready(NOW)


def test_busy_is_ready() -> None:
    pool = pool_of([deployment("a", max_concurrent=1), deployment("b")])
    begin(pool), begin(pool)
    pool.hear(Change(Condition.COOLING, "https://b.example/gpt-4o", 9.0, "rate_limit_exceeded"), NOW)
    assert pool.refusal(None, NOW) is not None
    assert pool.ready(NOW)


def test_status_and_repr_tell_how_each_is() -> None:
    pool = pool_of([deployment("a"), deployment("b", priority=2)])
    lease = begin(pool)
    lease.answered(NOW, 0.2, NO_HEADERS)
    lease.failed(NOW, busy(8.0))
    assert [status.deployment for status in pool.status(NOW)["chat"]] == ["a", "b"]
    assert pool.status(NOW)["chat"][0].seconds == 8.0
    assert repr(pool) == "<Pool [chat: a cooling 8.0 s (rate_limit_exceeded) 1 outstanding, b ready]>"
    assert repr(opened()) == "<Pool [] any>"


def test_failures_open_a_deployment_and_one_trial_brings_it_back() -> None:
    pool = pool_of([deployment("a"), deployment("b", priority=2)])
    assert [fail(pool, FAILED) for _ in range(3)] == ["a", "a", "a"]
    later = NOW + 5
    trial, other = begin(pool, later), begin(pool, later)
    assert (trial.deployment.name, other.deployment.name) == ("a", "b")
    trial.answered(later, 0.2, NO_HEADERS)
    assert begin(pool, later).deployment.name == "a"


def test_who_may_hold_what_others_have_not() -> None:
    pool = pool_of([deployment("a"), deployment("b", weight=0), deployment("c", priority=2)])
    first = begin(pool)
    second = pool.choose_holder(None, NOW, cost=1, tried=[first.member], without=[first.member])
    assert second is not None
    third = pool.choose_holder(None, NOW, cost=1, tried=[first.member, second.member], without=[first.member])
    assert third is not None
    assert [lease.deployment.name for lease in (first, second, third)] == ["a", "b", "c"]
    every = [lease.member for lease in (first, second, third)]
    assert pool.choose_holder(None, NOW, cost=1, tried=every, without=every) is None
    third.failed(NOW, busy(4.0))
    with pytest.raises(Unavailable) as caught:
        pool.choose_holder(None, NOW, cost=1, tried=every, without=every[:2])
    assert (caught.value.code, wait_of(caught.value)) == ("stateful_deployment_busy", 4.0)


def test_only_a_long_silence_of_one_that_was_outrun_counts() -> None:
    pool = pool_of([deployment("a")])
    lease = begin(pool)
    lease.outrun(NOW, 60.0)
    for _ in range(20):
        lease.answered(NOW, 1.0, NO_HEADERS)
    lease.outrun(NOW, 0.5)
    assert lease.member.percentile(0.0) == 1.0
    lease.outrun(NOW, 9.0)
    assert (lease.member.percentile(0.0), lease.member.percentile(1.0)) == (1.0, 9.0)

"""A pool after a reload: which state goes on, and what earlier requests still find."""

import random
from dataclasses import replace

from tests.pool.pools import FAILED, NOW, begin, busy, deployment, pool_of, told

from chukei.config import PoolSettings
from chukei.model import Deployment, Model
from chukei.pool import Pool
from chukei.pool.member import Status

ONCE = PoolSettings(breaker_failures=1)


def renewed(pool: Pool, *deployments: Deployment, settings: PoolSettings = ONCE, name: str = "chat") -> Pool:
    models = {name: Model(name, deployments)}
    return Pool(models, settings, default=name, open=None, draw=random.Random(7).random, before=pool)


def states(pool: Pool, now: float = NOW) -> dict[str, Status]:
    return {each.deployment: each.status for found in pool.status(now).values() for each in found}


def break_(pool: Pool, name: str) -> None:
    while True:
        lease = begin(pool)
        found = lease.deployment.name == name
        if found:
            lease.failed(NOW, FAILED)
        lease.release(NOW)
        if found:
            return


def test_state_goes_on_whatever_changes_but_the_address() -> None:
    pool = pool_of([deployment("east"), deployment("west")], ONCE)
    break_(pool, "east")
    running = begin(pool)
    running.answered(NOW, 0.5, [])
    for changed in (
        deployment("east", weight=5),
        deployment("east", priority=2),
        deployment("east", max_concurrent=1),
        deployment("east", api_version="2024-10-21"),
        deployment("east", quota_group="all"),
        replace(deployment("east"), name="renamed"),
    ):
        pool = renewed(pool, changed, deployment("west"))
        assert states(pool)[changed.name] is Status.OPEN
        [west] = [each for each in pool.status(NOW)["chat"] if each.deployment == "west"]
        assert (west.outstanding, west.answered) == (1, 1)
    assert begin(pool).deployment.name == "west"
    running.release(NOW)
    elsewhere = deployment("east", endpoint="https://other.example")
    assert states(renewed(pool, elsewhere, deployment("west")))["east"] is Status.READY


def test_a_cool_down_goes_on_and_ends_in_time() -> None:
    pool = pool_of([deployment("east")])
    lease = begin(pool)
    lease.failed(NOW, busy(30.0))
    lease.release(NOW)
    pool = renewed(pool, deployment("east", weight=2), settings=PoolSettings())
    assert states(pool)["east"] is Status.COOLING
    assert begin(pool, NOW + 31).deployment.name == "east"


def test_of_two_entries_with_one_address_each_keeps_its_own_state() -> None:
    one, two = (deployment(name, endpoint="https://shared.example") for name in ("one", "two"))
    pool = pool_of([one, two], ONCE)
    break_(pool, "two")
    pool = renewed(pool, deployment("two", endpoint="https://shared.example", weight=3), one)
    assert states(pool) == {"one": Status.READY, "two": Status.OPEN}


def test_a_limit_below_what_runs_counts_what_runs() -> None:
    pool = pool_of([deployment("east")])
    running = [begin(pool) for _ in range(3)]
    pool = renewed(pool, deployment("east", max_concurrent=2))
    assert states(pool)["east"] is Status.FULL
    running[0].release(NOW)
    assert states(pool)["east"] is Status.FULL
    running[1].release(NOW)
    assert begin(pool).deployment.name == "east"


def test_an_earlier_request_still_finds_its_model_and_its_deployment() -> None:
    before = pool_of([deployment("east"), deployment("west")], ONCE)
    first = begin(before)
    other = "west" if first.deployment.name == "east" else "east"
    after = renewed(before, deployment("new"), name="other")
    second = before.choose("chat", NOW, tried=[first.member])
    assert second.deployment == deployment(other)
    assert list(before.status(NOW)) == list(after.status(NOW)) == ["other"]
    second.failed(NOW, FAILED)
    for lease in (first, second):
        lease.release(NOW)
    before.retire()
    assert not after._health.roster.leaving


def test_the_deployment_of_a_lease_is_that_of_its_time() -> None:
    before = pool_of([deployment("east")])
    lease = begin(before)
    renewed(before, replace(deployment("east"), name="renamed"))
    assert lease.deployment.name == "east"
    assert begin(before).deployment.name == "east"
    lease.release(NOW)


def test_a_deployment_that_comes_back_while_its_requests_run_has_its_state() -> None:
    before = pool_of([deployment("east"), deployment("west")], ONCE)
    break_(before, "east")
    between = renewed(before, deployment("west"))
    after = renewed(between, deployment("east"), deployment("west"))
    assert states(after) == {"east": Status.OPEN, "west": Status.READY}


def test_retired_pools_leave_nothing_behind() -> None:
    pool = pool_of([deployment("east", quota_group="all"), deployment("west", quota_group="all")])
    for number in range(20):
        before, pool = pool, renewed(pool, deployment("west", quota_group="all", weight=number + 1))
        before.retire()
    [member] = pool._health.roster.members.values()
    assert len(member.slots) == 1
    assert member.quota.members == [member]
    assert not pool._health.roster.leaving


def test_changed_settings_hold_for_breakers_that_exist() -> None:
    pool = pool_of([deployment("east"), deployment("west")], PoolSettings(breaker_failures=1, breaker_seconds=5.0))
    pool = renewed(pool, deployment("east"), deployment("west"), settings=PoolSettings(breaker_failures=0))
    heard = told(pool)
    break_(pool, "east")
    assert heard == []


def test_weights_that_became_zero_do_not_disturb_earlier_requests() -> None:
    before = pool_of([deployment("east", max_concurrent=1)])
    lease = begin(before)
    renewed(before, deployment("east", weight=0), deployment("west"))
    refusal = before.refusal("chat", NOW)
    assert refusal is None or refusal.status in (429, 503)
    lease.release(NOW)

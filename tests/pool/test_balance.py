"""Who is next: shares by weight, the least to do among equals, bounded affinity, and heaps that stay short."""

import heapq
import random
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.pool.pools import NO_HEADERS, NOW, begin, busy, deployment, pool_of, serve, weighted
from tests.rows import rows

from chukei.config import PoolSettings
from chukei.model import Deployment, Headers
from chukei.pool import Lease, Pool, digest
from chukei.pool.balance import FEWER, FLOOR, LEAD, SPARE, Tier
from chukei.pool.member import Member

WITHIN = 0.03
A_FEW = 6  # choices: three in a hundred of what has a share of 2 %
CHOICES = 10_000


def traffic(pool: Pool, choices: int, draw: random.Random, *, now: float = NOW, rate: float = 100.0) -> Counter[str]:
    """Send requests at random times that take random times; return who got how many."""
    found: Counter[str] = Counter()
    running: list[tuple[float, int, Lease]] = []
    for number in range(choices):
        now += draw.expovariate(rate)
        while running and running[0][0] <= now:
            ended, _, lease = heapq.heappop(running)
            lease.release(ended)
        lease = begin(pool, now, cost=draw.randrange(100, 4000))
        lease.answered(now, 0.3, NO_HEADERS)
        found[lease.deployment.name] += 1
        heapq.heappush(running, (now + draw.expovariate(2.0), number, lease))
    for _, _, lease in running:
        lease.release(now)
    return found


def holds(found: Counter[str], deployments: Sequence[Deployment], within: float = WITHIN) -> bool:
    whole, choices = sum(each.weight for each in deployments), sum(found.values())
    return all(
        found[each.name] == pytest.approx(choices * each.weight / whole, rel=within, abs=A_FEW) for each in deployments
    )


@rows("weights", [(1,), (1, 1, 1), (3, 1), (5, 3, 2), (100, 1), (7, 7, 1, 1), (1_000_000, 1)])
@rows("seed", [1, 2])
def test_weights_hold(weights: tuple[int, ...], seed: int) -> None:
    deployments = weighted(*weights)
    found = traffic(pool_of(deployments, seed=seed), CHOICES, random.Random(seed))
    assert holds(found, deployments), found


@settings(max_examples=10)
@given(weights=st.lists(st.integers(1, 20), min_size=1, max_size=8), seed=st.integers(0, 1000))
def test_any_weights_hold(weights: list[int], seed: int) -> None:
    deployments = weighted(*weights)
    found = traffic(pool_of(deployments, seed=seed), CHOICES, random.Random(seed))
    assert holds(found, deployments), found


def test_a_better_tier_takes_all_and_a_worse_one_keeps_its_weights_while_it_is_away() -> None:
    better = [deployment("a", weight=2), deployment("b", weight=1)]
    worse = [deployment("c", priority=2, weight=3), deployment("d", priority=2, weight=1)]
    pool = pool_of([*better, *worse])
    assert holds(traffic(pool, CHOICES, random.Random(1)), better)
    later = NOW + 1000
    for _ in better:
        lease = begin(pool, later)
        lease.failed(later, busy(250.0))
        lease.release(later)
    assert holds(traffic(pool, CHOICES, random.Random(2), now=later), worse)
    assert holds(traffic(pool, CHOICES, random.Random(3), now=later + 300), better)


def test_what_was_away_comes_back_to_its_share_and_not_to_what_it_missed() -> None:
    deployments = weighted(5, 3, 2)
    pool = pool_of(deployments)
    draw = random.Random(5)
    traffic(pool, 100, draw)
    lease = begin(pool, NOW + 10)
    while lease.deployment.name != "d1":
        lease = begin(pool, NOW + 10)
    lease.failed(NOW + 10, busy(200.0))
    without = traffic(pool, CHOICES, draw, now=NOW + 10)
    assert without["d1"] == 0
    assert holds(without, [deployments[0], deployments[2]])
    for choices in (100, CHOICES):
        after = traffic(pool, choices, draw, now=NOW + 300)
        assert holds(after, deployments, 0.2 if choices == 100 else WITHIN), after


def test_the_least_outstanding_tokens_decide_among_equals() -> None:
    pool = pool_of(weighted(1, 1, 1))
    first, second, third = (begin(pool, cost=cost) for cost in (1000, 10, 500))
    assert len({lease.deployment.name for lease in (first, second, third)}) == 3
    assert begin(pool, cost=100).deployment == second.deployment
    assert begin(pool, cost=100).deployment == third.deployment
    first.release(NOW)
    assert begin(pool, cost=100).deployment == first.deployment


def test_one_that_is_much_slower_than_its_equals_gets_less_and_a_little_slower_as_much() -> None:
    for slower, low, high in ((1.3, 0.97, 1.03), (8.0, 0.0, 0.7)):
        pool, draw, now = pool_of(weighted(1, 1, 1)), random.Random(1), NOW
        found: Counter[str] = Counter()
        running: list[tuple[float, int, Lease]] = []
        for number in range(6000):
            now += 0.01
            while running and running[0][0] <= now:
                heapq.heappop(running)[2].release(now)
            lease = begin(pool, now, cost=1000)
            name = lease.deployment.name
            found[name] += 1
            seconds = draw.uniform(0.5, 1.5) * (slower if name == "d0" else 1.0)
            heapq.heappush(running, (now + seconds, number, lease))
        assert low * 2000 <= found["d0"] <= high * 2000, found


def test_one_that_comes_back_is_not_flooded_to_make_up_for_what_it_missed() -> None:
    pool = pool_of(weighted(1, 1))
    lease = begin(pool)
    lease.failed(NOW, busy(100.0))
    lease.release(NOW)
    for number in range(1000):
        serve(pool, NOW + number * 0.01)
    back = NOW + 100
    in_a_row = 0
    while serve(pool, back) == lease.deployment.name:
        in_a_row += 1
    assert in_a_row <= FEWER + 1


def test_without_anything_to_do_equals_take_turns() -> None:
    pool = pool_of(weighted(1, 1, 1))
    found = [serve(pool) for _ in range(9)]
    assert found[:3] == found[3:6] == found[6:]
    assert len(set(found)) == 3


def test_one_that_is_close_to_its_limit_comes_last_among_equals_for_five_seconds() -> None:
    pressed: Headers = [(b"azure-openai-deployment-utilization", b"99.5%")]
    pool = pool_of(weighted(1, 1))
    lease = begin(pool)
    lease.answered(NOW, 0.3, pressed)
    lease.release(NOW)
    other = begin(pool, NOW + 1, cost=10**6)
    assert other.deployment != lease.deployment
    assert begin(pool, NOW + 4.99).deployment == other.deployment
    assert begin(pool, NOW + 5).deployment == lease.deployment


def test_the_order_is_that_of_the_seed() -> None:
    def order(seed: int) -> list[str]:
        short = PoolSettings(max_cooldown_seconds=5.0, cooldown_seconds=1.0)
        pool, draw = pool_of(weighted(1, 1, 2, 2, 3), short, seed=seed), random.Random(3)
        found = []
        running: list[Lease] = []
        for number in range(200):
            lease = begin(pool, NOW + number, cost=draw.randrange(1000))
            found.append(lease.deployment.name)
            running.append(lease)
            if draw.random() < 0.05:
                lease.failed(NOW + number, busy(None))
            if draw.random() < 0.8:
                running.pop(draw.randrange(len(running))).release(NOW + number)
        return found

    assert order(1) == order(1)
    assert len({tuple(order(seed)) for seed in range(10)}) == 10
    assert {order(seed)[0] for seed in range(50)} == {"d0", "d1", "d2", "d3", "d4"}


def test_a_deployment_of_weight_0_takes_no_new_request_but_what_only_it_can_continue() -> None:
    drained, other = deployment("drained", weight=0), deployment("other")
    pool = pool_of([drained, other])
    assert {serve(pool) for _ in range(10)} == {"other"}
    lease = pool.choose_home(None, drained.identity, NOW)
    assert lease is not None
    assert lease.deployment == drained


def tiers(pool: Pool) -> list[Tier[Member]]:
    return pool._models.find(None).tiers


@rows("load", [1.25, 2.0])
def test_a_key_that_everybody_has_takes_no_deployment_beyond_its_bound(load: float) -> None:
    pool, draw = pool_of(weighted(1, 2, 3, 1), PoolSettings(affinity_load=load)), random.Random(9)
    key, bounded = digest(b"hot"), 0
    running: list[Lease] = []
    owner = begin(pool, cost=0, key=key).member
    for _ in range(3000):
        cost = draw.randrange(1, 500)
        before = {lease.member: lease.member.outstanding for lease in running}
        lease = begin(pool, cost=cost, key=key)
        running.append(lease)
        member = lease.member
        total = sum(each.member.tokens for each in {one.member: one for one in running}.values())
        if member is owner and before.get(member, 0) >= FLOOR:
            bounded += 1
            assert member.tokens <= load * member.deployment.weight / 7 * total + 1e-6
        if len(running) > 60:
            running.pop(draw.randrange(len(running))).release(NOW)
    assert bounded > 100
    assert len({lease.deployment for lease in running}) > 1


def test_what_is_away_has_no_part_in_the_fair_share() -> None:
    """Else what a deployment that takes nothing still works on would make room for a hot key elsewhere."""
    first, second, third = weighted(1, 1, 1)
    pool = pool_of([first, second, third])
    lease = begin(pool, cost=1_000_000)
    lease.failed(NOW, busy(60.0))
    found = Counter(begin(pool, cost=100, key=digest(b"hot")).deployment.name for _ in range(100))
    assert lease.deployment.name not in found
    assert max(found.values()) <= 1.25 * 50 + FLOOR


def test_what_comes_and_goes_leaves_the_sum_of_tokens_right() -> None:
    pool = pool_of(weighted(1, 1))
    (tier,) = tiers(pool)
    held = [begin(pool, cost=70), begin(pool, cost=700)]
    held[0].failed(NOW, busy(5.0))
    assert tier._tokens == 700
    held[0].release(NOW + 1)
    held[1].failed(NOW + 1, busy(10.0))
    assert tier._tokens == 0
    assert pool.refusal(None, NOW + 20) is None
    assert tier._tokens == 700
    held[1].release(NOW + 20)
    assert tier._tokens == 0


def test_requests_with_a_key_go_where_it_belongs_while_there_is_room() -> None:
    pool = pool_of(weighted(1, 1, 1, 1))
    for number in range(50):
        key = digest(b"conversation %d" % number)
        served = set()
        for _ in range(5):
            lease = begin(pool, NOW + number, key=key)
            served.add(lease.deployment.name)
            lease.release(NOW + number)
        assert len(served) == 1


def test_a_key_goes_elsewhere_while_its_own_is_away_and_back_afterwards() -> None:
    pool, key = pool_of(weighted(1, 1, 1)), digest(b"conversation")
    lease = begin(pool, key=key)
    lease.failed(NOW, busy(5.0))
    lease.release(NOW)
    others = {begin(pool, NOW + 1, key=key).deployment for _ in range(3)}
    assert len(others) == 1
    assert lease.deployment not in others
    assert begin(pool, NOW + 5, key=key).deployment == lease.deployment


def test_requests_with_a_key_count_towards_the_shares_but_not_without_end() -> None:
    """Else a long conversation would later send everybody to the others, for as long as it had lasted."""
    pool, key = pool_of(weighted(2, 1)), digest(b"conversation")
    home = begin(pool, cost=0, key=key)
    home.release(NOW)
    for _ in range(5000):
        lease = begin(pool, key=key)
        assert lease.deployment == home.deployment
        lease.release(NOW)
    others = 0
    while serve(pool) != home.deployment.name:
        others += 1
    assert others <= 2 * LEAD + 1


def test_the_heaps_stay_short() -> None:
    deployments = [deployment(f"d{n}", weight=n % 3 + 1, max_concurrent=2 if n % 4 else None) for n in range(12)]
    pool, draw = pool_of(deployments), random.Random(4)
    running: list[Lease] = []
    now = NOW
    for number in range(20_000):
        now += 0.001
        if pool.refusal(None, now) is None:
            key = draw.getrandbits(64) if number % 3 == 0 else None
            lease = begin(pool, now, cost=draw.randrange(1000), key=key)
            running.append(lease)
            if number % 50 == 0:
                lease.failed(now, busy(draw.choice([None, 0.1, 100.0])))
            else:
                lease.answered(now, 0.3, NO_HEADERS)
        if len(running) > 15:
            running.pop(draw.randrange(len(running))).release(now)
    (tier,) = tiers(pool)
    assert len(tier._queue) <= 2 * len(tier._groups) + SPARE + 1
    assert all(len(group.heap) <= 2 * len(group.slots) + SPARE + 1 for group in tier._groups)
    assert len(pool._health._wakes) <= 10 * len(deployments)


def test_one_that_fills_up_again_and_again_without_a_turn_leaves_no_trail() -> None:
    """A request that continues another takes no turn, so its group comes and goes at the same place in the queue."""
    capped = deployment("capped", max_concurrent=1)
    pool = pool_of([capped, deployment("other", weight=2)])
    for _ in range(10_000):
        lease = pool.choose_home(None, capped.identity, NOW)
        assert lease is not None
        lease.release(NOW)
    (tier,) = tiers(pool)
    assert len(tier._queue) <= 2 * len(tier._groups) + SPARE + 1
    assert {serve(pool) for _ in range(10)} == {"capped", "other"}

"""How much extra load the relay may cause."""

from hypothesis import given
from hypothesis import strategies as st
from tests.rows import rows

from chukei.upstream.budget import Budget

NOW = 1000.0


def spent(budget: Budget, now: float = NOW) -> int:
    """Spend all there is; return how much it was."""
    found = 0
    while budget.spend(now):
        found += 1
        assert found < 100_000
    return found


def test_requests_earn_their_share() -> None:
    budget = Budget(0.25, reserve=100)
    for _ in range(40):
        budget.earn()
    assert spent(budget) == 10
    for _ in range(3):
        budget.earn()
    assert spent(budget) == 0
    budget.earn()
    assert spent(budget) == 1


def test_what_is_saved_at_the_start_can_be_spent_at_once() -> None:
    assert spent(Budget(0.2, reserve=100, saved=100)) == 100


def test_no_more_is_saved_than_the_reserve() -> None:
    budget = Budget(1.0, reserve=10)
    for _ in range(1000):
        budget.earn()
    assert spent(budget) == 10


def test_time_earns_too_and_a_clock_that_jumps_no_more_than_the_reserve() -> None:
    budget = Budget(0.2, reserve=10, per_second=1.0)
    assert spent(budget) == 0
    assert spent(budget, NOW + 0.9) == 0
    assert spent(budget, NOW + 3.0) == 3
    assert spent(budget, NOW + 86_400) == 10


def test_without_a_share_there_is_nothing_whatever_was_saved() -> None:
    budget = Budget(0.0, reserve=100, per_second=1.0, saved=100)
    for _ in range(100):
        budget.earn()
    assert spent(budget) == 0
    assert spent(budget, NOW + 1000) == 0


@rows("times", [1, 5])
def test_what_was_not_sent_after_all_is_given_back(times: int) -> None:
    budget = Budget(0.2, reserve=10, saved=5)
    assert spent(budget) == 5
    for _ in range(times):
        budget.give_back()
    assert spent(budget) == times


@given(
    share=st.floats(0.01, 2.0),
    events=st.lists(st.sampled_from(["earn", "spend"]) | st.floats(0.0, 100.0), max_size=200),
)
def test_never_more_than_its_share_of_requests_and_time(share: float, events: list[str | float]) -> None:
    budget, now, earned, taken = Budget(share, reserve=20, per_second=1.0, saved=5), NOW, 0, 0
    for event in events:
        if event == "earn":
            budget.earn()
            earned += 1
        elif event == "spend":
            taken += budget.spend(now)
        else:
            now += float(event)
        assert taken <= 5 + share * earned + (now - NOW) + 1e-6

"""How many extra requests there may be: never more than earned, and no more saved up than allowed."""

from hypothesis import given
from hypothesis import strategies as st

from chukei.budget import Budget


def test_requests_earn_a_share() -> None:
    budget = Budget(0.25, reserve=10)
    assert not budget.spend(0.0)
    for _ in range(4):
        budget.earn()
    assert budget.spend(0.0)
    assert not budget.spend(0.0)


def test_time_earns_too() -> None:
    budget = Budget(0.25, reserve=10, per_second=1.0)
    assert not budget.spend(100.0)
    assert not budget.spend(100.5)
    assert budget.spend(101.0)
    assert not budget.spend(101.0)


def test_no_more_is_saved_up_than_the_reserve() -> None:
    budget = Budget(1.0, reserve=3, per_second=1.0)
    for _ in range(100):
        budget.earn()
    assert [budget.spend(0.0) for _ in range(4)] == [True, True, True, False]
    assert [budget.spend(1000.0) for _ in range(4)] == [True, True, True, False]


def test_what_is_saved_at_the_start() -> None:
    budget = Budget(0.2, reserve=5, saved=2)
    assert [budget.spend(0.0) for _ in range(3)] == [True, True, False]


def test_without_a_share_there_is_nothing() -> None:
    budget = Budget(0.0, reserve=5, per_second=1.0, saved=5)
    budget.earn()
    assert not budget.spend(0.0)
    assert not budget.spend(1000.0)


def test_what_was_not_used_is_given_back() -> None:
    budget = Budget(1.0, reserve=5)
    budget.earn()
    assert budget.spend(0.0)
    budget.give_back()
    assert budget.spend(0.0)
    assert not budget.spend(0.0)


@given(st.floats(0.01, 1.0), st.lists(st.sampled_from(["request", "extra", "unused"]), max_size=300))
def test_never_more_than_the_share_is_spent(share: float, history: list[str]) -> None:
    budget = Budget(share, reserve=10)
    requests = spent = 0
    for event in history:
        if event == "request":
            budget.earn()
            requests += 1
        elif budget.spend(0.0):
            if event == "unused":
                budget.give_back()
            else:
                spent += 1
        assert spent <= share * requests + 1e-9

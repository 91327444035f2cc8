"""The bound on callers."""

from chukei.liveview.shares import MOST_CALLERS, Callers, CallerShare


def test_callers_are_bounded_and_their_sum_is_exact() -> None:
    callers = Callers()
    for number in range(5 * MOST_CALLERS):
        callers.of(f"caller-{number}").requests += 1
        callers.of("busy").requests += 1
        assert len(callers.named) <= MOST_CALLERS
    assert callers.named["busy"].requests == 5 * MOST_CALLERS
    named = sum(each.requests for each in callers.named.values())
    assert named + callers.others.requests == 10 * MOST_CALLERS


def test_a_caller_that_becomes_busy_late_gets_a_place() -> None:
    callers = Callers()
    for number in range(MOST_CALLERS):
        callers.of(f"caller-{number}").requests += 2
    for _ in range(50):
        callers.of("late").requests += 1
    for number in range(MOST_CALLERS):
        callers.of(f"other-{number}").requests += 1
    assert callers.named["late"] == CallerShare(requests=50)

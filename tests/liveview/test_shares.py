"""How a request ended in one word, and the bound on callers."""

from tests.liveview.records import record
from tests.rows import rows

from chukei.liveview.shares import MOST_CALLERS, Callers, CallerShare, Outcome, outcome_of
from chukei.model import End

EXPECTED = {
    (End.COMPLETED, 200): Outcome.ANSWERED,
    (End.LENGTH, 200): Outcome.ANSWERED,
    (End.CONTENT_FILTER, 200): Outcome.ANSWERED,
    (End.REFUSED, 401): Outcome.REFUSED,
    (End.REFUSED, 503): Outcome.FAILED,
    (End.NO_DEPLOYMENT, 429): Outcome.FAILED,
    (End.UPSTREAM_STATUS, 400): Outcome.REFUSED,
    (End.UPSTREAM_STATUS, 429): Outcome.FAILED,
    (End.UPSTREAM_STATUS, 502): Outcome.FAILED,
    (End.TRUNCATED, 200): Outcome.FAILED,
    (End.CLIENT_ABORTED, 200): Outcome.LEFT,
    (End.CLIENT_STALLED, 200): Outcome.LEFT,
    (None, None): Outcome.FAILED,
}


@rows("given", EXPECTED)
def test_an_end_has_an_outcome(given: tuple[End | None, int | None]) -> None:
    end, status = given
    assert outcome_of(record(end=end, status=status)) is EXPECTED[given]


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

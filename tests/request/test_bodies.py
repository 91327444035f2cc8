"""Room for request bodies: bounded for a caller and for all, and given back."""

import pytest

from chukei.errors import CallerError, RelayError, Unavailable
from chukei.request.bodies import Bodies


def test_one_caller_may_have_half_and_all_together_the_whole() -> None:
    bodies = Bodies(100)
    first = bodies.enter("a", 40, None)
    with pytest.raises(CallerError) as caught:
        bodies.enter("a", 20, None)
    assert (caught.value.status, dict(caught.value.headers)[b"retry-after"]) == (429, b"1")
    second = bodies.enter("b", 50, None)
    with pytest.raises(Unavailable) as busy:
        bodies.enter("c", 20, None)
    assert (busy.value.status, busy.value.code) == (503, "relay_busy")
    first.leave()
    first.leave()
    bodies.enter("c", 20, None).leave()
    second.leave()
    assert bodies.held == 0


def test_a_body_of_unknown_length_is_counted_as_it_grows() -> None:
    bodies = Bodies(100)
    first, second = bodies.enter("a", 0, None), bodies.enter("a", 0, None)
    first.reach(30)
    first.reach(20)
    assert bodies.held == 30
    with pytest.raises(CallerError):
        second.reach(30)
    second.leave()
    assert bodies.held == 30


def test_the_only_body_has_room_however_large_it_is() -> None:
    bodies = Bodies(100)
    hold = bodies.enter("a", 500, None)
    with pytest.raises(RelayError):
        bodies.enter("b", 1, None)
    hold.leave()


def test_no_more_bodies_are_read_than_requests_may_run_and_one() -> None:
    bodies = Bodies(1000)
    holds = [bodies.enter("a", 1, 1), bodies.enter("a", 1, 1)]
    with pytest.raises(CallerError) as caught:
        bodies.enter("a", 1, 1, "callers.a.limits.concurrent")
    assert (caught.value.code, caught.value.rule) == ("rate_limit_exceeded", "callers.a.limits.concurrent")
    for hold in holds:
        hold.leave()
    bodies.enter("a", 1, 1).leave()
    assert bodies.held == 0

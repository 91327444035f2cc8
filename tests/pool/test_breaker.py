"""The circuit breaker: every way from one state to another, and what does not move it."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.rows import rows

from chukei.config import PoolSettings
from chukei.pool.breaker import JITTER, TRANSITIONS, WINDOW, Breaker, Event, State

SETTINGS = PoolSettings()
NOW = 1000.0


def breaker(drawn: float = 0.0, **changes: float) -> Breaker:
    return Breaker(replace(SETTINGS, **changes), lambda: drawn)  # type: ignore[arg-type]


def opened(drawn: float = 0.0) -> Breaker:
    found = breaker(drawn)
    for _ in range(SETTINGS.breaker_failures):
        found.failed(NOW, "upstream_lost", trial=0)
    assert found.state(NOW) is State.OPEN
    return found


def test_it_begins_closed_and_counts_no_trial() -> None:
    found = breaker()
    assert (found.state(NOW), found.allows(NOW), found.enter(NOW), found.why) == (State.CLOSED, True, 0, None)


def test_failures_in_a_row_open_it() -> None:
    found = breaker()
    assert [found.failed(NOW, "upstream_lost", trial=0) for _ in range(3)] == [None, None, 5.0]
    assert (found.state(NOW), found.why, found.until) == (State.OPEN, "upstream_lost", NOW + 5.0)
    assert not found.allows(NOW + 4.999)


def test_an_answer_ends_a_row() -> None:
    found = breaker()
    for _ in range(3):
        assert found.failed(NOW, "upstream_lost", trial=0) is None
        assert found.failed(NOW, "upstream_lost", trial=0) is None
        assert [found.succeeded(NOW, trial=0) for _ in range(4)] == [False] * 4
    assert found.state(NOW) is State.CLOSED


def test_half_of_the_recent_requests_failing_opens_it() -> None:
    found = breaker()
    for _ in range(WINDOW // 4):
        assert found.state(NOW) is State.CLOSED
        found.succeeded(NOW, trial=0)
        found.failed(NOW, "upstream_timeout", trial=0)
    assert found.state(NOW) is State.OPEN


def test_fewer_than_half_do_not_and_what_is_long_ago_does_not_count() -> None:
    found = breaker()
    for number in range(300):
        if number % 5 in (0, 2):
            assert found.failed(NOW, "upstream_timeout", trial=0) is None
        else:
            found.succeeded(NOW, trial=0)
    assert found.state(NOW) is State.CLOSED


def test_after_its_time_one_trial_goes_and_no_other() -> None:
    found = opened()
    assert not found.allows(NOW + 4.999)
    assert (found.state(NOW + 5), found.allows(NOW + 5)) == (State.HALF_OPEN, True)
    trial = found.enter(NOW + 5)
    assert trial
    assert not found.allows(NOW + 5)
    assert not found.allows(NOW + 9.999)


def test_a_trial_that_is_silent_for_long_keeps_nobody_else_waiting_and_still_counts() -> None:
    found = opened()
    slow = found.enter(NOW + 5)
    assert found.allows(NOW + 10)
    other = found.enter(NOW + 10)
    assert not found.allows(NOW + 14.999)
    found.leave(trial=slow)
    assert not found.allows(NOW + 14.999)
    assert found.failed(NOW + 14, "upstream_lost", trial=other) == 10
    assert found.succeeded(NOW, trial=slow), "it answers"


def test_a_trial_that_is_answered_closes_it_and_all_is_forgotten() -> None:
    found = opened()
    assert found.succeeded(NOW, trial=found.enter(NOW))
    assert (found.state(NOW + 5), found.why) == (State.CLOSED, None)
    assert [found.failed(NOW + 6, "upstream_lost", trial=0) for _ in range(3)] == [None, None, 5.0]
    assert found.until == NOW + 11


def test_a_trial_that_fails_opens_it_for_twice_as_long_up_to_the_maximum() -> None:
    found, now, times = opened(), NOW, []
    for _ in range(8):
        now = found.until
        trial = found.enter(NOW)
        times.append(found.failed(now, "upstream_lost", trial=trial))
        found.leave(trial=trial)
    assert times == [10, 20, 40, 60, 60, 60, 60, 60]


def test_a_trial_that_ends_without_a_verdict_makes_room_for_the_next() -> None:
    found = opened()
    first = found.enter(NOW)
    found.leave(trial=first)
    assert found.allows(NOW + 5)
    second = found.enter(NOW + 5)
    assert second not in (0, first)
    assert not found.allows(NOW + 5)


@given(drawn=st.floats(0, 1))
def test_a_time_is_shortened_by_at_most_a_tenth(drawn: float) -> None:
    found = opened(drawn)
    assert 5.0 * (1 - JITTER) <= found.until - NOW <= 5.0


def test_what_was_sent_before_it_opened_tells_nothing_new() -> None:
    found = opened()
    for _ in range(10):
        assert found.failed(NOW + 1, "connect_error", trial=0) is None
        assert not found.succeeded(NOW, trial=0)
    assert (found.state(NOW + 1), found.until, found.why) == (State.OPEN, NOW + 5, "upstream_lost")


def test_a_trial_of_earlier_on_has_no_say_over_a_later_one() -> None:
    found = opened()
    early = found.enter(NOW)
    found.close(NOW, Event.NEWS)  # another replica has found it well
    for _ in range(3):
        found.failed(NOW + 6, "upstream_lost", trial=0)
    now = found.until
    late = found.enter(now)
    assert found.failed(now, "connect_error", trial=early) is None
    assert not found.succeeded(NOW, trial=early)
    found.leave(trial=early)
    assert not found.allows(now), "two trials at a time"
    assert found.succeeded(NOW, trial=late)


def test_it_can_be_opened_for_a_given_time_and_never_for_less_than_it_is() -> None:
    found = breaker()
    assert found.trip(NOW, "upstream_unauthorized", 60.0) == 60.0
    assert found.trip(NOW + 10, "upstream_error", 5.0) == 50.0
    assert found.until == NOW + 60
    found.close(NOW, Event.NEWS)
    assert found.trip(NOW + 20, "upstream_error", 5.0) == 5.0, "what was before it closed is over"


@rows("failures", [1, 5])
def test_the_number_in_a_row_can_be_set(failures: int) -> None:
    found = breaker(breaker_failures=failures)
    told = [found.failed(NOW, "upstream_lost", trial=0) for _ in range(failures)]
    assert told == [None] * (failures - 1) + [5.0]


def test_0_switches_counting_off() -> None:
    found = breaker(breaker_failures=0)
    assert {found.failed(NOW, "upstream_lost", trial=0) for _ in range(100)} == {None}
    assert found.state(NOW) is State.CLOSED


def test_one_that_nobody_has_needed_for_long_is_stale() -> None:
    found = opened()
    longest = SETTINGS.max_breaker_seconds
    assert [found.is_stale(found.until + after) for after in (0.0, longest - 0.01, longest)] == [False, False, True]
    found.enter(NOW)
    assert not found.is_stale(found.until + longest), "it is being tried"
    assert not breaker().is_stale(NOW)


# The table.


def in_state(state: State) -> tuple[Breaker, int]:
    """Return a breaker that is in this state at ``NOW``, and the number of a trial of it."""
    found = breaker()
    if state is State.CLOSED:
        return found, 0
    found.trip(NOW - 60, "upstream_lost", 90.0 if state is State.OPEN else 60.0)
    return found, found.enter(NOW)


def after(event: Event, found: Breaker, trial: int) -> State:
    """Have the event happen at ``NOW``, as the pool has it; return where the breaker is then."""
    now = NOW
    match event:
        case Event.FAILURES:
            for _ in range(SETTINGS.breaker_failures):
                found.failed(now, "upstream_lost", trial=trial)
        case Event.KNOWN_TIME:
            found.rest(now, "upstream_error", 5.0)
        case Event.TIME_OVER:
            now = found.until
        case Event.ANSWER:
            assert found.succeeded(now, trial=trial)
        case Event.DISUSE | Event.NEWS:
            found.close(now, event)
    return found.state(now)


@pytest.mark.parametrize(("state", "event"), TRANSITIONS)
def test_every_row_of_the_table_is_a_way_that_is_gone(state: State, event: Event) -> None:
    found, trial = in_state(state)
    assert found.state(NOW) is state
    assert after(event, found, trial) is TRANSITIONS[state, event]
    assert repr(found).startswith("<Breaker closed" if found.why is None else "<Breaker open until ")


@pytest.mark.parametrize(
    ("state", "event"),
    [(State.CLOSED, Event.ANSWER), (State.CLOSED, Event.DISUSE), (State.OPEN, Event.DISUSE)],
)
def test_what_cannot_happen_in_a_state_is_refused_and_moves_nothing(state: State, event: Event) -> None:
    found, _ = in_state(state)
    was = repr(found)
    with pytest.raises(KeyError):
        found.close(NOW, event)
    assert (found.state(NOW), repr(found)) == (state, was)


def test_a_closed_one_has_no_trials() -> None:
    found = breaker()
    assert not found.is_trial(3), "the number is one of another breaker"


# Sources.


def counted(found: Breaker, sources: str, *, trial: int = 0) -> list[bool]:
    """Have failures of sources counted; ``.`` is an answer. Return which of them opened it."""
    return [
        found.succeeded(NOW, trial=trial)
        if each == "."
        else found.failed(NOW, "x", trial=trial, source=each) is not None
        for each in sources
    ]


@rows(
    "sources",
    [
        "a" * 200,
        "aab",
        "a" * 100 + "b",
        "a" * 100 + "." + "b" + "a" * 100,
        "aaab.." * 50,
        "aaaaaaaaab" + "." * 10,
        "aaab." * 50,
        "aab.a.a.ab.." * 20,
    ],
)
def test_one_source_opens_nothing_and_makes_no_outage_of_anothers_failure(sources: str) -> None:
    found = breaker()
    assert not any(counted(found, sources)), found
    assert repr(found).startswith("<Breaker closed, ")


@rows("sources", ["abc", "aabb", "aaabb", "aaaaaaabc", "a.b.c.d.e.f", "ab.ab.ab.ab.ab"])
def test_several_sources_open_it(sources: str) -> None:
    found = breaker()
    assert True not in counted(found, sources[:-1])
    assert counted(found, sources[-1]) == [True]
    assert repr(found) == f"<Breaker open until {found.until:.1f} (x)>"


def test_what_nobody_provoked_counts_each_time() -> None:
    found = breaker()
    counted(found, "aa")
    assert [found.failed(NOW, "connect_error", trial=0) is not None for _ in range(2)] == [False, True]


@rows("limit", [1, 2])
def test_with_fewer_failures_in_a_row_it_still_takes_two_sources(limit: int) -> None:
    found = breaker(breaker_failures=limit)
    assert counted(found, "aaab") == [False, False, False, True]


def test_it_opens_again_when_trials_of_two_sources_have_failed() -> None:
    found, now = opened(), NOW + 5
    assert counted(found, "aa", trial=found.enter(now)) == [False, False]
    assert found.state(now) is State.HALF_OPEN
    assert found.failed(now, "x", trial=found.enter(now), source="b") == 10
    now += 10
    assert found.failed(now, "x", trial=found.enter(now), source="b") is None, "each time anew"
    assert found.failed(now, "connect_error", trial=found.enter(now)) == 20


def test_a_known_time_takes_two_sources_since_the_last_answer() -> None:
    found = breaker()
    assert [found.rest(NOW, "x", 60.0, source="a") for _ in range(9)] == [None] * 9
    found.succeeded(NOW, trial=0)
    assert found.rest(NOW, "x", 60.0, source="b") is None
    assert found.rest(NOW, "x", 60.0, source="a") == 60.0
    assert breaker().rest(NOW, "tls_unverified", 60.0) == 60.0

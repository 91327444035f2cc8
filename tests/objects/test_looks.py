"""How much effort goes into unknown ids."""

import pytest
from tests.fakes import FakeClock

from chukei.errors import CallerError
from chukei.objects.looks import ABSENT_SECONDS, ALL_PER_MINUTE, EACH_PER_MINUTE, MOST_KEPT, Looks


def test_a_caller_has_some_looks_a_minute_and_gets_them_back_steadily() -> None:
    clock = FakeClock()
    looks = Looks(clock)
    for number in range(EACH_PER_MINUTE):
        assert looks.spend("ann", f"{number}")
    with pytest.raises(CallerError) as caught:
        looks.spend("ann", "x")
    assert (caught.value.status, dict(caught.value.headers)[b"retry-after"]) == (429, b"6")
    assert looks.spend("bob", "x")
    clock.advance(60 / EACH_PER_MINUTE)
    assert looks.spend("ann", "x")
    with pytest.raises(CallerError):
        looks.spend("ann", "y")


def test_all_callers_together_have_more_but_not_without_end() -> None:
    looks = Looks(FakeClock())
    for number in range(ALL_PER_MINUTE):
        assert looks.spend(f"caller-{number}", "x")
    with pytest.raises(CallerError):
        looks.spend("another", "x")


def test_an_id_is_not_looked_for_twice_in_a_short_time() -> None:
    clock = FakeClock()
    looks = Looks(clock)
    assert looks.spend("ann", "x")
    assert not looks.spend("ann", "x")
    assert looks.spend("bob", "x")
    clock.advance(ABSENT_SECONDS)
    assert looks.spend("ann", "x")
    looks.found("ann", "x")
    assert looks.spend("ann", "x")


def test_what_was_deleted_is_not_looked_for() -> None:
    looks = Looks(FakeClock())
    for number in range(EACH_PER_MINUTE + 1):
        looks.gone("ann", f"{number}")
        assert not looks.spend("ann", f"{number}")


def test_what_is_remembered_is_bounded() -> None:
    clock = FakeClock()
    looks = Looks(clock)
    for number in range(MOST_KEPT + 10):
        clock.advance(1)
        looks.spend(f"caller-{number}", "x")
    assert (len(looks._each), len(looks._absent)) == (MOST_KEPT, MOST_KEPT)

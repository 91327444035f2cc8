"""Levels of loggers: as configured, changed for a while, and back."""

import json
import logging
from collections.abc import Callable, Iterator

import pytest
from tests.fakes import FakeClock

from chukei.adapters.logs.levels import MOST_CHANGED, LevelChange, Levels, TooManyChanged


class Later:
    """A timer that rings when told to."""

    def __init__(self, call: Callable[[], None]) -> None:
        self.ring = call
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Desk:
    """Levels with a clock and timers that only move when told to."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.timers: list[Later] = []
        self.levels = Levels(self._later, self.clock)

    def _later(self, seconds: float, call: Callable[[], None]) -> Later:
        self.timers.append(Later(call))
        return self.timers[-1]


NAMES = ("root", "chukei", "chukei.request", "chukei.start", "chukei.log", "azure")


@pytest.fixture
def desk() -> Iterator[Desk]:
    before = {name: logging.getLogger(name).level for name in NAMES}
    yield Desk()
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)


def enabled(name: str, level: int) -> bool:
    return logging.getLogger(name).isEnabledFor(level)


def test_the_level_is_that_of_the_relays_own_lines(desk: Desk) -> None:
    """A library's finer lines may contain what the relay never logs."""
    desk.levels.configure("debug", {})
    assert enabled("chukei.request", logging.DEBUG)
    assert not enabled("azure", logging.INFO)
    desk.levels.configure("error", {"azure": "debug", "chukei.request": "warning"})
    assert enabled("azure", logging.DEBUG)
    assert not enabled("uvicorn", logging.WARNING)
    assert enabled("chukei.request", logging.WARNING)
    assert not enabled("chukei.request", logging.INFO)
    assert not enabled("chukei.pool", logging.WARNING)
    desk.levels.configure("info", {})
    assert not enabled("azure", logging.INFO), "a level that is no longer configured is gone"
    assert enabled("chukei.request", logging.INFO)


def test_a_change_lasts_as_long_as_wanted_and_survives_a_reload(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    desk.levels.configure("error", {})
    desk.levels.change(LevelChange("chukei.request", "debug", 600))
    desk.levels.configure("error", {})
    assert enabled("chukei.request", logging.DEBUG)
    desk.clock.advance(100)
    [row] = [row for row in desk.levels.shown() if row["logger"] == "chukei.request"]
    assert (row["level"], row["configured"], row["seconds"]) == ("debug", None, 500)
    [timer] = desk.timers
    timer.ring()
    assert not enabled("chukei.request", logging.WARNING)
    assert [each.getMessage() for each in caplog.records] == [
        "an administrator set the level of chukei.request to debug for 600 s",
        "the level of chukei.request is the configured one again",
    ], "both are logged whatever the level"


def test_only_the_last_change_of_a_logger_counts(desk: Desk) -> None:
    desk.levels.configure("warning", {})
    desk.levels.change(LevelChange("chukei", "debug", 600))
    desk.levels.change(LevelChange("chukei", "info", 1200))
    first, second = desk.timers
    assert first.cancelled
    first.ring()  # it may have been ringing already
    assert enabled("chukei", logging.INFO)
    assert not enabled("chukei", logging.DEBUG)
    desk.levels.change(LevelChange("chukei", None))
    assert second.cancelled
    assert not enabled("chukei", logging.INFO)


def test_workers_answer_with_their_levels(desk: Desk) -> None:
    desk.levels.configure("info", {})
    told = json.loads(desk.levels.answer(b'{"logger":"chukei","level":"debug"}'))
    assert told["error"] is None
    assert {"logger": "chukei", "level": "debug", "configured": "info", "changed": True, "seconds": None} in told[
        "levels"
    ]
    assert json.loads(desk.levels.answer(b"")) == told, "an empty question changes nothing"


def test_not_more_loggers_are_changed_than_can_be_overseen(desk: Desk) -> None:
    desk.levels.configure("info", {})
    for number in range(MOST_CHANGED):
        desk.levels.change(LevelChange(f"made.up.{number}", "error"))
    with pytest.raises(TooManyChanged):
        desk.levels.change(LevelChange("one.more", "error"))
    assert "first" in json.loads(desk.levels.answer(b'{"logger":"one.more","level":"error"}'))["error"]
    desk.levels.change(LevelChange("made.up.0", "debug"))
    desk.levels.change(LevelChange("made.up.0", None))
    desk.levels.change(LevelChange("one.more", "error"))


def test_a_worker_that_starts_later_takes_over_what_was_changed(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    desk.levels.configure("error", {})
    desk.levels.change(LevelChange("chukei.request", "debug", 600))
    desk.levels.change(LevelChange("azure", "error"))
    desk.clock.advance(100)
    answer = desk.levels.answer(b"")
    later = Desk()
    later.levels.configure("error", {"chukei.pool": "info"})
    later.levels.change(LevelChange("azure", "debug"))
    caplog.clear()
    for _ in range(2):  # several workers answer
        later.levels.take_over(answer)
    shown = {str(row["logger"]): row for row in later.levels.shown() if row["changed"]}
    assert [(name, row["level"], row["seconds"]) for name, row in shown.items()] == [
        ("azure", "debug", None),
        ("chukei.request", "debug", 500),
    ]
    [told] = caplog.records
    assert told.getMessage() == "the level of chukei.request is debug for 500 s, as in the other workers"
    [timer] = later.timers
    timer.ring()
    assert not enabled("chukei.request", logging.WARNING)

"""What is known of this process, and how late its event loop is."""

import os
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, Self

import pytest

from chukei.adapters import process
from chukei.adapters.process import LAG_SECONDS, LoopLag
from chukei.metrics.definitions import CPU, MAX_FILES, MEMORY, OPEN_FILES, START_TIME, WORKERS


def found() -> dict[str, float]:
    return {family.name: float(value) for family, _, value in process.readings(12.5)}


def test_a_process_tells_its_time_memory_and_files() -> None:
    values = found()
    assert (values[START_TIME.name], values[WORKERS.name]) == (12.5, 1)
    assert 0 < values[CPU.name] <= sum(os.times()[:2])


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory and open files are read from /proc")
def test_open_files_are_counted() -> None:
    before = found()
    reading, writing = os.pipe()
    try:
        after = found()
    finally:
        os.close(reading)
        os.close(writing)
    assert after[OPEN_FILES.name] == before[OPEN_FILES.name] + 2
    assert after[OPEN_FILES.name] < after[MAX_FILES.name]
    assert after[MEMORY.name] > 1_000_000


class FakeLoop:
    """A loop with one timer, which fires when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0
        self.due: float | None = None

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[..., object], /, *args: Any) -> Self:
        self.due = when
        self._call = partial(callback, *args)
        return self

    def cancel(self) -> None:
        self.due = None

    def fire(self, late: float) -> None:
        assert self.due is not None
        self.now = self.due + late
        self._call()


def test_the_lag_is_by_how_much_a_timer_is_late() -> None:
    lags: list[float] = []
    loop, lag = FakeLoop(), LoopLag(lags.append)
    lag.start(loop)
    assert loop.due == 100.0 + LAG_SECONDS
    for late in (0.25, 0.0, -0.125):
        loop.fire(late)
    assert lags == [0.25, 0.0, 0.0]
    lag.close()
    assert loop.due is None

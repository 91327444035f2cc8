"""A time limit that is moved often: it has one timer, which is set anew only when it must fire earlier than it would.

When the timer fires too early, as after many requests in a row, it looks at the time that counts by then and sleeps
again.
"""

import asyncio
import math
from collections.abc import Callable


class Deadline:
    """Calls ``overdue`` when the time has come."""

    def __init__(self, loop: asyncio.AbstractEventLoop, overdue: Callable[[], None]) -> None:
        self._loop = loop
        self._overdue = overdue
        self._at = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf

    def set(self, seconds: float) -> None:
        """Set the time, from now."""
        self._until(self._loop.time() + seconds)

    def lift(self) -> None:
        """Have no limit for now."""
        self._at = math.inf

    def close(self) -> None:
        """Have none any more, and let go of who would be called."""
        if self._timer is not None:
            self._timer.cancel()
        self._at, self._timer_at = math.inf, -math.inf
        self._overdue = _nothing

    def _until(self, moment: float) -> None:
        self._at = moment
        if moment < self._timer_at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_at = moment
            self._timer = self._loop.call_at(moment, self._tick)

    def _tick(self) -> None:
        self._timer, self._timer_at = None, math.inf
        if self._at == math.inf:
            return
        if self._loop.time() < self._at:
            self._until(self._at)
        else:
            self._at = math.inf
            self._overdue()


def _nothing() -> None:
    return None

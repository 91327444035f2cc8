"""A time limit that changes often. It has one timer, which is replaced only if the new limit is earlier.

If the timer fires before the current limit, as after many requests in a row, it is set again for the rest of the time.
"""

import asyncio
import math
from collections.abc import Callable


class Deadline:
    """Calls ``overdue`` when the time limit expires."""

    def __init__(self, loop: asyncio.AbstractEventLoop, overdue: Callable[[], None]) -> None:
        self._loop = loop
        self._overdue = overdue
        self._at = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf

    def set(self, seconds: float) -> None:
        """Set the limit, in seconds from now."""
        self._until(self._loop.time() + seconds)

    def lift(self) -> None:
        """Remove the limit; ``set`` may set a new one."""
        self._at = math.inf

    def close(self) -> None:
        """Remove the limit for good, and release ``overdue``."""
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

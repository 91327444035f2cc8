"""What a process that stops tells the operator: which requests it waits for."""

import logging
import time
from collections.abc import Callable

from chukei.ports import Clock

Tell = Callable[..., None]
"""Writes a line for the operator: its level, its text, and fields for a log of JSON."""

SECONDS = 1.0
"""The time between two lines."""


class Awaited:
    """Tells how many requests are running: at the begin and at the end, on a terminal also whenever that changes."""

    def __init__(self, tell: Tell, *, terminal: bool, clock: Clock = time.monotonic) -> None:
        self._tell = tell
        self._terminal = terminal
        self._clock = clock
        self._told: int | None = None
        self._stopped = 0
        self._next = float("-inf")

    def progress(self, count: int, stopped: int) -> None:
        """Take how many requests are running, and how many were ended before they were complete. Call it often."""
        self._stopped = stopped
        now = self._clock()
        if now < self._next:
            return
        self._next = now + SECONDS
        if self._told is None:
            if count or not self._terminal:
                self._tell(logging.INFO, f"stopping: {_requests(count)} running{self._hint(count)}", running=count)
        elif self._terminal and count and count != self._told:
            self._tell(logging.INFO, f"{_requests(count)} running{self._hint(count)}", running=count)
        self._told = count

    def over(self) -> None:
        """Tell of the end."""
        if self._told is not None and (self._stopped or not self._terminal):
            self._tell(logging.INFO, f"stopped: {_requests(self._stopped)} ended early", stopped=self._stopped)

    def _hint(self, count: int) -> str:
        return ", Ctrl-C again to stop now" if self._terminal and count else ""


def _requests(count: int) -> str:
    return f"{count} request" if count == 1 else f"{count} requests"

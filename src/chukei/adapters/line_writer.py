"""Writes log lines: one that comes alone at once, those that come close together with one system call."""

import asyncio
import logging
import time
from typing import TextIO

from chukei.ports import Clock

WAIT_SECONDS = 0.1
"""How long lines wait for others after the last were written; what a process that is killed may lose of them."""

MOST_LINES = 1000
"""When so many wait they are written, however soon that is."""


class LineWriter(logging.StreamHandler[TextIO]):
    """A handler for standard error, or another stream.

    Lines wait only in the thread of an event loop, whose timer writes them. None waits behind a warning or something
    worse, after ``write_through``, or when the interpreter ends in good order, since ``logging`` flushes its handlers
    then.
    """

    def __init__(self, stream: TextIO | None = None, clock: Clock = time.monotonic) -> None:
        super().__init__(stream)
        self._clock = clock
        self._lines: list[str] = []
        self._timer: asyncio.TimerHandle | None = None
        self._next = -WAIT_SECONDS  # when a line may be written alone
        self._through = False

    def emit(self, record: logging.LogRecord) -> None:
        """Take a line."""
        try:
            self._lines.append(self.format(record))
            if record.levelno >= logging.WARNING or not self._may_wait():
                self.flush()
        except Exception:  # noqa: BLE001 - as in every handler of logging
            self.handleError(record)

    def _may_wait(self) -> bool:
        """Whether what waits will be written soon without a further line."""
        wait = self._next - self._clock()
        if wait <= 0:
            self._timer = None  # if there is one, its loop is late, or has ended
            return False
        if self._timer is not None:
            return len(self._lines) < MOST_LINES
        if self._through:
            return False
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return False
        self._timer = loop.call_later(wait, self._due)
        return True

    def _due(self) -> None:
        self._timer = None
        try:
            self.flush()
        except Exception:  # noqa: BLE001 - the same
            self.handleError(logging.makeLogRecord({"msg": "lines of the log were not written"}))

    def flush(self) -> None:
        """Write what waits."""
        self.acquire()
        try:
            lines, self._lines = self._lines, []
            if lines:
                self._next = self._clock() + WAIT_SECONDS
                self.stream.write("\n".join([*lines, ""]))
            super().flush()
        finally:
            self.release()

    def write_through(self) -> None:
        """Write what waits, and every later line at once: the event loop is about to end."""
        self._through = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.flush()

"""Writes log lines: a single line immediately, lines in quick succession with one system call.

If the reader of the log stops, the pipe fills up and writing to it blocks. So a thread writes, and the event loop never
waits for it. Lines that it cannot write in time are dropped and counted.
"""

import asyncio
import logging
import os
import select
import sys
import threading
import time
from collections.abc import Sequence
from queue import SimpleQueue
from typing import TextIO

from chukei.ports import Clock

WAIT_SECONDS = 0.1
"""Seconds for which lines are collected after a write; a killed process may lose the lines of this time."""

MOST_LINES = 1000
"""Collected lines at which they are written without waiting longer."""

MOST_CHARACTERS = 4_000_000
"""Characters waiting for the thread at which further lines are dropped; about ten thousand requests."""

FLUSH_SECONDS = 1.0
"""Seconds for which the end of the process waits for the thread."""


class LineWriter(logging.Handler):
    """A handler for standard error, or another stream.

    Lines are collected only in the thread of an event loop, whose timer passes them to the writing thread. A warning or
    a more severe line is passed on immediately, with all lines before it; so is every line after ``write_through``.
    ``flush`` waits for a limited time until all is written. ``logging`` calls it when the interpreter exits normally.
    """

    def __init__(
        self, stream: TextIO | None = None, clock: Clock = time.monotonic, *, most_characters: int = MOST_CHARACTERS
    ) -> None:
        super().__init__()
        self._stream = stream if stream is not None else sys.stderr
        self._clock = clock
        self._most_characters = most_characters
        self._lines: list[str] = []
        self._timer: asyncio.TimerHandle | None = None
        self._next = -WAIT_SECONDS  # when a line may be written alone
        self._through = False
        self._thread: threading.Thread | None = None
        self._texts: SimpleQueue[str] = SimpleQueue()
        self._state = threading.Condition()  # of the three that follow
        self._unwritten = 0  # characters
        self._dropped = 0  # lines
        self._why = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Take a log record."""
        try:
            self._lines.append(self.format(record))
        except Exception as error:  # noqa: BLE001 - logging's own error handling prints, which may block
            self._lines.append(self._own_line(logging.ERROR, f"a line of {record.name} cannot be shown: {error!r}"))
        if record.levelno >= logging.WARNING or not self._may_wait():
            self._hand_over()

    def _may_wait(self) -> bool:
        """Whether the collected lines will be handed over soon by the timer."""
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
        self.acquire()
        try:
            self._hand_over()
        finally:
            self.release()

    def _hand_over(self) -> None:
        """Pass the collected lines to the thread, or drop them; never blocks."""
        lines, self._lines = self._lines, []
        if not lines:
            return
        self._next = self._clock() + WAIT_SECONDS
        with self._state:
            if self._unwritten >= self._most_characters:
                self._drop(len(lines), "nobody reads the log")
                return
            if self._dropped:
                lines.insert(0, self._dropped_notice())
            text = "\n".join([*lines, ""])
            self._unwritten += len(text)
        self._texts.put(text)
        if self._thread is None:
            self._thread = threading.Thread(target=self._write_all, name="chukei-log", daemon=True)
            self._thread.start()

    def _drop(self, lines: int, why: str) -> None:
        self._dropped += lines
        self._why = why

    def _dropped_notice(self) -> str:
        """Return the line that reports dropped lines, and reset their number."""
        count, self._dropped = self._dropped, 0
        return self._own_line(logging.WARNING, f"{count} lines of the log were dropped here: {self._why}")

    def _own_line(self, level: int, text: str) -> str:
        return self.format(logging.makeLogRecord({"name": __name__, "levelno": level, "msg": text, **_names(level)}))

    def flush(self) -> None:
        """Write the collected lines, within ``FLUSH_SECONDS``."""
        self.acquire()
        try:
            self._hand_over()
        finally:
            self.release()
        self.drain()

    def drain(self, seconds: float = FLUSH_SECONDS) -> bool:
        """Wait until the thread has written all lines passed to it; return whether it has."""
        with self._state:
            return self._state.wait_for(lambda: not self._unwritten, seconds)

    def write_through(self) -> None:
        """Write the collected lines, and every later line immediately: the event loop is about to end."""
        self.acquire()
        try:
            self._through = True
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._hand_over()
        finally:
            self.release()

    # The thread.

    def _write_all(self) -> None:
        while True:
            text = self._texts.get()
            failure = self._write(text)
            with self._state:
                self._unwritten -= len(text)
                if failure is not None:
                    self._drop(text.count("\n"), failure)
                elif self._dropped and not self._unwritten:  # no later line may come to carry the notice
                    notice = f"{self._dropped_notice()}\n"
                    self._unwritten += len(notice)
                    self._texts.put(notice)
                if not self._unwritten:
                    self._state.notify_all()

    def _write(self, text: str) -> str | None:
        """Write a text, however long that takes; return the reason if it fails."""
        try:
            descriptor = self._stream.fileno()
        except (OSError, ValueError, AttributeError):
            descriptor = None
        try:
            if descriptor is None:
                self._stream.write(text)
            else:
                _write_to(descriptor, text.encode("utf-8", "backslashreplace"))
        except (OSError, ValueError, AttributeError) as error:  # the disk is full, or the stream is closed or missing
            return str(error)
        return None


def _write_to(descriptor: int, data: bytes) -> None:
    """Write all bytes to a descriptor. Python's stream is avoided: its lock could delay the interpreter's exit."""
    rest: memoryview | Sequence[int] = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]  # type: ignore[arg-type]
        except BlockingIOError:  # another process that shares the descriptor has made it non-blocking
            select.select((), (descriptor,), ())


def _names(level: int) -> dict[str, str]:
    return {"levelname": logging.getLevelName(level)}

"""Writes log lines: one that comes alone at once, those that come close together with one system call.

Whoever reads the log may stop: a pipe is full then, and writing to it waits. So a thread writes, and nobody waits for
it. What it cannot write in time is dropped, and counted.
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
"""How long lines wait for others after the last were written; what a process that is killed may lose of them."""

MOST_LINES = 1000
"""When so many wait they are written, however soon that is."""

MOST_CHARACTERS = 4_000_000
"""When so many wait for the thread, further lines are dropped: some ten thousand requests."""

FLUSH_SECONDS = 1.0
"""How long the end of the process waits for the thread."""


class LineWriter(logging.Handler):
    """A handler for standard error, or another stream.

    Lines wait for others only in the thread of an event loop, whose timer hands them on. None waits behind a warning or
    something worse, or after ``write_through``. ``flush`` waits until all is written, but not for long; ``logging``
    does that when the interpreter ends in good order.
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
        """Take a line."""
        try:
            self._lines.append(self.format(record))
        except Exception as error:  # noqa: BLE001 - logging's own way is to print, which may wait
            self._lines.append(self._said(logging.ERROR, f"a line of {record.name} cannot be shown: {error!r}"))
        if record.levelno >= logging.WARNING or not self._may_wait():
            self._hand_over()

    def _may_wait(self) -> bool:
        """Whether what waits will be handed over soon without a further line."""
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
        """Give what waits to the thread, or drop it; never waits."""
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
        """Return the line about those that were dropped."""
        count, self._dropped = self._dropped, 0
        return self._said(logging.WARNING, f"{count} lines of the log were dropped here: {self._why}")

    def _said(self, level: int, text: str) -> str:
        return self.format(logging.makeLogRecord({"name": __name__, "levelno": level, "msg": text, **_names(level)}))

    def flush(self) -> None:
        """Have what waits written, within ``FLUSH_SECONDS``."""
        self.acquire()
        try:
            self._hand_over()
        finally:
            self.release()
        self.drain()

    def drain(self, seconds: float = FLUSH_SECONDS) -> bool:
        """Wait until the thread has written what it was given; whether it has."""
        with self._state:
            return self._state.wait_for(lambda: not self._unwritten, seconds)

    def write_through(self) -> None:
        """Have what waits written, and every later line at once: the event loop is about to end."""
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
                elif self._dropped and not self._unwritten:  # nothing may come that it could stand before
                    told = f"{self._dropped_notice()}\n"
                    self._unwritten += len(told)
                    self._texts.put(told)
                if not self._unwritten:
                    self._state.notify_all()

    def _write(self, text: str) -> str | None:
        """Write a text, however long that takes; return what kept it from being written."""
        try:
            descriptor = self._stream.fileno()
        except (OSError, ValueError, AttributeError):
            descriptor = None
        try:
            if descriptor is None:
                self._stream.write(text)
            else:
                _write_to(descriptor, text.encode("utf-8", "backslashreplace"))
        except (OSError, ValueError, AttributeError) as error:  # the disk is full, the stream closed, or there is none
            return str(error)
        return None


def _write_to(descriptor: int, data: bytes) -> None:
    """Write all to a descriptor, past Python's stream: its lock would hold up the interpreter's end."""
    rest: memoryview | Sequence[int] = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]  # type: ignore[arg-type]
        except BlockingIOError:  # somebody who shares it has made it so
            select.select((), (descriptor,), ())


def _names(level: int) -> dict[str, str]:
    return {"levelname": logging.getLevelName(level)}

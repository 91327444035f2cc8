"""What the operating system and the interpreter know of this process: processor time, memory, files, the event loop.

Values that a platform does not offer are left out: memory and open files need ``/proc``, limits need Unix.
"""

import asyncio
import gc
import os
import platform
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from chukei import __version__
from chukei.metrics import definitions as of
from chukei.metrics.snapshot import Reading

LAG_SECONDS = 1.0
"""Seconds between two measurements of the event loop's lag."""

_MEMORY = Path("/proc/self/statm")
_FILES = Path("/proc/self/fd")


def readings(started: float) -> Iterator[Reading]:
    """Yield the metrics of this process, which began at ``started`` in Unix time."""
    yield of.WORKERS, (), 1
    yield of.BUILD, (__version__, platform.python_version()), 1
    yield of.START_TIME, (), started
    times = os.times()
    yield of.CPU, (), times.user + times.system
    for generation, counts in enumerate(gc.get_stats()):
        yield of.COLLECTIONS, (str(generation),), counts["collections"]
    try:
        pages = int(_MEMORY.read_bytes().split()[1])
        yield of.MEMORY, (), pages * os.sysconf("SC_PAGE_SIZE")
        yield of.OPEN_FILES, (), len(list(_FILES.iterdir())) - 1  # without the one that lists them
    except OSError:
        pass
    if sys.platform != "win32":
        import resource

        yield of.MAX_FILES, (), resource.getrlimit(resource.RLIMIT_NOFILE)[0]


class Timer(Protocol):
    """A timer that can be cancelled."""

    def cancel(self) -> object:
        """Cancel it."""
        ...


class Timers(Protocol):
    """The part of an event loop that is measured."""

    def time(self) -> float:
        """Return the loop's time in seconds."""
        ...

    def call_at(self, when: float, callback: Callable[..., object], /, *args: Any) -> Timer:
        """Call a function at a time."""
        ...


class LoopLag:
    """Measures once a second how much later a timer fires than it should, and tells ``observe`` the seconds."""

    def __init__(self, observe: Callable[[float], None]) -> None:
        self._observe = observe
        self._timer: Timer | None = None

    def start(self, loop: Timers | None = None) -> None:
        """Begin on a loop, by default the running one."""
        loop = loop or asyncio.get_running_loop()
        due = loop.time() + LAG_SECONDS
        self._timer = loop.call_at(due, self._fire, loop, due)

    def _fire(self, loop: Timers, due: float) -> None:
        self._observe(max(loop.time() - due, 0.0))
        self.start(loop)

    def close(self) -> None:
        """Stop."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

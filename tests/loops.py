"""The event loops of tests.

Tests run on ``SteadyLoop``: asyncio's own loop, with a clock that stops while a busy machine keeps the process waiting.
Tests of code that opens connections itself also run on uvloop.
"""

import asyncio
import selectors
import time
from typing import Any

import pytest

TURN_SECONDS = 0.02
"""Seconds that one turn of the loop may take on its clock, whatever it really takes."""


class SteadyLoop(asyncio.SelectorEventLoop):
    """A loop for tests in which a relay and its upstream share a process.

    A machine with too much to do may stop a process for longer than a test's time limit. Then both sides stand still,
    and the relay must not find that its upstream was silent. So this clock counts waiting for a timer as long as it was
    meant to be, and anything else at most ``TURN_SECONDS`` at a time.
    """

    def __init__(self) -> None:
        self._turned = self._counted = time.monotonic()
        super().__init__(_Waiting(self))

    def time(self) -> float:
        """Return the seconds on the loop's clock."""
        return self._counted + min(time.monotonic() - self._turned, TURN_SECONDS)

    def count(self, seconds: float) -> None:
        """Let the time since the last turn be ``seconds``."""
        self._counted += seconds
        self._turned = time.monotonic()


class _Waiting(selectors.DefaultSelector):
    def __init__(self, loop: SteadyLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        began = self._loop.time()
        self._loop.count(began - self._loop._counted)
        events = super().select(timeout)
        waited = time.monotonic() - self._loop._turned
        self._loop.count(min(waited, TURN_SECONDS) if events or not timeout else timeout)
        return events


STEADY: Any = ("asyncio", {"loop_factory": SteadyLoop})
LOOPS: dict[str, Any] = {"asyncio": STEADY, "uvloop": ("asyncio", {"use_uvloop": True})}

on_both_loops = pytest.mark.parametrize("anyio_backend", LOOPS.values(), ids=list(LOOPS))
"""For one test. Where all of a module or folder need it, the fixture ``anyio_backend`` is overridden with ``LOOPS``."""

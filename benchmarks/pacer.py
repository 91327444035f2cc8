"""Events at exact times. An event loop's timers have a grid of a millisecond, on which many streams would send at once
and spare the relay most of its wake-ups; tokens of independent streams do not come in step.
"""

import heapq
import itertools
import threading
import time
from collections.abc import Callable


class Pacer:
    """A thread that calls each of its ticks every so often, until that returns False."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, float, Callable[[], bool]]] = []
        self._order = itertools.count()
        self._changed = threading.Condition()
        threading.Thread(target=self._run, daemon=True).start()

    def add(self, gap: float, tick: Callable[[], bool]) -> None:
        """Call ``tick`` now and then every ``gap`` seconds, on a grid that does not drift."""
        with self._changed:
            heapq.heappush(self._due, (time.monotonic(), next(self._order), gap, tick))
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                wait: float | None = None
                while not self._due or (wait := self._due[0][0] - time.monotonic()) > 0:
                    self._changed.wait(wait)
                    wait = None
                due, order, gap, tick = heapq.heappop(self._due)
            if tick():
                with self._changed:
                    heapq.heappush(self._due, (due + gap, order, gap, tick))

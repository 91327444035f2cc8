"""A bounded queue of telemetry and the thread that sends it in batches.

A receiver that is slow, silent or unreachable occupies only this thread. Meanwhile the queue fills, and what does not
fit is dropped and counted. The thread never keeps the process alive.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

logger = logging.getLogger(__name__)

Item = TypeVar("Item")

MOST_WAITING = 2048
"""Items that wait at most, as in OpenTelemetry's SDKs; a request's record takes a few kilobytes."""

BATCH = 512
"""Items of a batch at most, as in OpenTelemetry's SDKs."""


class Batches(Generic[Item]):
    """Sends items in batches: when there are ``batch``, or ``seconds`` after the last time.

    ``send`` returns None, or why the receiver did not take the batch. ``what`` names items and receiver in the log.
    """

    def __init__(
        self,
        what: str,
        send: Callable[[list[Item]], str | None],
        *,
        seconds: float,
        batch: int = BATCH,
        most: int = MOST_WAITING,
    ) -> None:
        self._what = what
        self._send = send
        self._seconds = seconds
        self._batch = batch
        self._most = most
        self._waiting: deque[Item] = deque()
        self._bell = threading.Event()
        self._ending = False
        self._failing = False
        self._thread = threading.Thread(target=self._run, name=f"chukei {what}", daemon=True)
        self.dropped = 0
        """Items that did not fit in the queue, or that the receiver did not take."""

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def add(self, item: Item) -> None:
        """Queue an item, or drop it. Never waits."""
        if len(self._waiting) >= self._most:
            self.dropped += 1
            return
        self._waiting.append(item)
        if len(self._waiting) >= self._batch and not self._bell.is_set():
            self._bell.set()

    def end(self, seconds: float) -> None:
        """Send what waits, for some seconds at most, and stop. The rest is lost."""
        self._ending = True
        self._bell.set()
        if self._thread.is_alive():
            self._thread.join(seconds)
        if self._waiting or self._thread.is_alive():
            logger.warning("%s: %d were not sent before the end", self._what, len(self._waiting))

    def _run(self) -> None:
        while not self._ending:
            self._bell.wait(self._seconds)
            self._bell.clear()
            while self._waiting:
                self._send_batch()
                if len(self._waiting) < self._batch and not self._ending:
                    break

    def _send_batch(self) -> None:
        items = [self._waiting.popleft() for _ in range(min(len(self._waiting), self._batch))]
        try:
            fault = self._send(items)
        except Exception as error:  # noqa: BLE001 - an exporter may raise anything
            fault = type(error).__name__
        if fault is not None:
            self.dropped += len(items)
        if fault is not None and not self._failing:
            logger.warning("%s: the receiver fails (%s); they are dropped until it answers again", self._what, fault)
        elif fault is None and self._failing:
            logger.warning("%s: the receiver answers again; %d were dropped so far", self._what, self.dropped)
        self._failing = fault is not None

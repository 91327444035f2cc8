"""Consecutive sessions with Redis: reconnecting after a growing delay, and its log messages.

A session ends with an exception, whatever the server does.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import suppress

from chukei.adapters.redis.line import COMMAND_SECONDS


class Availability:
    """Logs once that something has become unavailable, and once that it is available again."""

    def __init__(self, logger: logging.Logger, lost: str, found: str) -> None:
        self._logger, self._lost, self._found = logger, lost, found
        self.well = True

    def lost(self, error: BaseException) -> None:
        """Note a failure."""
        if self.well:
            self._logger.warning("%s: %s", self._lost, reason(error))
        self.well = False

    def found(self) -> None:
        """Note a success."""
        if not self.well:
            self._logger.info("%s", self._found)
        self.well = True


class Sessions:
    """Runs ``session`` until it raises, and again after a delay. ``delays`` are the shortest and longest, in seconds.

    A session calls ``stands`` when it is established.
    """

    def __init__(
        self, session: Callable[[], Awaitable[None]], availability: Availability, delays: tuple[float, float]
    ) -> None:
        self._session = session
        self._availability = availability
        self._delays = delays
        self._task: asyncio.Task[None] | None = None
        self._tried = asyncio.Event()  # an attempt has succeeded or failed

    @property
    def started(self) -> bool:
        """Whether it is started and not yet closed."""
        return self._task is not None

    def start(self) -> None:
        """Begin to connect."""
        if self._task is None:
            self._tried.clear()
            self._task = asyncio.create_task(self._run())

    async def first_attempt(self) -> None:
        """Wait for the first attempt to succeed or fail, for a second at most."""
        if self.started and not self._tried.is_set():
            await before_long(self._tried)

    async def close(self) -> None:
        """End the session."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})

    def stands(self) -> None:
        """Note that a session is established."""
        self._availability.found()
        self._tried.set()

    async def _run(self) -> None:
        clock, delays = asyncio.get_running_loop().time, growing(*self._delays)
        try:
            while True:
                began = clock()
                try:
                    await self._session()
                except Exception as error:  # noqa: BLE001 - no server may end the attempts
                    self._availability.lost(error)
                self._tried.set()
                if clock() - began > 2 * COMMAND_SECONDS + self._delays[1]:  # longer than any attempt
                    delays = growing(*self._delays)
                await asyncio.sleep(next(delays))
        finally:
            self._tried.set()


async def before_long(event: asyncio.Event) -> None:
    """Wait for an event, for a second at most."""
    with suppress(TimeoutError):
        async with asyncio.timeout(COMMAND_SECONDS):
            await event.wait()


def growing(first: float, last: float) -> Iterator[float]:
    """Yield seconds, doubled from the first to the last, each shortened by up to a half at random."""
    delay = first
    while True:
        yield delay * random.uniform(0.5, 1.0)  # noqa: S311 - so that replicas do not all reconnect at once
        delay = min(2 * delay, last)


async def until_one_ends(*work: Coroutine[object, object, None]) -> None:
    """Run several coroutines until one ends, cancel the others, and raise the exception of that one."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        if task.cancelled():  # not by this function; it must not look like a cancellation of the caller
            raise ConnectionError("cancelled from within")
        task.result()


def reason(error: BaseException) -> str:
    """Describe an error in a few words. RefusedError omits the server's message, which may repeat a password."""
    name, text = type(error).__name__, str(error)[:200]
    return f"{name}: {text}" if text else name

"""A simulator in its own thread, for tests whose hosts are processes and whose clients may block."""

import asyncio
import threading
from types import TracebackType
from typing import Self

from chukei.simulator import Simulator, SimulatorSettings
from chukei.simulator.exchanges import Ending, Exchange


class SimulatorThread:
    """Runs one simulator without any pauses between tokens."""

    def __init__(self, settings: SimulatorSettings) -> None:
        self._settings = settings
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        async with Simulator(self._settings) as self.simulator:
            self.url = self.simulator.url
            self._started.set()
            await self._stop.wait()

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._started.wait(60):
            raise RuntimeError("the simulator did not start")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(60)

    def ending(self, exchange: Exchange, seconds: float = 60.0) -> Ending:
        """Wait for the end of an answer, blocking, and return why it ended."""
        return asyncio.run_coroutine_threadsafe(exchange.finished(seconds), self._loop).result()

    def arrived(self, count: int, seconds: float = 60.0) -> Exchange:
        """Wait until so many requests have come in all, blocking, and return the last."""
        return asyncio.run_coroutine_threadsafe(self.simulator.arrived(count, seconds), self._loop).result()


class Upstream:
    """What reached the simulator since one moment: the beginning of a test."""

    def __init__(self, thread: SimulatorThread) -> None:
        self._thread = thread
        self._before = thread.simulator.requests

    @property
    def exchanges(self) -> list[Exchange]:
        """The requests, in order of arrival."""
        count = self._thread.simulator.requests - self._before
        return list(self._thread.simulator.exchanges)[-count:] if count else []

    @property
    def only(self) -> Exchange:
        """The one request that there was."""
        (exchange,) = self.exchanges
        return exchange

    def next(self) -> Exchange:
        """Wait for one more request than there were and return it."""
        return self._thread.arrived(self._thread.simulator.requests + 1 if self.exchanges else self._before + 1)

    def ending(self, exchange: Exchange | None = None) -> Ending:
        """Wait until the answer to a request, by default the only one, has ended."""
        return self._thread.ending(exchange or self.only)

"""One process of the live view: it answers with its part, and measures its event loop while somebody looks."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator

import msgspec

from chukei.liveview.part import Part, PoolMember
from chukei.liveview.window import Window
from chukei.pool import Pool
from chukei.ports import Clock
from chukei.record import RunningRequest

PROBE_SECONDS = 0.05
"""How often the event loop is measured while somebody looks."""

WATCHED_SECONDS = 5.0
"""For how long after the last look it is measured, and how far back the longest delay is taken."""


class LiveWorker:
    """Answers other processes' questions about this one. ``pool``, ``running``, ``connections`` and ``draining`` tell
    its state now, also after a reload."""

    def __init__(
        self,
        window: Window,
        pool: Callable[[], Pool],
        clock: Clock,
        *,
        running: Callable[[], Iterator[RunningRequest]],
        connections: Callable[[], int],
        draining: Callable[[], bool],
    ) -> None:
        self._window = window
        self._pool = pool
        self._clock = clock
        self._running = running
        self._connections = connections
        self._draining = draining
        self._probe = LagProbe()

    def answer(self, argument: bytes) -> bytes:
        """Return this process's part, encoded."""
        self._probe.look()
        part = self._window.part(
            self._running(),
            _members(self._pool(), self._clock()),
            lag=self._probe.lag,
            connections=self._connections(),
            draining=self._draining(),
        )
        return encode(part)


encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(Part).decode


def _members(pool: Pool, now: float) -> dict[str, PoolMember]:
    """Return the pool's deployments by name. One that serves several models occurs once."""
    found: dict[str, PoolMember] = {}
    for model, statuses in pool.status(now).items():
        for status in statuses:
            known = found.get(status.deployment)
            if known is None:
                found[status.deployment] = PoolMember.of(model, status)
            else:
                known.models.append(model)
    return found


class LagProbe:
    """Measures how late the event loop calls what is due: what every stream waits for too."""

    def __init__(self) -> None:
        self._delays: deque[tuple[float, float]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._until = 0.0

    @property
    def lag(self) -> float:
        """The second longest delay in the last seconds: a single one is nothing that lasts."""
        return sorted((delay for _, delay in self._delays), reverse=True)[1] if len(self._delays) > 1 else 0.0

    def look(self) -> None:
        """Measure for some seconds from now on."""
        loop = asyncio.get_running_loop()
        self._until = loop.time() + WATCHED_SECONDS
        if self._timer is None:
            self._delays.clear()
            self._again(loop)

    def _again(self, loop: asyncio.AbstractEventLoop) -> None:
        due = loop.time() + PROBE_SECONDS
        self._timer = loop.call_at(due, self._called, loop, due)

    def _called(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        now = loop.time()
        self._delays.append((now, max(now - due, 0.0)))
        while self._delays[0][0] < now - WATCHED_SECONDS:
            self._delays.popleft()
        self._timer = None
        if now < self._until:
            self._again(loop)

"""One request while it is served: its record, and the one way to stop it from outside."""

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from chukei.model import Caller, Dialect, End
from chukei.ports import Clock, Hook, Upstream
from chukei.record import RequestRecord, RunningRequest
from chukei.stream.events import Item
from chukei.stream.stream import Stream

Progress = Callable[[], tuple[int, float, float | None]]
"""Returns how a running stream is doing: the tokens that it has generated so far (an estimate), when its upstream last
sent something, and since when its client has not read, or None. Times are those of the event loop."""


class Turn(NamedTuple):
    """One request of a WebSocket session, whose caller was authenticated by the handshake. ``upstream`` sends it."""

    caller: Caller
    upstream: Upstream


class Exchange:
    """A request being served by the current task.

    Stopping cancels that task at whatever it waits for: a name look-up, a handshake, the upstream's next byte, a slow
    client. The exchange keeps the reason, so that the gateway can tell its own stop from a cancellation by the host.
    ``dialect`` is that of its error events, and ``stream`` what has been streamed so far. ``items`` are those of a
    whole response. ``own_limits`` says that the answer's rate limit headers describe the caller's limits, not Azure's.
    ``audited`` is called at the end, if the request is audited. ``progress`` is that of its stream. ``final`` says that
    a repetition could make a second response, and ``goes_on`` that the response is being made in the background.
    ``turn`` is set for a turn of a WebSocket session, and ``beside`` for what no client has asked for: watching a call.
    """

    __slots__ = (
        "_clock",
        "_task",
        "audited",
        "beside",
        "closed",
        "dialect",
        "final",
        "goes_on",
        "items",
        "own_limits",
        "progress",
        "record",
        "started",
        "stopped",
        "stream",
        "turn",
    )

    def __init__(self, record: RequestRecord, clock: Clock, turn: Turn | None = None) -> None:
        self._clock = clock
        self._task = asyncio.current_task()
        self.record = record
        self.started = record.arrived = clock()
        self.stopped: End | None = None
        self.closed = False
        self.dialect = Dialect.CHAT
        self.stream: Stream | None = None
        self.items: tuple[Item, ...] = ()
        self.own_limits = False
        self.audited: Hook | None = None
        self.progress: Progress | None = None
        self.final = False
        self.goes_on = False
        self.turn = turn
        self.beside = False

    @property
    def elapsed(self) -> float:
        """Seconds since the request's head arrived."""
        return self._clock() - self.started

    def look(self, now: float) -> RunningRequest:
        """Return how the request is doing. ``now`` is the event loop's time."""
        record, progress = self.record, self.progress
        deployment = record.deployment or (record.tries[-1].deployment if record.tries else None)
        if progress is None:
            return RunningRequest(record.caller, deployment, self.elapsed, record.stream, record.first_token)
        tokens, last_read, since = progress()
        return RunningRequest(
            record.caller,
            deployment,
            self.elapsed,
            record.stream,
            record.first_token,
            tokens,
            silent=max(now - last_read, 0.0),
            unread=max(now - since, 0.0) if since is not None else 0.0,
        )

    def stop(self, reason: End) -> None:
        """Stop serving. Only the first reason counts; stopping a finished request does nothing."""
        if self.stopped is None and not self.closed and self._task is not None:
            self.stopped = reason
            self._task.cancel()

    def client_left(self) -> None:
        """Stop because the client disconnected."""
        self.stop(End.CLIENT_ABORTED)

    @property
    def deserted(self) -> bool:
        """Whether it was stopped because its client disconnected or stopped reading."""
        return self.stopped in (End.CLIENT_ABORTED, End.CLIENT_STALLED)

    def resume(self) -> None:
        """Undo the task's cancellation, so that it can finish the remaining work."""
        if self._task is not None:
            self._task.uncancel()

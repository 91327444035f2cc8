"""One request while it is served: its record, and the one way to stop it from outside."""

import asyncio

from chukei.model import End
from chukei.ports import Clock, Hook
from chukei.record import RequestRecord


class Exchange:
    """A request being served by the current task.

    Stopping cancels that task at whatever it waits for: a name look-up, a handshake, the upstream's next byte, a slow
    client. The exchange keeps the reason, so that the gateway can tell its own stop from a cancellation by the host.
    ``named_errors`` says that error events in this kind of stream carry an event name. ``own_limits`` says that the
    answer's rate limit headers describe the caller's limits, not Azure's. ``audited`` is called at the end, if the
    request is audited.
    """

    __slots__ = ("_clock", "_task", "audited", "closed", "named_errors", "own_limits", "record", "started", "stopped")

    def __init__(self, record: RequestRecord, clock: Clock) -> None:
        self._clock = clock
        self._task = asyncio.current_task()
        self.record = record
        self.started = record.arrived = clock()
        self.stopped: End | None = None
        self.closed = False
        self.named_errors = False
        self.own_limits = False
        self.audited: Hook | None = None

    @property
    def elapsed(self) -> float:
        """Seconds since the request's head arrived."""
        return self._clock() - self.started

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

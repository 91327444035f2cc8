"""One request while it is served: what is known of it, and the one way to stop it from outside."""

import asyncio

from chukei.model import End
from chukei.ports import Clock
from chukei.record import RequestRecord


class Exchange:
    """A request being served by the current task.

    Stopping cancels that task at whatever it waits for: a name look-up, a handshake, the upstream's next byte, a slow
    client. The reason is kept, so that the path can tell its own stop from the host's cancelling. ``named_errors``
    says that the client's kind of stream gives its error events a name; ``own_limits`` that the answer tells the caller
    of its own limits in place of Azure's.
    """

    __slots__ = ("_clock", "_task", "closed", "named_errors", "own_limits", "record", "started", "stopped")

    def __init__(self, record: RequestRecord, clock: Clock) -> None:
        self._clock = clock
        self._task = asyncio.current_task()
        self.record = record
        self.started = clock()
        self.stopped: End | None = None
        self.closed = False
        self.named_errors = False
        self.own_limits = False

    @property
    def elapsed(self) -> float:
        """Seconds since the request's head had arrived."""
        return self._clock() - self.started

    def stop(self, reason: End) -> None:
        """Stop serving. Only the first reason counts; a finished request is left alone."""
        if self.stopped is None and not self.closed and self._task is not None:
            self.stopped = reason
            self._task.cancel()

    def client_left(self) -> None:
        """Stop because nobody listens any more."""
        self.stop(End.CLIENT_ABORTED)

    @property
    def deserted(self) -> bool:
        """Whether it was stopped because its client left, or takes no more."""
        return self.stopped in (End.CLIENT_ABORTED, End.CLIENT_STALLED)

    def resume(self) -> None:
        """Take the task out of its cancelling, to bring to an end what is left to do."""
        if self._task is not None:
            self._task.uncancel()

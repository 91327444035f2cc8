"""How a process stops serving, as signals and parents ask for it. docs/deploy-server.md explains it to operators.

1. It accepts connections and serves all calls, but readiness says no (``accepting``).
2. It accepts no connections, and serves the calls on those that are open (``handing``).
3. It refuses calls; running ones have the grace period.
4. It ends what still runs.

Each answer that begins in one of them announces the end of its connection. A client or proxy that keeps connections
therefore reuses none, and no call is lost on a connection that is being closed. Only what is left idle is closed.
"""

import signal
import time
from dataclasses import dataclass

from chukei.ports import Clock

HANDING_SECONDS = 2.0
"""How long calls on open connections are served after the last connection was accepted."""

REPEAT_SECONDS = 0.5
"""A signal that follows sooner repeats the first: GNU's ``timeout`` sends it to the process and then to its group."""


@dataclass(frozen=True, slots=True)
class Leave:
    """How long the first two phases last, in seconds, and whether readiness goes on saying yes."""

    accepting: float = 0.0
    handing: float = 0.0
    ready: bool = False


HAND_OVER = Leave(handing=HANDING_SECONDS, ready=True)
"""For a worker that another one has replaced on the same socket."""


def drained(drain_seconds: float) -> Leave:
    """Return how a process leaves that others replace elsewhere, once balancers have noticed."""
    return Leave(drain_seconds, HANDING_SECONDS) if drain_seconds else Leave()


class Stopping:
    """What the signals have asked for so far: ``leave`` is None while the process shall serve."""

    def __init__(self, drain_seconds: float, clock: Clock = time.monotonic) -> None:
        self._drain_seconds = drain_seconds
        self._clock = clock
        self._since = 0.0
        self.leave: Leave | None = None
        self.at_once = False
        self.status = 0

    def signalled(self, number: int) -> None:
        """Handle a signal for the end. Only SIGTERM comes from something that balances between processes."""
        now = self._clock()
        if self.leave is None:
            self._since = now
            self.leave = drained(self._drain_seconds) if number == signal.SIGTERM else Leave()
        elif number in _FORCING and now >= self._since + REPEAT_SECONDS and not self.at_once:
            self.at_once = True
            self.status = 128 + number


_FORCING = {getattr(signal, name, None) for name in ("SIGINT", "SIGTERM", "SIGBREAK")}
"""A terminal that closes, as SIGHUP reports, does not mean that anybody is in a hurry."""

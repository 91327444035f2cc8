"""When a worker that has ended is replaced."""

SOON_SECONDS = 10.0
"""Seconds that a worker must have run to be replaced at once."""

FIRST_SECONDS = 1.0
"""The delay for one that ended earlier. Each further one doubles it, so that a fault that stays causes little load."""

MAX_SECONDS = 30.0

FORGET_SECONDS = 60.0
"""After so long without such an end the delay is the first one again."""


class Backoff:
    """Counts the workers that ended early, in succession. Times are seconds of one monotonic clock."""

    def __init__(self) -> None:
        self._early = 0
        self._forget = 0.0

    def delay(self, started: float, now: float) -> float:
        """Return the seconds after which a worker that ends ``now`` is to be replaced."""
        if now >= started + SOON_SECONDS:
            return 0.0
        if now >= self._forget:
            self._early = 0
        self._early += 1
        self._forget = now + FORGET_SECONDS
        return float(min(FIRST_SECONDS * 2 ** (self._early - 1), MAX_SECONDS))

"""The circuit breaker of one deployment: closed, open, half-open with one trial. Pure: the time is passed in.

It is driven by real requests. Several failures in a row open it, and so does a run of requests of which half fail; then
nobody is sent there for a time that doubles with each trial that fails. Microsoft's guidance for such breakers: "Use a
gateway in front of multiple Azure OpenAI deployments or instances".
"""

from collections.abc import Callable
from enum import StrEnum

from chukei.config import PoolSettings

WINDOW = 20
"""So many recent outcomes are remembered; half of them failing opens the breaker, once there are half as many."""

JITTER = 0.1
"""By how much of itself a time may be shorter, so that replicas do not all try again in the same moment."""

_MASK = (1 << WINDOW) - 1


class State(StrEnum):
    """Where a breaker is."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Breaker:
    """``why`` is the code of the error that opened it, ``until`` the time at which a trial may begin;
    ``told`` is which of these times others were last told.

    ``trial`` is the number of the trial that is under way, or 0. One of earlier on has no more say than any other
    request.

    ``draw`` returns a number from 0 to 1.
    """

    __slots__ = (
        "_draw",
        "_failures",
        "_history",
        "_outcomes",
        "_seconds",
        "_settings",
        "_trials",
        "told",
        "trial",
        "until",
        "why",
    )

    def __init__(self, settings: PoolSettings, draw: Callable[[], float]) -> None:
        self._settings = settings
        self._draw = draw
        self._trials = 0
        self.close()

    def close(self) -> None:
        """Close, and forget what was."""
        self.why: str | None = None
        self.until = 0.0
        self.told = 0.0
        self.trial = 0
        self._seconds = self._settings.breaker_seconds
        self._failures = 0
        self._history = 0
        self._outcomes = 0

    def state(self, now: float) -> State:
        """Return where it is."""
        if self.why is None:
            return State.CLOSED
        return State.OPEN if now < self.until else State.HALF_OPEN

    def allows(self, now: float) -> bool:
        """Whether a request may be sent: always while closed, one at a time while half-open."""
        return self.why is None or (now >= self.until and not self.trial)

    def is_stale(self, now: float) -> bool:
        """Whether nobody has needed it for so long after it was open that what opened it says nothing any more."""
        return self.why is not None and not self.trial and now >= self.until + self._settings.max_breaker_seconds

    def enter(self) -> int:
        """Take note of a request that is being sent; return the number of the trial that it is, or 0."""
        if self.why is None:
            return 0
        self._trials += 1
        self.trial = self._trials
        return self.trial

    def leave(self, *, trial: int) -> None:
        """Take note that a request ended; a trial that ended without a verdict makes room for the next one."""
        if self.is_trial(trial):
            self.trial = 0

    def is_trial(self, trial: int) -> bool:
        """Whether the request with this number is the trial that is under way."""
        return trial != 0 and trial == self.trial

    def succeeded(self, *, trial: int) -> bool:
        """Note an answer; return whether it closed the breaker. While open, only the trial's answer counts."""
        if self.why is not None:
            closes = self.is_trial(trial)
            if closes:
                self.close()
            return closes
        self._failures = 0
        self._note(failed=False)
        return False

    def failed(self, now: float, why: str, *, trial: int) -> float | None:
        """Note a failure; return for how many seconds it opened the breaker, or None where it did not.

        While open, what fails was sent before and tells nothing new.
        """
        if self.why is not None:
            return self.trip(now, why, None) if self.is_trial(trial) else None
        self._failures += 1
        self._note(failed=True)
        many = self._outcomes >= WINDOW // 2 and 2 * self._history.bit_count() >= self._outcomes
        limit = self._settings.breaker_failures
        if limit == 0 or (self._failures < limit and not many):
            return None
        return self.trip(now, why, None)

    def trip(self, now: float, why: str, seconds: float | None) -> float:
        """Open for ``seconds``; None means for the next of the times that double. Return how long it is open now."""
        if seconds is None:
            seconds = self._seconds * (1 - JITTER * self._draw())
            self._seconds = min(2 * self._seconds, self._settings.max_breaker_seconds)
        self.why = why
        self.until = max(self.until, now + seconds)
        return self.until - now

    def _note(self, *, failed: bool) -> None:
        self._history = (self._history << 1 | failed) & _MASK
        self._outcomes = min(self._outcomes + 1, WINDOW)

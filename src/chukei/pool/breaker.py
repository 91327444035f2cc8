"""The circuit breaker of one deployment: closed, open, half-open with one trial. Pure: the time is passed in.

``TRANSITIONS`` says what moves it. It is driven by real requests. Several failures in a row open it, and so does a run
of requests of which half fail; then nobody is sent there for a time that doubles with each trial that fails.
Microsoft's guidance for such breakers: "Use a
gateway in front of multiple Azure OpenAI deployments or instances".

A failure has a source: who provoked it. However often the source that fails most does so, it counts as one failure, so
no source opens the breaker alone, and none can make one failure of another look like an outage.
"""

from collections import Counter, deque
from collections.abc import Callable, Collection, Hashable
from enum import Enum, StrEnum

from chukei.config import PoolSettings

WINDOW = 20
"""So many recent outcomes are remembered; half of them failing opens the breaker, once there are half as many."""

JITTER = 0.1
"""By how much of itself a time may be shorter, so that replicas do not all try again in the same moment."""


class State(StrEnum):
    """Where a breaker is."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Event(Enum):
    """What may move a breaker."""

    FAILURES = "too many failures in a row or among the latest; the failure of a trial"
    KNOWN_TIME = "a failure that says for how long to stay away, here or at another replica"
    TIME_OVER = "the time to stay away is over"
    ANSWER = "the first output of a trial, or its 429"
    DISUSE = "nobody has needed the deployment for `pool.max_breaker_seconds`"
    NEWS = "another replica has closed its breaker"


TRANSITIONS = {
    (State.CLOSED, Event.FAILURES): State.OPEN,
    (State.CLOSED, Event.KNOWN_TIME): State.OPEN,
    (State.CLOSED, Event.NEWS): State.CLOSED,
    (State.OPEN, Event.TIME_OVER): State.HALF_OPEN,
    (State.OPEN, Event.FAILURES): State.OPEN,
    (State.OPEN, Event.KNOWN_TIME): State.OPEN,
    (State.OPEN, Event.ANSWER): State.CLOSED,
    (State.OPEN, Event.NEWS): State.CLOSED,
    (State.HALF_OPEN, Event.FAILURES): State.OPEN,
    (State.HALF_OPEN, Event.KNOWN_TIME): State.OPEN,
    (State.HALF_OPEN, Event.ANSWER): State.CLOSED,
    (State.HALF_OPEN, Event.DISUSE): State.CLOSED,
    (State.HALF_OPEN, Event.NEWS): State.CLOSED,
}
"""Every move. A pair that is not listed is a defect of the caller: KeyError. Each way into CLOSED forgets what was
counted. A trial may still fail or be answered while OPEN: one that was slow, after the next one has failed."""


class Breaker:
    """``why`` is the code of the error that opened it, or None while it is closed; ``until`` is the time at which a
    trial may begin. ``told`` is which of these times others were last told.

    ``trial`` is the number of the trial that is under way, or 0; from ``trial_until`` on it keeps no other waiting. A
    trial from before the breaker was last closed has no more say than any other request.

    ``draw`` returns a number from 0 to 1.
    """

    __slots__ = (
        "_condemning",
        "_draw",
        "_failures",
        "_last_close",
        "_outcomes",
        "_row",
        "_seconds",
        "_settings",
        "_state",
        "_trials",
        "told",
        "trial",
        "trial_until",
        "until",
        "why",
    )

    def __init__(self, settings: PoolSettings, draw: Callable[[], float]) -> None:
        self._settings = settings
        self._draw = draw
        self._trials = 0
        self._row: dict[Hashable, int] = {}  # failures since the last answer, by source
        self._condemning: set[Hashable] = set()  # sources since the last answer for which `rest` was asked
        self._failures: deque[tuple[int, Hashable]] = deque(maxlen=WINDOW)  # the latest, each with its outcome's number
        self._state = State.CLOSED  # HALF_OPEN is OPEN after its time, as ``state`` finds when it is asked
        self._forget()

    def _move(self, now: float, event: Event) -> None:
        self._state = TRANSITIONS[self.state(now), event]

    def close(self, now: float, event: Event) -> None:
        """Close, and forget what was.

        Raises:
            KeyError: the event does not occur in this state.
        """
        self._move(now, event)
        self._forget()

    def _forget(self) -> None:
        self.why: str | None = None
        self.until = 0.0
        self.told = 0.0
        self.trial = 0
        self.trial_until = 0.0
        self._last_close = self._trials
        self._seconds = self._settings.breaker_seconds
        self._outcomes = 0
        self._failures.clear()
        self._forget_row()

    def _forget_row(self) -> None:
        self._row.clear()
        self._condemning.clear()

    def state(self, now: float) -> State:
        """Return where it is."""
        if self._state is State.OPEN and now >= self.until:
            return TRANSITIONS[State.OPEN, Event.TIME_OVER]
        return self._state

    def allows(self, now: float) -> bool:
        """Whether a request may be sent: always while closed, one at a time while half-open.

        A trial that is silent for long is not waited for: it may be a slow request at a deployment that is well.
        """
        return self._state is State.CLOSED or (now >= self.until and (not self.trial or now >= self.trial_until))

    def is_stale(self, now: float) -> bool:
        """Whether nobody has needed it for so long after it was open that what opened it says nothing any more."""
        return self._state is State.OPEN and not self.trial and now >= self.until + self._settings.max_breaker_seconds

    def enter(self, now: float) -> int:
        """Take note of a request that is being sent; return the number of the trial that it is, or 0."""
        if self._state is State.CLOSED:
            return 0
        self._trials += 1
        self.trial = self._trials
        self.trial_until = now + self._settings.breaker_seconds
        return self.trial

    def leave(self, *, trial: int) -> None:
        """Take note that a request ended; a trial that ended without a verdict makes room for the next one."""
        if trial and trial == self.trial:
            self.trial = 0

    def is_trial(self, trial: int) -> bool:
        """Whether the request with this number is a trial of the breaker since it was last closed.

        A number that another breaker gave, whose place this one has taken, is none of a closed one.
        """
        return trial > self._last_close and self._state is State.OPEN

    def succeeded(self, now: float, *, trial: int) -> bool:
        """Note an answer; return whether it closed the breaker. Unless that is closed, only a trial's answer counts."""
        if self._state is not State.CLOSED:
            closes = self.is_trial(trial)
            if closes:
                self.close(now, Event.ANSWER)
            return closes
        self._outcomes += 1
        if self._row or self._condemning:
            self._forget_row()
        return False

    def failed(self, now: float, why: str, *, trial: int, source: Hashable | None = None) -> float | None:
        """Note a failure; return for how many seconds it opened the breaker, or None where it did not.

        Without a ``source`` nobody has provoked it. While open, what fails was sent before and tells nothing new; a
        trial's failure opens it again once trials of two sources have failed.
        """
        is_open = self._state is State.OPEN
        if is_open and not self.is_trial(trial):
            return None
        limit = self._settings.breaker_failures
        if not is_open and limit == 0:
            return None
        self._outcomes += 1
        whose = source if source is not None else object()
        self._row[whose] = self._row.get(whose, 0) + 1
        alone = source is not None and len(self._row) == 1
        if not is_open:
            self._failures.append((self._outcomes, whose))
            alone = (alone or _weight(self._row.values()) < limit) and not self._fails_half()
        return None if alone else self.trip(now, why, None)

    def _fails_half(self) -> bool:
        recent = Counter(whose for number, whose in self._failures if number > self._outcomes - WINDOW)
        failures = _weight(recent.values())
        outcomes = min(self._outcomes, WINDOW) - (recent.total() - failures)
        return outcomes >= WINDOW // 2 and 2 * failures >= outcomes

    def rest(self, now: float, why: str, seconds: float, *, source: Hashable | None = None) -> float | None:
        """Open at once, for a time that is known, unless all that asked for it since the last answer is one source."""
        if source is not None:
            self._condemning.add(source)
            if len(self._condemning) == 1:
                return None
        return self.trip(now, why, seconds)

    def trip(self, now: float, why: str, seconds: float | None) -> float:
        """Open for ``seconds``; None means for the next of the times that double. Return how long it is open now."""
        self._move(now, Event.FAILURES if seconds is None else Event.KNOWN_TIME)
        if seconds is None:
            seconds = self._seconds * (1 - JITTER * self._draw())
            self._seconds = min(2 * self._seconds, self._settings.max_breaker_seconds)
        self.why = why
        self.until = max(self.until, now + seconds)
        self._forget_row()
        return self.until - now

    def __repr__(self) -> str:
        if self._state is State.CLOSED:
            return f"<Breaker closed, {sum(self._row.values())} failures of {len(self._row)} sources>"
        return f"<Breaker open until {self.until:.1f} ({self.why}){f', trial {self.trial}' if self.trial else ''}>"


def _weight(failures: Collection[int]) -> int:
    """Return how many failures there are, given those of each source, if the source that has most counts as one."""
    return sum(failures) - max(failures) + 1

"""The circuit breaker of one deployment: closed, open, half-open with one trial. Pure: the time is passed in.

``TRANSITIONS`` lists its transitions. Real requests drive it. It opens after several consecutive failures, or if half
of the recent requests failed. While it is open, the deployment gets no requests. The open time doubles with each failed
trial. Microsoft recommends such breakers: "Use a gateway in front of multiple Azure OpenAI deployments or instances".

A failure has a source (``source``), the sender of the request that failed. All failures of the source that failed most
count as one failure. So a single source cannot open the breaker, and cannot turn one failure of another into an outage.
"""

from collections import Counter, deque
from collections.abc import Callable, Collection, Hashable
from enum import Enum, StrEnum

from chukei.config import PoolSettings

WINDOW = 20
"""Number of recent outcomes that are kept. The breaker opens if half of them failed and at least half are present."""

JITTER = 0.1
"""Share by which an open time may be shortened at random, so that replicas do not all retry at the same moment."""


class State(StrEnum):
    """The state of a breaker."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Event(Enum):
    """An event that may change the state."""

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
"""Every transition. A pair that is missing is a defect of the caller: KeyError. Each transition to CLOSED resets the
counts. While OPEN, a slow trial may still fail or be answered, after the next trial has failed."""


class Breaker:
    """The circuit breaker of one deployment, or of one source at a deployment.

    ``why`` is the code of the error that opened it, or None while it is closed. ``until`` is the time at which a trial
    may begin. ``published`` is the value of ``until`` that was last published.

    ``trial`` is the number of the running trial, or 0. From ``trial_until`` on another trial may start. A trial that
    started before the breaker was last closed counts as an ordinary request.

    ``draw`` returns a random number from 0 to 1. A reload replaces the ``settings``.
    """

    __slots__ = (
        "_consecutive",
        "_draw",
        "_failures",
        "_last_close",
        "_outcomes",
        "_rest_sources",
        "_seconds",
        "_state",
        "_trials",
        "published",
        "settings",
        "trial",
        "trial_until",
        "until",
        "why",
    )

    def __init__(self, settings: PoolSettings, draw: Callable[[], float]) -> None:
        self.settings = settings
        self._draw = draw
        self._trials = 0
        self._consecutive: dict[Hashable, int] = {}  # number of failures since the last answer, by source
        self._rest_sources: set[Hashable] = set()  # sources that called `rest` since the last answer
        self._failures: deque[tuple[int, Hashable]] = deque(maxlen=WINDOW)  # the latest, with their outcome numbers
        self._state = State.CLOSED  # never HALF_OPEN: ``state`` derives that from the time
        self._reset()

    def _move(self, now: float, event: Event) -> None:
        self._state = TRANSITIONS[self.state(now), event]

    def close(self, now: float, event: Event) -> None:
        """Close, and reset the counts.

        Raises:
            KeyError: the state has no transition for this event.
        """
        self._move(now, event)
        self._reset()

    def _reset(self) -> None:
        self.why: str | None = None
        self.until = 0.0
        self.published = 0.0
        self.trial = 0
        self.trial_until = 0.0
        self._last_close = self._trials
        self._seconds = self.settings.breaker_seconds
        self._outcomes = 0
        self._failures.clear()
        self._reset_consecutive()

    def _reset_consecutive(self) -> None:
        self._consecutive.clear()
        self._rest_sources.clear()

    def state(self, now: float) -> State:
        """Return the state at a time."""
        if self._state is State.OPEN and now >= self.until:
            return TRANSITIONS[State.OPEN, Event.TIME_OVER]
        return self._state

    def allows(self, now: float) -> bool:
        """Whether a request may be sent: always while closed, one at a time while half-open.

        After ``trial_until`` the next trial may start: the running one may be a slow request to a healthy deployment.
        """
        return self._state is State.CLOSED or (now >= self.until and (not self.trial or now >= self.trial_until))

    def is_stale(self, now: float) -> bool:
        """Whether it has been half-open without a trial for so long that the failure that opened it is outdated."""
        return self._state is State.OPEN and not self.trial and now >= self.until + self.settings.max_breaker_seconds

    def enter(self, now: float) -> int:
        """Record that a request is being sent; return its trial number, or 0 if it is not a trial."""
        if self._state is State.CLOSED:
            return 0
        self._trials += 1
        self.trial = self._trials
        self.trial_until = now + self.settings.breaker_seconds
        return self.trial

    def leave(self, *, trial: int) -> None:
        """Record that a request ended. After a trial without a verdict the next trial may start."""
        if trial and trial == self.trial:
            self.trial = 0

    def is_trial(self, trial: int) -> bool:
        """Whether the number is that of a trial since the breaker was last closed.

        While the breaker is closed this is False, also for a number from the breaker that it replaced.
        """
        return trial > self._last_close and self._state is State.OPEN

    def succeeded(self, now: float, *, trial: int) -> bool:
        """Record an answer; return whether it closed the breaker. While it is open only a trial's answer counts."""
        if self._state is not State.CLOSED:
            closes = self.is_trial(trial)
            if closes:
                self.close(now, Event.ANSWER)
            return closes
        self._outcomes += 1
        if self._consecutive or self._rest_sources:
            self._reset_consecutive()
        return False

    def failed(self, now: float, why: str, *, trial: int, source: Hashable | None = None) -> float | None:
        """Record a failure; return for how many seconds it opened the breaker, or None if it did not.

        Without a ``source`` the failure is independent of the request. While the breaker is open, failures of requests
        that were sent before are ignored. It opens again when trials of two sources have failed.
        """
        is_open = self._state is State.OPEN
        if is_open and not self.is_trial(trial):
            return None
        limit = self.settings.breaker_failures
        if not is_open and limit == 0:
            return None
        self._outcomes += 1
        whose = source if source is not None else object()
        self._consecutive[whose] = self._consecutive.get(whose, 0) + 1
        alone = source is not None and len(self._consecutive) == 1
        if not is_open:
            self._failures.append((self._outcomes, whose))
            alone = (alone or _weight(self._consecutive.values()) < limit) and not self._fails_half()
        return None if alone else self.trip(now, why, None)

    def _fails_half(self) -> bool:
        recent = Counter(whose for number, whose in self._failures if number > self._outcomes - WINDOW)
        failures = _weight(recent.values())
        outcomes = min(self._outcomes, WINDOW) - (recent.total() - failures)
        return outcomes >= WINDOW // 2 and 2 * failures >= outcomes

    def rest(self, now: float, why: str, seconds: float, *, source: Hashable | None = None) -> float | None:
        """Open at once for ``seconds``, if at least two sources called this since the last answer, or no source."""
        if source is not None:
            self._rest_sources.add(source)
            if len(self._rest_sources) == 1:
                return None
        return self.trip(now, why, seconds)

    def trip(self, now: float, why: str, seconds: float | None) -> float:
        """Open for ``seconds``, or if None for the next doubled time. Return the seconds for which it is now open."""
        self._move(now, Event.FAILURES if seconds is None else Event.KNOWN_TIME)
        if seconds is None:
            seconds = self._seconds * (1 - JITTER * self._draw())
            self._seconds = min(2 * self._seconds, self.settings.max_breaker_seconds)
        self.why = why
        self.until = max(self.until, now + seconds)
        self._reset_consecutive()
        return self.until - now

    def __repr__(self) -> str:
        if self._state is State.CLOSED:
            return f"<Breaker closed, {sum(self._consecutive.values())} failures of {len(self._consecutive)} sources>"
        return f"<Breaker open until {self.until:.1f} ({self.why}){f', trial {self.trial}' if self.trial else ''}>"


def _weight(failures: Collection[int]) -> int:
    """Return the number of failures, given the number of each source. The source with the most counts as one."""
    return sum(failures) - max(failures) + 1

"""Jobs: how they go from one status to the next, and the events of one that clients follow.

Nothing runs in the background: a job's status follows from the clock when somebody asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from chukei.simulator.exchanges import Event, Stall, Step

FOR_EVER = float("inf")
CANCEL_SEEN_SECONDS = 0.05  # after which those who follow a job that stands still notice that it was cancelled


class Progress:
    """The statuses of a job, one after another.

    A stage lasts some seconds. One of no seconds lasts until its status was shown ``looks`` times, so that whoever asks
    sees the job unfinished also where nothing takes time. ``reached`` is called with each status after the first, and
    none is left while ``busy`` says that its work is not done.
    """

    def __init__(
        self,
        stages: Sequence[tuple[str, float]],
        end: str,
        looks: int,
        clock: Callable[[], float],
        reached: Callable[[str], None] = lambda _: None,
        busy: Callable[[], bool] = lambda: False,
    ) -> None:
        self._stages = list(stages)
        self._end = end
        self._most_looks = looks
        self._clock = clock
        self._reached = reached
        self._busy = busy
        self._since = clock()
        self._looks = 1  # the answer that began the job shows its first status
        self._at = 0

    @property
    def status(self) -> str:
        """The status that was last seen."""
        return self._stages[self._at][0] if self.running else self._end

    @property
    def running(self) -> bool:
        """Whether the job had not ended when it was last seen."""
        return self._at < len(self._stages)

    def look(self) -> str:
        """Return the status now."""
        now = self._clock()
        while self.running:
            seconds = self._stages[self._at][1]
            waits = now - self._since < seconds if seconds else self._looks < self._most_looks
            if waits or self._busy():
                self._looks += 1
                break
            self._since = self._since + seconds if seconds else now
            self._looks = 0
            self._at += 1
            self._reached(self.status)
        return self.status

    def finish(self, end: str | None = None) -> None:
        """End the job now, with another status if one is given; nothing happens to one that has ended."""
        if end is not None and self.running:
            self._end, self._stages = end, self._stages[: self._at]
            self._reached(end)
        while self.running:
            self._at += 1
            self._reached(self.status)


class Log:
    """The events of a job, each with the time at which it is due."""

    def __init__(self, events: Sequence[Event], clock: Callable[[], float], progress: Progress) -> None:
        self._clock = clock
        self._progress = progress
        self._due: list[tuple[float, Event]] = []
        at = clock()
        for event in events:
            at += event.wait
            self._due.append((at, event))

    def __len__(self) -> int:
        return len(self._due)

    @property
    def size(self) -> int:
        """The bytes of all events."""
        return sum(len(event.data) for _, event in self._due)

    def last(self) -> int:
        """Return the number of the last event that is due."""
        now = self._clock()
        return sum(1 for due, _ in self._due if due <= now) - 1

    def follow(self, after: int = -1) -> Iterator[Step]:
        """Yield the events after a number as they come. A job that is cancelled has no more of them."""
        before = self._clock()
        for number, (due, event) in enumerate(self._due[after + 1 :], after + 1):
            while due == FOR_EVER and self._progress.running:
                yield Stall(CANCEL_SEEN_SECONDS)
            if self._progress.status == "cancelled":
                return
            if number == len(self._due) - 1 and due <= self._clock():
                self._progress.finish()  # whoever has seen the last event sees the job done
            yield replace(event, wait=max(due - before, 0.0))
            before = max(before, due)
        self._progress.finish()

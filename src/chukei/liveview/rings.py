"""A bounded number of equal steps of time, the last of which is running."""

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

Step = TypeVar("Step")


class Ring(Generic[Step]):
    """The last ``size`` steps of ``seconds`` each. ``ended`` is called with each step that has ended, in order."""

    __slots__ = ("_ended", "_make", "newest", "seconds", "steps")

    def __init__(
        self, seconds: float, size: int, make: Callable[[], Step], ended: Callable[[Step], None] | None = None
    ) -> None:
        self.seconds = seconds
        self._make = make
        self._ended = ended
        self.newest: int | None = None
        self.steps: deque[Step] = deque((make() for _ in range(size)), maxlen=size)

    def turn(self, now: float) -> Step:
        """Return the running step, after beginning as many as the time requires."""
        number = int(now / self.seconds)
        newest = self.newest
        if newest is None:
            self.newest = number
        elif number > newest:
            for _ in range(min(number - newest, len(self.steps))):
                if self._ended is not None:
                    self._ended(self.steps[-1])
                self.steps.append(self._make())
            self.newest = number
        return self.steps[-1]

    def covering(self, begin: float, end: float) -> list[tuple[int, float]]:
        """Return the indices of a period's steps that are kept, each with its share of the whole period.

        ``turn`` must come first.
        """
        newest, seconds = self.newest or 0, self.seconds
        length, last = end - begin, len(self.steps) - 1
        first, final = int(begin / seconds), min(int(end / seconds), newest)
        if length <= 0 or first >= newest:
            return [(last, 1.0)]
        whole = seconds / length
        oldest = newest - last
        found = [(number - oldest, whole) for number in range(max(first, oldest), final + 1)]
        if first >= oldest:
            found[0] = (first - oldest, ((first + 1) * seconds - begin) / length)
        if found:
            found[-1] = (final - oldest, (end - max(begin, final * seconds)) / length)
        return found

"""What one source alone has met: breakers of its own, one for each deployment that failed it. Pure."""

from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable

from chukei.config import PoolSettings
from chukei.pool.breaker import Breaker, State
from chukei.pool.member import Bar, Member, Status
from chukei.pool.source import Source

MOST_SOURCES = 1000
"""Of so many sources the failures are remembered, the latest; with a breaker for each deployment that failed, 1 KB."""


class _Met:
    """What one source has met. ``over`` is when none of it matters any more."""

    __slots__ = ("breakers", "over")

    def __init__(self) -> None:
        self.breakers: dict[Member, Breaker] = {}
        self.over = 0.0


class SourceBreakers:
    """The breakers of the latest sources that met a failure. ``longest`` is for how many seconds one can matter.

    ``by_source`` is in order of the latest failure.
    """

    def __init__(self, settings: PoolSettings, longest: float, draw: Callable[[], float]) -> None:
        self._settings = settings
        self._longest = longest
        self._draw = draw
        self.by_source: OrderedDict[Hashable, _Met] = OrderedDict()

    def find(self, source: Source | None, member: Member) -> Breaker | None:
        """Return what there is for a source and a deployment."""
        met = self.by_source.get(source.key) if self.by_source and source is not None else None
        return met.breakers.get(member) if met is not None else None

    def make(self, source: Source, member: Member, now: float) -> Breaker:
        """Return it, a new one if need be, for a failure that is to be counted. The oldest source makes room."""
        met = self.by_source.setdefault(source.key, _Met())
        self.by_source.move_to_end(source.key)
        if met.over <= now:
            met.breakers.clear()
        met.over = now + self._longest
        if len(self.by_source) > MOST_SOURCES:
            self.by_source.popitem(last=False)
        breaker = met.breakers.get(member)
        if breaker is None:
            breaker = met.breakers[member] = Breaker(self._settings, self._draw)
        return breaker

    def forget(self, member: Member) -> None:
        """Forget what single sources have met at a deployment that has recovered."""
        for met in self.by_source.values():
            met.breakers.pop(member, None)

    def bars(self, source: Source | None, now: float) -> dict[Member, Bar]:
        """Return the deployments that are left out for this source; forget sources of which nothing matters now."""
        while self.by_source and next(iter(self.by_source.values())).over <= now:
            self.by_source.popitem(last=False)
        met = self.by_source.get(source.key) if self.by_source and source is not None else None
        return {
            member: Bar(Status(breaker.state(now).value), breaker.until, breaker.why)
            for member, breaker in (met.breakers.items() if met is not None else ())
            if not breaker.allows(now)
        }

    def left_out(self, now: float) -> Counter[Member]:
        """Return for how many sources alone each deployment is left out."""
        return Counter(
            member
            for met in self.by_source.values()
            for member, breaker in met.breakers.items()
            if breaker.state(now) is State.OPEN
        )

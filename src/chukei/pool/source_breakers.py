"""Breakers of single sources: each source has one for every deployment that failed for it. Pure."""

from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable

from chukei.config import PoolSettings
from chukei.pool.breaker import Breaker, State
from chukei.pool.member import Bar, Member, Status
from chukei.pool.source import Source

MOST_SOURCES = 1000
"""Number of sources whose breakers are kept, the latest ones. A source takes about 1 KB."""


class _Entry:
    """The breakers of one source. ``expires`` is the time at which they expire."""

    __slots__ = ("breakers", "expires")

    def __init__(self) -> None:
        self.breakers: dict[Member, Breaker] = {}
        self.expires = 0.0


class SourceBreakers:
    """The breakers of the latest sources with a failure. ``longest`` is the lifetime of a source's breakers in seconds.

    ``by_source`` is in order of the latest failure.
    """

    def __init__(self, settings: PoolSettings, longest: float, draw: Callable[[], float]) -> None:
        self._settings = settings
        self._longest = longest
        self._draw = draw
        self.by_source: OrderedDict[Hashable, _Entry] = OrderedDict()

    def configure(self, settings: PoolSettings, longest: float) -> None:
        """Take over changed settings."""
        self._settings, self._longest = settings, longest
        for entry in self.by_source.values():
            for breaker in entry.breakers.values():
                breaker.settings = settings

    def find(self, source: Source | None, member: Member) -> Breaker | None:
        """Return the breaker of a source for a deployment, or None."""
        entry = self.by_source.get(source.key) if self.by_source and source is not None else None
        return entry.breakers.get(member) if entry is not None else None

    def make(self, source: Source, member: Member, now: float) -> Breaker:
        """Return the breaker for a failure; create it if necessary. Above ``MOST_SOURCES`` the oldest is removed."""
        entry = self.by_source.setdefault(source.key, _Entry())
        self.by_source.move_to_end(source.key)
        if entry.expires <= now:
            entry.breakers.clear()
        entry.expires = now + self._longest
        if len(self.by_source) > MOST_SOURCES:
            self.by_source.popitem(last=False)
        breaker = entry.breakers.get(member)
        if breaker is None:
            breaker = entry.breakers[member] = Breaker(self._settings, self._draw)
        return breaker

    def forget(self, member: Member) -> None:
        """Remove all sources' breakers for a deployment that has recovered."""
        for entry in self.by_source.values():
            entry.breakers.pop(member, None)

    def bars(self, source: Source | None, now: float) -> dict[Member, Bar]:
        """Return the deployments that are unavailable to this source. Expired sources are removed."""
        while self.by_source and next(iter(self.by_source.values())).expires <= now:
            self.by_source.popitem(last=False)
        entry = self.by_source.get(source.key) if self.by_source and source is not None else None
        return {
            member: Bar(Status(breaker.state(now).value), breaker.until, breaker.why)
            for member, breaker in (entry.breakers.items() if entry is not None else ())
            if not breaker.allows(now)
        }

    def left_out(self, now: float) -> Counter[Member]:
        """Return for how many single sources each deployment is unavailable."""
        return Counter(
            member
            for entry in self.by_source.values()
            for member, breaker in entry.breakers.items()
            if breaker.state(now) is State.OPEN
        )

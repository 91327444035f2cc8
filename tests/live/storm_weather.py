"""When which deployment fails, and how, as a timetable that one seed makes: data, before anything runs.

Each deployment fails in spells of its own, again and again. The timetable keeps one promise: at every moment there is
an *anchor*, a deployment without a concurrency cap that is well and has been for ``SETTLE`` seconds, so that the relay
must have noticed. It always has room for everybody, so there is never an excuse for an error. Anchors change, and all
others may fail at once.

Only deployments with a cap stall: one without may have everybody waiting, which is a test of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random

STALL_LIMIT = 2.0
"""Seconds that the relay waits for a first event in the storm."""

LONGEST_REST = 0.6
"""Seconds for which the relay leaves a failing deployment alone at most, in the storm."""

SETTLE = STALL_LIMIT + 2 * LONGEST_REST + 0.3
"""Seconds after a spell in which a deployment may still be left alone, rightly: the last requests that it let stall
fail only now, the breaker opens for its time, and one trial at a time is let through for as long again."""

ANCHORED = 5.0
"""Seconds for which a deployment is the anchor."""

WELL = (0.2, 1.5)
ILL = (0.3, 2.5)
"""Seconds between a deployment's spells, and of one, from and to."""


class Weather(StrEnum):
    """What a deployment does with new requests."""

    FAIR = "fair"
    BUSY = "429"
    BROKEN = "500"
    UNAVAILABLE = "503"
    RESET = "reset"
    STALL = "stall"
    REFUSED = "refused"


QUICK = [weather for weather in Weather if weather not in (Weather.FAIR, Weather.STALL)]


@dataclass(frozen=True, slots=True)
class Place:
    """A deployment of the storm."""

    name: str
    priority: int
    weight: int
    cap: int | None = None
    quota_group: str | None = None


PLACES = [
    Place("east", 1, 3),
    Place("west", 1, 2, cap=50, quota_group="pair"),
    Place("north", 1, 1, cap=30, quota_group="pair"),
    Place("south", 2, 2, cap=80),
    Place("oslo", 2, 1),
    Place("delhi", 2, 1),
]


@dataclass(frozen=True, slots=True)
class Spell:
    """Bad weather at one place, in seconds from the storm's beginning."""

    place: str
    weather: Weather
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Timetable:
    """All spells of a storm, and who is the anchor from when on."""

    seconds: float
    spells: Sequence[Spell]
    anchors: Sequence[tuple[float, str]]

    def anchor(self, moment: float) -> str:
        """Return who is promised to be there for everybody."""
        return [name for start, name in self.anchors if start <= moment][-1]

    def settled(self, place: str, start: float, end: float) -> bool:
        """Whether a place is well between two moments and has been long enough for the relay to know."""
        ill = (spell for spell in self.spells if spell.place == place)
        return all(spell.start >= end or spell.end + SETTLE <= start for spell in ill)


def timetable(seed: int, seconds: float) -> Timetable:
    """Make a storm. Spells that would break the promise are cut or left out."""
    draw = Random(f"storm {seed}")
    anchors = _anchors(draw, seconds)
    spells: list[Spell] = []
    for place in PLACES:
        held = [(start - SETTLE, start + ANCHORED) for start, name in anchors if name == place.name]
        moment = draw.uniform(0.0, WELL[1])
        while moment < seconds:
            end = min(moment + draw.uniform(*ILL), seconds)
            weather = draw.choice(QUICK if place.cap is None else [*QUICK, Weather.STALL])
            end = min([end, *(begin for begin, until in held if moment < until and begin < end)])
            if end - moment >= ILL[0]:
                spells.append(Spell(place.name, weather, moment, end))
            moment = max(moment, end) + draw.uniform(*WELL)
    return Timetable(seconds, sorted(spells, key=lambda spell: spell.start), anchors)


def _anchors(draw: Random, seconds: float) -> list[tuple[float, str]]:
    """Choose who is the anchor when; never the same twice running, so that everybody has times in which to fail."""
    uncapped = [place.name for place in PLACES if place.cap is None]
    anchors: list[tuple[float, str]] = []
    while ANCHORED * len(anchors) < seconds:
        others = [name for name in uncapped if not anchors or name != anchors[-1][1]]
        anchors.append((ANCHORED * len(anchors), draw.choice(others)))
    return anchors

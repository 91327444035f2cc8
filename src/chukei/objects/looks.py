"""How much effort goes into ids that no store knows. Nonsense must not cost a request to each resource.

A look asks a few resources whether one of them keeps an object. Each caller has a few looks a minute, and so have all
together. An id that was not found is not looked for again for some minutes.
"""

import hashlib
import math
import time
from collections import OrderedDict

from chukei.errors import CallerError, come_back
from chukei.ports import Clock

MOST_RESOURCES = 3
"""Resources that one look asks at most."""

EACH_PER_MINUTE = 10
"""Looks of one caller in a minute. After a restart without a store a client needs one for each object."""

ALL_PER_MINUTE = 120
"""Looks of all callers in a minute."""

ABSENT_SECONDS = 300.0
"""Seconds for which an id that was not found is not looked for again."""

MOST_KEPT = 10_000
"""Callers, and ids that were not found, that are remembered at most."""

_MINUTE = 60.0


class _Budget:
    """A bucket that holds looks for a minute and is refilled steadily."""

    __slots__ = ("_at", "_left", "_most")

    def __init__(self, most: int, now: float) -> None:
        self._most, self._left, self._at = most, float(most), now

    def wait(self, now: float) -> float:
        """Return the seconds until there is a look, 0.0 if there is one now."""
        self._left = min(self._left + (now - self._at) * self._most / _MINUTE, self._most)
        self._at = now
        return max(1.0 - self._left, 0.0) * _MINUTE / self._most

    def spend(self) -> None:
        """Take one."""
        self._left -= 1.0


class Looks:
    """The budgets, and the ids that were not found. Reloads share one."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._all = _Budget(ALL_PER_MINUTE, clock())
        self._each: OrderedDict[str, _Budget] = OrderedDict()
        self._absent: OrderedDict[bytes, float] = OrderedDict()

    def spend(self, caller: str, id: str) -> bool:
        """Take a look from the budgets; return False if this caller named the id a short time ago, in vain.

        An id of somebody else is charged like an unknown one, so that a refusal does not tell them apart.

        Raises:
            CallerError: 429, there is none left; it says when there is.
        """
        now, named = self._clock(), _short(f"{caller} {id}")
        if now < self._absent.get(named, 0.0):
            return False
        own = self._each.pop(caller, None) or _Budget(EACH_PER_MINUTE, now)
        self._each[caller] = own
        wait = max(own.wait(now), self._all.wait(now))
        if wait:
            message = f"Too many ids were named that this relay does not know. Try again in {math.ceil(wait)} s."
            raise CallerError(429, "too_many_unknown_ids", message, type="rate_limit_error", headers=come_back(wait))
        own.spend()
        self._all.spend()
        self.gone(caller, id)
        if len(self._each) > MOST_KEPT:
            self._each.popitem(last=False)
        return True

    def gone(self, caller: str, id: str) -> None:
        """Record that this caller's object is not there, for instance since it was deleted: it is not looked for."""
        self._absent[_short(f"{caller} {id}")] = self._clock() + ABSENT_SECONDS
        if len(self._absent) > MOST_KEPT:
            self._absent.popitem(last=False)

    def found(self, caller: str, id: str) -> None:
        """Record that there is such an object."""
        self._absent.pop(_short(f"{caller} {id}"), None)


def _short(id: str) -> bytes:
    return hashlib.blake2b(id.encode("utf-8", "replace"), digest_size=16).digest()

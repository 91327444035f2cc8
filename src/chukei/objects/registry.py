"""The registry of stored objects: for each known id the home and the owner.

An id is looked for in this process's memory, then in the stores that replicas share: Redis, then the database. What is
learnt is written to all of them in the background.
"""

import asyncio
import hashlib
import math
import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

from chukei.accounts.objects import ObjectRecord
from chukei.accounts.stores import ObjectStore, StoreAway
from chukei.ports import Clock

__all__ = ["MOST_KNOWN", "ObjectRecord", "Objects"]

MOST_KNOWN = 50_000
"""Ids in memory at most, the most recently used; at about 300 bytes each that is 15 MB. As many that no store knew take
half of that."""

AT_ONCE = 250
"""Ids that are looked for at once. Between them other requests go on, and the wait for a store is for so many."""

MOST_ENDED = 10_000
"""Responses at most whose end is remembered, the newest ones."""

RENEW_SECONDS = 86_400.0
"""Seconds after which the use of an id is written to the stores again, so that they keep it after its last use."""

MISSED_SECONDS = 60.0
"""Seconds for which the stores are not asked again for an id that a request does not need and they did not know."""


class _Known(NamedTuple):
    record: ObjectRecord
    written: float  # when the stores were told, by the clock


class Objects:
    """The known objects, by id. Reloads share one. ``stores`` are asked in their order."""

    def __init__(self, stores: Sequence[ObjectStore] = (), clock: Clock = time.monotonic) -> None:
        self._stores = tuple(stores)
        self._clock = clock
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._ended: OrderedDict[bytes, float] = OrderedDict()
        self._missed: OrderedDict[bytes, float] = OrderedDict()  # when the stores were asked in vain, by the clock

    def made(self, id: str, record: ObjectRecord) -> None:
        """Record an object that was made, or has moved. It never waits. An object keeps its first owner."""
        name = _short(id)
        known = self._known.get(name)
        if known is not None and known.record.owner not in ("", record.owner):
            return
        if known is None or known.record[1:3] != record[1:3]:
            self._write(name, id, record)
        else:
            self._use(name, id, known)

    async def find(self, ids: Sequence[str], *, needed: bool = True) -> list[ObjectRecord | None]:
        """Return what is known about each id; None if no store knows it.

        An agent sends the ids of all items so far with each turn. If they are not ``needed``, the stores are asked for
        those that they do not know only now and then.

        Raises:
            StoreAway: an id is unknown, and a store that may know it cannot be asked.
        """
        found: list[ObjectRecord | None] = []
        for begin in range(0, len(ids), AT_ONCE):
            if begin:
                await asyncio.sleep(0)
            found += await self._find(ids[begin : begin + AT_ONCE], needed=needed)
        return found

    async def _find(self, ids: Sequence[str], *, needed: bool) -> list[ObjectRecord | None]:
        found = [self._recall(id) for id in ids]
        missing = [place for place, id in enumerate(ids) if found[place] is None and (needed or self._is_due(id))]
        away: StoreAway | None = None
        for store in self._stores:
            if not missing:
                break
            try:
                told = await store.find([ids[place] for place in missing])
            except StoreAway as error:
                away = error
                continue
            for place, record in zip(missing, told, strict=True):
                if record is not None:
                    found[place] = record
                    self._write(_short(ids[place]), ids[place], record)
            missing = [place for place in missing if found[place] is None]
        if away is not None and missing:
            raise away
        if not needed:
            self._miss([ids[place] for place in missing])
        return found

    def _is_due(self, id: str) -> bool:
        missed = self._missed.get(_short(id))
        return missed is None or self._clock() - missed > MISSED_SECONDS

    def _miss(self, ids: Sequence[str]) -> None:
        for id in ids:
            self._missed[_short(id)] = self._clock()
        while len(self._missed) > MOST_KNOWN:
            self._missed.popitem(last=False)

    def age(self, id: str) -> float:
        """Return the seconds since an object was learnt by this process, infinite for one that it does not know."""
        known = self._known.get(_short(id))
        return self._clock() - known.written if known is not None else math.inf

    def stored(self, id: str) -> None:
        """Note that a response has ended just now, and is stored from now on. It never waits."""
        self._ended[_short(id)] = self._clock()
        if len(self._ended) > MOST_ENDED:
            self._ended.popitem(last=False)

    def since_stored(self, id: str) -> float:
        """Return the seconds since this process saw a response end, infinite if it has not."""
        return self._clock() - self._ended.get(_short(id), -math.inf)

    async def any_gone(self, ids: Sequence[str]) -> bool:
        """Whether no store knows one of these objects of this process, since another process has deleted it.

        A store that is away says nothing. What was learnt here is in a store after a tenth of a second.
        """
        left = list(ids)
        for store in self._stores:
            try:
                found = await store.find(left) if left else []
            except StoreAway:
                return False
            left = [id for id, record in zip(left, found, strict=True) if record is None]
        return bool(left and self._stores)

    def gone(self, id: str) -> None:
        """Forget an object that was deleted. It never waits."""
        self._known.pop(_short(id), None)
        self._ended.pop(_short(id), None)
        for store in self._stores:
            store.drop(id)

    def _recall(self, id: str) -> ObjectRecord | None:
        name = _short(id)
        known = self._known.get(name)
        if known is None:
            return None
        self._use(name, id, known)
        return known.record

    def _use(self, name: bytes, id: str, known: _Known) -> None:
        if self._stores and self._clock() - known.written > RENEW_SECONDS:
            self._write(name, id, known.record)
        else:
            self._known.move_to_end(name)

    def _write(self, name: bytes, id: str, record: ObjectRecord) -> None:
        self._known[name] = _Known(record, self._clock())
        self._known.move_to_end(name)
        if len(self._known) > MOST_KNOWN:
            self._known.popitem(last=False)
        for store in self._stores:
            store.keep(id, record)


def _short(id: str) -> bytes:
    """Return a fixed-size key for an id, which may come from a client and have any length."""
    return hashlib.blake2b(id.encode("utf-8", "replace"), digest_size=16).digest()

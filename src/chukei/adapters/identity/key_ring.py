"""Callers' keys in memory: a copy of the database's keys that is checked every two seconds and reread if they changed.

No request waits for the database or causes a query: there is one check every two seconds, whatever ids clients send. A
new or revoked key is known to every replica after ``REFRESH_SECONDS`` and two queries, which have a time limit of
``READ_SECONDS``: after four seconds at most. While the database is unavailable the copy stays in use, but only for a
limited time, because it misses later revocations.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Set
from dataclasses import replace

from chukei.accounts.ledger import Key
from chukei.accounts.stores import Database, StoreAway
from chukei.metrics.definitions import STORE_AVAILABLE
from chukei.metrics.snapshot import Reading
from chukei.ports import Clock

logger = logging.getLogger(__name__)

REFRESH_SECONDS = 2.0
READ_SECONDS = 2.0

FIRST_SECONDS = 5.0
"""Seconds for which a request waits for the first copy after the start."""


class KeyRing:
    """Implements ``keys.KeyDirectory``. ``keep_seconds`` is the greatest age of the copy, and may change."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        keep_seconds: float,
        refresh_seconds: float = REFRESH_SECONDS,
        read_seconds: float = READ_SECONDS,
        first_seconds: float = FIRST_SECONDS,
    ) -> None:
        self._database = database
        self._clock = clock
        self.keep_seconds = keep_seconds
        self._refresh_seconds = refresh_seconds
        self._read_seconds = read_seconds
        self._first_seconds = first_seconds
        self._keys: Mapping[str, Key] = {}
        self._read_at: float | None = None
        self._mark: str | None = None  # the database's mark when the copy was read
        self._tried = asyncio.Event()
        self._away = False
        self._task: asyncio.Task[None] | None = None
        self._tell_revoked: Callable[[Set[str]], None] | None = None

    def listen(self, revoked: Callable[[Set[str]], None]) -> None:
        """Call ``revoked`` with the ids of keys when their revocation becomes known."""
        self._tell_revoked = revoked

    def readings(self) -> list[Reading]:
        """Return whether the last read of the database succeeded, as a metric."""
        return [(STORE_AVAILABLE, ("keys",), not self._away)]

    async def find(self, id: str) -> Key | None:
        """See ``KeyDirectory``."""
        if self._read_at is None:
            await self._first_try()
        if self._read_at is None or self._clock() - self._read_at > self.keep_seconds:
            raise StoreAway("the callers' keys could not be read for too long")
        return self._keys.get(id)

    async def any(self) -> bool:
        """See ``KeyDirectory``."""
        if self._read_at is None:
            await self._first_try()
        return bool(self._keys)

    async def _first_try(self) -> None:
        """Wait for the first read of the database, ``first_seconds`` at most."""
        if not self._tried.is_set():
            try:
                async with asyncio.timeout(self._first_seconds):
                    await self._tried.wait()
            except TimeoutError:
                pass

    def start(self) -> None:
        """Start to read in the background."""
        self._task = asyncio.create_task(self._follow())

    async def close(self) -> None:
        """Stop reading."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _follow(self) -> None:
        while True:
            await self.refresh()
            self._tried.set()
            await asyncio.sleep(self._refresh_seconds)

    async def refresh(self) -> None:
        """Read once; never raises."""
        began = self._clock()
        try:
            async with asyncio.timeout(self._read_seconds):
                mark = await self._database.keys_mark()  # first, so that a change in between is seen the next time
                found = await self._database.keys() if mark != self._mark else None
        except (StoreAway, TimeoutError) as error:
            self._tell_away(error)
        except Exception:  # unexpected, but the next read may succeed
            logger.exception("the callers' keys cannot be read")
        else:
            if found is not None:
                before, self._keys = self._keys, {key.id: self._not_unrevoked(key) for key in found}
                gone = {id for id, key in self._keys.items() if key.revoked is not None and _is_good(before.get(id))}
                if gone and self._tell_revoked is not None:
                    self._tell_revoked(gone)
            self._mark, self._read_at = mark, began
            if self._away:
                self._away = False
                logger.info("the callers' keys are read again")

    def _not_unrevoked(self, key: Key) -> Key:
        """Keep a known revocation that the database lacks, as a lagging replica or a restored backup may."""
        known = self._keys.get(key.id)
        if known is not None and known.revoked is not None and key.revoked is None:
            return replace(key, revoked=known.revoked)
        return key

    def _tell_away(self, error: Exception) -> None:
        if not self._away:
            self._away = True
            reason = error if isinstance(error, StoreAway) else f"no answer within {self._read_seconds:g} seconds"
            logger.warning("the callers' keys cannot be read, those known stay in use for now: %s", reason)

    def __repr__(self) -> str:
        return f"<KeyRing {len(self._keys)} keys>"


def _is_good(key: Key | None) -> bool:
    return key is not None and key.revoked is None

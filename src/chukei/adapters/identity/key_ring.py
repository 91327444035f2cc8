"""Callers' keys in memory: a copy of the database's, compared every two seconds and read again where it changed.

No request waits for the database, and none can make the relay ask it: whatever ids are tried, there is a look at it
every two seconds. A key that was made or revoked anywhere is known to every replica after ``REFRESH_SECONDS`` and two
queries, which are given up after ``READ_SECONDS``: four seconds at most. While the database is away the copy stays in
use, up to a limit, since it then knows nothing of later revocations.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Set
from dataclasses import replace

from chukei.accounts.ledger import Key
from chukei.accounts.stores import Database, StoreAway
from chukei.ports import Clock

logger = logging.getLogger(__name__)

REFRESH_SECONDS = 2.0
READ_SECONDS = 2.0

FIRST_SECONDS = 5.0
"""How long a request waits for the first copy after the start."""


class KeyRing:
    """Implements ``keys.KeyDirectory``. ``keep_seconds`` is how old the copy may become."""

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
        self._keep_seconds = keep_seconds
        self._refresh_seconds = refresh_seconds
        self._read_seconds = read_seconds
        self._first_seconds = first_seconds
        self._keys: Mapping[str, Key] = {}
        self._read_at: float | None = None
        self._mark: str | None = None  # of what was read
        self._tried = asyncio.Event()
        self._away = False
        self._task: asyncio.Task[None] | None = None
        self._tell_revoked: Callable[[Set[str]], None] | None = None

    def listen(self, revoked: Callable[[Set[str]], None]) -> None:
        """Call with the ids of keys as soon as they are known to have been revoked."""
        self._tell_revoked = revoked

    async def find(self, id: str) -> Key | None:
        """See ``KeyDirectory``."""
        if self._read_at is None:
            await self._first_try()
        if self._read_at is None or self._clock() - self._read_at > self._keep_seconds:
            raise StoreAway("the callers' keys could not be read for too long")
        return self._keys.get(id)

    async def any(self) -> bool:
        """See ``KeyDirectory``."""
        if self._read_at is None:
            await self._first_try()
        return bool(self._keys)

    async def _first_try(self) -> None:
        """Wait until the database was asked for the first time, but not for ever."""
        if not self._tried.is_set():
            try:
                async with asyncio.timeout(self._first_seconds):
                    await self._tried.wait()
            except TimeoutError:
                pass

    def start(self) -> None:
        """Begin to read."""
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
        except Exception:  # whatever it is, the next reading may succeed
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
        """Keep a revocation that the database has forgotten, as a replica that lags or a restored copy can."""
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

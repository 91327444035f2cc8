"""What is known about stored objects, in the ledger's database: written in the background, in batches.

Nothing is spooled: if the process is killed, the ids of the last tenth of a second are unknown to its successor, as are
those of another relay.
"""

import asyncio
import hashlib
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import islice

from chukei.accounts.objects import ObjectRecord
from chukei.accounts.stores import Database, ObjectRow, StoreAway
from chukei.adapters.ledger.retention import SWEEP_SECONDS
from chukei.objects.kinds import seconds_of

logger = logging.getLogger(__name__)

BATCH = 512
"""Most objects in one transaction."""

BATCH_SECONDS = 0.1
"""Seconds for which an object waits for others. The client may name it soon, and another process may be asked."""

MAX_WAITING = 20_000
"""Most objects that wait while the database is unavailable. Beyond that the oldest are dropped."""

FIND_SECONDS = 0.5
"""Most seconds for which a request waits for what is known about the objects that it names."""

FIRST_DELAY, LAST_DELAY = 0.5, 5.0
"""Seconds between two attempts to write, doubled each time from the first to the last."""

CLOSE_SECONDS = 1.0
"""Most seconds for closing."""


def _now() -> datetime:
    return datetime.now(UTC)


class ObjectWriter:
    """See the ObjectStore port. The owner of the ``database`` opens and closes it."""

    def __init__(
        self, database: Database, now: Callable[[], datetime] = _now, sweep_seconds: float = SWEEP_SECONDS
    ) -> None:
        self._database = database
        self._now = now
        self._sweep_seconds = sweep_seconds
        self._waiting: OrderedDict[bytes, ObjectRow | None] = OrderedDict()  # None: it is gone
        self._due = asyncio.Event()
        self._away = False
        self._closing = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def keep(self, id: str, record: ObjectRecord) -> None:
        """See the ObjectStore port."""
        digest = _digest(id)
        self._wait(digest, ObjectRow(digest, record, self._now() + timedelta(seconds=seconds_of(record.kind))))

    def drop(self, id: str) -> None:
        """See the ObjectStore port."""
        self._wait(_digest(id), None)

    async def find(self, ids: Sequence[str]) -> list[ObjectRecord | None]:
        """See the ObjectStore port. What still waits to be written is known too."""
        digests = [_digest(id) for id in ids]
        waiting = {digest: self._waiting[digest] for digest in digests if digest in self._waiting}
        asked = [digest for digest in digests if digest not in waiting]
        told: dict[bytes, ObjectRecord] = {}
        if asked:
            try:
                async with asyncio.timeout(FIND_SECONDS):
                    told = await self._database.find_objects(asked)
            except TimeoutError:
                raise StoreAway("the database is too slow") from None
        told |= {digest: row.record for digest, row in waiting.items() if row is not None}
        return [told.get(digest) for digest in digests]

    def start(self) -> None:
        """Begin to write, and to delete what is to be forgotten."""
        self._tasks = [asyncio.create_task(self._run()), asyncio.create_task(self._sweep())]

    async def close(self) -> None:
        """Write what waits, within a second, and stop. Idempotent."""
        if self._closing.is_set():
            return
        self._closing.set()
        self._due.set()
        if self._tasks:
            running, sweeping = self._tasks
            sweeping.cancel()
            await asyncio.wait({running}, timeout=CLOSE_SECONDS)
            running.cancel()

    def _wait(self, digest: bytes, row: ObjectRow | None) -> None:
        self._waiting[digest] = row
        self._waiting.move_to_end(digest)
        if len(self._waiting) > MAX_WAITING:
            self._waiting.popitem(last=False)
        self._due.set()

    async def _run(self) -> None:
        delay = FIRST_DELAY
        while True:
            await self._due.wait()
            with suppress(TimeoutError):
                async with asyncio.timeout(delay if self._away else BATCH_SECONDS):
                    await self._closing.wait()
            delay = FIRST_DELAY if await self._write() else min(2 * delay, LAST_DELAY)
            if self._closing.is_set():
                return

    async def _write(self) -> bool:
        """Write all that waits; return whether the database took it."""
        self._due.clear()
        while self._waiting:
            batch = dict(islice(self._waiting.items(), BATCH))
            rows = [row for row in batch.values() if row is not None]
            gone = [digest for digest, row in batch.items() if row is None]
            try:
                await self._database.write_objects(rows, gone)
            except StoreAway as error:
                if not self._away:
                    logger.warning("what is known about stored objects waits for the database: %s", error)
                self._away = True
                self._due.set()
                return False
            for digest, row in batch.items():
                if digest in self._waiting and self._waiting[digest] is row:
                    del self._waiting[digest]
        self._away = False
        return True

    async def _sweep(self) -> None:
        while True:
            try:
                await self._database.drop_objects(self._now())
            except StoreAway as error:
                logger.warning("what was known about old objects was not deleted: %s", error)
            await asyncio.sleep(self._sweep_seconds)


def _digest(id: str) -> bytes:
    return hashlib.blake2b(id.encode("utf-8", "surrogatepass"), digest_size=16).digest()

"""Writes ledger entries in the background: in batches, and to a spool while the database is unavailable.

``write`` only appends an entry to a list. A task writes the list to the database after half a second, or earlier if the
batch is full. If the database has not confirmed the batch after another third of a second, the task writes it to the
spool. So each entry is on a disk within a second, and a killed process loses no older ones. When the database is back,
this process or a later one delivers the entries of the spool. A write with an unknown result is repeated. The database
recognises each entry by its id and stores it once.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

from chukei.accounts.ledger import Entry
from chukei.accounts.stores import Database, StoreAway
from chukei.adapters.ledger.retention import SWEEP_SECONDS, sweep
from chukei.adapters.ledger.spool import Spool, SpoolFullError
from chukei.metrics import definitions as of
from chukei.metrics.snapshot import Reading
from chukei.ports import Clock

logger = logging.getLogger(__name__)

BATCH = 512
"""Most entries in one transaction. When as many wait, they are written at once."""

BATCH_SECONDS = 0.5
"""Seconds for which an entry waits for others."""

PATIENCE_SECONDS = 0.3
"""Seconds for which the database may take for a batch before the batch is also written to the spool."""

FIRST_DELAY, LAST_DELAY = 0.5, 5.0
"""Seconds between two attempts to reach the database, doubled each time from the first to the last."""

MAX_WAITING = 20_000
"""Most entries in memory, about a kilobyte each, while neither the database nor the spool accepts any."""

ADOPT_SECONDS = 60.0
"""Seconds between two searches for spool files of processes that have ended."""

CLOSE_SECONDS = 1.0
"""Most seconds for closing."""

_Result = TypeVar("_Result")


def _now() -> datetime:
    return datetime.now(UTC)


class LedgerWriter:
    """Accepts entries and writes them to the database. It opens the database; its owner closes it.

    ``spool`` is a folder for this database only, or None. If ``retention_days`` is 0, entries are never deleted.
    """

    def __init__(
        self,
        database: Database,
        *,
        spool: Path | None = None,
        max_spool_bytes: int = 64 * 1_048_576,
        retention_days: float = 0.0,
        clock: Clock = time.monotonic,
        now: Callable[[], datetime] = _now,
        sweep_seconds: float = SWEEP_SECONDS,
    ) -> None:
        self._database = database
        self._spool = Spool(spool, max_spool_bytes) if spool is not None else None
        self._retention_days = retention_days
        self._clock = clock
        self._now = now
        self._sweep_seconds = sweep_seconds
        self._disk: ThreadPoolExecutor | None = None
        self._waiting: list[Entry] = []
        self._due = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._late: asyncio.Task[None] | None = None  # an operation of the database that exceeded its time
        self._delivered_late = False  # it was the delivery of the spool's last batch, and it succeeded
        self._delay = FIRST_DELAY
        self._retry_at: float | None = None  # None: the database is available
        self._adopt_at = 0.0
        self._spooled = False  # the spool may have entries
        self._error: str | None = None
        self._refused = False  # neither the database nor the spool accepted the last batch
        self._lost = 0
        self._last_success: datetime | None = None
        self._closing = False
        self._tasks: list[asyncio.Task[None]] = []

    # On the path of requests.

    def write(self, entry: Entry) -> None:
        """Accept an entry. It never waits and never raises. Call it only in the event loop's thread."""
        waiting = self._waiting
        if self._closing or len(waiting) >= MAX_WAITING:
            self._lose(1)
            return
        waiting.append(entry)
        if len(waiting) >= BATCH:
            self._due.set()
        elif self._timer is None and self._tasks:
            self._timer = asyncio.get_running_loop().call_later(BATCH_SECONDS, self._due.set)

    @property
    def full(self) -> bool:
        """Whether the entries of further requests could be lost: nothing accepts entries, or too many wait."""
        return self._refused or len(self._waiting) >= MAX_WAITING // 2

    def state(self) -> dict[str, object]:
        """Return the state for operators."""
        return {
            "status": "full" if self.full else "away" if self._retry_at is not None else "ok",
            "waiting": len(self._waiting),
            "spooled": self._spool.waiting if self._spool is not None else 0,
            "lost": self._lost,
            "last_written": self._last_success.isoformat() if self._last_success is not None else None,
            "last_error": self._error,
        }

    def readings(self) -> Iterator[Reading]:
        """Yield the metrics of the ledger."""
        yield of.STORE_AVAILABLE, ("ledger",), self._retry_at is None
        yield of.LEDGER_WAITING, (), len(self._waiting)
        yield of.LEDGER_FULL, (), self.full
        yield of.LEDGER_LOST, (), self._lost
        if self._spool is not None:
            yield of.LEDGER_SPOOLED, (), self._spool.waiting
            yield of.LEDGER_SPOOL_BYTES, (), self._spool.pending_bytes
            yield of.LEDGER_SPOOL_LIMIT, (), self._spool.max_bytes

    def start(self) -> None:
        """Begin to write. The database is opened in the background, so that it does not delay the start."""
        self._tasks.append(asyncio.create_task(self._run()))
        if self._retention_days > 0:
            sweeping = sweep(self._database, self._retention_days, self._now, self._sweep_seconds)
            self._tasks.append(asyncio.create_task(sweeping))

    async def close(self) -> None:
        """Write the remaining entries to the database, else to the spool, within a second. It may be repeated."""
        if self._closing:
            return
        self._closing = True
        self._due.set()
        if self._tasks:
            running, *others = self._tasks
            for task in others:
                task.cancel()
            await asyncio.wait({running}, timeout=CLOSE_SECONDS)
            running.cancel()
            if self._late is not None:
                self._late.cancel()
        if self._waiting:
            self._lose(len(self._waiting))
            self._waiting.clear()
        if self._disk is not None and self._spool is not None:
            closing = asyncio.get_running_loop().run_in_executor(self._disk, self._spool.close)
            await asyncio.wait({closing}, timeout=CLOSE_SECONDS)
            self._disk.shutdown(wait=False)

    # In the background.

    async def _run(self) -> None:
        await self._attempt(self._database.open())
        while True:
            await self._flush()
            if self._closing:
                await self._flush()  # entries that were added during the last flush; no more are accepted
                return
            if self._retry_at is None:
                await self._deliver()
            elif self._clock() >= self._retry_at:
                await self._retry()
            await self._pause()

    async def _pause(self) -> None:
        """Wait until entries or a task are due."""
        seconds = ADOPT_SECONDS
        if self._retry_at is not None and self._late is None:
            seconds = max(self._retry_at - self._clock(), 0.0)
        if self._refused:
            seconds = min(seconds, BATCH_SECONDS)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._due.wait()

    async def _flush(self) -> None:
        """Write the waiting entries to the database or the spool. Later entries wait for the next flush."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._due.clear()
        left = len(self._waiting)
        if left > BATCH and not self._closing:  # the rest is new
            left -= left % BATCH
            self._timer = asyncio.get_running_loop().call_later(BATCH_SECONDS, self._due.set)
        while left:
            batch = self._waiting[: min(left, BATCH)]
            last_chance = self._closing and self._spool is None
            if not (
                ((self._retry_at is None or last_chance) and await self._attempt(self._database.add(batch)))
                or await self._keep(batch)
            ):
                return
            del self._waiting[: len(batch)]
            left -= len(batch)
        if self._refused:
            self._refused = False
            logger.warning("the ledger takes entries again")

    async def _retry(self) -> None:
        """Try an unavailable database: with waiting entries, else with those of the spool, else by opening it."""
        if batch := self._waiting[:BATCH]:
            if await self._attempt(self._database.add(batch)):
                del self._waiting[: len(batch)]
        elif not await self._deliver():
            await self._attempt(self._database.open())

    async def _deliver(self) -> bool:
        """Write the spool's entries to the database until new entries are due. Return whether there were any."""
        spool, found = self._spool, False
        if spool is None:
            return False
        try:
            if self._delivered_late:
                self._delivered_late = False
                await self._on_disk(spool.delivered)
            if self._clock() >= self._adopt_at:
                self._adopt_at = self._clock() + ADOPT_SECONDS
                self._spooled = True
                await self._on_disk(spool.adopt)
            while self._spooled and not self._due.is_set():
                batch = await self._on_disk(lambda: spool.next(BATCH))
                self._spooled = bool(batch)
                if not batch:
                    break
                found = True
                if not await self._attempt(self._database.add(batch), spooled=True):
                    break
                await self._on_disk(spool.delivered)
        except OSError as error:
            self._spool_failed(f"the spool {spool.folder} cannot be read: {error.strerror}")
        return found

    async def _keep(self, batch: list[Entry]) -> bool:
        """Write a batch to the spool. Return whether it succeeded."""
        spool = self._spool
        if spool is None:
            return False
        try:
            self._spooled = True
            await self._on_disk(lambda: spool.append(batch))
        except SpoolFullError:
            problem = "is full"
        except OSError as error:
            problem = f"cannot be written: {error.strerror}"
        else:
            return True
        if not self._refused:
            self._refused = True
            self._spool_failed(f"the spool {spool.folder} {problem}; nothing more can be accounted for")
        return False

    async def _attempt(self, work: Coroutine[object, object, None], *, spooled: bool = False) -> bool:
        """Run an operation of the database. Return whether it succeeded in time. Only one runs at a time, even late."""
        if self._late is not None:
            work.close()
            return False
        task = asyncio.create_task(work)
        done, _ = await asyncio.wait({task}, timeout=PATIENCE_SECONDS)
        if done:
            return self._succeeded(task)
        self._late = task
        task.add_done_callback(partial(self._came_late, spooled=spooled))
        return False

    def _came_late(self, task: asyncio.Task[None], *, spooled: bool) -> None:
        self._late = None
        self._delivered_late = not task.cancelled() and self._succeeded(task) and spooled
        self._due.set()

    def _succeeded(self, task: asyncio.Task[None]) -> bool:
        """Note the result of an operation. Return whether it succeeded."""
        error = task.exception()
        if error is None:
            self._last_success = self._now()
            if self._retry_at is not None:
                logger.warning("the ledger's database takes entries again")
                self._retry_at, self._delay = None, FIRST_DELAY
                self._due.set()
            return True
        self._error = str(error) if isinstance(error, StoreAway) else f"{type(error).__name__}: {error}"
        if self._retry_at is None:
            where = self._spool.folder if self._spool is not None else "memory"
            logger.error("the ledger's database is away, and entries wait in %s: %s", where, self._error)
        self._retry_at = self._clock() + self._delay
        self._delay = min(self._delay * 2, LAST_DELAY)
        return False

    def _spool_failed(self, problem: str) -> None:
        self._error = problem
        logger.error("%s", problem)

    def _lose(self, count: int) -> None:
        if not self._lost:
            logger.error("the ledger loses entries: neither the database nor the spool takes them, and memory is full")
        self._lost += count

    async def _on_disk(self, work: Callable[[], _Result]) -> _Result:
        if self._disk is None:
            self._disk = ThreadPoolExecutor(1, "chukei-ledger-spool")
        return await asyncio.get_running_loop().run_in_executor(self._disk, work)

"""Responses in the background, and batches, that are not billed yet.

Whoever passes on an answer that tells a job's end calls ``seen``. For a job that nobody asks about, the relay itself
looks: after some time, then again at growing intervals, until the bound.

A database keeps the jobs too. So a relay that is started anew takes up what another one has left, and each relay can
bill each job. The bill and the removal of the job are one transaction. Without a database, jobs are lost with the
process, but for those that Redis keeps for other replicas.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

from chukei.accounts.admission import Kept
from chukei.accounts.entries import entry_of
from chukei.accounts.ledger import Entry
from chukei.accounts.limits import Amounts, Subject
from chukei.accounts.stores import JobBoard, JobStore, StoreAway
from chukei.errors import UpstreamError
from chukei.metrics.definitions import BACKGROUND_JOBS
from chukei.metrics.snapshot import Reading
from chukei.model import Model
from chukei.objects.kinds import RESPONSE
from chukei.record import RequestRecord
from chukei.stream.stream import Stream
from chukei.stream.whole_answer import AnswerReport

if TYPE_CHECKING:  # it is imported with the first job: most relays have none
    from chukei.objects.job import Job

logger = logging.getLogger(__name__)

SETTLE_SECONDS = 600.0
"""Seconds after which the relay looks at a job for the first time."""

SWEEP_SECONDS = 60.0
"""Seconds between two searches for jobs that other relays have left, and for which those have time to look first."""

MOST_JOBS = 20_000
"""Jobs in memory at most, about two kilobytes each. Beyond that the oldest are charged as reserved."""

MOST_SETTLED = 20_000
"""Ids that are known to be settled, or to be no job, at most."""

LOOKS = 8
"""Jobs that are looked at at a time."""

FIRST_DELAY, LAST_DELAY = 0.5, 30.0
"""Seconds between two attempts to write to the database, doubled each time from the first to the last."""

_Result = TypeVar("_Result")

Look = Callable[["Job"], Awaitable[AnswerReport | None]]
"""Asks the deployment how a job is doing; None if it does not know it any more.

Raises:
    UpstreamError: it could not be asked.
"""


class Jobs:
    """The jobs that this process knows. Reloads share one; they set ``look``, ``models`` and ``first_seconds``.

    ``settle`` corrects a reservation, ``billed`` gets each bill that is new in the ledger. ``now`` returns the time in
    UTC.
    """

    def __init__(
        self,
        settle: Callable[[str, Amounts, Sequence[Subject]], None],
        billed: Callable[[Entry], None],
        *,
        now: Callable[[], datetime],
        store: JobStore | None = None,
        board: JobBoard | None = None,
        look: Look | None = None,
        models: Callable[[str], Model | None] = lambda name: None,
        first_seconds: float = SETTLE_SECONDS,
    ) -> None:
        self._settle = settle
        self._billed = billed
        self._now = now
        self._store = store
        self._board = board
        self.look = look
        self.models = models
        self.first_seconds = first_seconds
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._due: dict[str, datetime] = {}
        self._settled: OrderedDict[str, None] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()
        self._writes: dict[str, asyncio.Task[None]] = {}  # of jobs that are not in the database yet
        self._running: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self._away = False

    def __len__(self) -> int:
        return len(self._jobs)

    def readings(self) -> Iterator[Reading]:
        """Yield how many jobs this process waits for."""
        yield BACKGROUND_JOBS, (), len(self._jobs)

    def begin(
        self, id: str, identity: str, version: str, record: RequestRecord, kept: Kept, kind: str = RESPONSE
    ) -> None:
        """Take up a job that a request has begun. It never waits."""
        from chukei.objects.job import Job, text_of

        entry = entry_of(record, id=id, time=self._now())
        if entry is None:  # a caller without a name cannot begin one
            return
        job = Job(id, identity, version, entry, kept, kind)
        self._take(job)
        if self._store is not None:
            self._writes[id] = self._run(self._keep(self._store, job))
            self._writes[id].add_done_callback(lambda _: self._writes.pop(id, None))
        if self._board is not None:
            self._board.keep_job(id, text_of(job))
        if len(self._jobs) > MOST_JOBS:
            self._end(next(iter(self._jobs)), None)

    def seen(self, id: str, told: AnswerReport | Stream | None) -> None:
        """Take note of what an answer says about a job. It never waits. None: it was deleted, which ends it."""
        if told is None:
            self._end(id, AnswerReport(finish_reasons={0: "cancelled"}))
        elif isinstance(told, Stream):
            if told.complete:
                report = AnswerReport(told.usage, told.model, told.service_tier, told.finish_reasons)
                self._end(id, report)
        elif told.finish_reasons and not told.pending:
            self._end(id, told)

    async def deleting(self, id: str) -> None:
        """Look at a response that will be deleted, if it is a job: if it has ended, nobody can see its usage later."""
        if id in self._settled or self.look is None:
            return
        with suppress(StoreAway, UpstreamError):
            job = self._jobs.get(id) or await self._find(id)
            report = await self.look(job) if job is not None else None
            if report is not None:
                self.seen(id, report)

    def start(self) -> None:
        """Begin to look at jobs that nobody asks about."""
        if self._running is None:
            self._running = asyncio.create_task(self._watch())

    async def close(self) -> None:
        """Write what is not written yet, for a second at most, and stop."""
        running, self._running = self._running, None
        if running is not None:
            running.cancel()
            await asyncio.wait({running})
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=1.0)
            for task in late:
                task.cancel()

    # The end of a job.

    def _end(self, id: str, report: AnswerReport | None) -> None:
        if id in self._settled:
            self._settled.move_to_end(id)
            return
        job = self._drop(id)
        self._settled[id] = None
        if len(self._settled) > MOST_SETTLED:
            self._settled.popitem(last=False)
        if job is not None or self._store is not None or self._board is not None:
            self._run(self._bill(id, job, report))

    async def _bill(self, id: str, job: "Job | None", report: AnswerReport | None) -> None:
        from chukei.objects.job import bill_of

        try:
            job = job or await self._find(id)
        except StoreAway:
            self._settled.pop(id, None)  # whoever sees the end next settles it
            return
        if job is None:
            return
        seconds = max((self._now() - job.entry.time).total_seconds(), 0.0)
        bill = bill_of(job, report, self.models(job.entry.model or ""), seconds)
        if job.kept.id is not None:
            self._settle(job.kept.id, bill.amounts, list(job.kept.subjects))
        if self._board is not None:
            self._board.keep_job(id, "")
        if self._store is None or await self._settle_in(self._store, id, bill.entry):
            self._billed(bill.entry)

    async def _settle_in(self, store: JobStore, id: str, entry: Entry) -> bool:
        """Write a bill; return whether it is new."""
        writing = self._writes.get(id)
        if writing is not None:
            writing.cancel()
            await asyncio.wait({writing})
        return await _insist(lambda: store.settle_job(id, entry), entry.request_id)

    async def _find(self, id: str) -> "Job | None":
        """Return a job that this process does not know.

        Raises:
            StoreAway: the database cannot be asked.
        """
        from chukei.objects.job import read

        text = await self._board.find_job(id) if self._board is not None else None
        if text is None and self._store is not None:
            text = await self._store.find_job(id)
        return read(text) if text else None

    # Looking.

    async def _watch(self) -> None:
        while True:
            await self.round()
            await self._pause()

    async def round(self) -> None:
        """Look at all jobs that are due. Never raises."""
        try:
            if self._store is not None:
                await self._adopt(self._store)
            now = self._now()
            due = [self._jobs[id] for id, moment in self._due.items() if moment <= now]
            for begin in range(0, len(due), LOOKS):
                await asyncio.gather(*(self._look_at(job) for job in due[begin : begin + LOOKS]))
            self._away = False
        except StoreAway as error:
            if not self._away:
                logger.warning("work in the background cannot be followed in the database: %s", error)
            self._away = True
        except Exception:  # unexpected, but the next round may succeed
            logger.exception("jobs in the background cannot be looked at")

    async def _pause(self) -> None:
        """Wait until a job is due, another job begins, or for the time between two searches."""
        self._news.clear()
        soonest = min(self._due.values(), default=None)
        seconds = self._patience if self._store is not None else SWEEP_SECONDS
        if soonest is not None:
            seconds = min(seconds, max((soonest - self._now()).total_seconds(), 0.05))
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()

    @property
    def _patience(self) -> float:
        return min(SWEEP_SECONDS, self.first_seconds)

    async def _adopt(self, store: JobStore) -> None:
        """Take up jobs whose relay has not looked at them in time."""
        now = self._now()
        for text in await store.take_jobs(now, now + timedelta(seconds=2 * self._patience), LOOKS):
            from chukei.objects.job import read  # only where another relay has left a job

            job = read(text)
            if job is not None and job.id not in self._jobs and job.id not in self._settled:
                self._take(job)
                self._due[job.id] = now

    async def _look_at(self, job: "Job") -> None:
        age = (self._now() - job.entry.time).total_seconds()
        if self._board is not None and self._store is None and await self._board.find_job(job.id) == "":
            self._drop(job.id)  # another replica has settled it
            return
        report: AnswerReport | None = None
        try:
            if self.look is not None:
                report = await self.look(job)
                if report is None:
                    self._end(job.id, None)
                    return
                self.seen(job.id, report)
        except UpstreamError as error:
            logger.info("the %s of request %s cannot be looked at: %s", job.kind, job.entry.request_id, error.message)
        if job.id not in self._jobs:
            return
        if age >= job.bound:
            logger.warning(
                "the %s of request %s has not ended, and is charged as reserved", job.kind, job.entry.request_id
            )
            self._end(job.id, None)
            return
        due = self._due[job.id] = self._next(job)
        if self._store is not None:
            await self._store.defer_job(job.id, due + timedelta(seconds=self._patience))

    def _take(self, job: "Job") -> None:
        self._jobs[job.id] = job
        self._due[job.id] = self._next(job)
        self._news.set()

    def _drop(self, id: str) -> "Job | None":
        self._due.pop(id, None)
        return self._jobs.pop(id, None)

    def _next(self, job: "Job") -> datetime:
        from chukei.objects.job import next_look

        age = max((self._now() - job.entry.time).total_seconds(), 0.0)
        return job.entry.time + timedelta(seconds=next_look(age, self.first_seconds, job.bound))

    async def _keep(self, store: JobStore, job: "Job") -> None:
        from chukei.objects.job import text_of

        due = self._next(job) + timedelta(seconds=self._patience)
        await _insist(lambda: store.keep_job(job.id, due, text_of(job)), job.entry.request_id)

    def _run(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


async def _insist(work: Callable[[], Awaitable[_Result]], request_id: str) -> _Result:
    """Write to the database, and try again until it succeeds."""
    seconds = FIRST_DELAY
    while True:
        try:
            return await work()
        except StoreAway as error:
            logger.warning("the work that request %s began is not written yet: %s", request_id, error)
        await asyncio.sleep(seconds)
        seconds = min(2 * seconds, LAST_DELAY)

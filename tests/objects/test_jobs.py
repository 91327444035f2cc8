"""Responses in the making, with a clock that is set by hand and stores that are away when the test says so."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from tests.fakes import FakeDatabase
from tests.rows import rows

from chukei.accounts.admission import Kept
from chukei.accounts.ledger import Entry
from chukei.accounts.limits import Amounts, Limits, Subject
from chukei.errors import UpstreamError
from chukei.model import Caller, CallerKind, End
from chukei.objects.job import BOUND_SECONDS, Job
from chukei.objects.jobs import MOST_JOBS, Jobs
from chukei.record import RequestRecord
from chukei.stream.whole_answer import AnswerReport
from chukei.usage import Usage

pytestmark = pytest.mark.anyio

MOST = Usage(input=40, output=5000, estimated=True)
SUBJECTS = (Subject("caller:ada", Limits(tokens_per_day=100_000)),)
KEPT = Kept("reservation", SUBJECTS, MOST)
DONE = AnswerReport(Usage(input=100, output=50), "gpt", None, {0: "completed"})
PENDING = AnswerReport(finish_reasons={0: "in_progress"})
UNREACHABLE = UpstreamError("connect_error", "No.", end=End.CONNECT_ERROR)


class FakeBoard:
    """What replicas tell each other."""

    def __init__(self) -> None:
        self.known: dict[str, str] = {}

    def keep_job(self, id: str, text: str) -> None:
        self.known[id] = text

    async def find_job(self, id: str) -> str | None:
        return self.known.get(id)


class Site:
    """The world of some relays: a clock, what the deployment answers, and what each relay did."""

    def __init__(self, database: FakeDatabase | None = None, board: FakeBoard | None = None) -> None:
        self.now = datetime(2026, 11, 29, 12, tzinfo=UTC)
        self.database = database
        self.board = board
        self.answers: list[AnswerReport | UpstreamError | None] = []
        self.looked: list[str] = []
        self.settled: list[tuple[str, Amounts, Sequence[Subject]]] = []
        self.billed: list[Entry] = []

    async def look(self, job: Job) -> AnswerReport | None:
        self.looked.append(job.id)
        answer = self.answers.pop(0)
        if isinstance(answer, UpstreamError):
            raise answer
        return answer

    @asynccontextmanager
    async def relay(self, *, starts: bool = False) -> AsyncIterator[Jobs]:
        jobs = Jobs(
            lambda id, amounts, subjects: self.settled.append((id, amounts, subjects)),
            self.billed.append,
            now=lambda: self.now,
            store=self.database,
            board=self.board,
            look=self.look,
        )
        if starts:
            jobs.start()
        try:
            yield jobs
        finally:
            await jobs.close()

    async def after(self, jobs: Jobs, seconds: float) -> None:
        """Let time pass, and the relay look at what is due."""
        self.now += timedelta(seconds=seconds)
        await jobs.round()
        await turns()


async def turns() -> None:
    """Let everything run that waits for nothing."""
    for _ in range(30):
        await asyncio.sleep(0)


def begin(jobs: Jobs, id: str = "resp_1", kept: Kept = KEPT) -> None:
    record = RequestRecord("request-1", "POST", "/v1/responses", Caller("ada", CallerKind.KEY, ("lab",)))
    record.operation, record.model, record.deployment = "responses", "chat", "east"
    jobs.begin(id, "https://east.example/gpt", "v1", record, kept)


@rows("kept_in", ["memory", "database"])
async def test_whoever_sees_the_end_settles_once(kept_in: str) -> None:
    site = Site(FakeDatabase() if kept_in == "database" else None)
    async with site.relay() as jobs:
        begin(jobs)
        assert [value for _, _, value in jobs.readings()] == [1]
        jobs.seen("resp_1", PENDING)
        jobs.seen("resp_1", AnswerReport())
        await turns()
        assert site.settled == []
        jobs.seen("resp_1", DONE)
        jobs.seen("resp_1", DONE)
        await turns()
        assert site.settled == [("reservation", Amounts(150, 0), [*SUBJECTS])]
        assert [entry.input for entry in site.billed] == [100]
        assert len(jobs) == 0
    if site.database is not None:
        assert site.database.jobs == {}
        assert [entry.requests for entry in site.database.entries.values()] == [0]


async def test_a_response_that_is_no_job_is_nobodys_bill() -> None:
    site = Site(FakeDatabase(), FakeBoard())
    async with site.relay() as jobs:
        jobs.seen("resp_other", DONE)
        await turns()
    assert (site.settled, site.billed) == ([], [])


async def test_another_relay_settles_what_the_database_knows() -> None:
    site = Site(FakeDatabase())
    async with site.relay() as one, site.relay() as other:
        begin(one)
        await turns()
        other.seen("resp_1", DONE)
        one.seen("resp_1", DONE)
        await turns()
    assert len(site.settled) == 2, "each corrects the reservation, which the store does once"
    assert len(site.billed) == 1
    assert site.database is not None
    assert len(site.database.entries) == 1


async def test_another_relay_settles_what_the_board_knows() -> None:
    site = Site(board=FakeBoard())
    async with site.relay() as one, site.relay() as other:
        begin(one)
        other.seen("resp_1", DONE)
        await turns()
        assert [id for id, *_ in site.settled] == ["reservation"]
        await site.after(one, 600)
        assert site.looked == []
        assert len(one) == 0


async def test_the_relay_looks_at_growing_intervals() -> None:
    site = Site(FakeDatabase())
    site.answers = [PENDING, UNREACHABLE, DONE]
    async with site.relay() as jobs:
        begin(jobs)
        await turns()
        for seconds, looks in ((599, 0), (1, 1), (599, 1), (1, 2), (1199, 2), (1, 3)):
            await site.after(jobs, seconds)
            assert len(site.looked) == looks
    assert [entry.input for entry in site.billed] == [100]


@rows("answer", [None, PENDING, UNREACHABLE])
async def test_what_is_never_known_is_charged_as_reserved(answer: AnswerReport | UpstreamError | None) -> None:
    site = Site(FakeDatabase())
    site.answers = [answer]
    async with site.relay() as jobs:
        begin(jobs)
        await turns()
        await site.after(jobs, BOUND_SECONDS)
    assert [amounts.tokens for _, amounts, _ in site.settled] == [5040]
    assert [(entry.end, entry.estimated) for entry in site.billed] == [("background", True)]


@rows("known_to", ["memory", "database"])
async def test_a_response_that_has_ended_is_billed_before_it_is_deleted(known_to: str) -> None:
    site = Site(FakeDatabase())
    async with site.relay() as one, site.relay() as other:
        begin(one)
        await turns()
        deleting = one if known_to == "memory" else other
        site.answers = [DONE]
        await deleting.deleting("resp_1")
        deleting.seen("resp_1", None)
        await turns()
        assert [(entry.input, entry.output, entry.estimated) for entry in site.billed] == [(100, 50, False)]
        await deleting.deleting("resp_1")
    assert site.looked == ["resp_1"]


@rows("answer", [PENDING, UNREACHABLE, None])
async def test_a_response_may_be_deleted_before_its_end(answer: AnswerReport | UpstreamError | None) -> None:
    site = Site()
    async with site.relay() as jobs:
        begin(jobs)
        site.answers = [answer]
        await jobs.deleting("resp_1")
        assert site.billed == []
        await jobs.deleting("resp_of_no_job")
    assert site.looked == ["resp_1"]


async def test_a_deleted_response_costs_what_can_have_been_generated() -> None:
    site = Site()
    async with site.relay() as jobs:
        begin(jobs)
        site.now += timedelta(seconds=1)
        jobs.seen("resp_1", None)
        await turns()
    assert [(entry.output, entry.end) for entry in site.billed] == [(450, "client_aborted")]


async def test_a_later_relay_takes_up_what_one_has_left() -> None:
    site = Site(FakeDatabase())
    async with site.relay() as killed:
        begin(killed)
        await turns()
    site.answers = [DONE]
    async with site.relay() as later:
        await site.after(later, 600)
        assert site.looked == [], "the one that began it has a minute to look first"
        await site.after(later, 60)
        assert site.looked == ["resp_1"]
    assert [entry.input for entry in site.billed] == [100]


async def test_two_later_relays_look_once() -> None:
    site = Site(FakeDatabase())
    async with site.relay() as killed:
        begin(killed)
        await turns()
    site.answers = [PENDING]
    async with site.relay() as one, site.relay() as other:
        await site.after(one, 660)
        await site.after(other, 0)
    assert site.looked == ["resp_1"]


async def test_what_cannot_be_written_is_written_later() -> None:
    site = Site(FakeDatabase())
    assert site.database is not None
    site.database.away = True
    async with site.relay() as jobs:
        begin(jobs)
        jobs.seen("resp_1", DONE)
        await turns()
        assert site.billed == []
        site.database.away = False
        async with asyncio.timeout(60):
            while not site.billed:
                await asyncio.sleep(0.01)
    assert len(site.database.entries) == 1
    assert site.database.jobs == {}


async def test_an_end_that_cannot_be_placed_is_settled_by_whoever_sees_it_next() -> None:
    site = Site(FakeDatabase())
    async with site.relay() as one, site.relay() as other:
        begin(one)
        await turns()
        assert site.database is not None
        site.database.away = True
        other.seen("resp_1", DONE)
        await turns()
        assert site.billed == []
        site.database.away = False
        other.seen("resp_1", DONE)
        await turns()
    assert len(site.billed) == 1


async def test_memory_is_bounded_and_the_oldest_job_charged() -> None:
    site = Site()
    async with site.relay() as jobs:
        for number in range(MOST_JOBS + 1):
            begin(jobs, f"resp_{number}", Kept(f"r{number}", SUBJECTS, MOST))
        await turns()
        assert len(jobs) == MOST_JOBS
    assert [id for id, *_ in site.settled] == ["r0"]


async def test_it_looks_by_itself() -> None:
    site = Site()
    site.answers = [DONE]
    async with site.relay(starts=True) as jobs:
        jobs.first_seconds = 0.01
        begin(jobs)
        site.now += timedelta(seconds=1)
        async with asyncio.timeout(60):
            while not site.billed:
                await asyncio.sleep(0.01)
    assert site.looked == ["resp_1"]

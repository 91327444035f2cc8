"""Requests that cost nothing but their record: many of them are counted together, and the sums contain all."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from chukei.adapters.ledger.tally import KINDS, SINGLY, Tally
from chukei.model import Caller, CallerKind, End
from chukei.record import Attempt, RequestRecord

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


class Accounting:
    """Keeps what is handed on, and the time by which the tally goes."""

    def __init__(self) -> None:
        self.now = NOON
        self.kept: list[RequestRecord] = []
        self.tally = Tally((self,), now=lambda: self.now)

    def __call__(self, record: RequestRecord) -> None:
        self.kept.append(record)

    def counts(self) -> Counter[str | None]:
        """Return how many requests what was kept stands for, by caller."""
        counts: Counter[str | None] = Counter()
        for record in self.kept:
            counts[record.caller] += record.count
        return counts


@pytest.fixture
async def books() -> Accounting:
    return Accounting()


def caller(name: str = "team-a") -> Caller:
    return Caller(name, CallerKind.KEY, (), "k1")


def refusal(who: Caller | None = None, **fields: object) -> RequestRecord:
    record = RequestRecord("req", "POST", "/v1/chat/completions", who=who or caller(), operation="chat", model="gpt-4o")
    record.status, record.end, record.code = 429, End.REFUSED, "rate_limit_exceeded"
    for name, value in fields.items():
        setattr(record, name, value)
    return record


async def test_the_first_are_kept_one_by_one_and_the_others_as_one(books: Accounting) -> None:
    for number in range(3000):
        books.now = NOON + timedelta(seconds=number / 60)
        books.tally(refusal(request_id=f"req-{number}"))
    assert len(books.kept) == SINGLY
    books.now = NOON + timedelta(minutes=1)
    books.tally(refusal(request_id="later"))
    *single, together, later = books.kept
    assert [record.count for record in single] == [1] * SINGLY
    assert (together.count, together.request_id) == (3000 - SINGLY, "req-2999")
    assert together.ended == NOON + timedelta(seconds=2999 / 60)
    assert (later.count, later.request_id) == (1, "later")


async def test_what_asked_a_deployment_is_kept_whatever_became_of_it(books: Accounting) -> None:
    for _ in range(100):
        books.tally(refusal(end=End.UPSTREAM_STATUS, tries=[Attempt("east", code="upstream_400")]))
    assert [record.count for record in books.kept] == [1] * 100


async def test_no_caller_hides_another(books: Accounting) -> None:
    for _ in range(100):
        books.tally(refusal(caller("loud")))
    books.tally(refusal(caller("quiet")))
    assert books.kept[-1].caller == "quiet"
    books.tally.close()
    assert books.counts() == {"loud": 100, "quiet": 1}


@pytest.mark.parametrize("invented", ["model", "method"])
async def test_a_caller_who_varies_what_it_sends_gains_nothing(books: Accounting, invented: str) -> None:
    for number in range(10_000):
        books.tally(refusal(None, **{invented: f"x{number % 5000}"}))
    books.tally.close()
    assert books.counts() == {"team-a": 10_000}
    assert len(books.kept) <= KINDS * (SINGLY + 1) + 1


async def test_whatever_is_unknown_shares_one_bound(books: Accounting) -> None:
    for number in range(1000):
        books.tally(refusal(who=None, operation=None, model=None, code="invalid_api_key", path=f"/{number}"))
        books.tally(RequestRecord("req", "GET", f"/{number}", status=404, end=End.REFUSED, code="unknown_route"))
    books.tally.close()
    assert sum(record.count for record in books.kept) == 2000
    assert len(books.kept) == 2 * (SINGLY + 1)


async def test_many_callers_do_not_wait_for_the_minute() -> None:
    books, most = Accounting(), 50
    books.tally = Tally((books,), now=lambda: books.now, most=most)
    for number in range(4 * most):
        for _ in range(SINGLY + 2):
            books.tally(refusal(caller(f"c{number}")))
    assert sum(books.counts().values()) >= 3 * most * (SINGLY + 2)
    books.tally.close()
    assert set(books.counts().values()) == {SINGLY + 2}


async def test_a_long_path_is_not_held(books: Accounting) -> None:
    for _ in range(SINGLY + 1):
        books.tally(refusal(path="/" + "x" * 60_000))
    books.tally.close()
    assert len(books.kept[-1].path) == 200


async def test_probes_and_page_files_are_nothing_to_count(books: Accounting) -> None:
    for _ in range(100):
        books.tally(RequestRecord("req", "GET", "/health/live", operation="live", status=200, end=End.COMPLETED))
    assert len(books.kept) == 100


@pytest.mark.parametrize(("status", "kept"), [(200, 100), (201, 100), (401, SINGLY)])
async def test_what_an_administrator_did_is_not_put_together(books: Accounting, status: int, kept: int) -> None:
    for _ in range(100):
        books.tally(RequestRecord("req", "POST", "/admin/keys", operation="admin", status=status, end=End.COMPLETED))
    assert len(books.kept) == kept


async def test_the_minute_ends_also_when_nothing_comes_any_more() -> None:
    books = Accounting()
    books.now = NOON + timedelta(seconds=59.99)
    for _ in range(SINGLY + 5):
        books.tally(refusal())
    async with asyncio.timeout(60):
        while len(books.kept) == SINGLY:
            await asyncio.sleep(0.005)
    assert books.kept[-1].count == 5


async def test_after_closing_each_is_handed_on(books: Accounting) -> None:
    books.tally.close()
    for _ in range(100):
        books.tally(refusal())
    assert len(books.kept) == 100


async def test_one_hook_that_fails_keeps_nothing_from_the_others(caplog: pytest.LogCaptureFixture) -> None:
    def broken(record: RequestRecord) -> None:
        raise RuntimeError("broken")

    books = Accounting()
    tally = Tally((broken, books))
    tally(refusal())
    assert len(books.kept) == 1
    assert "was not written" in caplog.text

"""The bill of a response that was made in the background."""

from datetime import UTC, datetime
from fractions import Fraction
from itertools import pairwise

from msgspec.structs import replace
from tests.rows import rows

from chukei.accounts.admission import QUICKEST, UNSEEN, Kept
from chukei.accounts.ledger import Entry
from chukei.accounts.limits import Amounts, Limits, Subject
from chukei.model import Long, Model, Prices
from chukei.objects.job import BOUND_SECONDS, Job, bill_of, next_look, read, text_of
from chukei.stream.whole_answer import AnswerReport
from chukei.usage import Usage

BEGUN = datetime(2026, 11, 29, 12, 0, 0, 123_456, tzinfo=UTC)
MOST = Usage(input=40, output=5000, estimated=True)
ENTRY = Entry(
    id="",
    time=BEGUN,
    request_id="request-1",
    caller="ada",
    kind="key",
    group="lab",
    key_id="k1",
    operation="responses",
    model="chat",
    deployment="east",
    stream=True,
    status=None,
    end="",
    code=None,
    finish_reason=None,
    input=7,
    cached=0,
    output=7,
    reasoning=0,
    estimated=True,
    wasted=0,
    cost=None,
    first_token=None,
    duration=0.0,
    retries=1,
    hedges=0,
    upstream_request_id="u",
    region="East",
)
SUBJECTS = (Subject("caller:ada", Limits(tokens_per_day=100_000, concurrent=1)),)
JOB = Job("resp_1", "https://east.example/gpt", "v1", ENTRY, Kept("reservation", SUBJECTS, MOST))
MODEL = Model("chat", (), prices=Prices(input=2_000_000_000, output=10_000_000_000))
REPORTED = Usage(input=100, output=50, cached=10, reasoning=20)


def test_a_job_is_kept_as_text() -> None:
    assert read(text_of(JOB)) == JOB
    assert read('{"id":"resp_1"}') is None


def test_the_bill_has_what_the_response_reports_and_counts_no_request() -> None:
    report = AnswerReport(REPORTED, "gpt-5-2025-08-07", "priority", {0: "completed"})
    bill = bill_of(JOB, report, MODEL, 12.5)
    assert bill.amounts == Amounts(150, 100 * 2 + 50 * 10)
    entry = bill.entry
    assert (entry.input, entry.output, entry.cached, entry.reasoning, entry.estimated) == (100, 50, 10, 20, False)
    assert (entry.requests, entry.end, entry.finish_reason, entry.status) == (0, "completed", "completed", 200)
    assert (entry.served_model, entry.service_tier, entry.cost) == ("gpt-5-2025-08-07", "priority", 700)
    assert (entry.request_id, entry.caller, entry.group, entry.key_id) == ("request-1", "ada", "lab", "k1")
    assert (entry.time, entry.duration, entry.retries) == (BEGUN, 12_500.0, 0)


def test_whoever_makes_it_the_bill_has_the_same_id_and_time() -> None:
    ended = AnswerReport(REPORTED, finish_reasons={0: "completed"})
    again = read(text_of(JOB))
    assert again is not None
    bills = [bill_of(again, report, model, 1.0) for report in (ended, None) for model in (MODEL, None)]
    assert len({(bill.entry.id, bill.entry.time) for bill in bills}) == 1
    [id] = {bill.entry.id for bill in bills}
    assert len(id) == 32
    other = Job("resp_2", JOB.identity, JOB.version, ENTRY, JOB.kept)
    assert bill_of(other, ended, MODEL, 1.0).entry.id != id


@rows(
    ("reason", "seconds", "output", "end"),
    [
        ("completed", 5.0, 5000, "completed"),
        ("max_output_tokens", 5.0, 5000, "length"),
        ("content_filter", 5.0, 5000, "content_filter"),
        ("cancelled", 0.0, UNSEEN, "client_aborted"),
        ("cancelled", 2.0, 2 * QUICKEST + UNSEEN, "client_aborted"),
        ("cancelled", 600.0, 5000, "client_aborted"),
        ("failed", 2.0, 2 * QUICKEST + UNSEEN, "upstream_error"),
        (None, 5.0, 5000, "background"),
    ],
)
def test_without_a_report_the_reserved_output_is_charged(
    reason: str | None, seconds: float, output: int, end: str
) -> None:
    report = None if reason is None else AnswerReport(finish_reasons={0: reason})
    bill = bill_of(JOB, report, MODEL, seconds)
    assert (bill.entry.input, bill.entry.output, bill.entry.estimated) == (40, output, True)
    assert (bill.entry.end, bill.entry.finish_reason) == (end, reason)
    assert bill.amounts.tokens == 40 + output


def test_a_model_without_prices_leaves_the_cost_open() -> None:
    bill = bill_of(JOB, AnswerReport(REPORTED, finish_reasons={0: "completed"}), None, 1.0)
    assert bill.entry.cost is None
    assert bill.amounts == Amounts(150, 0)


@rows(
    ("age", "look"),
    [(0.0, 600.0), (599.0, 600.0), (600.0, 1200.0), (1199.0, 1200.0), (1200.0, 2400.0), (80_000.0, BOUND_SECONDS)],
)
def test_looks_come_at_growing_intervals_up_to_the_bound(age: float, look: float) -> None:
    assert next_look(age, 600.0) == look


BATCH = replace(JOB, id="batch_1", identity="https://east.example/", kind="batch", entry=replace(ENTRY, requests=30))
TIERS = Model(
    "chat",
    (),
    prices=Prices(
        input=2_000_000_000,
        output=10_000_000_000,
        tiers={"batch": Fraction(1, 2)},
        long=Long(50, Prices(input=9_000_000_000, output=90_000_000_000)),
    ),
)


def test_the_bill_of_a_batch_counts_its_requests_at_the_price_of_batches() -> None:
    bill = bill_of(BATCH, AnswerReport(REPORTED, "gpt-x", "batch", {0: "completed"}, requests=12), TIERS, 3600.0)
    assert (bill.entry.requests, bill.entry.cost, bill.amounts) == (12, 350, Amounts(150, 350))
    assert (bill.entry.service_tier, bill.entry.end, bill.entry.estimated) == ("batch", "completed", False)
    assert bill_of(BATCH, AnswerReport(REPORTED, requests=12), MODEL, 1.0).entry.cost == 700, "without such a price"


def test_a_batch_without_any_usage_is_charged_as_reserved() -> None:
    for report in (None, AnswerReport(None, None, "batch", {0: "cancelled"}, requests=5)):
        bill = bill_of(BATCH, report, TIERS, 1.0)
        assert bill.amounts.tokens == MOST.input + MOST.output
        assert bill.entry.estimated
        assert bill.entry.requests == (30 if report is None else 5)


def test_a_batch_is_looked_at_for_two_weeks_with_bounded_pauses() -> None:
    age, ages = 0.0, []
    while age < BATCH.bound:
        age = next_look(age, 600.0, BATCH.bound)
        ages.append(age)
    assert ages[:4] == [600, 1200, 2400, 4800]
    assert ages[-1] == BATCH.bound
    assert max(later - earlier for earlier, later in pairwise(ages)) <= 6 * 3600


def test_what_earlier_versions_have_stored_is_a_response() -> None:
    text = text_of(JOB).replace(',"kind":"response"', "")
    assert "kind" not in text.replace('"kind":"key"', "")
    assert read(text) == JOB

"""What a record adds to the metrics, and what a snapshot holds."""

import pytest
from tests.rows import rows

from chukei.metrics.definitions import (
    ATTEMPTS,
    CACHED,
    CALLER_REQUESTS,
    COST,
    CPU,
    DURATION,
    FAILOVERS,
    FIRST_OUTPUT,
    FIRST_TOKEN,
    GAPS,
    HEDGES,
    LOOP_LAG,
    MAX_LABEL,
    OPEN_REQUESTS,
    OTHER,
    REASONING,
    REFUSALS,
    REQUESTS,
    SECONDS,
    STALL_SECONDS,
    STALLS,
    TOKENS,
    UNPRICED,
    WASTED,
    Family,
)
from chukei.metrics.meter import Meter
from chukei.metrics.snapshot import Labels, Snapshot
from chukei.model import Caller, CallerKind, End
from chukei.record import Attempt, RequestRecord
from chukei.usage import Usage

ALICE = Caller("alice", CallerKind.KEY, ("team", "staff"))
USED = Usage(input=10, output=5, cached=4, reasoning=2)


def streamed(**known: object) -> RequestRecord:
    """Return the record of a stream that ended well."""
    answering = Attempt("east", seconds=0.3, usage=USED)
    record = RequestRecord(
        "r",
        "POST",
        "/v1/chat/completions",
        who=ALICE,
        operation="chat",
        model="gpt",
        deployment="east",
        stream=True,
        status=200,
        end=End.COMPLETED,
        usage=USED,
        cost=1_500_000,
        first_token=0.5,
        duration=2.0,
        tries=[answering],
        answering=answering,
    )
    for name, value in known.items():
        setattr(record, name, value)
    return record


def refused(**known: object) -> RequestRecord:
    record = RequestRecord("r", "POST", "/", status=429, end=End.REFUSED, code="rate_limit_exceeded")
    for name, value in known.items():
        setattr(record, name, value)
    return record


def counted(*records: RequestRecord, callers: bool = False) -> Snapshot:
    meter = Meter(most=100, callers=callers)
    for record in records:
        meter(record)
    return meter.snapshot()


def values(snapshot: Snapshot, family: Family) -> dict[Labels, float]:
    return {sample.labels: sample.value for sample in snapshot.samples(family)}


def test_a_stream_is_counted_in_every_family_that_concerns_it() -> None:
    found = counted(streamed(), streamed())
    call, use = ("chat", "gpt", "east"), ("gpt", "east", "team", "")
    assert values(found, REQUESTS) == {(*call, "200", "completed"): 2}
    assert values(found, CALLER_REQUESTS) == {("chat", "team", "", "completed"): 2}
    assert values(found, DURATION) == {call: 4.0}
    assert values(found, FIRST_TOKEN) == {call: 1.0}
    assert values(found, TOKENS) == {(*use, "input", "false"): 20, (*use, "output", "false"): 10}
    assert values(found, CACHED) == {use: 8}
    assert values(found, REASONING) == {use: 4}
    assert values(found, COST) == {use: 3.0}
    assert values(found, ATTEMPTS) == {("gpt", "east", "answered"): 2}
    assert values(found, FIRST_OUTPUT) == {("gpt", "east"): 0.6}
    for family in (REFUSALS, WASTED, UNPRICED, FAILOVERS, HEDGES, STALLS, GAPS):
        assert not found.samples(family), family.name


def test_observations_are_in_the_bucket_of_their_bound() -> None:
    meter = Meter(most=100)
    for seconds in (0.01, 0.010001, 81.92, 82.0):
        meter(streamed(first_token=seconds))
    [sample] = meter.snapshot().samples(FIRST_TOKEN)
    assert sample.counts == (1, 1, *[0] * (len(SECONDS) - 3), 1, 1)


def test_gaps_are_added_and_long_ones_are_stalls() -> None:
    gaps = [0] * (len(SECONDS) + 1)
    gaps[0], gaps[SECONDS.index(STALL_SECONDS)], gaps[SECONDS.index(STALL_SECONDS) + 1], gaps[-1] = 7, 1, 2, 3
    found = counted(streamed(gaps=gaps, gap_seconds=300.0), streamed(gaps=gaps, gap_seconds=300.0))
    [sample] = found.samples(GAPS)
    assert sample.counts == tuple(2 * count for count in gaps)
    assert sample.value == 600.0
    assert values(found, STALLS) == {("chat", "gpt", "east"): 10}


def test_callers_are_told_apart_only_if_it_is_wanted() -> None:
    others = [streamed(who=Caller(name, CallerKind.KEY)) for name in ("bob", "carol")]
    assert values(counted(*others), COST) == {("gpt", "east", "", ""): 3.0}
    assert values(counted(*others, callers=True), COST) == {
        ("gpt", "east", "", "bob"): 1.5,
        ("gpt", "east", "", "carol"): 1.5,
    }


@rows(
    ("rule", "callers", "shown"),
    [
        ("callers.alice.limits.requests_per_minute", False, "callers.*.limits.requests_per_minute"),
        ("callers.alice.limits.requests_per_minute", True, "callers.alice.limits.requests_per_minute"),
        ("groups.team.total.tokens_per_day", False, "groups.team.total.tokens_per_day"),
        (None, False, ""),
    ],
)
def test_a_refusal_names_the_rule_but_not_the_caller(rule: str | None, callers: bool, shown: str) -> None:
    found = counted(refused(who=ALICE, rule=rule), callers=callers)
    assert values(found, REFUSALS) == {("rate_limit_exceeded", shown, "team", "alice" if callers else ""): 1}


@rows(
    ("end", "is_refusal"),
    [(End.REFUSED, True), (End.NO_DEPLOYMENT, True), (End.UPSTREAM_STATUS, False), (End.CLIENT_ABORTED, False)],
)
def test_refusals_are_those_of_the_relay(end: End, is_refusal: bool) -> None:
    assert bool(counted(refused(end=end)).samples(REFUSALS)) == is_refusal


def test_a_record_of_several_requests_counts_as_many() -> None:
    found = counted(refused(count=7, who=ALICE))
    assert found.value(REQUESTS) == found.value(REFUSALS) == found.value(CALLER_REQUESTS) == 7


def test_a_request_without_anything_known_is_counted() -> None:
    assert values(counted(RequestRecord("r", "", "")), REQUESTS) == {("", "", "", "", ""): 1}


def test_attempts_failovers_and_hedges_are_told_apart() -> None:
    failed = Attempt("west", code="connect_failed")
    slow = Attempt("east", code="hedge_lost", usage=Usage(10, 3, estimated=True))
    won = Attempt("north", hedge=True, seconds=0.2, usage=USED)
    found = counted(streamed(tries=[failed, slow, won], answering=won, deployment="north"))
    assert values(found, ATTEMPTS) == {
        ("gpt", "west", "connect_failed"): 1,
        ("gpt", "east", "hedge_lost"): 1,
        ("gpt", "north", "answered"): 1,
    }
    assert values(found, FAILOVERS) == {("gpt",): 1}
    assert values(found, HEDGES) == {("gpt", "won"): 1}
    assert values(found, WASTED) == {("gpt", "east", "team", ""): 13}
    assert values(found, FIRST_OUTPUT) == {("gpt", "north"): 0.2}


@rows(("answers", "first_token"), [(False, 0.5), (True, None)], ids=["the first was quicker", "both failed"])
def test_a_hedge_that_did_not_answer_is_lost(answers: bool, first_token: float | None) -> None:
    first, second = Attempt("east"), Attempt("west", hedge=True, code="hedge_lost")
    found = counted(streamed(tries=[first, second], answering=second if answers else first, first_token=first_token))
    assert values(found, HEDGES) == {("gpt", "lost"): 1}
    assert not found.samples(FAILOVERS)


def test_usage_without_a_price_is_counted_apart() -> None:
    found = counted(streamed(cost=None, usage=Usage(10, 5, estimated=True)))
    assert values(found, UNPRICED) == {("gpt", "east", "team", ""): 1}
    assert not found.samples(COST)
    assert {labels[-1] for labels in values(found, TOKENS)} == {"true"}


def test_costs_are_exact_in_millionths() -> None:
    meter = Meter(most=100)
    for _ in range(1000):
        meter(streamed(cost=1))
    assert meter.snapshot().value(COST) == 0.001


def test_many_callers_and_deployments_are_counted_as_other() -> None:
    meter = Meter(most=50, callers=True)
    for number in range(1000):
        record = streamed(who=Caller(f"caller-{number}", CallerKind.KEY), deployment=f"place-{number}")
        record.tries[0].deployment = f"place-{number}"
        meter(record)
    found = meter.snapshot()
    assert max(len(samples) for samples in found.families.values()) <= 50
    assert (found.value(REQUESTS), found.value(TOKENS, direction="input")) == (1000, 10_000)
    assert found.value(ATTEMPTS, deployment=OTHER) == 1000 - 45


def test_names_that_clients_invent_are_cut_off() -> None:
    found = counted(streamed(model="m" * 1_000_000))
    assert {labels[1] for labels in values(found, REQUESTS)} == {"m" * MAX_LABEL}


# Readers.


def test_gauges_are_read_for_each_snapshot() -> None:
    meter, served = Meter(most=100), [1.0]
    meter.watch(lambda: [(OPEN_REQUESTS, ("chat",), served[0]), (OPEN_REQUESTS, ("chat",), 1.0)])
    assert meter.snapshot().value(OPEN_REQUESTS) == 2.0
    served[0] = 4.0
    assert meter.snapshot().value(OPEN_REQUESTS) == 5.0


def test_what_a_process_leaves_behind_has_no_gauges() -> None:
    meter = Meter(most=100)
    meter.watch(lambda: [(OPEN_REQUESTS, ("chat",), 1.0), (CPU, (), 12.5)])
    meter(streamed())
    meter.observe_lag(0.003)
    left = meter.counts()
    assert not left.samples(OPEN_REQUESTS)
    assert left.value(CPU) == 12.5
    assert left.value(REQUESTS) == 1
    assert left.value(LOOP_LAG) == 0.003
    assert meter.gauges().families.keys() == {OPEN_REQUESTS.name}
    assert meter.snapshot().families.keys() == left.families.keys() | {OPEN_REQUESTS.name}


def test_a_reader_that_fails_takes_nothing_else_with_it(caplog: pytest.LogCaptureFixture) -> None:
    meter = Meter(most=100)

    def fails() -> list[tuple[Family, Labels, float]]:
        raise OSError("no such file")

    meter.watch(fails)
    meter.watch(lambda: [(OPEN_REQUESTS, ("chat",), 1.0)])
    assert meter.snapshot().value(OPEN_REQUESTS) == 1.0
    assert "some metrics could not be read" in caplog.text

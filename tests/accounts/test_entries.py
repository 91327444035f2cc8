"""Which requests the ledger gets an entry of, and what is in it."""

from datetime import UTC, datetime

from tests.rows import rows

from chukei.accounts.entries import entry_of
from chukei.accounts.ledger import Entry
from chukei.azure import OPERATIONS
from chukei.model import Caller, CallerKind, End
from chukei.record import Attempt, RequestRecord
from chukei.usage import Units, Usage

NOW = datetime(2026, 11, 22, 12, 30, tzinfo=UTC)
ALICE = Caller("user:alice", CallerKind.USER, ("research", "everybody"), None)
BATCH = Caller("team-a", CallerKind.KEY, (), "k1")


def record(**fields: object) -> RequestRecord:
    made = RequestRecord("req-1", "POST", "/v1/chat/completions", who=ALICE, operation="chat", end=End.COMPLETED)
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def kept(**fields: object) -> Entry:
    entry = entry_of(record(**fields), id="e1", time=NOW)
    assert entry is not None
    return entry


def test_what_a_realtime_session_has_used() -> None:
    assert kept(operation="realtime", usage=Usage(132, 121)).input == 132
    assert kept(operation="realtime_transcription", usage=Usage(20, 10)).output == 10
    assert entry_of(record(operation="realtime_socket"), id="e1", time=NOW) is None


def test_a_finished_stream() -> None:
    assert kept(
        model="gpt-4o",
        deployment="sweden",
        stream=True,
        status=200,
        finish_reasons={0: "stop"},
        usage=Usage(100, 30, 20, 5, cache_written=6, audio_input=4, audio_output=3),
        cost=550,
        first_token=0.25,
        duration=1.5,
        upstream_request_id="a1b2",
        region="swedencentral",
        tries=[tried := Attempt("sweden", usage=Usage(90, 0, estimated=True))],
        answering=tried,
        served_model="gpt-4o-2024-11-20",
        service_tier="priority",
        units=Units(images=2, characters=9, heard_ms=10),
    ) == Entry(
        id="e1",
        time=NOW,
        request_id="req-1",
        caller="user:alice",
        kind="user",
        group="research",
        key_id=None,
        operation="chat",
        model="gpt-4o",
        deployment="sweden",
        stream=True,
        status=200,
        end="completed",
        code=None,
        finish_reason="stop",
        input=100,
        cached=20,
        output=30,
        reasoning=5,
        estimated=False,
        wasted=0,
        cost=550,
        first_token=250.0,
        duration=1500.0,
        retries=0,
        hedges=0,
        upstream_request_id="a1b2",
        region="swedencentral",
        served_model="gpt-4o-2024-11-20",
        service_tier="priority",
        cache_written=6,
        audio_input=4,
        audio_output=3,
        images=2,
        characters=9,
        heard_ms=10,
    )


def test_what_the_relay_refused_itself_costs_nothing() -> None:
    entry = kept(who=BATCH, end=End.REFUSED, status=403, code="insufficient_quota")
    assert (entry.end, entry.status, entry.code) == ("refused", 403, "insufficient_quota")
    assert (entry.caller, entry.kind, entry.group, entry.key_id) == ("team-a", "key", None, "k1")
    assert (entry.input, entry.output, entry.estimated, entry.retries) == (0, 0, False, 0)
    assert (entry.model, entry.deployment, entry.first_token) == (None, None, None)


@rows("cost", [None, 0, 7])
def test_the_cost_is_the_records(cost: int | None) -> None:
    assert kept(cost=cost, usage=Usage(1, 1), answering=Attempt("a")).cost == cost


def test_what_was_not_sent_costs_nothing_whatever_the_price() -> None:
    assert kept(cost=None, usage=None).cost == 0


def test_a_stream_cut_short_is_marked_as_estimated() -> None:
    entry = kept(end=End.CLIENT_ABORTED, usage=Usage(100, 7, estimated=True))
    assert (entry.end, entry.output, entry.estimated) == ("client_aborted", 7, True)


def test_what_other_tries_may_have_cost_is_wasted() -> None:
    sent = Usage(100, 7, estimated=True)
    entry = kept(
        usage=Usage(98, 20),
        answering=(won := Attempt("sweden", usage=sent)),
        tries=[
            Attempt("east", code="rate_limit_exceeded"),  # refused: nothing was charged
            Attempt("west", code="upstream_timeout", usage=sent),
            Attempt("north", code="hedge_lost", hedge=True, usage=sent),
            won,
        ],
    )
    assert (entry.retries, entry.hedges, entry.wasted, entry.input) == (2, 1, 214, 98)


def test_when_none_answered_the_last_try_is_not_wasted_twice() -> None:
    sent = Usage(100, 0, estimated=True)
    tries = [Attempt("a", code="upstream_lost", usage=sent) for _ in range(3)]
    entry = kept(usage=sent, end=End.UPSTREAM_LOST, tries=tries, answering=tries[-1])
    assert (entry.input, entry.wasted, entry.retries) == (100, 200, 2)


@rows("operation", sorted(operation.name for operation in OPERATIONS.values() if not operation.free))
def test_every_operation_of_a_model_gets_an_entry(operation: str) -> None:
    assert kept(operation=operation).operation == operation


@rows(
    "operation",
    [None, "models", "live", "ready", "chat_page", "asset", "deployments", "responses_input_tokens", "response_get"],
)
def test_pages_get_none(operation: str | None) -> None:
    assert entry_of(record(operation=operation), id="e1", time=NOW) is None


def test_who_was_turned_away_gets_none() -> None:
    """So nobody without a credential fills the database."""
    assert entry_of(record(who=None, end=End.REFUSED, status=401), id="e1", time=NOW) is None


def test_there_is_no_place_for_what_was_said() -> None:
    """A new field has to be looked at: nothing of a prompt, a completion or a credential may get in."""
    known = (
        "id time request_id caller kind group key_id operation model deployment stream status end code finish_reason "
        "input cached output reasoning estimated wasted cost first_token duration retries hedges upstream_request_id "
        "region served_model service_tier cache_written audio_input audio_output images characters heard_ms requests"
    )
    assert " ".join(Entry.__struct_fields__) == known

"""May a request be made, and on whose account? What is reserved, what is settled, what a caller is told."""

import json
import math
from fractions import Fraction
from typing import Any

import pytest
from tests.fakes import FakeQuota
from tests.rows import rows

from chukei.accounts.admission import UNSEEN, Admission, refused
from chukei.accounts.estimate import HIDDEN_TOKENS, USUAL_OUTPUT, Estimator
from chukei.accounts.limits import Amounts, Headroom, Limit, Limits, Refusal, Rules
from chukei.accounts.policy import EVERYBODY, Policies, Policy
from chukei.accounts.stores import StoreAway
from chukei.azure import CHAT, OPERATIONS
from chukei.errors import CallerError, RelayError, Unavailable
from chukei.model import Caller, CallerKind, Deployment, Model, Prices, per_million
from chukei.record import Attempt, RequestRecord
from chukei.request import call as calls
from chukei.request.call import Call
from chukei.request.routes import Route
from chukei.usage import Usage

pytestmark = pytest.mark.anyio

MODEL = Model(
    "chat",
    (Deployment("a", "https://a.example", "gpt"),),
    prices=Prices(input=per_million("1"), output=per_million("2")),
)
GROUPS = {
    "research": Rules(limits=Limits(requests_per_minute=60), total=Limits(tokens_per_minute=9000)),
    EVERYBODY: Rules(total=Limits(money_per_month=5_000_000)),
}


def call(**fields: object) -> Call:
    raw = json.dumps({"messages": [{"role": "user", "content": "hi"}], "max_tokens": 100, **fields}).encode()
    return calls.read(Route(CHAT), CHAT, [(b"content-type", b"application/json")], raw)


def of(operation: str, **fields: object) -> Call:
    [found] = [each for each in OPERATIONS.values() if each.name == operation]
    return calls.read(Route(found), found, [(b"content-type", b"application/json")], json.dumps(fields).encode())


def record(*tries: Attempt, usage: Usage | None = None, **fields: object) -> RequestRecord:
    """A request that was answered by the last of some tries."""
    made = RequestRecord("r", "POST", "/", tries=[*tries], answering=tries[-1] if tries else None, usage=usage)
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def sent(code: str | None = None, **fields: Any) -> Attempt:
    return Attempt("a", code=code, usage=Usage(input=1, estimated=True), **fields)


async def settled(asked: Call, made: RequestRecord, model: Model = MODEL) -> Amounts:
    """What is left charged of a request."""
    store = FakeQuota()
    admission = Admission(store)
    (await admission.admit(asked, model, policy("research"), "eve")).settle(made)
    await admission.close()
    [(_, amounts)] = store.settled
    return amounts


def policy(*groups: str) -> Policy:
    return Policies({}, GROUPS).of(Caller("eve", CallerKind.KEY, groups))


async def test_the_estimate_is_reserved_on_every_account_and_corrected_once() -> None:
    store = FakeQuota()
    admission = Admission(store)
    reservation = await admission.admit(call(), MODEL, policy("research"))
    [(id, subjects, estimate)] = store.reserved
    assert [subject.name for subject in subjects] == ["caller:eve", "group:research", "group:everybody"]
    assert estimate.tokens == call().size // 4 + 1 + 100
    done = record(sent(), usage=Usage(input=10, output=5))
    reservation.settle(done)
    assert done.cost == 20
    reservation.settle(record(sent(), usage=Usage(input=999, output=999)))
    await admission.close()
    assert store.settled == [(id, Amounts(15, 20))]


async def test_what_was_refused_or_not_sent_costs_nothing() -> None:
    assert await settled(call(), record(Attempt("a", code="invalid_request"))) == Amounts(0, 0)
    made = record()
    assert await settled(call(), made) == Amounts(0, 0)
    assert (made.usage, made.cost) == (None, 0)


PROMPT = Estimator().uncounted(call(), MODEL)


async def test_an_answer_that_counts_nothing_stays_as_it_was_reserved_and_is_marked() -> None:
    """A job in the background: its usage is null."""
    asked = of("responses", input="hi", background=True, max_output_tokens=700)
    made = record(sent(), status=200)
    prompt = Estimator().uncounted(asked, MODEL)
    assert await settled(asked, made) == Amounts(prompt + 700, prompt + 1400)
    assert made.usage == Usage(input=prompt, output=700, estimated=True)
    assert made.cost == prompt + 1400


@rows("code", ["upstream_lost", "upstream_timeout"])
async def test_what_was_sent_and_lost_stays_as_it_was_reserved(code: str) -> None:
    lost = sent(code)
    assert await settled(call(), record(lost, usage=lost.usage)) == Amounts(PROMPT + 100, PROMPT + 200)


async def test_a_report_without_a_prompt_is_completed_and_marked() -> None:
    made = record(sent(), usage=Usage(input=0, output=40))
    assert await settled(call(), made) == Amounts(PROMPT + 40, PROMPT + 80)
    assert made.usage == Usage(input=PROMPT, output=40, estimated=True)


async def test_an_estimate_is_never_below_the_prompt_that_was_reserved_nor_what_was_relayed() -> None:
    asked = of("responses", input="hi", previous_response_id="r")
    made = record(sent(), usage=Usage(input=3, output=900, estimated=True))
    amounts = await settled(asked, made)
    assert amounts.tokens == Estimator().uncounted(asked, MODEL) + 900 > asked.size // 4 + HIDDEN_TOKENS + 900


async def test_tries_that_lost_are_charged_to_their_caller_and_to_the_ledger() -> None:
    failed, refused_one = sent("upstream_lost"), Attempt("b", code="rate_limit_exceeded")
    made = record(failed, refused_one, sent(), usage=Usage(input=10, output=5))
    assert await settled(call(), made) == Amounts(15 + PROMPT + 100, 20 + PROMPT + 200)
    assert (failed.usage, refused_one.usage) == (Usage(input=PROMPT, output=100, estimated=True), None)
    assert (made.usage, made.cost) == (Usage(input=10, output=5), 20 + PROMPT + 200)


async def test_a_try_that_was_ended_before_its_first_token_made_no_more_than_a_model_can() -> None:
    outrun = sent("hedge_lost", hedge=True, seconds=0.05)
    asked = call(max_tokens=5000, stream=True)
    made = record(outrun, sent(), usage=Usage(input=10, output=5))
    assert (await settled(asked, made)).tokens == 15 + Estimator().uncounted(asked, MODEL) + 15 + UNSEEN


async def test_an_absurd_report_never_keeps_a_concurrent_place() -> None:
    usage = Usage(input=10**400, output=10**400, cached=10**400, reasoning=-5)
    made = record(sent(), usage=usage, served_model="x", service_tier="y")
    assert (await settled(call(), made)).tokens == 2 * 10**400  # stores clamp it
    odd = record(sent(), usage=Usage(input="9"))  # type: ignore[arg-type]
    reserved = Estimator().amounts(call(), MODEL)
    assert await settled(call(), odd) == reserved


async def test_the_price_is_that_of_what_was_served() -> None:
    dear = Prices(per_million("10"), None, per_million("20"))
    prices = Prices(per_million("1"), None, per_million("2"), tiers={"priority": Fraction(3)}, by_model={"gpt-x": dear})
    model = Model("chat", MODEL.deployments, prices=prices)
    usage = Usage(input=10, output=5)
    for fields, cost in (
        ({}, 20),
        ({"served_model": "gpt-x"}, 200),
        ({"service_tier": "priority"}, 60),
        ({"service_tier": "default"}, 20),
    ):
        made = record(sent(), usage=usage, **fields)
        await settled(call(), made, model)
        assert made.cost == cost


async def test_what_is_paid_for_by_the_piece_is_charged_and_kept() -> None:
    priced = Model("media", MODEL.deployments, prices=Prices(image=Fraction("0.04"), characters=Fraction(15)))
    made = record(sent(), status=200)
    assert await settled(of("image_generation", prompt="cat", n=3), made, priced) == Amounts(0, 120_000)
    assert (made.usage, made.units.images, made.cost) == (None, 3, 120_000)
    made = record(sent(), status=200)
    assert await settled(of("speech", input="x" * 1000), made, priced) == Amounts(0, 15_000)
    refused_one = record(Attempt("a", code="content_filter"), status=400)
    assert await settled(of("image_generation", prompt="cat", n=3), refused_one, priced) == Amounts(0, 0)


async def test_the_cost_of_what_nobody_counts_is_unknown_not_nothing() -> None:
    made = record(sent(), status=200)
    assert await settled(of("speech", input="hello"), made) == Amounts(0, 0)
    assert (made.usage, made.cost) == (None, None)


async def test_what_was_learnt_of_a_caller_makes_no_request_impossible() -> None:
    """Nor what a request may bring along: then what it is sure to use is reserved."""
    never = Refusal("caller:eve", Limit.TOKENS_PER_MINUTE, 3000, 0, 9000, math.inf)
    store = FakeQuota(refusals=[never])
    asked = of("responses", input="hi", previous_response_id="r")
    await Admission(store).admit(asked, MODEL, policy("research"), "eve")
    least = asked.size // 4 + 1 + USUAL_OUTPUT
    assert [estimate.tokens for _, _, estimate in store.reserved] == [least + HIDDEN_TOKENS, least]


async def test_what_could_never_be_granted_by_any_measure_is_refused() -> None:
    never = Refusal("caller:eve", Limit.TOKENS_PER_MINUTE, 100, 0, 5000, math.inf)
    with pytest.raises(CallerError) as caught:
        await Admission(FakeQuota(refusals=[never, never])).admit(call(), MODEL, policy("research"))
    assert caught.value.code == "request_exceeds_limit"


async def test_without_limits_the_store_is_not_asked_and_the_cost_is_known_all_the_same() -> None:
    store = FakeQuota()
    free = Policies({}, {}).of(Caller("eve", CallerKind.KEY))
    reservation = await Admission(store).admit(call(), MODEL, free)
    assert store.reserved == []
    assert reservation.headers == []
    done = record(sent(), usage=Usage(input=1000))
    reservation.settle(done)
    assert done.cost == 1000
    assert store.settled == []
    await Admission(None).admit(call(), MODEL, policy("research"))


async def test_the_caller_hears_of_its_own_limits_per_minute_alone() -> None:
    store = FakeQuota(
        (
            Headroom("caller:eve", Limit.REQUESTS_PER_MINUTE, 60, 59, 1.25),
            Headroom("caller:eve", Limit.TOKENS_PER_DAY, 1000, 5, 9000),
            Headroom("group:research", Limit.TOKENS_PER_MINUTE, 9000, 1, 60),
        )
    )
    reservation = await Admission(store).admit(call(), MODEL, policy("research"))
    assert reservation.headers == [
        (b"x-ratelimit-limit-requests", b"60"),
        (b"x-ratelimit-remaining-requests", b"59"),
        (b"x-ratelimit-reset-requests", b"1.250s"),
    ]


async def test_a_store_that_is_away_is_503_with_a_time() -> None:
    with pytest.raises(Unavailable) as caught:
        await Admission(FakeQuota(StoreAway("redis://secret@host"))).admit(call(), MODEL, policy("research"))
    assert (caught.value.status, caught.value.code) == (503, "quota_unavailable")
    assert "redis" not in caught.value.message
    assert (b"retry-after", b"2") in caught.value.headers


def told(refusal: Refusal) -> RelayError:
    return refused(refusal, policy("research"))


def test_a_rate_is_429_and_says_when_to_come_back() -> None:
    error = told(Refusal("caller:eve", Limit.REQUESTS_PER_MINUTE, 60, 60, 1, 2.4))
    assert isinstance(error, CallerError)
    assert (error.status, error.code, error.type) == (429, "rate_limit_exceeded", "rate_limit_error")
    assert dict(error.headers) == {b"retry-after": b"3", b"retry-after-ms": b"2400"}
    assert error.message == (
        "Requests per minute: your limit is 60 (groups.research.limits.requests_per_minute), 60 are taken, and this "
        "request asks for 1. Try again in 3 s."
    )


@rows(
    ("subject", "limit", "seconds", "rule"),
    [
        ("caller:eve", Limit.REQUESTS_PER_MINUTE, 2.4, "groups.research.limits.requests_per_minute"),
        ("group:research", Limit.TOKENS_PER_MINUTE, 7.0, "groups.research.total.tokens_per_minute"),
        ("group:everybody", Limit.MONEY_PER_MONTH, 9.0, "groups.everybody.total.money_per_month"),
        ("caller:eve", Limit.REQUESTS_PER_MINUTE, math.inf, "groups.research.limits.requests_per_minute"),
    ],
)
def test_a_refusal_keeps_the_place_of_its_limit(subject: str, limit: Limit, seconds: float, rule: str) -> None:
    assert told(Refusal(subject, limit, 60, 60, 1, seconds)).rule == rule


def test_a_groups_limit_is_named_as_the_groups() -> None:
    error = told(Refusal("group:research", Limit.TOKENS_PER_MINUTE, 9000, 8990, 150, 7))
    assert "the limit of the group research is 9,000 (groups.research.total.tokens_per_minute)" in error.message


def test_a_quota_that_is_used_up_is_403_and_not_to_be_retried() -> None:
    error = told(Refusal("group:everybody", Limit.MONEY_PER_MONTH, 5_000_000, 4_999_000, 2_000, 86_000))
    assert (error.status, error.code) == (403, "insufficient_quota")
    assert (b"x-should-retry", b"false") in error.headers
    assert (b"retry-after", b"86000") in error.headers
    assert "the limit of all callers is 5.00" in error.message
    assert "5.00 are taken" in error.message


def test_what_could_never_be_granted_is_400_and_not_to_be_waited_for() -> None:
    error = told(Refusal("caller:eve", Limit.TOKENS_PER_MINUTE, 100, 0, 5000, math.inf))
    assert (error.status, error.code, error.headers) == (400, "request_exceeds_limit", [])
    assert "never" in error.message


async def test_an_answer_that_was_cut_short_may_have_made_more_of_each_choice() -> None:
    asked = call(n=2, max_tokens=400)
    given = Estimator().uncounted(asked, MODEL)
    for reasons, output, made in (({}, 10, 10 + 2 * UNSEEN), ({0: "stop"}, 700, 800), ({0: "stop", 1: "stop"}, 10, 10)):
        usage = Usage(input=1, output=output, estimated=True)
        cut = record(sent(), usage=usage, served_model="gpt-4o", finish_reasons=reasons)
        assert (await settled(asked, cut)).tokens == given + made


async def test_what_a_caller_used_is_learnt_of_that_caller_alone() -> None:
    admission = Admission(FakeQuota())
    asked = of("responses", input="word " * 400)
    before = admission.estimator.amounts(asked, MODEL, "bob")
    for _ in range(50):
        (await admission.admit(asked, MODEL, policy("research"), "eve")).settle(
            record(sent(), usage=Usage(input=1200, output=5))
        )
    assert admission.estimator.amounts(asked, MODEL, "bob") == before
    assert admission.estimator.amounts(asked, MODEL, "eve") != before


async def test_a_try_that_lost_costs_what_the_model_that_answered_costs() -> None:
    dear = Prices(per_million("10"), None, per_million("20"))
    prices = Prices(per_million("1"), None, per_million("2"), by_model={"gpt-x": dear})
    model = Model("chat", MODEL.deployments, prices=prices)
    made = record(sent("upstream_lost"), sent(), usage=Usage(input=10, output=5), served_model="gpt-x")
    assert (await settled(call(), made, model)).money == 200 + 10 * PROMPT + 2000


BATCH = Usage(input=50, output=500, estimated=True)


async def test_work_of_hours_is_reserved_under_quotas_of_a_day_or_longer_only() -> None:
    store = FakeQuota()
    admission = Admission(store)
    kept = await admission.set_aside(policy("research"), Amounts(550, 1000), BATCH)
    [(id, subjects, amounts)] = store.reserved
    assert [(subject.name, subject.limits) for subject in subjects] == [
        ("group:everybody", Limits(money_per_month=5_000_000))
    ]
    assert (kept.id, kept.subjects, kept.most, amounts) == (id, subjects, BATCH, Amounts(550, 1000))


async def test_without_such_quotas_nothing_is_reserved() -> None:
    store = FakeQuota()
    only = Policies({}, {"research": GROUPS["research"]}).of(Caller("eve", CallerKind.KEY, ("research",)))
    assert await Admission(store).set_aside(only, Amounts(550, 1000), BATCH) == (None, (), BATCH)
    assert await Admission(None).set_aside(policy(), Amounts(550, 1000), BATCH) == (None, (), BATCH)
    assert store.reserved == []


@rows(
    ("answer", "error"),
    [
        (Refusal("group:everybody", Limit.MONEY_PER_MONTH, 5, 5, 1, 60.0), (403, "insufficient_quota")),
        (Refusal("group:everybody", Limit.MONEY_PER_MONTH, 5, 0, 9, math.inf), (400, "request_exceeds_limit")),
        (StoreAway(), (503, "quota_unavailable")),
    ],
)
async def test_work_of_hours_may_be_refused(answer: Refusal | StoreAway, error: tuple[int, str]) -> None:
    with pytest.raises(RelayError) as caught:
        await Admission(FakeQuota(answer)).set_aside(policy(), Amounts(550, 1000), BATCH)
    assert (caught.value.status, caught.value.code) == error


async def test_no_work_begins_while_the_ledger_is_full() -> None:
    with pytest.raises(Unavailable):
        await Admission(None, lambda: True).set_aside(policy(), Amounts(550, 1000), BATCH)

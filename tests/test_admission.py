"""May a request be made, and on whose account? What is reserved, what is settled, what a caller is told."""

import json
import math

import pytest
from tests.fakes import FakeQuota

from chukei import call as calls
from chukei.admission import Admission, refused
from chukei.call import Call
from chukei.errors import CallerError, RelayError, Unavailable
from chukei.limits import Amounts, Headroom, Limit, Limits, Prices, Refusal, Rules
from chukei.model import Caller, CallerKind, Deployment, Model
from chukei.policy import EVERYBODY, Policies, Policy
from chukei.routes import Route
from chukei.stores import StoreAway
from chukei.usage import Usage
from chukei.wire import CHAT

pytestmark = pytest.mark.anyio

MODEL = Model("chat", (Deployment("a", "https://a.example", "gpt"),), prices=Prices(input=1, output=2))
GROUPS = {
    "research": Rules(limits=Limits(requests_per_minute=60), total=Limits(tokens_per_minute=9000)),
    EVERYBODY: Rules(total=Limits(money_per_month=5_000_000)),
}


def call(**fields: object) -> Call:
    raw = json.dumps({"messages": [{"role": "user", "content": "hi"}], "max_tokens": 100, **fields}).encode()
    return calls.read(Route(CHAT), CHAT, [(b"content-type", b"application/json")], raw)


def policy(*groups: str) -> Policy:
    return Policies({}, GROUPS).of(Caller("eve", CallerKind.KEY, groups))


async def test_the_estimate_is_reserved_on_every_account_and_corrected_once() -> None:
    store = FakeQuota()
    admission = Admission(store)
    admitted = await admission.admit(call(), MODEL, policy("research"))
    [(id, subjects, estimate)] = store.reserved
    assert [subject.name for subject in subjects] == ["caller:eve", "group:research", "group:everybody"]
    assert estimate.tokens == call().size // 4 + 1 + 100
    assert admitted.settle(Usage(input=10, output=5)) == 20
    assert admitted.settle(Usage(input=999, output=999)) is not None
    await admission.close()
    assert store.settled == [(id, Amounts(15, 20))]


async def test_what_was_refused_upstream_costs_nothing() -> None:
    store = FakeQuota()
    admission = Admission(store)
    admitted = await admission.admit(call(), MODEL, policy("research"))
    assert admitted.settle(None) == 0
    await admission.close()
    assert store.settled[0][1] == Amounts(0, 0)


async def test_without_limits_the_store_is_not_asked_and_the_cost_is_known_all_the_same() -> None:
    store = FakeQuota()
    free = Policies({}, {}).of(Caller("eve", CallerKind.KEY))
    admitted = await Admission(store).admit(call(), MODEL, free)
    assert store.reserved == []
    assert admitted.headers == []
    assert admitted.settle(Usage(input=1000)) == 1000
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
    admitted = await Admission(store).admit(call(), MODEL, policy("research"))
    assert admitted.headers == [
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

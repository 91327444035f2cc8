"""Every error that the package of accounts raises, with its whole answer."""

import json
import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.answers import check, later, refusal
from tests.fakes import FakeClock, FakeDatabase, FakeQuota

from chukei.accounts.admission import Admission
from chukei.accounts.limits import Headroom, Limit, Limits, Refusal, Rules
from chukei.accounts.own_usage import OwnUsage
from chukei.accounts.policy import EVERYBODY, Policies, Policy
from chukei.accounts.reports import moment
from chukei.accounts.stores import QuotaStore, StoreAway
from chukei.azure import CHAT
from chukei.errors import Unavailable
from chukei.model import Caller, CallerKind, Deployment, Headers, Model
from chukei.request import call as calls
from chukei.request.routes import Route

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
EVE = Caller("eve", CallerKind.KEY, ("research",))
LIMITS = Limits(requests_per_minute=60, tokens_per_day=1000, concurrent=2)
GROUPS = {
    "research": Rules(total=Limits(tokens_per_minute=1000)),
    EVERYBODY: Rules(total=Limits(tokens_per_month=1000, money_per_month=1)),
}
POLICY = Policies({"eve": Rules(models=("chat",), limits=LIMITS)}, GROUPS).of(EVE)
NONE_ALLOWED = Policies({}, {EVERYBODY: Rules(models=())}).of(EVE)
JSON: Headers = [(b"content-type", b"application/json")]
BODY = json.dumps({"messages": [{"role": "user", "content": "hi"}]}).encode()
MODEL = Model("chat", (Deployment("a", "https://a.example", "gpt"),))


class Away(FakeQuota):
    """Cannot be asked for anything."""

    def __init__(self) -> None:
        super().__init__(StoreAway("away"))

    async def headroom(self, subjects: object) -> tuple[Headroom, ...]:
        raise StoreAway("away")


def asked(store: QuotaStore, *, full: bool = False) -> Callable[[], object]:
    call = calls.read(Route(CHAT), CHAT, JSON, BODY)
    return lambda: Admission(store, lambda: full).admit(call, MODEL, POLICY, "eve")


def refused(subject: str, limit: Limit, seconds: float, most: int = 1000) -> Callable[[], object]:
    return asked(FakeQuota(Refusal(subject, limit, most, most - 1, 1234, seconds)))


def own(store: FakeQuota, *, away: bool = False) -> Callable[[], object]:
    database = FakeDatabase()
    database.away = away
    told = OwnUsage(Admission(store), database, clock=FakeClock(), now=lambda: NOW)
    return lambda: told(EVE, POLICY)


def test_what_is_told_instead_of_an_answer(subtests: pytest.Subtests) -> None:
    def once(message: str, code: str) -> Any:
        return refusal(503, code, f"{message}; try again shortly.", type="server_error", headers=[later(2)[0]])

    looked_up = "What you {} cannot be looked up at the moment"
    check(
        subtests,
        [
            (
                asked(FakeQuota(), full=True),
                once("This relay cannot account for further requests at the moment", "ledger_full"),
            ),
            (asked(Away()), once(looked_up.format("may use"), "quota_unavailable")),
            (own(Away()), once(looked_up.format("may use"), "quota_unavailable")),
            (own(FakeQuota(), away=True), once(looked_up.format("have used"), "ledger_unavailable")),
        ],
    )


def test_what_is_told_at_a_limit(subtests: pytest.Subtests) -> None:
    def busy(message: str, headers: Headers) -> Any:
        return refusal(429, "rate_limit_exceeded", message, type="rate_limit_error", headers=headers)

    def used_up(message: str, first: bytes) -> Any:
        fields = [(b"retry-after", first), (b"x-should-retry", b"false")]
        return refusal(403, "insufficient_quota", message, type="insufficient_quota", headers=fields)

    said = "{}: {} is {} ({}), {} are taken, and this request asks for {}."
    per_minute = said.format(
        "Requests per minute", "your limit", "1,000", "callers.eve.limits.requests_per_minute", "999", "1,234"
    )
    group = said.format(
        "Tokens per minute",
        "the limit of the group research",
        "1,000",
        "groups.research.total.tokens_per_minute",
        "999",
        "1,234",
    )
    day = said.format("Tokens per day", "your limit", "1,000", "callers.eve.limits.tokens_per_day", "999", "1,234")
    month = said.format(
        "Tokens per month",
        "the limit of all callers",
        "1,000",
        "groups.everybody.total.tokens_per_month",
        "999",
        "1,234",
    )
    money = said.format(
        "Money per month",
        "the limit of all callers",
        "1,234.50",
        "groups.everybody.total.money_per_month",
        "1,234.50",
        "0.00",
    )
    at_once = said.format("Concurrent requests", "your limit", "1,000", "callers.eve.limits.concurrent", "999", "1,234")
    never = " It could never be granted; ask for less, for instance with a lower output limit."
    moment = [(b"retry-after", b"1"), (b"retry-after-ms", b"1")]
    eve, everybody = "caller:eve", "group:everybody"
    check(
        subtests,
        [
            (
                refused(eve, Limit.REQUESTS_PER_MINUTE, 1.5),
                busy(f"{per_minute} Try again in 2 s.", [(b"retry-after", b"2"), (b"retry-after-ms", b"1500")]),
            ),
            (refused("group:research", Limit.TOKENS_PER_MINUTE, 60.0), busy(f"{group} Try again in 60 s.", later(60))),
            (refused(eve, Limit.CONCURRENT, 1.0), busy(f"{at_once} Try again in 1 s.", later(1))),
            (refused(eve, Limit.REQUESTS_PER_MINUTE, 0.0), busy(f"{per_minute} Try again in 1 s.", moment)),
            (refused(eve, Limit.TOKENS_PER_DAY, 3600.0), used_up(day, b"3600")),
            (refused(everybody, Limit.TOKENS_PER_MONTH, -1.0), used_up(month, b"1")),
            (refused(everybody, Limit.MONEY_PER_MONTH, 1.0, 1_234_500_000), used_up(money, b"1")),
            (refused(eve, Limit.TOKENS_PER_DAY, math.inf), refusal(400, "request_exceeds_limit", day + never)),
        ],
    )


def test_what_is_told_of_a_model_that_is_not_the_callers(subtests: pytest.Subtests) -> None:
    def row(policy: Policy, name: str, message: str) -> Any:
        told = refusal(403, "model_not_allowed", message, param="model", type="permission_error")
        return (lambda: policy.check_model(name)), told

    name = "x" * 81
    check(
        subtests,
        [
            row(POLICY, name, f"You may not use the model '{name[:80]}': callers.eve.models allows chat."),
            row(NONE_ALLOWED, "o1", "You may not use the model 'o1': groups.everybody.models allows none."),
        ],
    )


def test_what_is_no_time_is_shown_with_its_forms() -> None:
    with pytest.raises(ValueError) as caught:
        moment("y" * 41, NOW)
    assert str(caught.value) == f"'{'y' * 40}' is no time: write 24h, 7d, 2026-11-01 or 2026-11-01T12:00"


@pytest.mark.anyio
async def test_a_database_that_is_back_is_asked_again() -> None:
    database = FakeDatabase()
    database.away = True
    told = OwnUsage(Admission(None), database, clock=FakeClock(), now=lambda: NOW)
    with pytest.raises(Unavailable):
        await told(EVE, POLICY)
    database.away = False
    assert (await told(EVE, POLICY))["usage"] is not None

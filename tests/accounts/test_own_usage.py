"""What a caller is told of its own account."""

import asyncio
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.fakes import FakeClock, FakeDatabase

from chukei.accounts.admission import Admission
from chukei.accounts.ledger import By, Question, Sum
from chukei.accounts.limits import Amounts, Grant, Headroom, Limit, Limits, Refusal, Rules, Subject
from chukei.accounts.own_usage import FRESH_SECONDS, MOST_KEPT, OwnUsage
from chukei.accounts.policy import Policies, Policy
from chukei.accounts.stores import StoreAway
from chukei.errors import Unavailable
from chukei.model import Caller, CallerKind

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 12, 31, 23, 59, tzinfo=UTC)
TEAM = Caller("team-a", CallerKind.KEY, ("research",), "k1")
LIMITED = Policies({}, {"everybody": Rules(limits=Limits(tokens_per_day=1000, money_per_month=5_000_000))}).of(TEAM)
FREE = Policies({}, {}).of(TEAM)


class FakeLedger(FakeDatabase):
    """Gives prepared sums; ``hold`` keeps its answers back."""

    def __init__(self, *sums: Sum) -> None:
        super().__init__()
        self.sums = list(sums)
        self.questions: list[Question] = []
        self.hold = asyncio.Event()
        self.hold.set()

    async def sum(self, question: Question) -> list[Sum]:
        self.questions.append(question)
        await self.hold.wait()
        await super().sum(question)
        return self.sums


class FakeQuota:
    """Tells what is left, or that it is away."""

    def __init__(self) -> None:
        self.away = False

    async def reserve(self, id: str, subjects: Sequence[Subject], estimate: Amounts) -> Grant | Refusal:
        raise NotImplementedError

    def release(self, id: str) -> None:
        raise NotImplementedError

    async def settle(self, id: str, actual: Amounts, subjects: Sequence[Subject] = ()) -> None:
        raise NotImplementedError

    async def headroom(self, subjects: Sequence[Subject]) -> tuple[Headroom, ...]:
        if self.away:
            raise StoreAway("away")
        assert [subject.name for subject in subjects] == ["caller:team-a"]
        return (
            Headroom("caller:team-a", Limit.TOKENS_PER_DAY, 1000, 400, 3600.00049),
            Headroom("caller:team-a", Limit.MONEY_PER_MONTH, 5_000_000, 1_250_000, -0.1),
        )

    def start(self) -> None:
        return None

    async def close(self) -> None:
        return None


def row(day: str, model: str, *, input: int, requests: int = 1, cost: int = 500_000) -> Sum:
    return Sum((day, model), requests, 0, 0, input, 0, 10, 0, 0, 0, cost, 0, 200.0)


ROWS = (
    row("2026-12-01", "gpt-4o", input=100),
    row("2026-12-31", "gpt-4o", input=50),
    row("2026-12-31", "", input=0, cost=0),
    row("2026-12-31", "o3", input=900, requests=2),
)


class Desk:
    def __init__(self, ledger: FakeLedger | None = None, quota: FakeQuota | None = None) -> None:
        self.ledger = ledger
        self.clock = FakeClock()
        self.own_usage = OwnUsage(Admission(quota), ledger, clock=self.clock, now=lambda: NOW)

    async def ask(self, caller: Caller = TEAM, policy: Policy = FREE) -> dict[str, Any]:
        return await self.own_usage(caller, policy)


async def test_today_and_this_month_by_model() -> None:
    ledger = FakeLedger(*ROWS)
    told = await Desk(ledger).ask()
    assert (told["caller"], told["groups"], told["limits"]) == ("team-a", ["research"], [])
    today, month = told["usage"]["today"], told["usage"]["month"]
    assert (today["start"], today["end"]) == ("2026-12-31T00:00:00+00:00", "2027-01-01T00:00:00+00:00")
    assert (month["start"], month["end"]) == ("2026-12-01T00:00:00+00:00", "2027-01-01T00:00:00+00:00")
    assert (today["requests"], today["input"], today["cost"]) == (4, 950, 1.0)
    assert (month["requests"], month["input"], month["output"], month["cost"]) == (5, 1050, 40, 1.5)
    assert [(each["model"], each["input"]) for each in month["models"]] == [("o3", 900), ("gpt-4o", 150), ("", 0)]
    assert [(each["model"], each["input"]) for each in today["models"]] == [("o3", 900), ("gpt-4o", 50), ("", 0)]
    assert "first_token_ms" not in month


async def test_only_its_own_is_asked_for() -> None:
    ledger = FakeLedger()
    await Desk(ledger).ask()
    assert ledger.questions == [Question((By.DAY, By.MODEL), since=datetime(2026, 12, 1, tzinfo=UTC), caller="team-a")]


async def test_who_used_nothing_is_told_so() -> None:
    told = await Desk(FakeLedger()).ask()
    assert told["usage"]["month"]["requests"] == 0
    assert told["usage"]["month"]["models"] == []


async def test_limits_without_a_ledger() -> None:
    told = await Desk(None, FakeQuota()).ask(policy=LIMITED)
    assert told["usage"] is None
    assert told["limits"] == [
        {
            "limit": "tokens_per_day",
            "subject": "caller:team-a",
            "most": 1000,
            "remaining": 400,
            "reset_seconds": 3600.0,
            "source": "groups.everybody.limits.tokens_per_day",
        },
        {
            "limit": "money_per_month",
            "subject": "caller:team-a",
            "most": 5.0,
            "remaining": 1.25,
            "reset_seconds": 0.0,
            "source": "groups.everybody.limits.money_per_month",
        },
    ]
    assert all(math.isfinite(limit["reset_seconds"]) for limit in told["limits"])


async def test_neither_limits_nor_a_ledger() -> None:
    told = await Desk().ask()
    assert (told["limits"], told["usage"]) == ([], None)


async def test_what_cannot_be_asked_is_told() -> None:
    quota, ledger = FakeQuota(), FakeLedger()
    desk = Desk(ledger, quota)
    quota.away = True
    with pytest.raises(Unavailable) as caught:
        await desk.ask(policy=LIMITED)
    assert (caught.value.status, caught.value.code) == (503, "quota_unavailable")
    quota.away, ledger.away = False, True
    with pytest.raises(Unavailable) as caught:
        await desk.ask(policy=LIMITED)
    assert (caught.value.status, caught.value.code) == (503, "ledger_unavailable")
    assert dict(caught.value.headers)[b"retry-after"] == b"2"
    ledger.away = False
    assert (await desk.ask(policy=LIMITED))["usage"] is not None


async def test_who_asks_often_keeps_no_database_busy() -> None:
    ledger = FakeLedger(*ROWS)
    desk = Desk(ledger)
    for _ in range(3):
        await desk.ask()
    assert len(ledger.questions) == 1
    desk.clock.advance(FRESH_SECONDS + 0.1)
    await desk.ask()
    assert len(ledger.questions) == 2
    await desk.ask(Caller("team-b", CallerKind.KEY))
    assert ledger.questions[-1].caller == "team-b"


async def test_many_at_a_time_are_one_question_and_who_leaves_harms_nobody() -> None:
    ledger = FakeLedger(*ROWS)
    ledger.hold.clear()
    desk = Desk(ledger)
    first, *others = [asyncio.create_task(desk.ask()) for _ in range(50)]
    while not ledger.questions:
        await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait({first})
    ledger.hold.set()
    async with asyncio.timeout(60):
        told = await asyncio.gather(*others)
    assert first.cancelled()
    assert len(ledger.questions) == 1
    assert {each["usage"]["month"]["input"] for each in told} == {1050}


async def test_what_is_remembered_is_bounded() -> None:
    ledger = FakeLedger()
    desk = Desk(ledger)
    for number in range(MOST_KEPT + 1):
        await desk.ask(Caller(f"user-{number}", CallerKind.USER))
    await desk.ask(Caller(f"user-{MOST_KEPT}", CallerKind.USER))
    assert len(ledger.questions) == MOST_KEPT + 1
    await desk.ask(Caller("user-0", CallerKind.USER))
    assert len(ledger.questions) == MOST_KEPT + 2

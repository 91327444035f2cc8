"""What administrators are told of callers."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from tests.adapters.ledger_entries import entry
from tests.fakes import FakeClock, FakeDatabase
from tests.rows import rows

from chukei.accounts.admission import Admission
from chukei.accounts.ledger import By, Key, Question, Sum
from chukei.accounts.limits import Limits, Rules
from chukei.accounts.overrides import Override
from chukei.accounts.policy import Policies
from chukei.adapters.memory_quota import MemoryQuota
from chukei.admin import schemas
from chukei.admin.callers import FEW, LAST_REQUEST, CallerDesk
from chukei.config import CallerSettings
from chukei.errors import CallerError

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
SINCE = NOW - timedelta(days=7)


class FakeLedger(FakeDatabase):
    """Gives prepared sums, and remembers what it was asked."""

    def __init__(self, *keys: Key) -> None:
        super().__init__(*keys)
        self.sums: dict[str, Sum] = {}
        self.questions: list[Question] = []

    async def sum(self, question: Question) -> list[Sum]:
        self.questions.append(question)
        return [each for name, each in self.sums.items() if question.callers is None or name in question.callers]


def key(id: str, caller: str, group: str | None = None, **fields: datetime) -> Key:
    made = Key(id, caller, group, b"", 0, NOW - timedelta(days=1), None, None, None)
    return replace(made, **fields)  # type: ignore[arg-type]


def used(caller: str, tokens: int) -> Sum:
    return Sum((caller,), 9, 3, 2, tokens, 0, 0, 0, 0, 0, 1_500_000, 0, 250.0)


class Desk:
    """A CallerDesk among fakes."""

    def __init__(self, *keys: Key, configured: dict[str, CallerSettings] | None = None) -> None:
        self.ledger = FakeLedger(*keys)
        callers = configured or {}
        groups = {
            "research": Rules(limits=Limits(requests_per_minute=60), total=Limits(money_per_month=5_000_000)),
            "interns": Rules(limits=Limits(requests_per_minute=6)),
        }
        self.policies = Policies({name: each.rules for name, each in callers.items()}, groups)
        admission = Admission(MemoryQuota(clock=FakeClock(), wall=NOW.timestamp), lambda: False)
        self.desk = CallerDesk(self.ledger, self.policies, admission, callers, "EUR", lambda: NOW)

    async def seen(self, *names: str, group: str | None = None) -> None:
        await self.ledger.add([entry(caller=name, group=group) for name in names])

    async def found(self, text: str = "", limit: int = 50) -> list[schemas.CallerRow]:
        return (await self.desk.find(text, SINCE, range(limit))).data


async def test_callers_are_those_of_all_places_with_the_largest_use_first() -> None:
    desk = Desk(key("k1", "of-a-key", "research"), configured={"configured": CallerSettings(Rules())})
    desk.policies.override({"caller:limited": Override({"concurrent": 1}), "group:interns": Override()})
    await desk.seen("small", "large", "earlier")
    desk.ledger.sums = {name: used(name, tokens) for name, tokens in (("small", 10), ("large", 20))}
    found = await desk.found()
    assert [each.caller for each in found] == ["large", "small", "earlier", "configured", "limited", "of-a-key"]
    assert (found[0].requests, found[0].refused, found[0].failed, found[0].input) == (9, 3, 2, 20)
    assert (found[0].cost, found[0].first_token_ms) == (1.5, 250.0)
    assert (found[2].requests, found[2].cost, found[2].first_token_ms) == (0, 0.0, None)
    assert [each.last_seen is not None for each in found] == [True, True, True, False, False, False]
    assert found[5].groups == ["research"]


@rows(("text", "names"), [("TEAM", ["Team-B", "team-a"]), ("b", ["Team-B"]), ("%", []), ("\u00e9", ["\u00c9cole"])])
async def test_a_part_of_a_name_finds_it_in_either_case(text: str, names: list[str]) -> None:
    desk = Desk()
    await desk.seen("team-a", "Team-B", "\u00c9cole")
    assert sorted(each.caller for each in await desk.found(text)) == names


async def test_the_ledger_is_asked_about_few_callers_by_name() -> None:
    desk = Desk()
    names = [f"team-{number}" for number in range(FEW)]
    await desk.seen(*names)
    await desk.found()
    await desk.seen("one-more")
    await desk.found()
    await desk.found("one")
    asked: Sequence[object] = [Question((By.CALLER,), since=SINCE, callers=each) for each in (None, ("one-more",))]
    assert desk.ledger.questions[1:] == asked
    assert set(desk.ledger.questions[0].callers or ()) == set(names)


async def test_callers_beyond_the_limit_are_counted_and_on_the_next_page() -> None:
    desk = Desk()
    await desk.seen("a", "b", "c")
    told = await desk.desk.find("", SINCE, range(2))
    assert (len(told.data), told.rows, told.currency, told.since) == (2, 3, "EUR", SINCE.isoformat())
    pages = [(await desk.desk.find("", SINCE, range(first, first + 2))).data for first in (0, 2, 4)]
    assert [[each.caller for each in page] for page in pages] == [["c", "b"], ["a"], []]


async def test_a_callers_limits_come_with_their_places_and_what_is_left() -> None:
    desk = Desk(key("k1", "team", "research"))
    desk.policies.override({"caller:team": Override({"tokens_per_day": 1000})})
    told = await desk.desk.one("team")
    [membership] = told.memberships
    assert (membership.groups, membership.sources) == (["research"], ["key k1"])
    shown = [(each.limit, each.subject, each.most, each.remaining, each.source) for each in membership.limits]
    assert shown == [
        ("requests_per_minute", "caller:team", 60, 60, "groups.research.limits.requests_per_minute"),
        ("tokens_per_day", "caller:team", 1000, 1000, "database: callers.team.limits.tokens_per_day"),
        ("money_per_month", "group:research", 5.0, 5.0, "groups.research.total.money_per_month"),
    ]
    assert told.rule.limits == {"tokens_per_day": 1000}
    assert [each.id for each in told.keys] == ["k1"]
    assert (told.last_seen, told.currency) == (None, "EUR")


async def test_keys_of_different_groups_make_several_memberships() -> None:
    ended = key("k4", "team", "interns", revoked=NOW)
    other = key("k5", "other", "interns")
    digest = CallerSettings(Rules(), "0" * 64, ("interns", "research"))
    desk = Desk(
        key("k1", "team", "research"),
        key("k2", "team"),
        key("k3", "team", "research"),
        ended,
        other,
        configured={"team": digest},
    )
    told = await desk.desk.one("team")
    assert [(each.groups, each.sources) for each in told.memberships] == [
        (["interns", "research"], ["callers.team.groups"]),
        (["research"], ["key k1", "key k3"]),
        ([], ["key k2"]),
    ]
    assert {each.id: each.state for each in told.keys}["k4"] == "revoked"
    assert (await desk.found("team"))[0].groups == ["interns", "research"]


async def test_groups_that_were_set_replace_all_others() -> None:
    desk = Desk(key("k1", "team", "research"))
    desk.policies.override({"caller:team": Override(groups=("interns",))})
    [membership] = (await desk.desk.one("team")).memberships
    assert (membership.groups, membership.sources) == (["interns"], ["database: callers.team.groups"])
    assert membership.limits[0].source == "groups.interns.limits.requests_per_minute"


async def test_a_caller_with_a_token_is_in_the_group_of_its_last_request() -> None:
    desk = Desk()
    await desk.seen("user:contoso/6f1c", group="research")
    [membership] = (await desk.desk.one("user:contoso/6f1c")).memberships
    assert (membership.groups, membership.sources) == (["research"], [LAST_REQUEST])


async def test_a_caller_that_only_has_rules_is_known() -> None:
    desk = Desk()
    desk.policies.override({"caller:new": Override({"concurrent": 0})})
    [membership] = (await desk.desk.one("new")).memberships
    assert (membership.groups, membership.sources, membership.limits[0].remaining) == ([], [], 0)


async def test_an_unknown_caller_is_not_found() -> None:
    with pytest.raises(CallerError) as refused:
        await Desk(key("k1", "team")).desk.one("tea")
    assert (refused.value.status, refused.value.code) == (404, "caller_not_found")

"""Limits and groups that administrators set: what is accepted, what it does, and its record."""

from datetime import UTC, datetime

import pytest
from tests.fakes import FakeDatabase
from tests.rows import rows

from chukei.accounts.changes import Actor
from chukei.accounts.overrides import Override
from chukei.admin.audit import AuditTrail
from chukei.admin.rules import RuleDesk
from chukei.admin.schemas import Rule, RuleChange
from chukei.errors import CallerError

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)
ANN = Actor("user:tenant/ann", "ann@contoso.com")


class Desk:
    def __init__(self) -> None:
        self.database = FakeDatabase()
        self.applied = 0
        self.desk = RuleDesk(self.database, ("research",), lambda: NOW, changed=self._changed)

    async def _changed(self) -> None:
        self.applied += 1

    async def change(self, subject: str = "caller:team", **what: object) -> Rule:
        return await self.desk.change(RuleChange(subject, **what), ANN)  # type: ignore[arg-type]


@pytest.fixture
def desk() -> Desk:
    return Desk()


async def test_what_is_not_mentioned_stays_and_null_returns_to_the_configuration(desk: Desk) -> None:
    first = await desk.change(limits={"tokens_per_minute": 100, "money_per_month": 2.5}, groups=["research"])
    assert first == Rule("caller:team", {"tokens_per_minute": 100, "money_per_month": 2.5}, {}, ["research"])
    assert desk.database.set == {
        "caller:team": '{"groups":["research"],"limits":{"money_per_month":2500000,"tokens_per_minute":100}}'
    }
    second = await desk.change(limits={"tokens_per_minute": None, "concurrent": 3})
    assert second == Rule("caller:team", {"money_per_month": 2.5, "concurrent": 3}, {}, ["research"])
    third = await desk.change(limits={"money_per_month": None, "concurrent": None}, groups=None)
    assert third == Rule("caller:team", {}, {}, None)
    assert desk.database.set == {}
    assert (await desk.desk.all()).data == []
    assert desk.applied == 3


async def test_every_change_is_recorded_with_its_author_before_and_after(desk: Desk) -> None:
    await desk.change("group:research", total={"tokens_per_day": 5})
    await desk.change("group:research", total={"tokens_per_day": 6})
    newest, oldest = (await AuditTrail(desk.database, lambda: NOW).changes({})).data
    assert (newest.number, newest.time, newest.actor, newest.name) == (2, NOW, ANN.id, ANN.name)
    assert (newest.action, newest.subject) == ("rules", "group:research")
    rules: dict[str, object] = {"subject": "group:research", "limits": {}, "groups": None}
    assert newest.before == rules | {"total": {"tokens_per_day": 5}}
    assert newest.after == rules | {"total": {"tokens_per_day": 6}}
    assert oldest.before == rules | {"total": {}}


@rows("what", [{}, {"limits": {}}, {"limits": {"concurrent": 3}}, {"limits": {"tokens_per_day": None}}])
async def test_what_is_so_already_is_no_change(desk: Desk, what: dict[str, object]) -> None:
    first = await desk.change(limits={"concurrent": 3})
    assert await desk.change("caller:team", **what) == first
    assert len((await AuditTrail(desk.database, lambda: NOW).changes({})).data) == 1
    assert desk.applied == 1


async def test_nothing_is_set_where_nothing_was(desk: Desk) -> None:
    assert await desk.change() == Rule("caller:team", {}, {}, None)
    assert (await AuditTrail(desk.database, lambda: NOW).changes({})).data == []


@rows(
    ("subject", "what", "param"),
    [
        ("team", {}, "subject"),
        ("user:team", {}, "subject"),
        ("caller:", {}, "subject"),
        ("caller:a\nb", {}, "subject"),
        ("group:nobody", {}, "subject"),
        ("caller:a", {"limits": {"tokens": 1}}, "limits"),
        ("caller:a", {"limits": {"money_per_month": 1e-9}}, "limits"),
        ("caller:a", {"limits": {"concurrent": -1}}, "limits"),
        ("caller:a", {"limits": {"concurrent": 1.5}}, "limits"),
        ("caller:a", {"limits": {"concurrent": 2**60}}, "limits"),
        ("caller:a", {"limits": {"money_per_month": 1e10}}, "limits"),
        ("caller:a", {"limits": {"money_per_month": float("nan")}}, "limits"),
        ("caller:a", {"total": {"concurrent": 1}}, "total"),
        ("caller:a", {"groups": ["nobody"]}, "groups"),
        ("caller:a", {"groups": ["everybody"]}, "groups"),
        ("caller:a", {"groups": ["research", "research"]}, "groups"),
        ("group:research", {"groups": []}, "groups"),
    ],
)
async def test_nonsense_changes_nothing(desk: Desk, subject: str, what: dict[str, object], param: str) -> None:
    with pytest.raises(CallerError) as caught:
        await desk.change(subject, **what)
    assert (caught.value.status, caught.value.code, caught.value.param) == (400, "invalid_value", param)
    assert (desk.database.set, desk.database.recorded) == ({}, [])


async def test_everybody_is_a_group_that_needs_no_table_and_that_nobody_can_be_put_into(desk: Desk) -> None:
    await desk.change("group:everybody", limits={"concurrent": 1})
    with pytest.raises(CallerError, match="All callers are in everybody, after their other groups: leave it out"):
        await desk.change("caller:a", groups=["everybody"])
    assert set(desk.database.set) == {"group:everybody"}


async def test_what_an_older_relay_took_does_not_stand_in_the_way(desk: Desk) -> None:
    desk.database.set["caller:team"] = '{"groups":["research","everybody","research"]}'
    assert (await desk.change(limits={"concurrent": 1})).limits == {"concurrent": 1}
    assert (await desk.change(groups=["research"])).groups == ["research"]


async def test_what_another_program_wrote_is_replaced(desk: Desk) -> None:
    desk.database.set["caller:team"] = '{"limits": {"nonsense": 1}}'
    assert (await desk.desk.all()).data == [Rule("caller:team", {}, {}, None)]
    assert (await desk.change(limits={"concurrent": 1})).limits == {"concurrent": 1}
    assert Override() == Override(limits={}, total={}, groups=None)

"""What administrators are told of groups."""

import pytest
from tests.fakes import FakeClock

from chukei.accounts.admission import Admission
from chukei.accounts.limits import Amounts, Limits, Rules
from chukei.accounts.overrides import Override
from chukei.accounts.policy import Policies
from chukei.adapters.memory_quota import MemoryQuota
from chukei.admin.groups import GroupDesk

pytestmark = pytest.mark.anyio

RESEARCH = Rules(
    limits=Limits(concurrent=8, money_per_month=2_500_000), total=Limits(tokens_per_minute=9000, tokens_per_day=50_000)
)


async def test_limits_of_members_and_what_is_left_of_totals() -> None:
    policies = Policies({}, {"research": RESEARCH, "everybody": Rules(limits=Limits(concurrent=2)), "free": Rules()})
    policies.override({"group:research": Override({"concurrent": 4}, {"tokens_per_day": 1000})})
    store = MemoryQuota(clock=FakeClock(), wall=lambda: 1_700_000_000.0)
    desk = GroupDesk(("research", "everybody", "free"), policies, Admission(store, lambda: False), "EUR")
    await store.reserve("r", policies.of_group("research").subjects, Amounts(tokens=400))
    told = await desk.all()
    assert told.currency == "EUR"
    assert [each.group for each in told.data] == ["research", "free", "everybody"]
    research, free, everybody = told.data
    assert [(each.limit, each.most, each.source) for each in research.limits] == [
        ("money_per_month", 2.5, "groups.research.limits.money_per_month"),
        ("concurrent", 4, "database: groups.research.limits.concurrent"),
    ]
    assert [(each.limit, each.subject, each.most, each.remaining, each.source) for each in research.total] == [
        ("tokens_per_minute", "group:research", 9000, 8600, "groups.research.total.tokens_per_minute"),
        ("tokens_per_day", "group:research", 1000, 600, "database: groups.research.total.tokens_per_day"),
    ]
    assert (research.rule.limits, research.rule.total) == ({"concurrent": 4}, {"tokens_per_day": 1000})
    assert (free.limits, free.total) == ([], [])
    assert [each.most for each in everybody.limits] == [2]


async def test_everybody_is_a_group_without_a_table_too() -> None:
    admission = Admission(MemoryQuota(), lambda: False)
    told = await GroupDesk((), Policies({}, {}), admission, None).all()
    assert [(each.group, each.limits, each.total) for each in told.data] == [("everybody", [], [])]

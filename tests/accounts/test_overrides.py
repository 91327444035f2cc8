"""What administrators set above the configuration."""

import pytest
from tests.rows import rows

from chukei.accounts.limits import Limits, Rules, Subject
from chukei.accounts.overrides import NOTHING, Override, read, written
from chukei.accounts.policy import Policies
from chukei.model import Caller, CallerKind

TEAM = Caller("team", CallerKind.KEY, ("research",))


def policies() -> Policies:
    return Policies(
        {"team": Rules(limits=Limits(concurrent=5, tokens_per_day=100))},
        {"research": Rules(limits=Limits(tokens_per_minute=50), total=Limits(tokens_per_day=1000)), "other": Rules()},
    )


def limits(found: Policies, caller: Caller = TEAM) -> tuple[Subject, ...]:
    return found.of(found.placed(caller)).subjects


def test_what_is_set_precedes_the_configuration_and_ends_with_it() -> None:
    found = policies()
    configured = limits(found)
    of_group = Override({"tokens_per_minute": 9}, {"concurrent": 7})
    found.override({"caller:team": Override(limits={"concurrent": 2}), "group:research": of_group})
    assert limits(found) == (
        Subject("caller:team", Limits(concurrent=2, tokens_per_day=100, tokens_per_minute=9)),
        Subject("group:research", Limits(tokens_per_day=1000, concurrent=7)),
    )
    assert found.of(TEAM).where["concurrent"] == "database: callers.team.limits.concurrent"
    found.override({})
    assert limits(found) == configured


def test_groups_that_are_set_replace_all_others() -> None:
    found = policies()
    found.override({"caller:team": Override(groups=("other",))})
    assert found.placed(TEAM).groups == ("other",)
    assert limits(found) == (Subject("caller:team", Limits(concurrent=5, tokens_per_day=100)),)
    found.override({"caller:team": Override(groups=())})
    assert found.placed(TEAM).groups == ()
    found.override({"caller:other": Override(groups=())})
    assert found.placed(TEAM) is TEAM


def test_a_group_without_a_table_may_have_limits() -> None:
    found = Policies({}, {})
    found.override({"group:everybody": Override({"concurrent": 1}, {"concurrent": 9})})
    assert limits(found) == (
        Subject("caller:team", Limits(concurrent=1)),
        Subject("group:everybody", Limits(concurrent=9)),
    )


def test_a_policy_that_a_request_holds_stays() -> None:
    found = policies()
    before = found.of(TEAM)
    found.override({"caller:team": Override(limits={"concurrent": 1})})
    assert before.subjects[0].limits.concurrent == 5


@rows("override", [Override(), Override({"concurrent": 0}), Override({}, {"tokens_per_day": 5}), Override(groups=())])
def test_what_was_written_is_read(override: Override) -> None:
    assert read(written(override)) == override


def test_nothing_is_no_row() -> None:
    assert written(NOTHING) is None


@rows("text", ["", "[]", '{"limits": {"x": 1}}', '{"limits": {"concurrent": -1}}', '{"groups": [1]}', "[" * 9999])
def test_foreign_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        read(text)

"""Whose rule holds: the caller's own, its groups' in order, everybody's."""

from dataclasses import replace

import pytest
from tests.rows import rows

from chukei.accounts.limits import NOTHING, Limit, Limits, Rules, Subject
from chukei.accounts.objects import owner_of, owner_of_group
from chukei.accounts.overrides import Override
from chukei.accounts.policy import EVERYBODY, OF_ALL, Policies
from chukei.errors import CallerError
from chukei.model import Caller, CallerKind, Deployment, Model

GROUPS = {
    "research": Rules(
        models=("chat", "reason"),
        parameters={"temperature": 0.7},
        limits=Limits(requests_per_minute=60, tokens_per_day=1000),
        total=Limits(tokens_per_minute=9000),
    ),
    "interns": Rules(models=("chat",), default_model="chat", limits=Limits(requests_per_minute=5, concurrent=1)),
    EVERYBODY: Rules(
        see_deployment=False,
        caps={"max_completion_tokens": 4096},
        limits=Limits(concurrent=4),
        total=Limits(money_per_month=10**9),
    ),
}
CALLERS = {"ada": Rules(models=("embed",), limits=Limits(requests_per_minute=600)), "bob": Rules(system="Be brief.")}
POLICIES = Policies(CALLERS, GROUPS)


def caller(name: str, *groups: str) -> Caller:
    return Caller(name, CallerKind.KEY, groups)


def test_the_callers_own_rule_wins_over_its_groups() -> None:
    policy = POLICIES.of(caller("ada", "research"))
    assert policy.rules.models == ("embed",)
    assert policy.where["models"] == "callers.ada.models"
    assert policy.rules.parameters == {"temperature": 0.7}  # said by the group alone
    assert policy.where["parameters"] == "groups.research.parameters"


def test_each_limit_is_looked_up_by_itself() -> None:
    limits = POLICIES.of(caller("ada", "research", "interns")).rules.limits
    assert limits == Limits(requests_per_minute=600, tokens_per_day=1000, concurrent=1)


def test_of_two_groups_the_first_that_says_something_decides() -> None:
    assert POLICIES.of(caller("eve", "research", "interns")).rules.models == ("chat", "reason")
    assert POLICIES.of(caller("eve", "interns", "research")).rules.models == ("chat",)
    assert POLICIES.of(caller("eve", "research", "interns")).rules.default_model == "chat"


def test_everybody_comes_last_and_needs_no_membership() -> None:
    policy = POLICIES.of(caller("nobody"))
    assert policy.rules.see_deployment is False
    assert policy.where["concurrent"] == "groups.everybody.limits.concurrent"
    assert POLICIES.of(caller("nobody", EVERYBODY)).subjects == policy.subjects


def test_accounts_are_the_callers_own_and_those_of_groups_with_a_total() -> None:
    assert POLICIES.of(caller("eve", "research", "interns")).subjects == (
        Subject("caller:eve", Limits(requests_per_minute=60, tokens_per_day=1000, concurrent=1)),
        Subject("group:research", Limits(tokens_per_minute=9000)),
        Subject("group:everybody", Limits(money_per_month=10**9)),
    )
    assert Policies({}, {}).of(caller("free")).subjects == ()


def test_places_of_limits_are_those_of_the_configuration_and_the_database() -> None:
    policies = Policies({"eve": Rules(limits=Limits(concurrent=1))}, {"research": Rules(total=Limits(concurrent=5))})
    eve = caller("eve", "research")
    places = {
        ("caller:eve", Limit.CONCURRENT): "callers.eve.limits.concurrent",
        ("group:research", Limit.CONCURRENT): "groups.research.total.concurrent",
        ("group:research", Limit.TOKENS_PER_DAY): "",
    }
    assert {each: policies.of(eve).place_of(*each) for each in places} == places
    policies.override({"caller:eve": Override({"concurrent": 2}), "group:research": Override({}, {"concurrent": 9})})
    assert policies.of(eve).place_of("caller:eve", Limit.CONCURRENT) == "database: callers.eve.limits.concurrent"
    place = policies.of(eve).place_of("group:research", Limit.CONCURRENT)
    assert place == "database: groups.research.total.concurrent"
    assert policies.of_group("research").place_of("group:research", Limit.CONCURRENT) == place


def test_an_empty_list_of_models_allows_none_and_no_list_all() -> None:
    none = Policies({"x": Rules(models=())}, {}).of(caller("x"))
    assert not none.allows("chat")
    with pytest.raises(CallerError, match="allows none"):
        none.check_model("chat")
    Policies({}, {}).of(caller("x")).check_model("anything")


def test_a_refused_model_names_the_rule() -> None:
    with pytest.raises(CallerError) as refused:
        POLICIES.of(caller("eve", "interns")).check_model("reason")
    assert (refused.value.status, refused.value.code, refused.value.param) == (403, "model_not_allowed", "model")
    assert "groups.interns.models allows chat" in refused.value.message
    with pytest.raises(CallerError) as long:
        POLICIES.of(caller("eve", "interns")).check_model("x" * 10_000)
    assert len(long.value.message) < 300


def test_the_callers_default_model_is_taken_when_none_is_asked_for() -> None:
    policy = POLICIES.of(caller("eve", "interns"))
    assert policy.model_for(None) == "chat"
    assert policy.model_for("other") == "other"
    assert POLICIES.of(caller("nobody")).model_for(None) is None


class TestApplied:
    MODEL = Model(
        "chat",
        (Deployment("a", "https://a.example", "gpt"),),
        system="Long.",
        parameters={"temperature": 0.1, "top_p": 0.5},
        caps={"max_completion_tokens": 1000, "n": 2},
    )

    def test_what_the_policy_sets_wins_and_of_two_caps_the_lower(self) -> None:
        policy = Policies(
            {
                "x": Rules(
                    system="Short.", parameters={"temperature": 0.9}, caps={"max_completion_tokens": 2000, "n": 1}
                )
            },
            {},
        ).of(caller("x"))
        applied = policy.applied_to(self.MODEL)
        assert applied.system == "Short."
        assert applied.parameters == {"temperature": 0.9, "top_p": 0.5}
        assert applied.caps == {"max_completion_tokens": 1000, "n": 1}
        assert applied.deployments == self.MODEL.deployments

    @rows("name", ["max_tokens", "max_completion_tokens", "max_output_tokens"])
    def test_a_limit_of_output_is_one_parameter_by_any_name(self, name: str) -> None:
        model = replace(self.MODEL, parameters={"max_completion_tokens": 200, "top_p": 0.5})
        applied = Policies({"x": Rules(parameters={name: 50})}, {}).of(caller("x")).applied_to(model)
        assert applied.parameters == {"top_p": 0.5, name: 50}

    def test_without_rules_the_model_is_the_very_same(self) -> None:
        assert Policies({}, {}).of(caller("x")).applied_to(self.MODEL) is self.MODEL

    def test_a_system_message_alone(self) -> None:
        applied = POLICIES.of(caller("bob")).applied_to(self.MODEL)
        assert (applied.system, applied.parameters) == ("Be brief.", self.MODEL.parameters)


def test_what_a_caller_makes_is_its_own_or_that_of_its_first_group_that_shares() -> None:
    shares = Rules(share_objects=True)
    policies = Policies({}, {"a": Rules(), "b": shares, "c": shares, "others": shares})
    ada = caller("ada", "a", "b", "c")
    assert policies.of(ada).owners == (owner_of_group("b"), owner_of_group("c"), owner_of(ada), OF_ALL)
    assert policies.of(caller("ada", "a")).owners == (owner_of(ada), OF_ALL)
    user = replace(ada, kind=CallerKind.USER, groups=("a",))
    assert policies.of(user).owners == (owner_of(user), OF_ALL) != (owner_of(ada), OF_ALL)


def test_what_was_resolved_is_kept_and_bounded() -> None:
    policies = Policies({}, GROUPS)
    first = policies.of(caller("a", "research"))
    assert policies.of(caller("a", "research")) is first
    assert policies.of(caller("a", "interns")) is not first
    for number in range(25_000):
        policies.of(caller(f"c{number}"))
    assert len(policies._resolved) <= 10_000


def test_limits_are_true_when_they_say_something() -> None:
    assert not NOTHING
    assert Limits(concurrent=0)

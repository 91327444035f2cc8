"""Models by name, and the names that clients make up on an open resource."""

import random

import pytest
from tests.pool.pools import FAILED, MISCONFIGURED, NO_HEADERS, NOW, busy, deployment
from tests.rows import rows

from chukei.config import PoolSettings
from chukei.errors import CallerError
from chukei.model import Deployment, Model
from chukei.pool import Fault, Pool, Verdict
from chukei.pool.member import Status
from chukei.pool.models import MOST_OPENED

RESOURCE = Deployment("azure", "https://r.example", "", api_version="2024-10-21")
NOT_FOUND = Verdict(Fault.MISCONFIGURED, "deployment_not_found")


def open_pool(models: dict[str, Model] | None = None, default: str | None = None) -> Pool:
    return Pool(models or {}, PoolSettings(), default=default, open=RESOURCE, draw=random.Random(7).random)


def fail(pool: Pool, name: str, verdict: Verdict, now: float = NOW) -> None:
    lease = pool.choose(name, now)
    lease.failed(now, verdict)
    lease.release(now)


def test_tiers_are_in_order_of_priority_without_the_drained() -> None:
    deployments = (
        deployment("c", priority=9),
        deployment("a", priority=1),
        deployment("drained", priority=0, weight=0),
        deployment("b", priority=1, weight=7),
    )
    draw = random.Random(1).random
    pool = Pool({"chat": Model("chat", deployments)}, PoolSettings(), default=None, open=None, draw=draw)
    served = pool._models.find("chat")
    assert [{slot.member.deployment.name for slot in tier._slots} for tier in served.tiers] == [{"a", "b"}, {"c"}]
    assert len(served.members) == 4


def test_models_share_what_is_known_of_a_deployment() -> None:
    shared, other = deployment("shared"), deployment("other")
    models = {"chat": Model("chat", (shared, other)), "fast": Model("fast", (shared,))}
    pool = Pool(models, PoolSettings(), default="chat", open=None, draw=random.Random(1).random)
    fail(pool, "fast", busy(5.0))
    assert {pool.choose("chat", NOW + 1).deployment.name for _ in range(5)} == {"other"}
    assert pool.refusal("fast", NOW + 1) is not None
    assert pool.refusal("fast", NOW + 5) is None


def test_names_that_clients_make_up_are_forgotten_the_oldest_first() -> None:
    pool = open_pool()
    for number in range(3 * MOST_OPENED):
        pool.choose(f"made-up-{number}", NOW).release(NOW)
        pool.choose("used", NOW).release(NOW)
    names = [served.model.name for served in pool._models]
    assert len(names) == MOST_OPENED
    assert "used" in names
    assert names[0] == f"made-up-{2 * MOST_OPENED + 1}"
    assert pool.subjects == []
    assert pool._health.roster.members == {}


def test_what_is_forgotten_while_it_runs_can_still_end() -> None:
    pool = open_pool()
    lease = pool.choose("early", NOW)
    for number in range(MOST_OPENED):
        pool.choose(f"made-up-{number}", NOW).release(NOW)
    lease.answered(NOW, 0.1, NO_HEADERS)
    lease.release(NOW)
    assert lease.member.outstanding == 0
    assert pool.choose("early", NOW).member is not lease.member


@rows("verdict", [NOT_FOUND, MISCONFIGURED])
def test_a_name_that_does_not_exist_takes_nothing_out_of_service(verdict: Verdict) -> None:
    pool = open_pool({"gpt-4o": Model("gpt-4o", (deployment("azure"),))}, default="gpt-4o")
    for _ in range(20):
        fail(pool, "made-up", verdict)
    assert pool.refusal("made-up", NOW) is None
    assert pool.refusal("gpt-4o", NOW) is None
    fail(pool, "gpt-4o", verdict)
    assert pool.refusal("gpt-4o", NOW) is not None, "what the configuration names is taken out"


def test_made_up_names_cool_down_and_fail_each_by_itself() -> None:
    pool = open_pool()
    fail(pool, "busy", busy(5.0))
    for _ in range(3):
        fail(pool, "broken", FAILED)
    states = {name: members[0].status for name, members in pool.status(NOW).items()}
    assert states == {"busy": Status.COOLING, "broken": Status.OPEN}
    assert pool.refusal("other", NOW) is None
    assert pool.refusal("busy", NOW + 5) is None


def test_a_model_that_the_configuration_names_is_not_a_made_up_one() -> None:
    named = Model("chat", (deployment("east"),))
    pool = open_pool({"chat": named})
    assert pool.model("chat") is named
    assert pool.model("gpt-4o").deployments[0].endpoint == RESOURCE.endpoint
    with pytest.raises(CallerError):
        pool.model(None)


def test_looking_a_name_up_does_not_remember_it() -> None:
    pool = open_pool()
    assert pool.model("anything").deployments[0].deployment == "anything"
    assert pool.status(NOW) == {}
    pool.choose("anything", NOW).release(NOW)
    assert list(pool.status(NOW)) == ["anything"]

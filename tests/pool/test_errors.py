"""Every error that the package of the pool raises, with its whole answer."""

import random
from collections.abc import Callable
from typing import Any

import pytest
from tests.answers import check, later, refusal
from tests.pool.pools import NOW, busy, deployment, pool_of

from chukei.config import PoolSettings
from chukei.model import Deployment, End, Model
from chukei.pool import Fault, Pool, Source, Verdict

LOST = Verdict(Fault.FAILED, "upstream_lost", 30.0, transport=True)
OWN = Verdict(Fault.FAILED, "upstream_timeout", 30.0)
TOO_LARGE = Verdict(Fault.BUSY, "upstream_429", 20.0, room=50.0)
NAME = "m" * 81


def named(*verdicts: Verdict | None, source: Source | None = None, cost: int = 0, **changes: object) -> Pool:
    """Return a pool whose only model has a long name, and one deployment for each thing that happened."""
    places = [deployment(f"d{number}", **changes) for number in range(len(verdicts))]
    models = {NAME: Model(NAME, tuple(places))}
    settings = PoolSettings(breaker_seconds=30.0)
    pool = Pool(models, settings, default=NAME, open=None, draw=random.Random(7).random)
    for _ in verdicts:
        lease = pool.choose(None, NOW, cost=cost, source=source)
        verdict = verdicts[int(lease.deployment.name[1:])]
        if verdict is not None:
            lease.failed(NOW, verdict)
            lease.release(NOW)
    return pool


def choose(pool: Pool, now: float = NOW, **asked: Any) -> Callable[[], object]:
    return lambda: pool.choose(None, now, **asked)


def home(pool: Pool, **asked: Any) -> Callable[[], object]:
    return lambda: pool.choose_home(None, deployment("d0").identity, NOW, **asked)


def holder(pool: Pool, **asked: Any) -> Callable[[], object]:
    return lambda: pool.choose_holder(None, NOW, tried=(), without=(), **asked)


def all_busy(reasons: str, seconds: int) -> Any:
    message = f"Every deployment of '{NAME[:80]}' is busy ({reasons}). Try again in {seconds} s."
    return refusal(
        429, "all_deployments_busy", message, type="rate_limit_error", headers=later(seconds), end=End.NO_DEPLOYMENT
    )


def none_left(reasons: str, seconds: int) -> Any:
    message = f"No deployment of '{NAME[:80]}' can answer ({reasons}). Try again in {seconds} s."
    return refusal(
        503, "no_deployment_available", message, type="server_error", headers=later(seconds), end=End.NO_DEPLOYMENT
    )


def away(status: int, what: str, seconds: int) -> Any:
    message = f"The deployment that holds what this request continues is {what}. Try again in {seconds} s."
    kind = "rate_limit_error" if status == 429 else "server_error"
    return refusal(
        status, "stateful_deployment_busy", message, type=kind, headers=later(seconds), end=End.NO_DEPLOYMENT
    )


def test_what_is_told_where_no_deployment_can_answer(subtests: pytest.Subtests) -> None:
    eve = Source("eve", b"")
    cooling, failing = "cooling down after a 429", "failing"
    full = named(None, max_concurrent=1)
    own = named(OWN, source=eve)
    large = named(TOO_LARGE, source=eve, cost=500)
    alone = "left alone because your own requests failed there"
    room = "without room for a request as large as yours"
    asked: dict[str, Any] = {"source": Source("eve", b""), "cost": 500}
    check(
        subtests,
        [
            (choose(named(busy(20.0))), all_busy(f"1 {cooling}", 20)),
            (choose(named(busy(20.0), busy(9.0), LOST)), all_busy(f"2 {cooling}, 1 {failing}", 9)),
            (choose(full), all_busy("1 working on as much as they may", 1)),
            (choose(named(LOST)), none_left(f"1 {failing}: upstream_lost", 30)),
            (choose(own, **asked), none_left(f"1 {alone}: upstream_timeout", 30)),
            (choose(large, **asked), all_busy(f"1 {room}", 20)),
            (home(named(busy(20.0))), away(429, cooling, 20)),
            (home(full), away(429, "working on as much as they may", 1)),
            (home(named(LOST)), away(503, failing, 30)),
            (home(own, **asked), away(503, alone, 30)),
            (home(large, **asked), away(429, room, 20)),
            (holder(named(busy(20.0), busy(9.0)), cost=0), away(429, cooling, 9)),
            (holder(own, **asked), away(503, alone, 30)),
            (holder(large, **asked), away(429, room, 20)),
        ],
    )
    for pool in (own, large):  # to others it is as well as before
        for chosen in (
            pool.choose_home(None, deployment("d0").identity, NOW, source=Source("adam", b"")),
            pool.choose_holder(None, NOW, cost=1, tried=(), without=(), source=Source("adam", b"")),
        ):
            assert chosen is not None


def test_what_is_told_of_a_models_name(subtests: pytest.Subtests) -> None:
    place = Deployment("azure", "https://r.example", "")

    def pool(*names: str, open: bool = False) -> Pool:
        models = {name: Model(name, (deployment(name),)) for name in names}
        there = place if open else None
        return Pool(models, PoolSettings(), default=None, open=there, draw=random.Random(7).random)

    def row(chosen: Pool, name: str | None, status: int, code: str, message: str) -> Any:
        return (lambda: chosen.model(name)), refusal(status, code, message, param="model")

    def hidden() -> object:
        return pool("a").model(NAME, lambda _: False)

    missing = "'model' is missing and this relay has no default model."
    unknown = f"There is no model '{NAME[:80]}' here."
    form = "'model' must be a deployment's name: letters, digits, dots, dashes and underscores."
    check(
        subtests,
        [
            row(pool("a", "b"), None, 400, "missing_model", f"{missing} Known models: a, b."),
            row(pool(open=True), None, 400, "missing_model", f"{missing} Send the name of a deployment."),
            row(pool("a"), NAME, 404, "model_not_found", f"{unknown} Known models: a."),
            (hidden, refusal(404, "model_not_found", f"{unknown} There is none that you may use.", param="model")),
            row(pool(open=True), "a/b", 400, "invalid_model", form),
        ],
    )


def test_only_a_silence_of_at_least_the_usual_time_counts() -> None:
    lease = pool_of([deployment("a")]).choose(None, NOW)
    for seconds in range(1, 41):
        lease.answered(NOW, float(seconds), [])
    assert [lease.member.percentile(share) for share in (0.0, 0.5, 0.95, 1.0)] == [1.0, 21.0, 39.0, 40.0]
    lease.outrun(NOW, 38.9)
    assert lease.member.percentile(0.95) == 39.0
    for _ in range(3):
        lease.outrun(NOW, 39.0)
    assert [lease.member.percentile(share) for share in (0.9, 0.95, 1.0)] == [39.0, 39.0, 40.0]

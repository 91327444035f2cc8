"""What a caller hears when there is no deployment: the right status, why, and the shortest wait."""

from tests.pool.pools import NOW, deployment
from tests.rows import rows

from chukei.config import PoolSettings
from chukei.errors import come_back
from chukei.model import End
from chukei.pool.busy import busy, home_is_away
from chukei.pool.member import Member, Quota

SETTINGS = PoolSettings()


def member(name: str, **changes: object) -> Member:
    return Member(deployment(name, **changes), Quota(), SETTINGS, lambda: 0.0, named=True)


def cooling(seconds: float) -> Member:
    found = member("cooling")
    found.quota.cool(NOW, seconds, "rate_limit_exceeded", SETTINGS)
    return found


def failing(seconds: float) -> Member:
    found = member("failing")
    found.breaker.trip(NOW, "upstream_lost", seconds)
    return found


def full() -> Member:
    found = member("full", max_concurrent=1)
    found.outstanding = 1
    return found


def tried() -> Member:
    found = failing(0.0)
    found.breaker.enter(NOW)
    return found


@rows(
    ("members", "status", "seconds"),
    [
        ([cooling(7.5)], 429, 7.5),
        ([cooling(7.5), cooling(3.0)], 429, 3.0),
        ([cooling(7.5), failing(3.0)], 429, 3.0),
        ([cooling(0.25), full()], 429, 0.25),
        ([cooling(7.5), full()], 429, 1.0),
        ([failing(5.0)], 503, 5.0),
        ([failing(5.0), failing(0.5)], 503, 0.5),
        ([failing(5.0), tried()], 503, 1.0),
        ([failing(5.0), full()], 429, 1.0),
        ([failing(5.0), member("drained", weight=0)], 503, 5.0),
    ],
)
def test_429_where_one_is_well_but_busy_else_503(members: list[Member], status: int, seconds: float) -> None:
    error = busy("chat", members, NOW)
    assert (error.status, error.end) == (status, End.NO_DEPLOYMENT)
    assert error.code == {429: "all_deployments_busy", 503: "no_deployment_available"}[status]
    assert error.type == {429: "rate_limit_error", 503: "server_error"}[status]
    assert dict(error.headers)[b"retry-after-ms"] == b"%d" % round(seconds * 1000)


def test_the_message_counts_the_reasons_and_names_no_resource() -> None:
    error = busy("chat", [cooling(7.5), cooling(9.0), full(), failing(60.0)], NOW)
    assert error.message == (
        "Every deployment of 'chat' is busy (2 cooling down after a 429, 1 working on as much as they may, 1 failing). "
        "Try again in 1 s."
    )
    error = busy("x" * 5000, [failing(60.0), failing(50.0)], NOW)
    assert "(2 failing: upstream_lost). Try again in 50 s." in error.message
    assert len(error.message) < 250
    assert ".example" not in error.message


@rows(("away", "status", "seconds"), [(cooling(2.5), 429, 2.5), (full(), 429, 1.0), (failing(4.0), 503, 4.0)])
def test_the_only_one_that_could_continue_is_away(away: Member, status: int, seconds: float) -> None:
    error = home_is_away(away, NOW)
    assert (error.code, error.status) == ("stateful_deployment_busy", status)
    assert dict(error.headers)[b"retry-after-ms"] == b"%d" % round(seconds * 1000)


@rows(
    ("seconds", "whole", "fine"),
    [(0.0001, b"1", b"1"), (0.5, b"1", b"500"), (1.0, b"1", b"1000"), (1.2, b"2", b"1200")],
)
def test_waits_are_rounded_up(seconds: float, whole: bytes, fine: bytes) -> None:
    """A client that comes back too early would be refused again."""
    assert come_back(seconds) == [(b"retry-after", whole), (b"retry-after-ms", fine)]

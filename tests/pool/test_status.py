"""What an operator sees of a deployment."""

from tests.pool.pools import NOW, deployment

from chukei.config import PoolSettings
from chukei.metrics import definitions as of
from chukei.pool.member import ENOUGH, Member, Quota, Status
from chukei.pool.status import readings_of, status_of, summary

SETTINGS = PoolSettings()


def member(**changes: object) -> Member:
    return Member(deployment("east", **changes), Quota(), SETTINGS, lambda: 0.0, named=True)


def test_one_that_is_well() -> None:
    found = member(priority=2, weight=3)
    found.outstanding, found.tokens, found.answered, found.failed, found.last_error = 2, 900, 7, 1, "upstream_lost"
    for number in range(ENOUGH):
        found.record_first_token(number / 10)
    status = status_of(found, NOW)
    assert (status.deployment, status.priority, status.weight, status.status) == ("east", 2, 3, Status.READY)
    assert (status.seconds, status.why) == (0.0, None)
    assert (status.outstanding, status.outstanding_tokens) == (2, 900)
    assert (status.answered, status.failed, status.last_error) == (7, 1, "upstream_lost")
    assert (status.first_token_p50, status.first_token_p95) == (0.5, 0.9)
    assert summary(found, NOW) == "east ready 2 outstanding first token 500 ms"


def test_one_that_cools_says_until_when_and_why() -> None:
    found = member()
    found.quota.cool(NOW, 7.12345, "rate_limit_exceeded", SETTINGS)
    status = status_of(found, NOW)
    assert (status.status, status.seconds, status.why) == (Status.COOLING, 7.123, "rate_limit_exceeded")
    assert summary(found, NOW) == "east cooling 7.1 s (rate_limit_exceeded)"
    assert summary(found, NOW + 8) == "east ready"


def test_its_limits_and_what_is_left_of_them() -> None:
    found = member(max_concurrent=3, quota_group="west")
    status = status_of(found, NOW)
    assert (status.max_concurrent, status.quota_group) == (3, "west")
    assert (status.pressed_seconds, status.large_tokens, status.large_seconds) == (0.0, None, 0.0)
    found.pressed_until = NOW + 4
    found.quota.narrow(NOW, 9.0, "rate_limit_exceeded", 5000, SETTINGS)
    status = status_of(found, NOW + 1)
    assert (status.pressed_seconds, status.large_tokens, status.large_seconds) == (3.0, 5000, 8.0)
    status = status_of(found, NOW + 20)
    assert (status.pressed_seconds, status.large_tokens, status.large_seconds) == (0.0, None, 0.0)


def test_its_metrics_are_its_status() -> None:
    found = member()
    found.outstanding, found.tokens = 2, 900
    found.quota.cool(NOW, 7.0, "rate_limit_exceeded", SETTINGS)
    readings = [*readings_of("gpt", status_of(found, NOW, left_out_for=3))]
    states = {labels[2]: value for family, labels, value in readings if family is of.DEPLOYMENT_STATE}
    assert states == {status.value: status is Status.COOLING for status in Status}
    assert [reading for reading in readings if reading[0] is not of.DEPLOYMENT_STATE] == [
        (of.DEPLOYMENT_WAIT, ("gpt", "east"), 7.0),
        (of.DEPLOYMENT_REQUESTS, ("gpt", "east"), 2),
        (of.DEPLOYMENT_TOKENS, ("gpt", "east"), 900),
        (of.DEPLOYMENT_SOURCES, ("gpt", "east"), 3),
    ]


def test_one_that_is_open_or_half_open_says_why() -> None:
    found = member()
    found.breaker.trip(NOW, "connect_error", 5.0)
    status = status_of(found, NOW + 1)
    assert (status.status, status.seconds, status.why) == (Status.OPEN, 4.0, "connect_error")
    assert summary(found, NOW + 1) == "east open 4.0 s (connect_error)"
    status = status_of(found, NOW + 5)
    assert (status.status, status.seconds, status.why) == (Status.HALF_OPEN, 0.0, "connect_error")
    assert summary(found, NOW + 5) == "east half_open"


def test_full_and_drained() -> None:
    found = member(max_concurrent=1)
    found.outstanding = 1
    assert summary(found, NOW) == "east full 1 outstanding"
    assert summary(member(weight=0), NOW) == "east drained"

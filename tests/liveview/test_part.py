"""The sum of several processes' parts is what one process would know that had served all requests."""

import pytest
from tests.liveview.records import Watched, failed, member, record, refused, running

from chukei.liveview.part import Part, merged
from chukei.pool.member import Status
from chukei.record import RequestRecord, RunningRequest

RECORDS = [
    record(),
    record(caller="team-b", deployment="west", seconds=2.0),
    refused(),
    failed(),
    failed(code="connect_error", deployment="north"),
    record(stream=False),
]
RUNNING = [running(), running(deployment="west", first_token=None, age=9.0), running(caller="team-c", unread=2.0)]


def served(records: list[RequestRecord], requests: list[RunningRequest]) -> Part:
    watched = Watched()
    watched.heard(*records).after(12.0).running = requests
    watched.pool = {"east": member()}
    return watched.part(connections=len(records), lag=0.01 * len(records))


def test_several_are_as_one() -> None:
    one = served(RECORDS, RUNNING)
    several = merged([served(RECORDS[:2], RUNNING[:1]), served(RECORDS[2:3], RUNNING[1:]), served(RECORDS[3:], [])])
    for name in ("seconds", "tens", "total", "left", "deployments", "callers", "running"):
        assert getattr(several, name) == getattr(one, name), name
    assert {key: reason.count for key, reason in several.reasons.items()} == {
        key: reason.count for key, reason in one.reasons.items()
    }
    assert len(several.failures) == len(one.failures)
    assert (several.workers, several.connections) == (3, 6)
    assert several.lag == pytest.approx(0.03)


def test_the_worst_status_of_a_deployment_is_shown_and_how_many_see_it() -> None:
    first, second = Watched(), Watched()
    first.pool = {"east": member(outstanding=3), "west": member()}
    second.pool = {"east": member(Status.OPEN, why="timeout", seconds=9.0, away=1, outstanding=1)}
    pool = merged([first.part(), second.part()]).pool
    east = pool["east"]
    assert (east.status, east.why, east.seconds, east.away, east.pools, east.outstanding) == (
        Status.OPEN, "timeout", 9.0, 1, 2, 4,
    )  # fmt: skip
    assert pool["west"].pools == 1


def test_the_relay_shuts_down_when_all_of_it_does() -> None:
    assert merged([Watched().part(draining=True), Watched().part(draining=True)]).draining
    assert not merged([Watched().part(draining=True), Watched().part()]).draining


def test_without_an_answer_there_is_no_sum() -> None:
    with pytest.raises(ValueError, match="no process"):
        merged([])

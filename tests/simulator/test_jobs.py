"""Jobs on a clock of the test's own."""

from __future__ import annotations

from chukei.simulator.exchanges import Event, Stall
from chukei.simulator.jobs import FOR_EVER, Log, Progress


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


STAGES = [("queued", 5.0), ("running", 10.0)]


def test_a_job_goes_on_by_the_clock() -> None:
    clock, reached = Clock(), list[str]()
    job = Progress(STAGES, "done", 3, clock, reached.append)

    seen = []
    for seconds in (0, 4.9, 0.1, 9.9, 0.1, 100):
        clock.now += seconds
        seen.append(job.look())

    assert seen == ["queued", "queued", "running", "running", "done", "done"]
    assert reached == ["running", "done"]


def test_a_job_that_nobody_looks_at_passes_through_all_stages() -> None:
    clock, reached = Clock(), list[str]()
    job = Progress(STAGES, "done", 3, clock, reached.append)
    clock.now += 1000

    assert job.look() == "done"
    assert reached == ["running", "done"]


def test_stages_that_take_no_time_are_each_seen() -> None:
    for looks, seen in ((0, ["done"] * 3), (1, ["b", "done", "done"]), (2, ["a", "b", "b"])):
        job = Progress([("a", 0), ("b", 0)], "done", looks, Clock())

        assert [job.look() for _ in range(3)] == seen, looks


def test_a_job_ends_once() -> None:
    clock, reached = Clock(), list[str]()
    job = Progress(STAGES, "done", 1, clock, reached.append)
    job.finish("cancelled")
    job.finish("failed")
    job.finish()
    clock.now += 1000

    assert (job.look(), job.running, reached) == ("cancelled", False, ["cancelled"])


def test_a_log_is_followed_at_its_pace_from_anywhere() -> None:
    clock = Clock()
    events = [Event(b"0"), Event(b"1", 2.0), Event(b"2", 3.0)]
    job = Progress(STAGES, "done", 1, clock)
    log = Log(events, clock, job)
    clock.now += 2.5

    assert log.last() == 1
    assert [(step.data, step.wait) for step in log.follow() if isinstance(step, Event)] == [
        (b"0", 0.0),
        (b"1", 0.0),
        (b"2", 2.5),
    ]
    assert job.status == "done"
    assert [step.data for step in log.follow(1) if isinstance(step, Event)] == [b"2"]
    assert list(log.follow(2)) == []


def test_who_follows_a_job_that_stands_still_sees_it_cancelled() -> None:
    clock = Clock()
    job = Progress([("queued", FOR_EVER)], "done", 1, clock)
    steps = Log([Event(b"0"), Event(b"", FOR_EVER)], clock, job).follow()

    assert isinstance(next(steps), Event)
    assert isinstance(next(steps), Stall)
    job.finish("cancelled")
    assert list(steps) == []


def test_a_job_stays_where_it_is_while_it_works() -> None:
    clock, working = Clock(), [True]
    job = Progress(STAGES, "done", 3, clock, busy=lambda: bool(working))
    clock.now += 1000

    assert [job.look(), job.look()] == ["queued", "queued"]
    working.clear()
    assert job.look() == "done"

"""What a process's window holds after requests: counts, durations, tokens in time, what is usual, and its bounds."""

import pytest
from tests.liveview.records import START, Watched, failed, record, refused, running
from tests.rows import rows

from chukei.liveview.part import MOST_FAILURES, MOST_REASONS, MOST_REFUSALS, Part
from chukei.liveview.shares import MOST_CALLERS
from chukei.liveview.window import MOST_DEPLOYMENTS
from chukei.model import End
from chukei.record import Attempt
from chukei.usage import Usage


def p50(part: Part, measure: str, deployment: str | None = None) -> float | None:
    share = part.total if deployment is None else part.deployments[deployment]
    return share.times[measure].percentile(0.5) if measure in share.times else None


def test_requests_are_counted_by_outcome_and_caller() -> None:
    part = Watched().heard(record(), record(caller="team-b"), refused(), failed(), refused(caller=None)).part()
    step = part.seconds[-1]
    assert (step.requests, step.refused, step.failed, step.input) == (5, 2, 1, 20)
    shown = {name: (each.requests, each.refused, each.failed) for name, each in part.callers.named.items()}
    assert shown == {"team-a": (3, 1, 1), "team-b": (1, 0, 0), "": (1, 1, 0)}


@rows("operation", ["admin", "live", "asset", "models", "usage", "test_stream"])
def test_pages_are_not_counted(operation: str) -> None:
    assert Watched().heard(record(operation=operation)).part().seconds[-1].requests == 0


def test_durations_along_the_way() -> None:
    each = record(seconds=0.5, received=0.1, started=0.35, first_token=0.85, duration=1.35)
    part = Watched().heard(each, each, each).part()
    assert p50(part, "upload") == pytest.approx(0.1, rel=0.1)
    assert p50(part, "own") == pytest.approx(0.25, rel=0.1)
    assert p50(part, "first_token", "east") == pytest.approx(0.5, rel=0.1)
    assert p50(part, "gap", "east") == pytest.approx(0.05, rel=0.1)
    assert p50(part, "answer") is None


def test_what_is_no_gap_of_the_model_is_left_out_of_it() -> None:
    waited = record(seconds=0.5, first_token=0.5, duration=5.5, client_wait=4.5, usage=Usage(output=30, reasoning=19))
    assert p50(Watched().heard(waited).part(), "gap") == pytest.approx(0.05, rel=0.1)


def test_an_answer_that_is_not_streamed_has_its_own_measure() -> None:
    part = Watched().heard(record(stream=False, seconds=2.0)).part()
    assert p50(part, "answer") == pytest.approx(2.0, rel=0.1)
    assert p50(part, "first_token") is None


def test_a_failed_attempt_counts_although_another_answered() -> None:
    lost = (Attempt("west", code="upstream_500"), Attempt("north", hedge=True, code="hedge_lost"))
    part = Watched().heard(record(lost=lost)).part()
    assert {name: (each.asked, each.failed) for name, each in part.deployments.items()} == {
        "west": (1, 1),
        "north": (1, 0),
        "east": (1, 0),
    }
    assert part.deployments["west"].codes == {"upstream_500": 1}
    assert part.total.asked == 3
    assert part.seconds[-1].failed == 0


def test_a_callers_mistake_is_no_failure_of_the_deployment() -> None:
    mistake = record(end=End.UPSTREAM_STATUS, status=400, code="upstream_400", attempt_code="upstream_400")
    part = Watched().heard(mistake).part()
    assert (part.deployments["east"].failed, part.seconds[-1].refused) == (0, 1)


def test_tokens_are_counted_when_they_were_generated() -> None:
    watched = Watched().after(30.0)
    done = record(duration=10.0, first_token=0.0, usage=Usage(output=1000))
    output = [step.output for step in watched.heard(done).part().seconds]
    assert output[-11:] == pytest.approx([100.0] * 10 + [0.0])
    assert sum(output) == pytest.approx(1000)


def test_running_streams_have_tokens_already() -> None:
    watched = Watched().after(30.0)
    watched.running = [running(age=5.0, first_token=1.0, tokens=400), running(deployment="west", first_token=None)]
    part = watched.part()
    assert [step.output for step in part.seconds][-5:-1] == pytest.approx([100.0] * 4)
    assert sum(step.output for step in watched.part().seconds) == pytest.approx(400)  # looking changes nothing


def test_running_requests_by_deployment() -> None:
    watched = Watched()
    watched.running = [
        running(silent=2.0),
        running(unread=1.5, caller="team-b"),
        running(first_token=None, age=7.0),
        running(first_token=None, age=2.0),
        running(stream=False, first_token=None, age=40.0),
        running(deployment=None, first_token=None),
    ]
    part = watched.part()
    east = part.running.deployments["east"]
    assert (east.open, east.waiting, east.longest, east.silent) == (5, 2, 7.0, 2.0)
    assert (east.whole, east.oldest) == (1, 40.0)
    assert (part.running.requests, part.running.streams, part.running.unplaced, part.running.slow) == (6, 5, 1, 1)
    assert {name: (each.open, each.slow) for name, each in part.callers.named.items()} == {
        "team-a": (5, 0),
        "team-b": (1, 1),
    }


def test_the_last_minute_ends() -> None:
    watched = Watched().heard(record(), refused())
    assert watched.after(49.0).part().deployments["east"].asked == 1
    part = watched.after(11.0).part()
    assert (part.deployments, part.callers.named, part.reasons) == ({}, {}, {})
    assert sum(step.requests for step in part.tens) == 2
    assert sum(step.requests for step in watched.after(900.0).part().tens) == 0


def test_what_is_usual_is_learnt_from_what_was() -> None:
    watched = Watched()
    for _ in range(12):
        watched.heard(*[record(seconds=0.4)] * 10).after(10.0)
    usual = watched.part().usual["east"]["first_token"]
    assert usual.percentile(0.95) == pytest.approx(0.4, rel=0.1)


def test_an_incident_does_not_become_usual_soon() -> None:
    watched = Watched()
    for _ in range(60):
        watched.heard(*[record(seconds=0.4)] * 10).after(10.0)
    for _ in range(90):
        watched.heard(*[record(seconds=4.0)] * 10).after(10.0)
    assert watched.part().usual["east"]["first_token"].percentile(0.5) == pytest.approx(0.4, rel=0.1)


def test_a_night_without_traffic_changes_nothing_of_what_is_usual() -> None:
    watched = Watched()
    for _ in range(3):
        watched.heard(*[record(seconds=0.4)] * 10).after(10.0)
    before = watched.after(10.0).part().usual
    assert watched.after(8 * 3600.0).part().usual == before


def test_reasons_have_a_count_and_the_last_request() -> None:
    watched = Watched().heard(refused(caller="team-a", request_id="first"))
    watched.after(2.0).heard(refused(caller="team-b", request_id="second"), failed(code="upstream_500"))
    reasons = watched.after(3.0).part().reasons
    assert set(reasons) == {"refused\nrate_limit_exceeded\n", "failed\nupstream_500\n"}
    limit = reasons["refused\nrate_limit_exceeded\n"]
    assert (limit.count, limit.last.request_id, limit.last.caller, limit.last.at) == (2, "second", "team-b", 3.0)


def test_many_refusals_do_not_hide_a_failure() -> None:
    watched = Watched().heard(failed(request_id="it"), *[refused() for _ in range(1000)])
    part = watched.part()
    assert [failure.request_id for failure in part.failures] == ["it"]
    assert len(part.refusals) == MOST_REFUSALS


def test_memory_is_bounded_whatever_comes() -> None:
    watched = Watched()
    for number in range(3 * MOST_CALLERS):
        watched.heard(
            record(caller=f"caller-{number}", deployment=f"deployment-{number}"),
            failed(code=f"code-{number}", caller=f"other-{number}"),
        )
    part = watched.part()
    assert len(part.callers.named) <= MOST_CALLERS
    assert len(part.deployments) <= MOST_DEPLOYMENTS + 1
    assert len(part.reasons) <= MOST_REASONS + 2
    assert len(part.failures) == MOST_FAILURES
    assert len(part.deployments["east"].codes) <= MOST_REASONS + 1
    assert part.seconds[-1].requests == 6 * MOST_CALLERS


def test_new_connections_are_timed() -> None:
    watched = Watched()
    watched.window.dialled("east.example", 0.03)
    assert p50(watched.part(), "connect") == pytest.approx(0.03, rel=0.1)


def test_after_a_start_the_minute_is_shorter() -> None:
    assert Watched().after(7.0).part().covered == 7.0
    assert Watched().after(START).part().covered <= 60.0

"""What is shown: rates, sums, orders and bounds."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from tests.liveview.records import Watched, failed, member, record, refused, running

from chukei.liveview.schema import Live
from chukei.liveview.view import MOST_CALLERS, MOST_DEPLOYMENTS, view_of
from chukei.usage import Usage

NOW = datetime(2026, 11, 29, 3, 4, 5, tzinfo=UTC)


def seen(watched: Watched, **state: Any) -> Live:
    return view_of(watched.part(**state), NOW)


def test_rates_are_of_the_last_ten_whole_seconds() -> None:
    watched = Watched().after(0.5)
    for _ in range(20):
        watched.heard(record(duration=0.01, first_token=0.0, usage=Usage(input=5, output=7))).after(1.0)
    live = seen(watched)
    assert (live.rates.requests, live.rates.input, live.rates.output) == (1.0, 5.0, 7.0)


def test_a_relay_that_has_just_started_has_rates_too() -> None:
    live = seen(Watched().heard(*[record()] * 6).after(3.0))
    assert live.rates.requests == 2.0


def test_sums_of_the_last_minute() -> None:
    watched = Watched().heard(record(), record(caller=None), refused(), failed())
    watched.running = [running(), running(first_token=None)]
    live = seen(watched, connections=7)
    assert (live.ended.requests, live.ended.refused, live.ended.failed) == (4, 1, 1)
    assert (live.open.requests, live.open.waiting, live.open.connections) == (2, 1, 7)


def test_series_have_a_value_for_each_step() -> None:
    live = seen(Watched().heard(record(), refused()).after(1.0))
    assert (len(live.minute.requests), len(live.quarter.first_token)) == (60, 90)
    assert (live.minute.requests[-2:], live.minute.refused[-2:]) == ([2.0, 0.0], [1.0, 0.0])
    assert live.quarter.requests[-1] == pytest.approx(0.2)
    assert live.quarter.first_token[-1] == pytest.approx(0.5, rel=0.1)
    assert live.quarter.first_token[0] is None


def test_long_lists_are_cut_but_counted() -> None:
    watched = Watched()
    watched.pool = {f"deployment-{number:03}": member() for number in range(MOST_DEPLOYMENTS + 30)}
    watched.heard(*[record(caller=f"caller-{number}") for number in range(MOST_CALLERS + 5)])
    watched.heard(*[record(deployment="deployment-129", caller="busy")] * 3)
    live = seen(watched)
    assert (len(live.deployments), live.deployments_total) == (MOST_DEPLOYMENTS, MOST_DEPLOYMENTS + 31)
    assert (len(live.callers), live.callers_total, live.callers[0].caller) == (MOST_CALLERS, MOST_CALLERS + 6, "busy")
    assert "deployment-129" in [each.deployment for each in live.deployments[:3]]


def test_what_is_usual_is_shown_when_enough_is_known() -> None:
    watched = Watched().heard(*[record()] * 19).after(60.0)
    assert seen(watched).deployments == []
    watched.pool = {"east": member()}
    assert seen(watched).deployments[0].usual == {}
    watched.heard(*[record()] * 19).after(60.0)
    assert seen(watched).deployments[0].usual["first_token"].p95 == pytest.approx(0.5, rel=0.1)


def test_it_is_what_the_schema_says() -> None:
    watched = Watched().heard(record(), refused(), failed()).after(2.0)
    watched.running, watched.pool = [running()], {"east": member()}
    live = seen(watched)
    assert msgspec.json.decode(msgspec.json.encode(live), type=Live) == live


def test_a_thousand_deployments_and_callers_make_no_giant_event() -> None:
    watched = Watched()
    watched.pool = {f"deployment-{number:04}": member() for number in range(1000)}
    for number in range(10_000):
        watched.heard(record(caller=f"caller-{number}", deployment=f"deployment-{number % 1000:04}"))
    assert len(msgspec.json.encode(seen(watched))) < 150_000


def test_refusals_by_different_rules_are_told_apart() -> None:
    rules = ["callers.team-a.limits.requests_per_minute"] * 2 + ["groups.eu.limits.concurrent"] * 12
    live = seen(Watched().heard(*[refused(rule=rule) for rule in rules], refused()))
    shown = [(each.code, each.rule, each.count) for each in live.reasons]
    assert shown == [
        ("rate_limit_exceeded", rules[-1], 12),
        ("rate_limit_exceeded", rules[0], 2),
        ("rate_limit_exceeded", None, 1),
    ]
    assert [each.rule for each in live.failures if each.rule] == [rules[-1]] * 4
    assert f"({rules[-1]})" in live.verdict.text


def test_what_answers_in_azures_place_is_the_networks() -> None:
    codes = ["unexpected_redirect"] * 4 + ["unexpected_content_type"] * 2
    live = seen(Watched().heard(*[failed(code=code) for code in codes], *[failed(code="upstream_500")] * 5))
    assert [(each.failed, each.unreached) for each in live.deployments] == [(11, 6)]
    assert {finding.rule for finding in live.findings} == {"unreachable", "failing"}
    assert live.places.network == "alarm"

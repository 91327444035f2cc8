"""Each rule finds what it is for, and nothing in ordinary traffic. The table in the documentation is the code's own."""

from collections.abc import Callable
from datetime import UTC, datetime

from tests import markdown
from tests.liveview.records import Watched, failed, member, record, refused, running
from tests.rows import rows

from chukei.liveview.schema import Finding, Live
from chukei.liveview.verdict import RULES, duration
from chukei.liveview.view import view_of
from chukei.pool.member import Status

NOW = datetime(2026, 11, 29, 3, 4, 5, tzinfo=UTC)


def ordinary() -> Watched:
    """An hour's third of ordinary traffic to two deployments, so that it is known what is usual."""
    watched = Watched()
    watched.pool = {"east": member(), "west": member()}
    for _ in range(120):
        watched.heard(*[record(), record(deployment="west"), record(stream=False, seconds=1.0)] * 4).after(10.0)
    watched.running = [running(), running(deployment="west")]
    return watched


def seen(watched: Watched, **state: float | bool) -> Live:
    return view_of(watched.part(**state), NOW)


def _lag(watched: Watched) -> Live:
    return seen(watched, lag=0.12)


def _draining(watched: Watched) -> Live:
    return seen(watched, draining=True)


def _own(watched: Watched) -> Live:
    return seen(watched.after(60).heard(*[record(seconds=0.5, started=0.5, first_token=1.0)] * 20))


def _unreachable(watched: Watched) -> Live:
    return seen(watched.heard(*[failed(code="connect_timeout", deployment="west")] * 30))


def _slow_connect(watched: Watched) -> Live:
    for _ in range(4):
        watched.window.dialled("east.example", 1.0)
    return seen(watched)


def _none_left(watched: Watched) -> Live:
    watched.pool = {name: member(Status.OPEN, why="timeout", away=1, seconds=9.0) for name in ("east", "west")}
    return seen(watched)


def _failing(watched: Watched) -> Live:
    return seen(watched.heard(*[failed(deployment="west")] * 20))


def _hanging(watched: Watched) -> Live:
    watched.running = [running(first_token=None, age=8.0)] * 3
    return seen(watched)


def _hanging_whole(watched: Watched) -> Live:
    watched.running = [running(first_token=None, stream=False, age=50.0)]
    return seen(watched)


def _slow_first(watched: Watched) -> Live:
    return seen(watched.after(60).heard(*[record(seconds=3.0), record(deployment="west")] * 20))


def _slow_answer(watched: Watched) -> Live:
    return seen(watched.after(60).heard(*[record(seconds=9.0, stream=False)] * 20))


def _slow_tokens(watched: Watched) -> Live:
    return seen(watched.after(60).heard(*[record(duration=6.0)] * 20))


def _silent(watched: Watched) -> Live:
    watched.running = [running(silent=12.0)]
    return seen(watched)


def _away(watched: Watched) -> Live:
    watched.pool["west"] = member(Status.COOLING, why="upstream_429", away=1, seconds=9.0)
    return seen(watched)


def _slow_clients(watched: Watched) -> Live:
    watched.running += [running(caller="team-slow", unread=3.0)] * 5
    return seen(watched)


def _upload(watched: Watched) -> Live:
    return seen(watched.after(60).heard(*[record(received=4.0, first_token=4.5)] * 20))


def _refusals(watched: Watched) -> Live:
    return seen(watched.heard(*[refused(caller="team-loud")] * 60))


EXPECTED: dict[str, tuple[Callable[[Watched], Live], str, str | None]] = {
    "draining": (_draining, "The relay is shutting down.", None),
    "loop_lag": (_lag, "up to 120 ms late", None),
    "own_time": (_own, "before it asks a deployment", None),
    "unreachable": (_unreachable, "do not reach west (connect_timeout)", "west"),
    "slow_connect": (_slow_connect, "New connections to Azure take", None),
    "no_deployment": (_none_left, "for gpt-4o: east open, west open", "gpt-4o"),
    "failing": (_failing, "west fails 50 % of attempts (upstream_500)", "west"),
    "hanging": (_hanging, "3 requests wait for east, the oldest for 8.0 s.", "east"),
    "slow_first_token": (_slow_first, "to the first token, 6.", "east"),
    "slow_answer": (_slow_answer, "for whole answers, 9.", "east"),
    "slow_tokens": (_slow_tokens, "from token to token", "east"),
    "silent": (_silent, "A stream of east has been silent for 12.0 s.", "east"),
    "away": (_away, "west is left alone for 9.0 s more (upstream_429).", "west"),
    "slow_clients": (_slow_clients, "5 of 7 streams wait for clients that do not read, most of team-slow", "team-slow"),
    "slow_upload": (_upload, "to send their requests", None),
    "refusals": (_refusals, "are refused (rate_limit_exceeded), most of team-loud", "team-loud"),
}


def found(live: Live, rule: str) -> list[Finding]:
    return [finding for finding in live.findings if finding.rule == rule]


def test_every_rule_is_tested() -> None:
    assert set(EXPECTED) == {rule.name for rule in RULES}


def test_ordinary_traffic_is_normal() -> None:
    live = seen(ordinary())
    assert live.findings == []
    assert (live.verdict.rule, live.verdict.text) == ("normal", "Everything is normal.")


@rows(("age", "level"), [(25.0, "warning"), (61.0, "alarm")])
def test_a_model_that_thinks_is_no_alarm_after_a_start(age: float, level: str) -> None:
    watched = Watched()
    watched.running = [running(first_token=None, age=age)]
    assert [finding.level for finding in found(seen(watched), "hanging")] == [level]
    watched = ordinary()
    watched.running = [running(first_token=None, age=age)]
    assert [finding.level for finding in found(seen(watched), "hanging")] == ["alarm"]


def test_no_traffic_is_no_trouble() -> None:
    assert seen(Watched().after(300.0)).verdict.rule == "idle"


@rows("rule", EXPECTED)
def test_a_rule_finds_what_it_is_for(rule: str) -> None:
    act, text, subject = EXPECTED[rule]
    live = act(ordinary())
    [finding] = found(live, rule)
    place = next(each.place for each in RULES if each.name == rule)
    assert text in finding.text
    assert (finding.place, finding.subject) == (place, subject)
    assert getattr(live.places, place) != "ok"


def test_the_other_places_stay_normal() -> None:
    live = _slow_first(ordinary())
    assert (live.places.caller, live.places.relay, live.places.network, live.places.azure) == (
        "ok",
        "ok",
        "ok",
        "alarm",
    )
    assert live.verdict.text.endswith("; others are normal.")
    assert [each.level for each in live.deployments] == ["alarm", "ok"]


def test_if_all_are_slow_it_says_so() -> None:
    live = seen(ordinary().after(60).heard(*[record(seconds=3.0), record(seconds=3.0, deployment="west")] * 20))
    assert live.verdict.text.endswith("; all are slow.")


def test_an_answer_that_is_not_streamed_may_hang_too() -> None:
    [finding] = found(_hanging_whole(ordinary()), "hanging")
    assert "1 requests wait for east, the oldest for 50.0 s." in finding.text


def test_where_nothing_is_reached_the_network_is_named() -> None:
    watched = Watched().after(60)
    watched.heard(*[failed(code="connect_error"), failed(code="connect_error", deployment="west")] * 10)
    live = seen(watched)
    assert live.verdict.place == "network"
    assert "100 % of attempts reach no deployment (connect_error)" in live.verdict.text


def test_a_small_deployment_that_fails_is_no_alarm_since_others_answer() -> None:
    live = seen(ordinary().after(60).heard(*[record()] * 40, *[failed(deployment="small")] * 5))
    [finding] = found(live, "failing")
    assert (finding.subject, finding.level) == ("small", "warning")


def test_an_alarm_comes_before_what_is_only_a_warning() -> None:
    live = seen(ordinary().after(60).heard(*[record(seconds=3.0)] * 20), draining=True)
    assert [finding.level for finding in live.findings] == ["alarm", "warning"]
    assert live.verdict is live.findings[0]


def test_names_are_no_part_of_the_form() -> None:
    live = seen(ordinary().heard(*[refused(caller="{0.__class__}{code}")] * 60))
    [finding] = found(live, "refusals")
    assert finding.text.endswith("most of {0.__class__}{code}.")


@rows(
    ("seconds", "text"),
    [(0.0, "0 ms"), (0.0314, "31 ms"), (0.9996, "1.0 s"), (4.24, "4.2 s"), (99.96, "100 s"), (3600.0, "3600 s")],
)
def test_durations_are_short(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_the_documented_rules_are_the_codes_own() -> None:
    text = markdown.section(markdown.read("docs/live.md"), "The rules")
    shown = [[cell.strip("`") for cell in row[:4]] for row in markdown.rows(text) if row[0].startswith("`")]
    assert shown == [[rule.name, rule.place, rule.condition, rule.alarm] for rule in RULES]

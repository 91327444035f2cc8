"""What ``chukei top`` shows: every line fits, what matters most is there at 80 × 24, and names do no harm."""

import unicodedata

from msgspec import structs
from tests.rows import rows
from tests.top.views import caller, deployment, failure, hostile, view

from chukei.admin.live_example import LIVE
from chukei.liveview.schema import Live
from chukei.top.cells import width
from chukei.top.screen import Screen, Sort, spark
from chukei.top.terminal import plain

MANY = view(
    deployments=[deployment(f"deployment-{number}-検索") for number in range(60)],
    callers=[caller(f"caller-{number}" * 9) for number in range(20)],
    reasons=[structs.replace(LIVE.reasons[0], code=f"code_{number}" * 4) for number in range(30)],
    failures=[failure(request_id="r" * 200) for _ in range(25)],
    findings=[LIVE.verdict] * 9,
    others=caller(""),
)


def shown(live: Live, columns: int = 80, rows: int | None = 24, **fields: object) -> list[str]:
    screen = Screen("http://relay.example:7221", live)
    for name, value in fields.items():
        setattr(screen, name, value)
    return [plain(line) for line in screen.lines(columns, rows)]


@rows("live", [LIVE, MANY, hostile()], ids=["example", "many", "hostile"])
@rows(("columns", "height"), [(80, 24), (100, 31), (132, 50), (200, 90), (120, None)])
def test_every_line_fits(live: Live, columns: int, height: int | None) -> None:
    lines = shown(live, columns, height)
    assert [line for line in lines if width(line) > columns] == []
    assert height is None or len(lines) <= height


def test_the_smallest_screen_has_all_that_matters() -> None:
    lines = shown(MANY)
    text = "\n".join(lines)
    for part in ("ALARM", "east takes 4.2 s", "CALLERS", "RELAY", "NETWORK", "AZURE", "first token p95", "q quit"):
        assert part in text
    for head in ("deployment ", "caller, by requests", "why "):
        index = next(index for index, line in enumerate(lines) if line.startswith(head))
        assert lines[index + 1].strip()


def test_more_room_shows_more_rows() -> None:
    def count(rows: int) -> int:
        return sum(line.startswith("deployment-") for line in shown(MANY, 100, rows))

    assert count(24) < count(50) < count(90) <= 60
    assert "request id" in "\n".join(shown(MANY, 100, 50))


def test_names_do_no_harm() -> None:
    screen = Screen("http://relay/\x1b[2J", hostile(), notice="\x1b[2J")
    for line in screen.lines(120, 60):
        for _, text in line:
            assert not [each for each in text if unicodedata.category(each) in ("Cc", "Cf", "Zl", "Zp")]


def test_callers_are_sorted_as_asked() -> None:
    live = view(
        callers=[caller("a", requests=9, input=1), caller("b", requests=1, input=90_000), caller("c", refused=99)]
    )
    first = {}
    for sort in Sort:
        lines = shown(live, 100, 50, sort=sort)
        index = next(index for index, line in enumerate(lines) if line.startswith(f"caller, by {sort}"))
        first[sort] = lines[index + 1].split()[0]
    assert first == {Sort.REQUESTS: "c", Sort.TOKENS: "b", Sort.REFUSED: "c"}


def test_before_the_first_event_it_says_what_it_does() -> None:
    lines = [plain(line) for line in Screen("http://relay.example").lines(80, 24)]
    assert lines == ["chukei top  http://relay.example", "connecting …"]


def test_a_notice_and_a_pause_are_shown() -> None:
    text = "\n".join(shown(LIVE, notice="no data for 7 s", paused=True))
    assert "no data for 7 s" in text
    assert "PAUSED" in text


@rows(
    ("values", "bars"),
    [([], ""), ([0, 0], "  "), ([8, 4, 1, 0.001, 0], "█▄▁▁ "), ([1], "█")],
)
def test_bars_are_relative_and_nothing_is_lost(values: list[float], bars: str) -> None:
    assert spark(values) == bars


@rows(
    ("rule", "words"),
    [
        (None, "refused: rate_limit_exceeded"),
        ("callers.a-team-with-a-very-long-name.limits.requests_per_minute", "refused: requests_per_minute"),
        ("groups.everybody.total.tokens_per_day", "refused: tokens_per_day"),
        ("callers.team.models", "refused: rate_limit_exceeded"),
    ],
)
def test_the_limit_that_refused_is_named(rule: str | None, words: str) -> None:
    reason = structs.replace(LIVE.reasons[0], outcome="refused", code="rate_limit_exceeded", rule=rule)
    assert [line for line in shown(view(reasons=[reason])) if line.startswith(words)]

"""Usage as people and programs read it."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta

import pytest
from tests.rows import rows

from chukei.accounts.ledger import By, Question, Sum
from chukei.accounts.reports import MOST_HOURS, as_csv, as_json, as_table, check_hours, moment, total

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def row(*names: str, requests: int = 3, cost: int = 1_234_567, first: float | None = 250.04) -> Sum:
    return Sum(names, requests, 2, 1, 1000, 100, 50, 20, 7, 2, cost, 1, first)


class TestMoment:
    @rows(
        ("text", "then"),
        [
            ("90m", NOW - timedelta(minutes=90)),
            ("24h", NOW - timedelta(hours=24)),
            ("7d", NOW - timedelta(days=7)),
            (" 4w ", NOW - timedelta(weeks=4)),
            ("2026-11-01", datetime(2026, 11, 1, tzinfo=UTC)),
            ("2026-11-01T06:30", datetime(2026, 11, 1, 6, 30, tzinfo=UTC)),
            ("2026-11-01T06:30+09:00", datetime(2026, 10, 31, 21, 30, tzinfo=UTC)),
        ],
    )
    def test_spans_days_and_times(self, text: str, then: datetime) -> None:
        assert moment(text, NOW) == then

    def test_no_time_is_outside_the_years_of_utc(self) -> None:
        for text in ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"):
            with pytest.raises(ValueError, match="is no time"):
                moment(text, NOW)
        assert moment("2026-11-01T06:30+09:00", NOW).tzinfo is UTC

    @rows("text", ["", "soon", "7", "d7", "-7d", "2026-13-01", "2026-11-31", "999999w", "7d\n8d", "\u0667d"])
    def test_nonsense_is_told_with_what_would_do(self, text: str) -> None:
        with pytest.raises(ValueError, match="write 24h, 7d"):
            moment(text, NOW)


class TestCsv:
    def test_one_line_for_each_row_with_a_head(self) -> None:
        [head, line] = csv.reader(io.StringIO(as_csv([row("team, a", "chat")], [By.CALLER, By.MODEL])))
        assert head[:4] == ["caller", "model", "requests", "refused"]
        assert dict(zip(head, line, strict=True)) == {
            "caller": "team, a",
            "model": "chat",
            "requests": "3",
            "refused": "2",
            "failed": "1",
            "input": "1000",
            "cached": "100",
            "output": "50",
            "reasoning": "20",
            "wasted": "7",
            "estimated": "2",
            "cost": "1.234567",
            "unpriced": "1",
            "first_token_ms": "250.0",
        }

    @rows("name", ["=cmd()", "+1", "-1", "@x", "\tx"])
    def test_a_name_is_never_a_formula(self, name: str) -> None:
        lines = list(csv.reader(io.StringIO(as_csv([row(name)], [By.CALLER]))))
        assert lines[1][0] == f"'{name}"

    def test_without_rows_only_the_head(self) -> None:
        assert as_csv([], [By.DAY]).startswith("day,requests")
        assert as_csv([], [By.DAY]).count("\r\n") == 1


class TestJson:
    def test_what_was_asked_and_what_was_found(self) -> None:
        question = Question(by=(By.END_REASON,), since=NOW)
        found = json.loads(as_json([row("completed", first=None)], question))
        assert (found["by"], found["since"], found["until"]) == (["end-reason"], "2026-11-22T12:00:00+00:00", None)
        assert found["data"][0]["end-reason"] == "completed"
        assert found["data"][0]["cost"] == 1.234567
        assert found["data"][0]["first_token_ms"] is None


class TestTable:
    def test_columns_line_up_and_totals_come_last(self) -> None:
        lines = as_table([row("ada", requests=12_000), row("bob")], [By.CALLER]).splitlines()
        assert [line.split()[0] for line in lines] == ["caller", "ada", "bob", "total"]
        assert "12,003" in lines[3]
        assert lines[1].index("12,000") + len("12,000") == lines[0].index("requests") + len("requests")

    def test_one_row_needs_no_total(self) -> None:
        assert "total" not in as_table([row("ada")], [By.CALLER])

    def test_control_characters_do_not_reach_the_terminal(self) -> None:
        assert "\x1b" not in as_table([row("\x1b[31mred")], [By.CALLER])


class TestHours:
    @rows("since", [None, NOW - MOST_HOURS - timedelta(seconds=1), NOW - timedelta(days=400)])
    def test_a_long_time_is_not_summed_by_hour(self, since: datetime | None) -> None:
        with pytest.raises(ValueError, match="31 days at most"):
            check_hours(Question((By.CALLER, By.HOUR), since=since), NOW)
        check_hours(Question((By.CALLER, By.DAY), since=since), NOW)

    def test_a_short_time_is_wherever_it_is(self) -> None:
        check_hours(Question((By.HOUR,), since=NOW - MOST_HOURS), NOW)
        check_hours(Question((By.HOUR,), since=NOW - timedelta(days=90), until=NOW - timedelta(days=60)), NOW)


def test_the_total_adds_up_and_means_are_left_out() -> None:
    found = total([row("a"), row("b", requests=4, cost=1)], 2)
    assert found == Sum(("total", ""), 7, 4, 2, 2000, 200, 100, 40, 14, 4, 1_234_568, 2, None)


def test_a_question_without_bounds_says_so() -> None:
    found = json.loads(as_json([], Question((By.CALLER,), since=None, until=None)))
    assert found == {"by": ["caller"], "since": None, "until": None, "currency": None, "rows": 0, "data": []}

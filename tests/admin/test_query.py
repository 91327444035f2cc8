"""What administrators may ask of the ledger, and what is refused rather than ignored."""

from datetime import UTC, datetime, timedelta

import pytest
from tests.rows import rows

from chukei.accounts.ledger import By, Question
from chukei.accounts.outcomes import Outcome
from chukei.admin.query import MAX_ROWS, once, only, read, read_search
from chukei.errors import CallerError

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def test_nothing_said() -> None:
    assert read({}, NOW) == (Question((By.CALLER,), since=NOW - timedelta(days=30)), MAX_ROWS, False)


def test_a_search() -> None:
    assert read_search({}, NOW) == ("", NOW - timedelta(days=30), range(50))
    asked = {"find": "a", "since": "24h", "limit": "1000", "offset": "2000"}
    assert read_search(asked, NOW) == ("a", NOW - timedelta(days=1), range(2000, 3000))
    with pytest.raises(CallerError, match="'limit' must be a number from 1 to 1000"):
        read_search({"limit": "1001"}, NOW)


def test_hours_are_for_short_times() -> None:
    with pytest.raises(CallerError, match="31 days at most") as refused:
        read({"by": "caller,hour", "since": "32d"}, NOW)
    assert (refused.value.code, refused.value.param) == ("invalid_value", "by")


@rows("query", [{"since": "1d", "until": "2d"}, {"until": "1999-01-01"}, {"since": "1d", "until": "1d"}])
def test_a_time_that_ends_before_it_begins(query: dict[str, str]) -> None:
    with pytest.raises(CallerError, match="must be before 'until'") as refused:
        read(query, NOW)
    assert (refused.value.status, refused.value.param) == (400, "since")


def test_everything_said() -> None:
    query = {
        "by": ",".join(By),
        "since": "7d",
        "until": "2026-11-22T09:00+09:00",
        "caller": "a",
        "group": "",
        "model": "m",
        "end-reason": "refused",
        "code": "c",
        "outcome": "left",
    }
    question, limit, as_csv = read({**query, "limit": "20", "format": "csv"}, NOW)
    assert question == Question(
        tuple(By),
        NOW - timedelta(days=7),
        datetime(2026, 11, 22, tzinfo=UTC),
        caller="a",
        group="",
        model="m",
        end_reason="refused",
        code="c",
        outcome=Outcome.LEFT,
    )
    assert (limit, as_csv) == (20, True)


@rows(
    ("name", "value"),
    [
        ("by", ""),
        ("by", "key"),
        ("by", "caller,"),
        ("by", "caller,caller"),
        ("by", "caller, model"),
        ("by", "Caller"),
        ("by", "caller;drop table"),
        ("by", ",".join(["caller"] * 5000)),
        ("since", ""),
        ("since", "yesterday"),
        ("since", "999999w"),
        ("since", "9" * 5000 + "d"),
        ("since", "-7d"),
        ("since", "0001-01-01T00:00+99:00"),
        ("until", "2026-13-01"),
        ("limit", "0"),
        ("limit", "-1"),
        ("limit", "100001"),
        ("limit", "1e3"),
        ("limit", " 1"),
        ("limit", "٣"),
        ("limit", "9" * 5000),
        ("outcome", "refuse"),
        ("outcome", ""),
        ("format", "xml"),
        ("format", ""),
    ],
)
def test_nonsense_is_told_with_what_would_do(name: str, value: str) -> None:
    with pytest.raises(CallerError) as caught:
        read({name: value}, NOW)
    assert (caught.value.status, caught.value.code, caught.value.param) == (400, "invalid_value", name)
    assert len(caught.value.message) < 300


@rows("name", ["callr", "Caller", "", "before", "\x1b[31m", "x" * 5000])
def test_what_would_be_ignored_is_refused(name: str) -> None:
    with pytest.raises(CallerError) as caught:
        only({"caller": "a", name: "b"}, frozenset({"caller"}))
    assert (caught.value.status, caught.value.code) == (400, "unknown_parameter")
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 500
    only({"caller": "a"}, frozenset({"caller"}))


def test_a_route_without_parameters_says_so() -> None:
    with pytest.raises(CallerError, match="'caller' is not known here; there are no parameters"):
        only({"caller": "a"}, frozenset())


@rows("query", ["caller=a&caller=b", "caller=a&caller=a", "caller=a&%63aller=", "x&x"])
def test_a_parameter_is_given_once(query: str) -> None:
    with pytest.raises(CallerError, match="more than once") as caught:
        once(query)
    assert (caught.value.status, caught.value.code) == (400, "duplicate_parameter")
    assert once("caller=a&model=b&group=") == {"caller": "a", "model": "b", "group": ""}

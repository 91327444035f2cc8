"""The rate limit of log lines for each place in the code."""

import logging

from chukei.adapters.logs.line_limit import LineLimit


def line(
    number: int, *, at: int = 1, second: float = 0.0, name: str = "chukei.callers.gatekeeper"
) -> logging.LogRecord:
    fields = {"name": name, "msg": "no %d", "args": (number,), "pathname": "auth.py", "lineno": at, "created": second}
    return logging.makeLogRecord(fields)


def test_only_so_many_lines_of_one_place_pass_in_a_minute_and_the_next_says_how_many_did_not() -> None:
    limit = LineLimit(most=3)
    assert [limit.filter(line(number)) for number in range(10)] == [True] * 3 + [False] * 7
    later = line(10, second=60.0)
    assert limit.filter(later)
    assert later.getMessage() == "no 10 (and 7 lines like this were left out)"
    again = line(11, second=60.0)
    assert limit.filter(again)
    assert again.getMessage() == "no 11"


def test_other_places_and_the_lines_of_requests_pass() -> None:
    limit = LineLimit("chukei.request", most=3)
    for number in range(10):
        limit.filter(line(number))
    assert limit.filter(line(0, at=2))
    assert all(limit.filter(line(number, name="chukei.request")) for number in range(10))

"""Parsing of queries of the ledger from an address. Pure."""

from collections.abc import Mapping, Set
from datetime import datetime
from urllib.parse import parse_qsl

from chukei.accounts import reports
from chukei.accounts.ledger import By, Question
from chukei.accounts.outcomes import Outcome
from chukei.errors import CallerError

MAX_ROWS = 100_000
"""Rows in an answer, at most; the page shows far fewer."""

FIELDS = frozenset(
    {"by", "since", "until", "caller", "group", "model", "end-reason", "code", "outcome", "format", "limit"}
)

MOST_CALLERS = 1000
"""Callers in an answer, at most; 50 without a limit."""

MOST_SKIPPED = 10_000_000
"""Rows before a page of a list, at most: far more than there are callers or keys."""


def read(query: Mapping[str, str], now: datetime) -> tuple[Question, int, bool]:
    """Return the query, the number of rows wanted, and whether as CSV.

    Raises:
        CallerError: 400.
    """
    only(query, FIELDS)
    form = query.get("format", "json")
    if form not in ("json", "csv"):
        raise CallerError(400, "invalid_value", "'format' must be json or csv.", param="format")
    names = query.get("by", By.CALLER.value).split(",")
    if len(set(names)) < len(names) or not set(names) <= set(By):
        message = f"'by' must be one or more of {', '.join(By)}, each once and with commas between."
        raise CallerError(400, "invalid_value", message, param="by")
    outcome = query.get("outcome")
    if outcome not in (None, *Outcome):
        raise CallerError(400, "invalid_value", f"'outcome' must be one of {', '.join(Outcome)}.", param="outcome")
    question = Question(
        by=tuple(By(name) for name in names),
        since=_moment(query, "since", now, otherwise="30d"),
        until=_moment(query, "until", now),
        caller=query.get("caller"),
        group=query.get("group"),
        model=query.get("model"),
        end_reason=query.get("end-reason"),
        code=query.get("code"),
        outcome=Outcome(outcome) if outcome is not None else None,
    )
    if question.since and question.until and question.since >= question.until:
        message = "'since', which is 30 days ago by default, must be before 'until'."
        raise CallerError(400, "invalid_value", message, param="since")
    try:
        reports.check_hours(question, now)
    except ValueError as error:
        raise CallerError(400, "invalid_value", f"'by': {error}.", param="by") from None
    return question, number(query, "limit", MAX_ROWS, MAX_ROWS), form == "csv"


def read_search(query: Mapping[str, str], now: datetime) -> tuple[str, datetime | None, range]:
    """Return the text that callers' names contain, since when their usage is summed, and which of them are wanted.

    Raises:
        CallerError: 400.
    """
    only(query, frozenset({"find", "since", "limit", "offset"}))
    first = skipped(query)
    wanted = range(first, first + number(query, "limit", 50, MOST_CALLERS))
    return query.get("find", ""), _moment(query, "since", now, otherwise="30d"), wanted


def once(query: str) -> dict[str, str]:
    """Return the parameters of an address. Each may occur once.

    Raises:
        CallerError: 400 for a duplicate, because it would be ambiguous.
    """
    found: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name in found:
            message = f"{name[:80]!r} is given more than once; give it once."
            raise CallerError(400, "duplicate_parameter", message, param=name[:80])
        found[name] = value
    return found


def only(query: Mapping[str, str], known: Set[str]) -> None:
    """Refuse unknown parameters: with a misspelt filter, more entries would be counted or deleted than intended.

    Raises:
        CallerError: 400.
    """
    for name in query:
        if name not in known:
            those = f"known are {', '.join(sorted(known))}" if known else "there are no parameters"
            message = f"{name[:80]!r} is not known here; {those}."
            raise CallerError(400, "unknown_parameter", message)


def _moment(query: Mapping[str, str], name: str, now: datetime, *, otherwise: str | None = None) -> datetime | None:
    text = query.get(name, otherwise)
    if text is None:
        return None
    try:
        return reports.moment(text, now)
    except ValueError as error:
        raise CallerError(400, "invalid_value", f"'{name}': {error}.", param=name) from None


def number(query: Mapping[str, str], name: str, default: int, most: int, least: int = 1) -> int:
    """Return a whole number from ``least`` to ``most``.

    Raises:
        CallerError: 400.
    """
    text = query.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(most)) and least <= int(text) <= most):
        raise CallerError(400, "invalid_value", f"'{name}' must be a number from {least} to {most}.", param=name)
    return int(text)


def skipped(query: Mapping[str, str]) -> int:
    """Return how many rows of a list come before those that are wanted.

    Raises:
        CallerError: 400.
    """
    return number(query, "offset", 0, MOST_SKIPPED, least=0)

"""Parsing of queries of the ledger from an address. Pure."""

from collections.abc import Mapping, Set
from datetime import datetime
from urllib.parse import parse_qsl

from chukei.accounts import reports
from chukei.accounts.ledger import By, Question
from chukei.errors import CallerError

MAX_ROWS = 100_000
"""Rows in an answer, at most; the page shows far fewer."""

FIELDS = frozenset({"by", "since", "until", "caller", "group", "model", "format", "limit"})


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
    question = Question(
        by=tuple(By(name) for name in names),
        since=_moment(query, "since", now, otherwise="30d"),
        until=_moment(query, "until", now),
        caller=query.get("caller"),
        group=query.get("group"),
        model=query.get("model"),
    )
    return question, _limit(query), form == "csv"


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
            message = f"{name[:80]!r} is not known here; known are {', '.join(sorted(known))}."
            raise CallerError(400, "unknown_parameter", message)


def _moment(query: Mapping[str, str], name: str, now: datetime, *, otherwise: str | None = None) -> datetime | None:
    text = query.get(name, otherwise)
    if text is None:
        return None
    try:
        return reports.moment(text, now)
    except ValueError as error:
        raise CallerError(400, "invalid_value", f"'{name}': {error}.", param=name) from None


def _limit(query: Mapping[str, str]) -> int:
    text = query.get("limit", str(MAX_ROWS))
    if not (text.isascii() and text.isdigit() and len(text) < 7 and 1 <= int(text) <= MAX_ROWS):
        raise CallerError(400, "invalid_value", f"'limit' must be a number from 1 to {MAX_ROWS}.", param="limit")
    return int(text)

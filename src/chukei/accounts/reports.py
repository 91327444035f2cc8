"""Reports of usage as tables, CSV and JSON. Pure."""

import io
import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import msgspec

from chukei.accounts.ledger import By, Question, Sum
from chukei.accounts.limits import MICRO

_SPAN = re.compile(r"([0-9]{1,6})([hdwm])")
_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1), "m": timedelta(minutes=1)}
MOST_HOURS = timedelta(days=31)
"""The longest time of a query by hour."""

_NUMBERS = (
    "requests",
    "refused",
    "failed",
    "input",
    "cached",
    "output",
    "reasoning",
    "wasted",
    "estimated",
    "cost",
    "unpriced",
    "first_token_ms",
)


def moment(text: str, now: datetime) -> datetime:
    """Parse a time: a span before now (``90m``, ``24h``, ``7d``, ``4w``), a day, or an ISO 8601 time.

    A day means its start in UTC. A time without a zone is in UTC. The result is in UTC, so within its years 1 to 9999.

    Raises:
        ValueError: the text has another form; the message names the accepted forms.
    """
    span = _SPAN.fullmatch(text.strip())
    try:
        if span is not None:
            return now - int(span[1]) * _UNITS[span[2]]
        if len(text.strip()) == 10:
            return datetime.combine(date.fromisoformat(text.strip()), datetime.min.time(), UTC)
        found = datetime.fromisoformat(text.strip())
        return found.astimezone(UTC) if found.tzinfo is not None else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"{text[:40]!r} is no time: write 24h, 7d, 2026-11-01 or 2026-11-01T12:00") from None


def fields_of(row: Sum, by: Sequence[By]) -> dict[str, str | int | float | None]:
    """Return a row as a mapping by column. Cost is in units of currency, the time to first token in milliseconds."""
    found: dict[str, str | int | float | None] = {
        column.value: name for column, name in zip(by, row.names, strict=True)
    }
    return found | {
        "requests": row.requests,
        "refused": row.refused,
        "failed": row.failed,
        "input": row.input,
        "cached": row.cached,
        "output": row.output,
        "reasoning": row.reasoning,
        "wasted": row.wasted,
        "estimated": row.estimated,
        "cost": row.cost / MICRO,
        "unpriced": row.unpriced,
        "first_token_ms": round(row.first_token, 1) if row.first_token is not None else None,
    }


def check_hours(question: Question, now: datetime) -> None:
    """Refuse a query by hour for a long time, whose rows nobody could read.

    Raises:
        ValueError: the time is longer than ``MOST_HOURS``; the message says so.
    """
    if By.HOUR not in question.by:
        return
    if question.since is None or (question.until or now) - question.since > MOST_HOURS:
        raise ValueError(f"usage by hour is for a time of {MOST_HOURS.days} days at most; ask by day, or set 'since'")


def as_json(shown: Sequence[Sum], question: Question, *, rows: int | None = None, currency: str | None = None) -> bytes:
    """Return rows as JSON: the query, the currency of costs, the total number of rows, and a list of objects."""
    asked = {
        "by": [by.value for by in question.by],
        "since": question.since.isoformat() if question.since else None,
        "until": question.until.isoformat() if question.until else None,
        "currency": currency,
    }
    count = len(shown) if rows is None else rows
    return msgspec.json.encode({**asked, "rows": count, "data": [fields_of(row, question.by) for row in shown]})


def as_csv(rows: Sequence[Sum], by: Sequence[By]) -> str:
    """Return rows as CSV (RFC 4180) with a header line.

    A name that a spreadsheet would interpret as a formula gets an apostrophe in front (OWASP, "CSV injection").
    """
    import csv

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow([*(column.value for column in by), *_NUMBERS])
    for row in rows:
        values = fields_of(row, by).values()
        writer.writerow([_harmless(value) if isinstance(value, str) else value for value in values])
    return text.getvalue()


def _harmless(name: str) -> str:
    return f"'{name}" if name[:1] in ("=", "+", "-", "@", "\t", "\r") else name


def as_table(rows: Sequence[Sum], by: Sequence[By]) -> str:
    """Return rows as a table for a terminal, with a line of totals."""
    head = [*(column.value for column in by), *(name.replace("_", " ") for name in _NUMBERS)]
    lines = [head, *([_cell(value) for value in fields_of(row, by).values()] for row in rows)]
    if len(rows) > 1:
        lines.append([_cell(value) for value in fields_of(total(rows, len(by)), by).values()])
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    names = len(by)
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column < names else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def total(rows: Sequence[Sum], names: int) -> Sum:
    """Return the total of sums. The time to first token is left out, because a mean of means would be wrong."""
    return Sum(
        names=("total", *[""] * (names - 1)),
        requests=sum(row.requests for row in rows),
        refused=sum(row.refused for row in rows),
        failed=sum(row.failed for row in rows),
        input=sum(row.input for row in rows),
        cached=sum(row.cached for row in rows),
        output=sum(row.output for row in rows),
        reasoning=sum(row.reasoning for row in rows),
        wasted=sum(row.wasted for row in rows),
        estimated=sum(row.estimated for row in rows),
        cost=sum(row.cost for row in rows),
        unpriced=sum(row.unpriced for row in rows),
        first_token=None,
    )


def _cell(value: str | int | float | None) -> str:
    if value is None:
        return "-"
    if isinstance(value, str):
        return "".join(character if character.isprintable() else "?" for character in value)
    if isinstance(value, float):
        return f"{value:,.2f}" if value >= 100 or value == 0 else f"{value:,.4f}"
    return f"{value:,}"

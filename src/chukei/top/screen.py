"""What ``chukei top`` shows, as lines of styled text. Pure."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

from chukei.liveview.schema import CallerNow, DeploymentNow, FailedRequest, Level, Live, ReasonNow
from chukei.liveview.verdict import duration, percent
from chukei.top.cells import clean, cut, fit, width, wrapped

LEAST_WIDTH, LEAST_HEIGHT = 80, 24
ROOMY_HEIGHT = 32
"""Rows from which on there is room for empty lines and for single failures."""
_BARS = " ▁▂▃▄▅▆▇█"
_LEVELS: dict[Level, tuple[str, str]] = {"ok": ("ok", "good"), "warning": ("check", "warn"), "alarm": ("ALARM", "bad")}

_ROWS: dict[Level, str] = {"ok": "", "warning": "warn", "alarm": "bad"}

Line = list[tuple[str, str]]
"""Pieces of text, each with the name of its style."""

Row = TypeVar("Row")


class Sort(StrEnum):
    """By what callers are sorted; the key ``s`` goes from one to the next."""

    REQUESTS = "requests"
    TOKENS = "tokens"
    REFUSED = "refused"


_SORTS: dict[Sort, Callable[[CallerNow], float]] = {
    Sort.REQUESTS: lambda each: each.requests + each.open,
    Sort.TOKENS: lambda each: each.input + each.output,
    Sort.REFUSED: lambda each: each.refused + each.failed,
}


@dataclass(slots=True)
class Screen:
    """The state of the display: what was last heard, and what the user has chosen."""

    url: str
    live: Live | None = None
    notice: str = ""
    sort: Sort = Sort.REQUESTS
    paused: bool = False
    hint: str = field(default="q quit · s sort · p pause")

    def lines(self, columns: int, rows: int | None) -> list[Line]:
        """Return the lines. Without ``rows`` there are as many as are needed, else at most so many."""
        live = self.live
        if live is None:
            return [[("bold", "chukei top"), ("", f"  {clean(self.url)}")], [("dim", self.notice or "connecting …")]]
        roomy = rows is None or rows >= ROOMY_HEIGHT
        charts = list(_charts(live, columns))
        top = [*self._head(live, columns), *_places(live), [], *(charts if roomy else charts[1:])]
        tables = self._tables(live, columns)
        if rows is None:
            return [*top, *(line for table in tables for line in [[], *table])]
        shared = _shared(tables if roomy else tables[:3], rows - len(top) - 1, apart=roomy)
        return [*[*top, *shared][: rows - 1], [("dim", cut(self.hint, columns))]]

    def _head(self, live: Live, columns: int) -> Iterator[Line]:
        processes = f"{live.workers} process{'es' if live.workers != 1 else ''}"
        right = f"{processes}, up {_span(live.up)}  {live.at:%H:%M:%S} UTC"
        state = " PAUSED" if self.paused else ""
        left = cut(clean(self.url), max(columns - width(right) - 14 - len(state), 8))
        space = " " * max(columns - 12 - width(left) - len(state) - width(right), 1)
        yield [("bold", "chukei top  "), ("", left), ("warn", state), ("", space), ("dim", right)]
        word, style = _LEVELS[live.verdict.level]
        label = f" {word.upper()} " if live.verdict.level != "ok" else " OK "
        first, *more = wrapped(clean(live.verdict.text), columns - len(label) - 1)
        yield [(f"{style} reverse", label), ("bold", f" {first}")]
        yield from ([("bold", " " * (len(label) + 1) + line)] for line in more)
        for finding in live.findings[1:3]:
            yield [(_LEVELS[finding.level][1], "  also "), ("", cut(clean(finding.text), columns - 7))]
        if self.notice:
            yield [("bad", cut(clean(self.notice), columns))]

    def _tables(self, live: Live, columns: int) -> list[list[Line]]:
        callers = sorted(live.callers, key=_SORTS[self.sort], reverse=True)
        if live.others is not None:
            callers.append(live.others)
        others = live.others
        tables = [
            _table(_DEPLOYMENTS, live.deployments, columns, lambda each: _ROWS[each.level]),
            _table(_callers(self.sort, others), callers, columns),
        ]
        if live.reasons:
            tables.append(_table(_REASONS, live.reasons, columns))
        if live.failures:
            tables.append(_table(_FAILURES, live.failures, columns))
        return tables


def _shared(tables: Sequence[list[Line]], rows: int, *, apart: bool) -> list[Line]:
    """Share the rows: each table gets its head and a row first, then each in turn one more while it has more.

    ``apart`` has an empty line before each.
    """
    tables = [[[], *table] if apart else table for table in tables]
    given = [min(3 if apart else 2, len(table)) for table in tables]
    while sum(given) > rows and given:
        given.pop()
    while sum(given) < rows:
        wanting = [index for index, count in enumerate(given) if count < len(tables[index])]
        if not wanting:
            break
        given[min(wanting, key=lambda index: given[index])] += 1
    return [line for table, count in zip(tables, given, strict=False) for line in table[:count]]


def _places(live: Live) -> Iterator[Line]:
    times, opened = live.times, live.open
    asked = sum(each.asked for each in live.deployments)
    failed = sum(each.failed for each in live.deployments)
    unreached = sum(each.unreached for each in live.deployments)
    figures: list[tuple[str, Level, list[str]]] = [
        (
            "CALLERS",
            live.places.caller,
            [
                f"upload {_time(times.upload.p95)}",
                f"refused {percent(live.ended.refused, live.ended.requests)}",
                f"{opened.slow} not reading",
                f"{live.ended.left} left",
            ],
        ),
        (
            "RELAY",
            live.places.relay,
            [
                f"own {_time(times.own.p95)}",
                f"loop {duration(live.lag)}",
                f"{opened.requests} open",
                f"{opened.streams} streams",
            ],
        ),
        (
            "NETWORK",
            live.places.network,
            [
                f"connect {_time(times.connect.p50)}",
                f"unreached {percent(unreached, asked)}",
                f"{opened.connections} connections",
            ],
        ),
        (
            "AZURE",
            live.places.azure,
            [
                f"first {_time(times.first_token.p95)}",
                f"failed {percent(failed - unreached, asked)}",
                f"token gap {_time(times.gap.p50)}",
                f"{opened.waiting} waiting",
            ],
        ),
    ]
    for name, level, texts in figures:
        word, style = _LEVELS[level]
        yield [("bold", fit(name, 8)), (style, fit(word, 7)), ("", "".join(fit(text, 17) for text in texts).rstrip())]


def _charts(live: Live, columns: int) -> Iterator[Line]:
    quarter, rates = live.quarter, live.rates
    failed = [a + b for a, b in zip(quarter.failed, quarter.refused, strict=True)]
    first = [value or 0.0 for value in quarter.first_token]
    room = min(columns - 46, len(first))
    for name, text, values in (
        ("requests", f"{rates.requests:,.1f}/s", quarter.requests),
        ("refused, failed", f"{(live.ended.refused + live.ended.failed) / 60:,.1f}/s", failed),
        ("tokens", f"{rates.output:,.0f}/s out", quarter.output),
        ("first token p95", _time(live.times.first_token.p95), first),
    ):
        top = max(values[-room:], default=0.0)
        most = _time(top) if values is first else f"{top:,.0f}/s" if top >= 10 else f"{top:.1f}/s"
        bars = spark(values[-room:])
        yield [("dim", fit(name, 16)), ("bold", fit(text, 13)), ("accent", bars), ("dim", f" most {most}")]


def spark(values: Sequence[float]) -> str:
    """Return a bar for each value; the largest is a whole one, and anything above zero is seen."""
    top = max(values, default=0.0)
    if top <= 0:
        return " " * len(values)
    return "".join(_BARS[0 if value <= 0 else max(1, round(8 * value / top))] for value in values)


# Tables.

MIN_NAME = 14
"""Cells of a column of names, at least, so that it does not change with every name."""


@dataclass(frozen=True, slots=True)
class _Column:
    """A column: its head, its cells, and how many cells wide it is; 0 takes what is left."""

    head: str
    cell: Callable[..., str]
    cells: int = 0
    right: bool = True


def _table(
    columns: Sequence[_Column], rows: Sequence[Row], room: int, style: Callable[[Row], str] = lambda _: ""
) -> list[Line]:
    flexible = [column for column in columns if not column.cells]
    left = room - sum(column.cells for column in columns) - (len(columns) - 1)
    each = max(left // len(flexible), 6) if flexible else 0
    needed = {id(c): max(width(clean(text)) for text in (c.head, *(c.cell(row) for row in rows))) for c in flexible}
    sizes = [column.cells or min(each, max(needed[id(column)], MIN_NAME)) for column in columns]

    def line(texts: Iterator[str]) -> str:
        fitted = [fit(text, size, right=c.right) for text, size, c in zip(texts, sizes, columns, strict=True)]
        return cut(" ".join(fitted), room)

    head: Line = [("dim", line(column.head for column in columns))]
    return [head, *([(style(row), line(clean(column.cell(row)) for column in columns))] for row in rows)]


def _state(each: DeploymentNow) -> str:
    if each.status is None:
        return "-"
    part = f" {each.away}/{each.pools}" if each.away and each.pools > 1 else ""
    rest = f" {duration(each.seconds)}" if each.seconds else ""
    return f"{each.status}{part}{rest}"


def _usual(each: DeploymentNow) -> str:
    known = each.usual.get("first_token") or each.usual.get("answer")
    return _time(known.p95) if known is not None else "-"


def _p95(each: DeploymentNow) -> str:
    return _time(each.first_token.p95 if each.first_token.count else each.answer.p95)


_DEPLOYMENTS = (
    _Column("deployment", lambda each: each.deployment, right=False),
    _Column("state", _state, 16, right=False),
    _Column("open", lambda each: str(each.open), 4),
    _Column("wait", lambda each: str(each.waiting), 4),
    _Column("asked", lambda each: str(each.asked), 5),
    _Column("fail", lambda each: percent(each.failed, each.asked) if each.asked else "-", 5),
    _Column("p95", _p95, 6),
    _Column("usual", _usual, 6),
    _Column("gap", lambda each: _time(each.gap.p50), 6),
    _Column("tok/s", lambda each: f"{each.output:,.0f}", 6),
)


def _callers(sort: Sort, others: CallerNow | None) -> tuple[_Column, ...]:
    def name(each: CallerNow) -> str:
        return "(all others)" if each is others else each.caller or "(not known)"

    return (
        _Column(f"caller, by {sort}", name, right=False),
        _Column("open", lambda each: str(each.open), 6),
        _Column("requests", lambda each: f"{each.requests:,}", 9),
        _Column("refused", lambda each: f"{each.refused:,}", 8),
        _Column("failed", lambda each: f"{each.failed:,}", 7),
        _Column("tokens in", lambda each: f"{each.input:,}", 11),
        _Column("out", lambda each: f"{each.output:,.0f}", 9),
    )


def _why(reason: ReasonNow) -> str:
    """Return the reason in few words: of a limit its own name, since where it is set takes too much room."""
    table, _, name = (reason.rule or "").rpartition(".")
    return f"{reason.outcome}: {name if table.endswith(('.limits', '.total')) else reason.code}"


_REASONS: tuple[_Column, ...] = (
    _Column("why", _why, 32, right=False),
    _Column("times", lambda each: f"{each.count:,}", 6),
    _Column("last caller", lambda each: _last(each).caller or "-", right=False),
    _Column("deployment", lambda each: _last(each).deployment or "-", right=False),
)


def _last(reason: ReasonNow) -> FailedRequest:
    return reason.last


_FAILURES: tuple[_Column, ...] = (
    _Column("ago", lambda each: duration(each.age), 6),
    _Column("status", lambda each: str(each.status or "-"), 6),
    _Column("code", lambda each: each.code or "-", 22, right=False),
    _Column("caller", lambda each: each.caller or "-", right=False),
    _Column("deployment", lambda each: each.deployment or "-", 12, right=False),
    _Column("request id", lambda each: each.request_id, right=False),
)


def _time(seconds: float | None) -> str:
    return "-" if seconds is None else duration(seconds)


def _span(seconds: float) -> str:
    minutes = int(seconds // 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h" if minutes < 2880 else f"{minutes // 1440} d"

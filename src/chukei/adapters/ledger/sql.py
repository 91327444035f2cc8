"""SQL that both databases share: the columns and values of an entry, and the query of sums."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TypeVar, cast

from msgspec.structs import astuple

from chukei.accounts.ledger import TIMES, By, Entry, Key, Question, Seen, Sum
from chukei.accounts.outcomes import ANSWERED, BUSY, LEFT, Outcome
from chukei.model import End

COLUMNS = (
    "id",
    "time",
    "request_id",
    "caller",
    "kind",
    "caller_group",
    "key_id",
    "operation",
    "model",
    "deployment",
    "stream",
    "status",
    "end_reason",
    "code",
    "finish_reason",
    "input_tokens",
    "cached_tokens",
    "output_tokens",
    "reasoning_tokens",
    "estimated",
    "wasted_tokens",
    "cost",
    "first_token_ms",
    "duration_ms",
    "retries",
    "hedges",
    "upstream_request_id",
    "region",
    "served_model",
    "service_tier",
    "cache_written_tokens",
    "audio_input_tokens",
    "audio_output_tokens",
    "images",
    "characters",
    "heard_ms",
    "requests",
)
KEY_COLUMNS = ("id", "caller", "caller_group", "digest", "pepper", "created", "expires", "revoked", "note")

MAX_TEXT = 512
"""Characters of a text that are stored."""

MOST = 10**12
"""Upper bound of every count of one request, so that sums fit into 64 bits."""

_NEVER = datetime.min.replace(tzinfo=UTC)
_Moment = TypeVar("_Moment")


def row_of(entry: Entry, moment: Callable[[datetime], _Moment]) -> tuple[object, ...]:
    """Return the values of an entry in the order of ``COLUMNS``.

    A database never refuses these values, because an entry that cannot be written would block all others. Values that
    databases refuse (NUL, lone surrogates, NaN) are replaced; values out of range are clamped.
    """
    id, time, *values = astuple(entry)
    if not _is_plain(entry):
        id, values = text_of(id), [_cleaned(value) for value in values]
    return (id, moment(time), *values)


def _is_plain(entry: Entry) -> bool:
    """Whether no value must be replaced. This holds for nearly all entries, so all texts are checked at once."""
    texts = (
        f"{entry.id}{entry.request_id}{entry.caller}{entry.kind}{entry.group}{entry.key_id}{entry.operation}{entry.model}"
        f"{entry.deployment}{entry.end}{entry.code}{entry.finish_reason}{entry.upstream_request_id}{entry.region}"
        f"{entry.served_model}{entry.service_tier}"
    )
    counts = (
        entry.status or 0,
        entry.input,
        entry.cached,
        entry.output,
        entry.reasoning,
        entry.wasted,
        entry.cost or 0,
        entry.retries,
        entry.hedges,
        entry.cache_written,
        entry.audio_input,
        entry.audio_output,
        entry.images,
        entry.characters,
        entry.heard_ms,
        entry.requests,
    )
    return (
        texts.isascii()
        and "\0" not in texts
        and len(texts) <= MAX_TEXT
        and min(counts) >= 0
        and max(counts) <= MOST
        and math.isfinite(entry.duration)
        and (entry.first_token is None or math.isfinite(entry.first_token))
    )


def _cleaned(value: object) -> object:
    match value:
        case str():
            return text_of(value)
        case bool():
            return value
        case int():
            return min(max(value, 0), MOST)
        case float():
            return value if math.isfinite(value) else 0.0
    return value


def text_of(text: str) -> str:
    """Return a text as the databases store it."""
    if text.isascii() and "\0" not in text:
        return text[:MAX_TEXT]
    return text[:MAX_TEXT].replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def key_of(row: Sequence[object], moment: Callable[[object], datetime]) -> Key:
    """Return the key of a row in the order of ``KEY_COLUMNS``; never raises, even if another program wrote the row.

    ``moment`` raises ValueError, OverflowError or TypeError for a time outside the years 1 to 9999. A key with an
    unreadable time of revocation counts as revoked.
    """
    unreadable = False

    def text(value: object) -> str:
        nonlocal unreadable
        try:
            return value.decode() if isinstance(value, bytes) else str(value)
        except UnicodeDecodeError:
            unreadable = True
            return cast(bytes, value).decode("utf-8", "replace")

    def time(value: object, otherwise: datetime | None) -> datetime | None:
        nonlocal unreadable
        try:
            return None if value is None else moment(value)
        except (ValueError, OverflowError, TypeError):
            unreadable = True
            return otherwise

    id, caller, group, digest, pepper, created, expires, revoked, note = row
    made, ends, ended = time(created, _NEVER), time(expires, None), time(revoked, _NEVER)
    texts = [None if value is None else text(value) for value in (group, note)]
    if not (isinstance(digest, bytes) and isinstance(pepper, int) and made is not None):
        unreadable, digest, pepper, made = True, b"", 0, made or _NEVER
    return Key(text(id), text(caller), texts[0], digest, pepper, made, ends, ended, texts[1], unreadable)


# Queries. Column names come only from these tables; user input is always a bound parameter.

_NAMES = {
    By.CALLER: "caller",
    By.GROUP: "coalesce(caller_group, '')",
    By.MODEL: "coalesce(model, '')",
    By.DEPLOYMENT: "coalesce(deployment, '')",
    By.SERVED_MODEL: "coalesce(served_model, '')",
    By.SERVICE_TIER: "coalesce(service_tier, '')",
    By.END_REASON: "end_reason",
    By.CODE: "coalesce(code, '')",
}


def _listed(ends: Iterable[End]) -> str:
    return ", ".join(f"'{end}'" for end in sorted(ends))


OUTCOME = (
    f"CASE WHEN end_reason IN ({_listed(ANSWERED)}) THEN '{Outcome.ANSWERED}'"
    f" WHEN end_reason IN ({_listed(LEFT)}) THEN '{Outcome.LEFT}'"
    f" WHEN end_reason = '{End.REFUSED}' AND coalesce(status, 0) < 500 THEN '{Outcome.REFUSED}'"
    f" WHEN end_reason = '{End.UPSTREAM_STATUS}' AND status < 500 AND status <> {BUSY} THEN '{Outcome.REFUSED}'"
    f" ELSE '{Outcome.FAILED}' END"
)
"""The rule of ``accounts.outcomes.outcome_of``."""


def question_sql(
    question: Question, *, times: Mapping[By, str], mark: Callable[[int], str], moment: Callable[[datetime], object]
) -> tuple[str, list[object]]:
    """Return a query as SQL, and its parameters. ``times`` has expressions for the day and hour of an entry in UTC.

    ``mark`` returns the placeholder of the parameter with a number, from 1.
    """
    values: list[object] = []

    def bound(value: object) -> str:
        values.append(value)
        return mark(len(values))

    names = [times[by] if by in TIMES else _NAMES[by] for by in question.by]
    sums = (
        "sum(requests)",
        f"sum(CASE WHEN {OUTCOME} = '{Outcome.REFUSED}' THEN requests ELSE 0 END)",
        f"sum(CASE WHEN {OUTCOME} = '{Outcome.FAILED}' THEN requests ELSE 0 END)",
        "sum(input_tokens)",
        "sum(cached_tokens)",
        "sum(output_tokens)",
        "sum(reasoning_tokens)",
        "sum(wasted_tokens)",
        "sum(CASE WHEN estimated THEN requests ELSE 0 END)",
        "coalesce(sum(cost), 0)",
        "sum(CASE WHEN cost IS NULL THEN requests ELSE 0 END)",
        "count(CASE WHEN stream THEN first_token_ms END)",
        "coalesce(sum(CASE WHEN stream THEN first_token_ms END), 0)",
    )
    where = []
    if question.since is not None:
        where.append(f"time >= {bound(moment(question.since))}")
    if question.until is not None:
        where.append(f"time < {bound(moment(question.until))}")
    for column, wanted in (
        ("caller", question.caller),
        ("caller_group", question.group),
        ("model", question.model),
        ("end_reason", question.end_reason),
        ("code", question.code),
        (OUTCOME, question.outcome),
    ):
        if wanted is not None:
            where.append(f"{column} = {bound(text_of(wanted))}")
    if question.callers is not None:
        where.append(f"caller IN ({', '.join(bound(text_of(name)) for name in question.callers) or 'NULL'})")
    condition = f" WHERE {' AND '.join(where)}" if where else ""
    places = ", ".join(str(place + 1) for place in range(len(names)))
    grouping = f" GROUP BY {places}" if names else " HAVING count(*) > 0"
    sql = f"SELECT {', '.join([*names, *sums])} FROM chukei_entries{condition}{grouping}"  # noqa: S608 - see above
    return sql, values


def sums_of(question: Question, rows: Iterable[Sequence[object]], start: Callable[[By, object], datetime]) -> list[Sum]:
    """Return the sorted sums, merged from the rows of one or several parts of the query's period.

    ``start`` returns the beginning of a day or an hour in UTC from its value. Sums are sorted here, because databases
    order text by their own collations.
    """
    width = len(question.by)
    totals: dict[tuple[object, ...], list[float]] = {}
    for row in rows:
        names, parts = tuple(row[:width]), cast(Sequence[float], row[width:])
        known = totals.get(names)
        totals[names] = list(parts) if known is None else [one + other for one, other in zip(known, parts, strict=True)]
    return sorted((_sum_of(question, names, total, start) for names, total in totals.items()), key=_order(question))


def _sum_of(
    question: Question, values: Sequence[object], total: Sequence[float], start: Callable[[By, object], datetime]
) -> Sum:
    pairs = zip(question.by, values, strict=True)
    names = tuple(_written(by, start(by, value)) if by in TIMES else str(value) for by, value in pairs)
    *counts, streamed, first_tokens = total
    whole = (int(count) for count in counts)  # PostgreSQL's sums are decimals
    return Sum(names, *whole, first_token=float(first_tokens) / streamed if streamed else None)  # type: ignore[misc]


def _written(by: By, start: datetime) -> str:
    text = start.isoformat()
    return text[:10] if by is By.DAY else f"{text[:19]}Z"


def _order(question: Question) -> Callable[[Sum], tuple[object, ...]]:
    if not TIMES.isdisjoint(question.by[:1]):
        return lambda each: (each.names[0], -(each.input + each.output), each.names)
    return lambda each: (-(each.input + each.output), each.names)


# Responses in the making. The braces are for the placeholders of parameters.

KEEP_JOB = "INSERT INTO chukei_jobs (id, due, job) VALUES ({}, {}, {}) ON CONFLICT (id) DO NOTHING"
FIND_JOB = "SELECT job FROM chukei_jobs WHERE id = {}"
DUE_JOBS = "SELECT id, job FROM chukei_jobs WHERE due <= {} ORDER BY due LIMIT {}"
DEFER_JOB = "UPDATE chukei_jobs SET due = {} WHERE id = {}"
END_JOB = "DELETE FROM chukei_jobs WHERE id = {}"


# The latest entry of one caller, or of each. To find all callers, each name is looked up in the index after the one
# before, since a scan would read every entry.

_SEEN = "SELECT entry.caller, entry.time, entry.kind, entry.caller_group"
SEEN_ONE = f"{_SEEN} FROM chukei_entries AS entry WHERE entry.caller = {{}} ORDER BY entry.time DESC LIMIT 1"
_NAMES_OF_CALLERS = (
    "SELECT min(caller) FROM chukei_entries"
    " UNION ALL SELECT (SELECT min(entry.caller) FROM chukei_entries AS entry WHERE entry.caller > names.caller)"
    " FROM names WHERE names.caller IS NOT NULL"
)
_LATEST = "SELECT max(latest.time) FROM chukei_entries AS latest WHERE latest.caller = names.caller"
SEEN_ALL = (
    f"WITH RECURSIVE names (caller) AS ({_NAMES_OF_CALLERS}) {_SEEN} FROM names"
    f" JOIN chukei_entries AS entry ON entry.caller = names.caller AND entry.time = ({_LATEST})"
)


def seen_of(rows: Iterable[Sequence[object]], moment: Callable[[object], datetime]) -> list[Seen]:
    """Return what rows of these queries say; of entries at the same moment one."""
    found: dict[object, Seen] = {}
    for caller, time, kind, group in rows:
        found[caller] = Seen(str(caller), moment(time), str(kind), None if group is None else str(group))
    return list(found.values())

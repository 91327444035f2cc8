"""Entries for tests, and their sums in plain Python."""

import itertools
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec.structs import replace

from chukei.accounts.ledger import TIMES, By, Entry, Question, Sum
from chukei.accounts.outcomes import Outcome, outcome_of

START = datetime(2026, 1, 1, tzinfo=UTC)
_numbers = itertools.count()

_PLAIN = Entry(
    id="",
    time=START,
    request_id="req-1",
    caller="team-a",
    kind="key",
    group="research",
    key_id="k1",
    operation="chat",
    model="gpt-4o",
    deployment="sweden",
    stream=True,
    status=200,
    end="completed",
    code=None,
    finish_reason="stop",
    input=100,
    cached=20,
    output=30,
    reasoning=5,
    estimated=False,
    wasted=0,
    cost=550,
    first_token=250.0,
    duration=1250.5,
    retries=0,
    hedges=0,
    upstream_request_id="a1b2",
    region="swedencentral",
    served_model="gpt-4o-2024-11-20",
    service_tier="default",
    cache_written=7,
    audio_input=3,
    audio_output=2,
    images=1,
    characters=11,
    heard_ms=2500,
    requests=1,
)


def entry(**fields: Any) -> Entry:
    """Return an entry with an id and a time of its own."""
    number = next(_numbers)
    return replace(_PLAIN, **{"id": f"entry-{number}", "time": START + timedelta(milliseconds=number), **fields})


def entries(count: int, **fields: Any) -> list[Entry]:
    return [entry(**fields) for _ in range(count)]


def naive(question: Question, given: Iterable[Entry]) -> list[Sum]:
    """Answer a question as one would without a database."""
    groups: dict[tuple[str, ...], list[Entry]] = {}
    for each in given:
        if _is_asked_for(question, each):
            groups.setdefault(tuple(_name(each, by) for by in question.by), []).append(each)
    sums = [_sum(names, members) for names, members in groups.items()]
    in_order = not TIMES.isdisjoint(question.by[:1])
    return sorted(sums, key=lambda s: (s.names[0] if in_order else "", -(s.input + s.output), s.names))


def _is_asked_for(question: Question, each: Entry) -> bool:
    return (
        (question.since is None or each.time >= question.since)
        and (question.until is None or each.time < question.until)
        and question.caller in (None, each.caller)
        and question.group in (None, each.group)
        and question.model in (None, each.model)
        and question.end_reason in (None, each.end)
        and question.code in (None, each.code)
        and question.outcome in (None, outcome_of(each.end, each.status))
        and (question.callers is None or each.caller in question.callers)
    )


def _name(each: Entry, by: By) -> str:
    match by:
        case By.CALLER:
            return each.caller
        case By.GROUP:
            return each.group or ""
        case By.MODEL:
            return each.model or ""
        case By.DEPLOYMENT:
            return each.deployment or ""
        case By.SERVED_MODEL:
            return each.served_model or ""
        case By.SERVICE_TIER:
            return each.service_tier or ""
        case By.DAY:
            return each.time.astimezone(UTC).date().isoformat()
        case By.HOUR:
            return f"{each.time.astimezone(UTC):%Y-%m-%dT%H:00:00Z}"
        case By.END_REASON:
            return each.end
        case By.CODE:
            return each.code or ""


def _sum(names: tuple[str, ...], members: list[Entry]) -> Sum:
    streamed = [each.first_token for each in members if each.stream and each.first_token is not None]
    return Sum(
        names=names,
        requests=sum(each.requests for each in members),
        refused=sum(each.requests for each in members if outcome_of(each.end, each.status) is Outcome.REFUSED),
        failed=sum(each.requests for each in members if outcome_of(each.end, each.status) is Outcome.FAILED),
        input=sum(each.input for each in members),
        cached=sum(each.cached for each in members),
        output=sum(each.output for each in members),
        reasoning=sum(each.reasoning for each in members),
        wasted=sum(each.wasted for each in members),
        estimated=sum(each.requests for each in members if each.estimated),
        cost=sum(each.cost or 0 for each in members),
        unpriced=sum(each.requests for each in members if each.cost is None),
        first_token=sum(streamed) / len(streamed) if streamed else None,
    )

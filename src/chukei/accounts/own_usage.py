"""A caller's own usage, today and this month, and the state of its limits.

Days and months are in UTC, as for the limits.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from chukei.accounts.admission import SHORTLY, Admission
from chukei.accounts.ledger import By, Question, Sum
from chukei.accounts.limits import MICRO, Headroom, Limit
from chukei.accounts.policy import Policy
from chukei.accounts.reports import fields_of, total
from chukei.accounts.stores import Database, StoreAway
from chukei.errors import Unavailable
from chukei.model import Caller, End
from chukei.ports import Clock

FRESH_SECONDS = 5.0
"""Seconds for which figures are cached, to bound the load on the database. The ledger itself is a second behind."""

MOST_KEPT = 10_000
"""Callers whose figures are cached at most."""


class OwnUsage:
    """Answers callers' queries about their usage. Without a database it reports only limits. ``now`` returns UTC."""

    def __init__(
        self, admission: Admission, database: Database | None, *, clock: Clock, now: Callable[[], datetime]
    ) -> None:
        self._admission = admission
        self._database = database
        self._clock = clock
        self._now = now
        self._asked: dict[str, tuple[float, asyncio.Task[dict[str, object]]]] = {}

    async def __call__(self, caller: Caller, policy: Policy) -> dict[str, object]:
        """Return a value for JSON. ``usage`` is None without a ledger; ``limits`` is empty if there are none.

        Raises:
            Unavailable: 503 while the database or the quota store is unavailable.
        """
        limits = await limits_left(self._admission, policy)
        try:
            usage = await self._figures(caller.name)
        except StoreAway:
            message = "What you have used cannot be looked up at the moment; try again shortly."
            raise Unavailable("ledger_unavailable", message, end=End.REFUSED, headers=SHORTLY) from None
        return {
            "object": "usage",
            "caller": caller.name,
            "groups": list(caller.groups),
            "limits": limits,
            "usage": usage,
        }

    async def _figures(self, caller: str) -> dict[str, object] | None:
        """Return cached figures, or query the database. Concurrent requests of one caller share one query."""
        if self._database is None:
            return None
        now = self._clock()
        asked = self._asked.pop(caller, None)
        if asked is None or now - asked[0] > FRESH_SECONDS or _failed(asked[1]):
            asked = (now, asyncio.create_task(self._ask(self._database, caller)))
        self._asked[caller] = asked
        if len(self._asked) > MOST_KEPT:
            del self._asked[next(iter(self._asked))]
        return await asyncio.shield(asked[1])  # a cancelled request must not cancel the query that others await

    async def _ask(self, database: Database, caller: str) -> dict[str, object]:
        today = self._now().replace(hour=0, minute=0, second=0, microsecond=0)
        month = today.replace(day=1)
        rows = await database.sum(Question(by=(By.DAY, By.MODEL), since=month, caller=caller))
        day = today.date().isoformat()
        return {
            "today": _period([row for row in rows if row.names[0] == day], today, today + timedelta(days=1)),
            "month": _period(rows, month, (month + timedelta(days=32)).replace(day=1)),
        }


def _failed(task: asyncio.Task[dict[str, object]]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)


def _period(rows: Iterable[Sum], start: datetime, end: datetime) -> dict[str, object]:
    models: dict[str, list[Sum]] = {}
    for row in rows:
        models.setdefault(row.names[1], []).append(row)
    sums = [replace(total(found, 1), names=(name,)) for name, found in models.items()]
    sums.sort(key=lambda row: (-(row.input + row.output), row.names))
    figures = _figures(total(sums, 1), ())
    return {
        "start": start.isoformat(),
        "end": end.isoformat(),
        **figures,
        "models": [_figures(row, (By.MODEL,)) for row in sums],
    }


def _figures(row: Sum, by: tuple[By, ...]) -> dict[str, object]:
    """Return sums by column. The time to first token is left out, because a mean of means would be wrong."""
    found = fields_of(replace(row, names=row.names[: len(by)]), by)
    return {name: value for name, value in found.items() if name != "first_token_ms"}


async def limits_left(admission: Admission, policy: Policy) -> list[dict[str, object]]:
    """Return the state of a policy's limits for JSON, with the place where each is set. Money is in units of currency.

    Raises:
        Unavailable: 503 while the quota store is unavailable.
    """
    try:
        found = await admission.headroom(policy)
    except StoreAway:
        message = "What you may use cannot be looked up at the moment; try again shortly."
        raise Unavailable("quota_unavailable", message, end=End.REFUSED, headers=SHORTLY) from None
    return [_shown(left, policy.place_of(left.subject, left.limit)) for left in found]


def _shown(left: Headroom, place: str) -> dict[str, object]:
    unit = MICRO if left.limit is Limit.MONEY_PER_MONTH else 1
    return {
        "limit": left.limit.value,
        "subject": left.subject,
        "most": left.most / unit if unit > 1 else left.most,
        "remaining": left.remaining / unit if unit > 1 else left.remaining,
        "reset_seconds": round(max(left.reset, 0.0), 3),
        "source": place,
    }

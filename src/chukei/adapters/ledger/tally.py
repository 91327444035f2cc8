"""Aggregates the records of similar requests that reached no deployment.

Such requests are cheap to send: refused requests, pages, unknown routes. One caller can send thousands a second, and
each would be a line in the log and a row in the ledger. So ``SINGLY`` similar records in a minute are passed on one by
one, and the others as one record with a ``count`` at the end of the minute. Similar records differ only in path,
request id and duration.

Minutes are those of the wall clock, so that no record spans two days.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from chukei.model import Caller
from chukei.ports import Hook
from chukei.record import RequestRecord

logger = logging.getLogger(__name__)

SINGLY = 10
"""Records of one kind that are passed on one by one in a minute."""

KINDS = 20
"""Kinds of records distinguished in a minute for one caller, and for all unauthenticated callers together. Further
records are counted without their model and method, since a caller can invent any number of these."""

MOST = 10_000
"""Kinds of all callers at which the counted records are passed on before the end of the minute: about 10 MB."""

_MINUTE = 60
_PATH = 200
_SINGLE = frozenset({"live", "ready", "asset", "metrics", "admin"})
"""Operations whose successful requests are not aggregated: they have no log line, or one that operators may need."""

_Kind = tuple[object, ...]


def _now() -> datetime:
    return datetime.now(UTC)


class Tally:
    """Implements the Hook port, and passes records on to other hooks. ``now`` returns the time in UTC."""

    def __init__(self, hooks: Sequence[Hook], *, now: Callable[[], datetime] = _now, most: int = MOST) -> None:
        self._hooks = hooks
        self._now = now
        self._most = most
        self._minute = -1
        self._seen: dict[_Kind, int] = {}  # in this minute
        self._kinds: dict[str | None, int] = {}  # of each caller
        self._waiting: dict[_Kind, RequestRecord] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def __call__(self, record: RequestRecord) -> None:
        """Pass a record on, or count it."""
        well = record.status is not None and record.status < 300
        if record.tries or (well and record.operation in _SINGLE):
            self._hand_on(record)
        else:
            self._count(record)

    def _count(self, record: RequestRecord) -> None:
        now = self._now()
        minute = int(now.timestamp()) // _MINUTE
        if minute != self._minute:
            self.flush()
            self._minute = minute
        kind = self._kind_of(record)
        seen = self._seen[kind] = self._seen.get(kind, 0) + 1
        if (seen <= SINGLY and kind[-1]) or self._closed:
            self._hand_on(record)
            return
        alike = self._waiting.get(kind)
        record.count = 1 if alike is None else alike.count + 1
        record.path = record.path[:_PATH]
        record.ended = now
        self._waiting[kind] = record
        if len(self._seen) >= self._most:
            self.flush()
        elif self._timer is None:
            wait = _MINUTE - now.timestamp() % _MINUTE
            self._timer = asyncio.get_running_loop().call_later(wait, self.flush)

    def _kind_of(self, record: RequestRecord) -> _Kind:
        """Return the kind of a record. Its last item says whether some records of the kind are passed on one by one."""
        caller: tuple[str, str, tuple[str, ...], str | None] | None = None
        name = None
        if record.who is not None:
            name = record.who.name
            caller = _identity(record.who)
        common = (caller, record.operation, record.status, record.end, record.code)
        kind = (*common, record.method, record.model, record.stream, True)
        if kind in self._seen:
            return kind
        distinguished = self._kinds.get(name, 0)
        if distinguished < KINDS:
            self._kinds[name] = distinguished + 1
            return kind
        record.model, record.method, record.stream = None, "*", False
        return (*common, False)

    def flush(self) -> None:
        """Pass the counted records on."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting = self._waiting, {}
        self._seen.clear()
        self._kinds.clear()
        for record in waiting.values():
            self._hand_on(record)

    def close(self) -> None:
        """Pass the counted records on, and every later record by itself."""
        self._closed = True
        self.flush()

    def _hand_on(self, record: RequestRecord) -> None:
        for hook in self._hooks:
            try:
                hook(record)
            except Exception:
                logger.exception("the record of request %s was not written", record.request_id)


def _identity(who: Caller) -> tuple[str, str, tuple[str, ...], str | None]:
    return (who.name, str(who.kind), who.groups, who.key_id)

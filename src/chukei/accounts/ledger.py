"""Types of the ledger: entries, queries and sums. They contain no prompts, completions or credentials."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import msgspec

from chukei.accounts.outcomes import Outcome


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One request, or ``requests`` similar ones that used nothing.

    ``id`` is the relay's own and unique; clients may choose ``request_id``. Tokens are as in ``usage.Usage``:
    ``cached`` is part of ``input``, ``reasoning`` part of ``output``; ``estimated`` says that Azure reported none.
    ``wasted`` counts tokens that other deployments may have charged for the same request; ``cost`` includes their
    price. It is in micro-units of the currency of the prices; None if the model has no price for the usage.
    Durations are in milliseconds. ``served_model`` and ``service_tier`` are as Azure's answer reports them. ``images``,
    ``characters`` and ``heard_ms`` are units that were billed instead of tokens.
    """

    id: str
    time: datetime
    request_id: str
    caller: str
    kind: str
    group: str | None
    key_id: str | None
    operation: str
    model: str | None
    deployment: str | None
    stream: bool
    status: int | None
    end: str
    code: str | None
    finish_reason: str | None
    input: int
    cached: int
    output: int
    reasoning: int
    estimated: bool
    wasted: int
    cost: int | None
    first_token: float | None
    duration: float
    retries: int
    hedges: int
    upstream_request_id: str | None
    region: str | None
    served_model: str | None = None
    service_tier: str | None = None
    cache_written: int = 0
    audio_input: int = 0
    audio_output: int = 0
    images: int = 0
    characters: int = 0
    heard_ms: int = 0
    requests: int = 1


class By(StrEnum):
    """What usage can be summed by."""

    CALLER = "caller"
    GROUP = "group"
    MODEL = "model"
    DEPLOYMENT = "deployment"
    SERVED_MODEL = "served-model"
    SERVICE_TIER = "service-tier"
    DAY = "day"  # of UTC
    HOUR = "hour"  # of UTC
    END_REASON = "end-reason"
    CODE = "code"


TIMES = frozenset({By.DAY, By.HOUR})
"""Columns of time. If one is the first, the rows are in order of time."""


@dataclass(frozen=True, slots=True)
class Question:
    """A query: the entries to sum, from ``since`` up to but not including ``until``, and the columns to group by.

    The other fields select entries; ``callers`` selects those of any of these callers.
    """

    by: tuple[By, ...] = (By.CALLER,)
    since: datetime | None = None
    until: datetime | None = None
    caller: str | None = None
    group: str | None = None
    model: str | None = None
    end_reason: str | None = None
    code: str | None = None
    outcome: Outcome | None = None
    callers: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Sum:
    """The sums of one group of entries. ``names`` has the group's values in the order of the query's columns.

    A missing value is ""; a day is written ``2026-11-22``, an hour ``2026-11-22T13:00:00Z``. ``refused`` and ``failed``
    count the outcomes of these names.
    ``cost`` is in micro-units and excludes the ``unpriced`` requests. ``estimated`` counts requests whose tokens Azure
    did not report.
    """

    names: tuple[str, ...]
    requests: int
    refused: int
    failed: int
    input: int
    cached: int
    output: int
    reasoning: int
    wasted: int
    estimated: int
    cost: int
    unpriced: int
    first_token: float | None  # mean, in milliseconds, of those that streamed


@dataclass(frozen=True, slots=True)
class Seen:
    """The latest entry of a caller: when, and with which kind and group."""

    caller: str
    time: datetime
    kind: str
    group: str | None


@dataclass(frozen=True, slots=True)
class Key:
    """A caller's key as stored in the database, without its secret.

    ``digest`` is the HMAC-SHA-256 of the secret part with the pepper of the given version, which is stored outside the
    database. A caller may have several keys at once, so that one can replace another without downtime. ``unreadable``
    says that another program wrote a value that the relay never writes, such as an end beyond the year 9999. Such a key
    is listed, but refused.
    """

    id: str
    caller: str
    group: str | None
    digest: bytes
    pepper: int
    created: datetime
    expires: datetime | None
    revoked: datetime | None
    note: str | None
    unreadable: bool = False

    def state(self, now: datetime) -> str:
        """Return ``active``, ``expired``, ``revoked`` or ``unreadable``. An unreadable key can only be revoked."""
        if self.revoked is not None:
            return "revoked"
        if self.unreadable:
            return "unreadable"
        return "expired" if self.expires is not None and self.expires <= now else "active"


@dataclass(frozen=True, slots=True)
class KeySearch:
    """Which keys are wanted: the newest first, ``limit`` of them after the first ``offset``.

    ``text`` is a part of the id, caller, group or note, in either case of letters; ``state`` is a state at ``now``.
    """

    now: datetime
    text: str = ""
    state: str | None = None
    id: str | None = None
    caller: str | None = None
    limit: int = 2**31 - 1
    offset: int = 0

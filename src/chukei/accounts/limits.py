"""Types that quotas, policies and the ledger share: limits, amounts, grants, refusals. Pure.

Money is counted in whole micro-units, millionths of the currency of the configured prices, so that sums are exact. A
price is per million tokens, so tokens times price gives micro-units. No amount is a float.
"""

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum

import msgspec

MICRO = 1_000_000
"""Micro-units in one unit of currency."""


class Limit(StrEnum):
    """A limit by its name in the configuration."""

    REQUESTS_PER_MINUTE = "requests_per_minute"
    TOKENS_PER_MINUTE = "tokens_per_minute"
    TOKENS_PER_DAY = "tokens_per_day"
    TOKENS_PER_MONTH = "tokens_per_month"
    MONEY_PER_MONTH = "money_per_month"
    CONCURRENT = "concurrent"


RATES = frozenset({Limit.REQUESTS_PER_MINUTE, Limit.TOKENS_PER_MINUTE, Limit.CONCURRENT})
"""Limits whose refusal is temporary: 429. The others are quotas that are used up: 403."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one subject; None means unlimited. Days and months are in UTC. Money is in micro-units."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    tokens_per_day: int | None = None
    tokens_per_month: int | None = None
    money_per_month: int | None = None
    concurrent: int | None = None

    def __bool__(self) -> bool:
        return any(getattr(self, each.name) is not None for each in fields(self))


NOTHING = Limits()
"""No limit at all."""


@dataclass(frozen=True, slots=True)
class Rules:
    """One table of rules. None and empty tables set nothing. ``limits`` apply to each caller by itself.

    ``total`` and ``share_objects`` are rules of groups: ``share_objects`` says that what the members make at the
    service, such as responses and files, belongs to all of them.
    ``service_tiers`` are the values of ``service_tier`` that a request may have.
    """

    models: tuple[str, ...] | None = None
    default_model: str | None = None
    system: str | None = None
    parameters: Mapping[str, object] = field(default_factory=dict)
    caps: Mapping[str, int | float] = field(default_factory=dict)
    service_tiers: tuple[str, ...] | None = None
    see_deployment: bool | None = None
    limits: Limits = NOTHING
    total: Limits = NOTHING  # of all members together
    share_objects: bool = False


@dataclass(frozen=True, slots=True)
class Subject:
    """An account that is charged, ``caller:NAME``, ``group:NAME`` or ``everything``, and its limits."""

    name: str
    limits: Limits


class Amounts(msgspec.Struct, frozen=True, gc=False):
    """What a request uses: its total tokens, and money in micro-units."""

    tokens: int = 0
    money: int = 0


class Headroom(msgspec.Struct, frozen=True, gc=False):
    """The state of one limit: ``remaining`` of ``most``. Without new requests it is unused after ``reset`` seconds."""

    subject: str
    limit: Limit
    most: int
    remaining: int
    reset: float


class Grant(msgspec.Struct, frozen=True, gc=False):
    """A reservation under ``id``. ``headroom`` is the state of each limit after it, in the order of the subjects."""

    id: str
    headroom: tuple[Headroom, ...] = ()


class _Settled:
    """An awaitable that is already complete."""

    def __await__(self) -> Generator[None, None, None]:
        return
        yield


SETTLED = _Settled()
"""Returned by a store that settles a reservation immediately."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refused reservation: ``limit`` of ``subject`` would be exceeded. A retry may succeed after ``seconds``.

    ``used`` is the amount in use, ``asked`` the amount of the request.
    """

    subject: str
    limit: Limit
    most: int
    used: int
    asked: int
    seconds: float

"""What may be used, and what was: the words in which quotas, policies and the ledger speak. Pure.

Money is counted in whole micro-units, millionths of the currency that the configuration's prices are in, so that sums
are exact. A price is per million tokens; so tokens times price is micro-units. Nothing here is a float.
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
"""Limits whose refusal passes with time: 429. The others are quotas that are used up: 403."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one subject may use; None is without limit. Days and months are those of UTC. Money is in micro-units."""

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
    """One table of rules; None and empty tables say nothing. ``limits`` are those of each caller."""

    models: tuple[str, ...] | None = None
    default_model: str | None = None
    system: str | None = None
    parameters: Mapping[str, object] = field(default_factory=dict)
    caps: Mapping[str, int | float] = field(default_factory=dict)
    see_deployment: bool | None = None
    limits: Limits = NOTHING
    total: Limits = NOTHING  # of all members together; for groups


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose account is charged: ``caller:NAME``, ``group:NAME`` or ``everything``, and what it may use."""

    name: str
    limits: Limits


class Amounts(msgspec.Struct, frozen=True, gc=False):
    """What a request uses: tokens in all, and money in micro-units."""

    tokens: int = 0
    money: int = 0


class Headroom(msgspec.Struct, frozen=True, gc=False):
    """What is left of one limit: ``remaining`` of ``limit``, all of it again after ``reset`` seconds if nobody asks."""

    subject: str
    limit: Limit
    most: int
    remaining: int
    reset: float


class Grant(msgspec.Struct, frozen=True, gc=False):
    """A reservation was made under ``id``. ``headroom`` tells of each limit after it, in the order of the subjects."""

    id: str
    headroom: tuple[Headroom, ...] = ()


class _Settled:
    """Something to wait for that is over."""

    def __await__(self) -> Generator[None, None, None]:
        return
        yield


SETTLED = _Settled()
"""What a store returns that has settled a reservation at once."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Nothing was reserved, since ``limit`` of ``subject`` would be exceeded. ``seconds`` until it may be granted.

    ``used`` and ``asked`` say how much is taken and how much was wanted.
    """

    subject: str
    limit: Limit
    most: int
    used: int
    asked: int
    seconds: float

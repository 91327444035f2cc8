"""What may be used, and what was: the words in which quotas, policies and the ledger speak. Pure.

Money is counted in whole micro-units, millionths of the currency that the configuration's prices are in, so that sums
are exact. A price is per million tokens; so tokens times price is micro-units. Nothing here is a float.
"""

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction

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


NANO = 1_000_000_000
"""A price of tokens is a whole number of thousand-millionths of the currency for a million tokens, so that sums of
tokens times prices are exact, and rounding happens once for each request."""


@dataclass(frozen=True, slots=True)
class Long:
    """Other prices for a request whose input is longer than ``above`` tokens, for all of its tokens."""

    above: int
    prices: "Prices"


@dataclass(frozen=True, slots=True)
class Prices:
    """What a model costs.

    For tokens: whole numbers of 1/NANO currency units for a million. ``cached`` is for input that Azure had in its
    cache, ``cache_write`` for what it put there; those of None are priced as input, or output, is.

    By unit, in currency units: ``image`` for one, whose price by "1024x1024 hd", "1024x1024" or "hd" may stand in
    ``images``; ``minute`` of sound that is heard; ``characters``, a million of them, to be spoken.

    ``tiers`` are other prices by the answer's ``service_tier``, or factors for these; ``long`` is for long input;
    ``by_model`` for the model that answered, by the name that Azure gives it.
    """

    input: int = 0
    cached: int | None = None
    output: int = 0
    cache_write: int | None = None
    audio_input: int | None = None
    audio_output: int | None = None
    image_input: int | None = None
    image: Fraction | None = None
    images: Mapping[str, Fraction] = field(default_factory=dict)
    minute: Fraction | None = None
    characters: Fraction | None = None
    tiers: "Mapping[str, Prices | Fraction]" = field(default_factory=dict)
    long: Long | None = None
    by_model: "Mapping[str, Prices]" = field(default_factory=dict)

    @property
    def of_tokens(self) -> bool:
        """Whether tokens have a price."""
        return bool(self.input or self.output)


def per_million(price: str) -> int:
    """Return a price for a million tokens, in currency units, as ``Prices`` has it."""
    return int(Decimal(price) * NANO)

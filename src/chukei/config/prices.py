"""Prices of a model: per million tokens, per image, per minute of audio, per million characters."""

from collections.abc import Iterable
from dataclasses import fields
from decimal import Decimal
from fractions import Fraction
from typing import Any

from chukei.accounts.limits import Limits
from chukei.config.reader import Reader
from chukei.model import NANO, Long, Model, Prices

DECIMALS = 9
"""Most decimal places of a price, so that sums of money are exact."""

_HIGHEST = 1e6
_TOKENS = tuple(each.name for each in fields(Prices) if each.type == int | None)
_UNITS = tuple(each.name for each in fields(Prices) if each.type == Fraction | None)
"""Keys of optional prices, of tokens and of other units. Each is a field of ``Prices``."""
_LONGEST = 100_000_000


def read_prices(table: Reader) -> Prices | None:
    """Read the prices of a model; None if there are none."""
    said = any(table.has(each.name) for each in fields(Prices))
    given = _plain(table)
    images, tiers, below = table.table("images"), table.table("tiers"), table.table("long")
    for size in table.mapping("images"):
        given.setdefault("images", {})[size] = Fraction(_exact(images, size) or 0)
    for name, value in table.mapping("tiers").items():
        given.setdefault("tiers", {})[name] = (
            _table(tiers.table(name)) if isinstance(value, dict) else Fraction(_exact(tiers, name) or 0)
        )
    if table.has("long"):
        above = below.integer("above", 0, low=1, high=_LONGEST)
        if not below.has("above"):
            below.problem("above", "is missing; give the number of input tokens above which these prices hold")
        given["long"] = Long(above, _table(below))
    given["by_model"] = {name: read_prices(other) or Prices() for name, other in table.tables("by_model")}
    table.done()
    return Prices(**given) if said else None


def _table(table: Reader) -> Prices:
    """Read a nested table of token prices, which replace those of the outer table."""
    prices = Prices(**_plain(table, units=False))
    if not any(table.has(key) for key in ("input", "output", *_TOKENS)):  # else that is said already
        table.problem("input", "is missing; give both prices, of input and output")
    table.done()
    return prices


def _plain(table: Reader, *, units: bool = True) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for key in ("input", "output"):
        given[key] = _tokens(table, key) or 0
    for key in _TOKENS:
        given[key] = _tokens(table, key)
    if units:
        for key in _UNITS:
            price = _exact(table, key)
            given[key] = None if price is None else Fraction(price)
    missing = [key for key in ("input", "output") if not table.has(key)]
    if any(table.has(key) for key in ("input", "output", *_TOKENS)) and missing:
        table.problem(missing[0], "is missing; give both prices, of input and output")
    return given


def _tokens(table: Reader, key: str) -> int | None:
    price = _exact(table, key)
    return None if price is None else int(price * NANO)


def _exact(table: Reader, key: str) -> Decimal | None:
    """Return a number exactly as written. Up to fifteen digits, the shortest form of the float is the written one."""
    found = table.number(key, None, low=0.0, high=_HIGHEST)
    if found is None:
        return None
    price = Decimal(repr(found))
    if price * NANO % 1:
        table.problem(key, f"must have at most {DECIMALS} decimals")
        return None
    return price


_BY_THE_PIECE = (
    # part of the name; operation; unit of the price
    ("dall-e", "images", "image"),
    ("tts", "speech", "characters"),
    ("whisper", "transcriptions", "minute"),
)
"""Models for which Azure reports no tokens, by the usual names of their deployments."""


def unbound(models: Iterable[Model], limits: Iterable[Limits]) -> list[str]:
    """Return notices about limits without effect on a model, because Azure reports no tokens and there is no price."""
    limits = [*limits]
    money = any(each.money_per_month is not None for each in limits)
    tokens = [
        name
        for name in ("tokens_per_minute", "tokens_per_day", "tokens_per_month")
        if any(getattr(each, name) is not None for each in limits)
    ]
    said = []
    for model in models:
        called = " ".join([model.name, *(deployment.deployment for deployment in model.deployments)]).lower()
        kind = next((kind for kind in _BY_THE_PIECE if kind[0] in called), None)
        prices = model.prices
        if money and prices is not None and kind is not None and not _has(prices, kind[2]):
            said.append(
                f"money_per_month does not bind {kind[1]} by model {model.name}: "
                f"set models.{model.name}.prices.{kind[2]}"
            )
        if tokens and kind is not None:
            what = " and ".join([", ".join(tokens[:-1]), tokens[-1]] if len(tokens) > 1 else tokens)
            do = "do" if len(tokens) > 1 else "does"
            said.append(f"{what} {do} not bind {kind[1]} by model {model.name}, for which Azure reports no tokens")
    return said


def _has(prices: Prices | None, unit: str) -> bool:
    return prices is not None and (getattr(prices, unit) is not None or (unit == "image" and bool(prices.images)))

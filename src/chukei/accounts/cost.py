"""The cost of a request: tokens and units times prices, in exact arithmetic, rounded up once. Pure."""

from dataclasses import replace
from fractions import Fraction

from chukei.accounts.limits import MICRO
from chukei.model import NANO, Prices
from chukei.usage import AUTO, NO_UNITS, Units, Usage

BATCH_TIER = "batch"
"""The key of ``prices.tiers`` for batches."""


def cost_of(
    usage: Usage, prices: Prices | None, units: Units = NO_UNITS, *, served: str | None = None, tier: str | None = None
) -> int | None:
    """Return the cost of a request in micro-units, rounded up; None for a model without prices.

    ``served`` is the name of the model that answered, ``tier`` the answer's ``service_tier``.
    """
    if prices is None:
        return None
    if prices.by_model:
        prices = prices.of_model(served)
    found, factor = prices, None
    if prices.tiers and tier is not None:
        other = prices.tiers.get(tier)
        found, factor = (other, None) if isinstance(other, Prices) else (prices, other)
    if found.long is not None and usage.input > found.long.above:
        found = found.long.prices
    total: int | Fraction = _tokens(usage, found)
    if factor is not None:
        total *= factor
    if units is not NO_UNITS:
        total += _units(units, prices) * (MICRO * NANO)
    return int(-(-total // NANO))


def cost_of_batch(usage: Usage, prices: Prices | None, served: str | None = None) -> int | None:
    """Return the cost of the requests of a batch, which have used this together; None for a model without prices.

    Prices for long input hold for a single request, so they do not apply to a sum.
    """
    if prices is None:
        return None
    if served is not None:
        prices = prices.by_model.get(served, prices)
    return cost_of(usage, replace(prices, long=None), tier=BATCH_TIER)


def _tokens(usage: Usage, prices: Prices) -> int:
    """Return the price of tokens in micro-units times NANO. Each token is counted once, at the first price it has."""
    special = usage.audio_input or usage.image_input or usage.cache_written or usage.audio_output or usage.image_output
    if not special:
        cached = min(usage.cached, usage.input) if prices.cached is not None else 0
        return (usage.input - cached) * prices.input + cached * (prices.cached or 0) + usage.output * prices.output
    left, total = usage.input, 0
    audio, image, cached = usage.audio_input, usage.image_input, usage.cached
    # What is cached has the price of cached input, whatever it is, unless there is one for its kind.
    if (prices.cached if prices.cached_audio is None else prices.cached_audio) is not None:
        audio -= usage.cached_audio
    if (prices.cached if prices.cached_image is None else prices.cached_image) is not None:
        image -= usage.cached_image
    cached -= usage.cached_audio if prices.cached_audio is not None else 0
    cached -= usage.cached_image if prices.cached_image is not None else 0
    hour = usage.written_for_hour if prices.cache_write_hour is not None else 0
    for tokens, price in (
        (audio, prices.audio_input),
        (image, prices.image_input),
        (hour, prices.cache_write_hour),
        (usage.cache_written - hour, prices.cache_write),
        (usage.cached_audio, prices.cached_audio),
        (usage.cached_image, prices.cached_image),
        (max(cached, 0), prices.cached),
    ):
        if tokens and price is not None:
            part = min(tokens, left)
            left -= part
            total += part * price
    made = usage.output
    for tokens, price in ((usage.audio_output, prices.audio_output), (usage.image_output, prices.image_output)):
        if tokens and price is not None:
            part = min(tokens, made)
            made -= part
            total += part * price
    return total + left * prices.input + made * prices.output


def _units(units: Units, prices: Prices) -> Fraction:
    """Return the price of units in currency units."""
    total = Fraction(0)
    if units.images:
        total += units.images * _image(units, prices)
    if units.characters and prices.characters is not None:
        total += units.characters * prices.characters / 1_000_000
    if units.heard_ms and prices.minute is not None:
        total += units.heard_ms * prices.minute / 60_000
    return total


def _image(units: Units, prices: Prices) -> Fraction:
    """Return the price of one image of a size and quality. If they are not known, return the highest possible price."""
    for name in (f"{units.size} {units.quality}", units.size, units.quality):
        if name in prices.images:
            return prices.images[name]
    known = {units.size, units.quality} - {AUTO}
    fitting = [price for name, price in prices.images.items() if known <= set(name.split())]
    if not fitting and prices.image is not None:
        return prices.image
    return max(fitting or prices.images.values(), default=Fraction(0))

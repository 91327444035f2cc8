"""What a model's tokens cost."""

from chukei.config.reader import Reader
from chukei.limits import Prices


def read_prices(table: Reader) -> Prices | None:
    """Read what a million tokens of a model cost; None where nothing is said."""
    given = any(table.has(key) for key in ("input", "cached", "output"))
    cached = table.number("cached", -1.0, low=0.0, high=1e6)
    prices = Prices(
        input=table.number("input", 0.0, low=0.0, high=1e6),
        cached=cached if cached >= 0 else None,
        output=table.number("output", 0.0, low=0.0, high=1e6),
    )
    if given and not (table.has("input") and table.has("output")):
        table.problem(
            "input" if not table.has("input") else "output", "is missing; give both prices, of input and output"
        )
    table.done()
    return prices if given else None

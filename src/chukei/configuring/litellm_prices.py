"""LiteLLM's prices, in dollars for one token, as the relay's, for a million."""

import re
from collections.abc import Iterator
from decimal import ROUND_UP, Decimal, localcontext

from chukei.configuring.import_draft import Draft, target
from chukei.configuring.import_source import Node
from chukei.configuring.toml_text import Value

MILLION = Decimal(1_000_000)
DECIMALS = Decimal("1e-9")
HIGHEST = Decimal(1_000_000)

PRICES: dict[str, tuple[str, Decimal]] = {
    # LiteLLM's key: the relay's key, and its unit by LiteLLM's
    "input_cost_per_token": ("input", MILLION),
    "output_cost_per_token": ("output", MILLION),
    "cache_read_input_token_cost": ("cached", MILLION),
    "cache_creation_input_token_cost": ("cache_write", MILLION),
    "cache_creation_input_token_cost_above_1hr": ("cache_write_hour", MILLION),
    "cache_read_input_audio_token_cost": ("cached_audio", MILLION),
    "input_cost_per_audio_token": ("audio_input", MILLION),
    "output_cost_per_audio_token": ("audio_output", MILLION),
    "input_cost_per_image_token": ("image_input", MILLION),
    "output_cost_per_image": ("image", Decimal(1)),
    "input_cost_per_second": ("minute", Decimal(60)),
    "input_cost_per_character": ("characters", MILLION),
}
_TOKENS = {key for key, unit in PRICES.values() if unit == MILLION} - {"characters"}
_TIER = re.compile(r"(.+)_(priority|flex)")
_LONG = re.compile(r"(.+)_above_(\d+)k_tokens")
_PRICE = re.compile(
    r"(input|output|cache|cost|ocr|annotation|search|citation|regional).*cost|cost_per_|_cost_per|_cost$"
)


class Prices:
    """Writes the prices of one model from all its entries; each entry may have them in two places."""

    def __init__(self, draft: Draft, model: str, entries: list[Node]) -> None:
        self._draft = draft
        self._report = draft.report
        self._model = model
        self._entries = entries
        self._found: dict[tuple[str, ...], Decimal] = {}
        self._differ = False
        self._above: int | None = None

    def write(self) -> None:
        """Write the highest price that any entry has, and report all."""
        nodes = list(self._nodes())
        longs = {int(found[2]) for key, _ in nodes if (found := _LONG.fullmatch(key))}
        self._above = min(longs) if longs else None
        usable = [(key, node, place) for key, node in nodes if (place := self._place(key, node)) is not None]
        for key, node, place in usable:
            price = _price(node, _unit(key))
            known = self._found.get(place)
            self._differ |= known is not None and known != price
            self._found[place] = max(price, known or price)
        for _, node, place in usable:
            goal = target("models", self._model, "prices", *place)
            if self._differ:
                self._report.approximated(node, goal, "the deployments' prices differ; the highest one counts for all")
            else:
                self._report.mapped(node, goal, "the price of one, as that of a million, a minute or a picture")
        if self._found:
            self._write()

    def _nodes(self) -> Iterator[tuple[str, Node]]:
        for entry in self._entries:
            for section in ("litellm_params", "model_info"):
                node = entry.table.get(section)
                yield from ((key, each) for key, each in (node.table.items() if node else ()) if _PRICE.search(key))

    def _place(self, key: str, node: Node) -> tuple[str, ...] | None:
        """Return where a price goes, or None after reporting why it goes nowhere."""
        why = None
        place: tuple[str, ...] = ()
        if (found := _LONG.fullmatch(key)) and found[1] in PRICES:
            place = ("long", PRICES[found[1]][0])
            why = None if int(found[2]) == self._above else "the relay has one bound for long input, the lowest"
        elif (tier := _TIER.fullmatch(key)) and tier[1] in PRICES:
            place = ("tiers", tier[2], PRICES[tier[1]][0])
        elif key in PRICES:
            place = (PRICES[key][0],)
        else:
            why = "the relay has no price by this unit"
        if why is None and (len(place) > 1 and place[-1] not in _TOKENS):
            why = "the relay has tiers and bounds for tokens only"
        if why is None and _price(node, _unit(key)) < 0:
            why = "is not a price that the relay could have"
        if why is not None:
            self._report.dropped(node, why)
            return None
        return place

    def _write(self) -> None:
        self._complete(())
        for prefix in {place[:-1] for place in self._found if len(place) > 1}:
            self._complete(prefix)
        path = ("models", self._model, "prices")
        tables: dict[tuple[str, ...], dict[str, Value]] = {}
        for place, price in self._found.items():
            tables.setdefault(place[:-1], {})[place[-1]] = _shown(price)
        for key, value in tables.pop((), {}).items():
            self._draft.set(path, key, value)
        tiers: dict[str, Value] = {prefix[1]: prices for prefix, prices in tables.items() if prefix[0] == "tiers"}
        if tiers:
            self._draft.set(path, "tiers", tiers)
        if ("long",) in tables:
            self._draft.set(path, "long", {"above": (self._above or 0) * 1000, **tables["long",]})

    def _complete(self, prefix: tuple[str, ...]) -> None:
        """Add the price of input or output where only another one is known: the relay needs both."""
        if not any((*prefix, key) in self._found for key in _TOKENS):
            return
        for key in ("input", "output"):
            if (*prefix, key) not in self._found:
                self._found[*prefix, key] = self._found.get((key,), Decimal(0))
                goal = target("models", self._model, "prices", *prefix)
                instead = "the general price" if prefix else "nothing"
                self._report.assume(f"{goal} has a price of tokens without one of {key}: that is {instead}")


def _unit(key: str) -> Decimal:
    for pattern in (_LONG, _TIER):
        if found := pattern.fullmatch(key):
            key = found[1]
    return PRICES.get(key, ("", Decimal(1)))[1]


def _price(node: Node, unit: Decimal) -> Decimal:
    """Return a price rounded up to what the relay counts, or -1 if it is none."""
    number = node.number
    with localcontext(prec=400):
        price = Decimal(repr(number)) * unit if number is not None else Decimal(-1)
        return price.quantize(DECIMALS, ROUND_UP) if 0 <= price <= HIGHEST else Decimal(-1)


def _shown(price: Decimal) -> Value:
    return int(price) if price == price.to_integral_value() else float(price)

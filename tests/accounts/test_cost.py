"""What a request costs: each token once, at the price that holds for it, exactly, rounded up once."""

import math
from dataclasses import replace
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st
from tests.rows import rows

from chukei.accounts.cost import cost_of, cost_of_batch
from chukei.accounts.limits import MICRO
from chukei.model import NANO, Long, Prices, per_million
from chukei.usage import Units, Usage

GPT = Prices(per_million("2.5"), per_million("1.25"), per_million("10"))
COUNTS = st.integers(0, 10**7)
PRICES = st.decimals(0, 1000, places=9, allow_nan=False).map(str)


class TestTokens:
    def test_each_kind_of_token_has_its_price(self) -> None:
        assert cost_of(Usage(input=1000, cached=400, output=100), GPT) == 600 * 2.5 + 400 * 1.25 + 1000

    def test_cached_input_costs_what_input_costs_unless_said_otherwise(self) -> None:
        assert cost_of(Usage(input=1000, cached=400), Prices(input=per_million("2"))) == 2000
        assert cost_of(Usage(input=1000, cached=400), Prices(input=per_million("2"), cached=0)) == 1200

    def test_cached_sound_costs_what_is_cached(self) -> None:
        prices = Prices(per_million("4"), per_million("0.4"), per_million("16"), audio_input=per_million("32"))
        usage = Usage(input=2213, cached=1088, audio_input=1792, cached_audio=896)
        assert cost_of(usage, prices) == math.ceil(229 * 4 + 896 * 32 + 1088 * Fraction("0.4"))
        assert cost_of(usage, Prices(per_million("4"), audio_input=per_million("32"))) == 421 * 4 + 1792 * 32

    def test_cached_sound_and_pictures_have_prices_of_their_own(self) -> None:
        """langwatch/langwatch#7048, pydantic/genai-prices#517: cached sound may cost five times cached text."""
        prices = Prices(per_million("0.6"), per_million("0.06"), audio_input=per_million("10"))
        heard = replace(prices, cached_audio=per_million("0.3"))
        usage = Usage(input=2213, cached=1088, audio_input=1792, cached_audio=896)
        text = 229 * Fraction("0.6") + 192 * Fraction("0.06")
        assert cost_of(usage, heard) == math.ceil(text + 896 * 10 + 896 * Fraction("0.3"))
        assert cost_of(usage, replace(heard, cached=None)) == math.ceil(
            421 * Fraction("0.6") + 896 * 10 + 896 * Fraction("0.3")
        )
        seen = replace(prices, image_input=per_million("5"), cached_image=per_million("0.5"))
        usage = Usage(input=1000, cached=400, image_input=600, cached_image=300)
        assert cost_of(usage, seen) == math.ceil(
            300 * Fraction("0.6") + 300 * 5 + 300 * Fraction("0.5") + 100 * Fraction("0.06")
        )

    def test_what_is_stored_for_an_hour_has_a_price_of_its_own(self) -> None:
        """earendil-works/pi#5737, mozilla-ai/otari#357, Portkey-AI/models#627: it is twice the price of input."""
        prices = Prices(per_million("3"), output=per_million("15"), cache_write=per_million("3.75"))
        usage = Usage(input=1100, cache_written=1000, written_for_hour=400)
        assert cost_of(usage, replace(prices, cache_write_hour=per_million("6"))) == 100 * 3 + 600 * 3.75 + 400 * 6
        assert cost_of(usage, prices) == 100 * 3 + 1000 * 3.75

    def test_part_of_a_micro_unit_counts_whole(self) -> None:
        assert cost_of(Usage(input=1), Prices(input=per_million("0.15"))) == 1
        assert cost_of(Usage(), GPT) == 0

    def test_more_cached_than_input_costs_no_less_than_nothing(self) -> None:
        prices = Prices(input=per_million("1"), cached=per_million("0.5"))
        assert cost_of(Usage(input=10, cached=50), prices) == 5

    def test_without_a_price_the_cost_is_unknown(self) -> None:
        assert cost_of(Usage(input=10), None) is None

    def test_what_is_written_into_the_cache_is_not_free_and_has_its_price(self) -> None:
        usage = Usage(input=2219, output=5, cache_written=2216)
        plain = Prices(per_million("5"), per_million("0.5"), per_million("30"))
        assert cost_of(usage, plain) == 2219 * 5 + 5 * 30
        written = Prices(per_million("5"), per_million("0.5"), per_million("30"), cache_write=per_million("6.25"))
        assert cost_of(usage, written) == 3 * 5 + 2216 * 6.25 + 5 * 30

    def test_sound_and_images_have_prices_of_their_own(self) -> None:
        prices = Prices(
            per_million("2"),
            None,
            per_million("8"),
            audio_input=per_million("32"),
            audio_output=per_million("64"),
            image_input=per_million("5"),
        )
        usage = Usage(input=18, output=16, audio_input=3, image_input=10, audio_output=11)
        assert cost_of(usage, prices) == 5 * 2 + 3 * 32 + 10 * 5 + 5 * 8 + 11 * 64

    def test_a_price_of_one_and_a_tenth_has_no_micro_unit_too_much(self) -> None:
        prices = Prices(input=per_million("1.1"))
        assert [cost_of(Usage(input=tokens), prices) for tokens in (10, 30, 70, 1_000_000)] == [11, 33, 77, 1_100_000]

    @given(COUNTS, COUNTS, COUNTS, PRICES, PRICES, PRICES)
    def test_it_is_what_fractions_say(self, made: int, fresh: int, cached: int, dear: str, kept: str, out: str) -> None:
        prices = Prices(per_million(dear), per_million(kept), per_million(out))
        exact = fresh * Fraction(dear) + cached * Fraction(kept) + made * Fraction(out)
        assert cost_of(Usage(input=fresh + cached, output=made, cached=cached), prices) == math.ceil(exact)

    @given(COUNTS, PRICES, st.fractions(0, 10, max_denominator=1000), PRICES, st.integers(0, 50), st.integers(0, 10**8))
    def test_with_units_and_a_tier_too(
        self, tokens: int, price: str, factor: Fraction, unit: str, images: int, heard_ms: int
    ) -> None:
        each = Fraction(unit)
        prices = Prices(per_million(price), image=each, minute=each, tiers={"flex": factor})
        exact = tokens * Fraction(price) * factor + MICRO * each * (images + Fraction(heard_ms, 60_000))
        units = Units(images=images, heard_ms=heard_ms)
        assert cost_of(Usage(input=tokens), prices, units, tier="flex") == math.ceil(exact)


class TestWhatWasServed:
    TIERED = Prices(
        GPT.input,
        None,
        GPT.output,
        tiers={"priority": Fraction("1.75"), "flex": Prices(per_million("1"), None, per_million("2"))},
        long=Long(1000, Prices(per_million("5"), None, per_million("15"))),
        by_model={
            "gpt-5-nano": Prices(per_million("0.05"), None, per_million("0.4")),
            "gpt-5-nano-2026-01-01": Prices(per_million("1"), None, per_million("1")),
        },
    )

    @rows(
        ("usage", "served", "tier", "cost"),
        [
            (Usage(1000, 10), None, None, 2600),
            (Usage(1000, 10), "gpt-5", "default", 2600),
            (Usage(1000, 10), None, "priority", 4550),
            (Usage(1000, 10), None, "flex", 1020),
            (Usage(1001, 10), None, None, 5155),
            (Usage(1001, 10), None, "priority", 9022),  # 9021.25
            (Usage(1000, 10), "gpt-5-nano", None, 54),
            (Usage(1000, 10), "gpt-5-nano-2025-08-07", None, 54),
            (Usage(1000, 10), "gpt-5-nano-20250807", None, 54),
            (Usage(1000, 10), "gpt-5-nano-0613-preview", None, 54),
            (Usage(1000, 10), "gpt-5-nano-2026-01-01", None, 1010),
            (Usage(1000, 10), "gpt-5-nano-large-2025-08-07", None, 2600),
            (Usage(1000, 10), "gpt-5-nano-20", None, 2600),
            (Usage(1000, 10), "gpt-5-2025-08-07", None, 2600),
        ],
    )
    def test_the_price_is_that_of_the_model_and_the_tier_that_answered(
        self, usage: Usage, served: str | None, tier: str | None, cost: int
    ) -> None:
        assert cost_of(usage, self.TIERED, served=served, tier=tier) == cost


class TestUnits:
    IMAGES = Prices(image=Fraction("0.04"), images={"1024x1024 hd": Fraction("0.08"), "1024x1792 hd": Fraction("0.12")})

    @rows(
        ("size", "quality", "cost"),
        [
            ("1024x1024", "hd", 80_000),
            ("1024x1792", "hd", 120_000),
            ("1024x1024", "standard", 40_000),
            ("auto", "hd", 120_000),  # Azure chooses, so the highest that it may be
            ("auto", "auto", 120_000),
        ],
    )
    def test_an_image_costs_by_size_and_quality(self, size: str, quality: str, cost: int) -> None:
        assert cost_of(Usage(), self.IMAGES, Units(images=1, size=size, quality=quality)) == cost
        assert cost_of(Usage(), self.IMAGES, Units(images=3, size=size, quality=quality)) == 3 * cost

    def test_characters_and_minutes(self) -> None:
        prices = Prices(characters=Fraction(15), minute=Fraction("0.006"))
        assert cost_of(Usage(), prices, Units(characters=4096)) == 61_440
        assert cost_of(Usage(), prices, Units(heard_ms=90_000)) == 9_000
        assert cost_of(Usage(), prices, Units(heard_ms=1)) == 1  # a ten-millionth, rounded up

    def test_what_has_no_price_by_the_piece_costs_nothing_by_the_piece(self) -> None:
        assert cost_of(Usage(input=4), Prices(NANO), Units(images=2, characters=5, heard_ms=7)) == 4


def test_the_sum_of_a_batch_has_the_price_of_batches_and_of_no_long_input() -> None:
    long = Long(10, Prices(input=per_million("9"), output=per_million("9")))
    own = Prices(input=per_million("6"), output=per_million("6"), long=long)
    prices = Prices(input=per_million("2"), output=per_million("4"), long=long, by_model={"gpt-x": own})
    used = Usage(input=100, output=10)
    assert cost_of_batch(used, None) is None
    assert cost_of_batch(used, prices) == 240
    assert cost_of_batch(used, prices, "gpt-x") == 660
    for batch, cost in ((Fraction(1, 2), 120), (Prices(input=per_million("1"), output=per_million("1")), 110)):
        assert cost_of_batch(used, replace(prices, tiers={"batch": batch})) == cost

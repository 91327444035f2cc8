"""Prices of one token become prices of a million, exactly."""

import tomllib
from typing import Any

from tests.configuring.imported import entry, litellm, source
from tests.rows import rows

from chukei.configuring.import_draft import Imported
from chukei.configuring.litellm import import_litellm
from chukei.configuring.report import Outcome


def prices(*infos: str) -> tuple[dict[str, Any] | None, Imported]:
    entries = "".join(
        f"- {{model_name: m, litellm_params: {{model: azure/d{i}, api_base: a.azure.com, api_key: os.environ/K}}, "
        f"model_info: {{{each}}}}}\n"
        for i, each in enumerate(infos)
    )
    imported = litellm(f"model_list:\n{entries}")
    return tomllib.loads(imported.toml or "")["models"]["m"].get("prices"), imported


@rows(
    ("info", "expected"),
    [
        ("input_cost_per_token: 0.0000025, output_cost_per_token: 0.00001", {"input": 2.5, "output": 10}),
        ("input_cost_per_token: 2.5e-6, output_cost_per_token: 1e-5", {"input": 2.5, "output": 10}),
        ("input_cost_per_token: 0, output_cost_per_token: 0", {"input": 0, "output": 0}),
        ("input_cost_per_token: 1.23456789012345e-9, output_cost_per_token: 0", {"input": 0.001234568, "output": 0}),
        ("output_cost_per_token: 0.000001", {"input": 0, "output": 1}),
        (
            "output_cost_per_token: 1e-5, cache_creation_input_token_cost: 3e-6, "
            "cache_creation_input_token_cost_above_1hr: 5e-6, cache_read_input_audio_token_cost: 2e-7",
            {"input": 0, "output": 10, "cache_write": 3, "cache_write_hour": 5, "cached_audio": 0.2},
        ),
        ("output_cost_per_image: 0.04", {"image": 0.04}),
        ("input_cost_per_second: 0.0001", {"minute": 0.006}),
        ("input_cost_per_character: 0.000015", {"characters": 15}),
        ("input_cost_per_token: -1, output_cost_per_token: x", None),
        ("input_cost_per_token: 1e300, output_cost_per_token: .inf", None),
        ("output_cost_per_pixel: 1, cost_per_ptu_per_hour: 2", None),
    ],
)
def test_units(info: str, expected: dict[str, Any] | None) -> None:
    assert prices(info)[0] == expected


def test_tiers_long_input_and_the_lowest_bound_of_it() -> None:
    imported = import_litellm(source("prices"), "prices.yaml")

    assert tomllib.loads(imported.toml or "")["models"]["chat"]["prices"] == {
        "input": 2,
        "output": 10,
        "cached": 0.125,
        "tiers": {"priority": {"input": 2.5, "output": 20}},
        "long": {"above": 272_000, "input": 2.5, "output": 15},
    }
    found = entry(imported, "model_list[0].model_info.input_cost_per_token_above_300k_tokens")
    assert (found.outcome, found.message) == (Outcome.DROPPED, "the relay has one bound for long input, the lowest")


def test_the_highest_price_of_a_group_counts_and_the_report_says_so() -> None:
    same = "input_cost_per_token: 0.000001, output_cost_per_token: 0.000002"
    found, imported = prices(same, same)
    assert found == {"input": 1, "output": 2}
    assert entry(imported, "model_list[1].model_info.input_cost_per_token").outcome is Outcome.MAPPED

    found, imported = prices(same, same.replace("0.000002", "0.000003"))
    assert found == {"input": 1, "output": 3}
    assert entry(imported, "model_list[0].model_info.output_cost_per_token").outcome is Outcome.APPROXIMATED


def test_a_price_that_is_missing_is_assumed_aloud() -> None:
    _, imported = prices("input_cost_per_token: 0.000001, input_cost_per_token_flex: 0.0000005")
    assert [each for each in imported.report.assumed if "price" in each] == [
        "models.m.prices has a price of tokens without one of output: that is nothing",
        "models.m.prices.tiers.flex has a price of tokens without one of output: that is the general price",
    ]

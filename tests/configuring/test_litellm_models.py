"""Entries of one name become one model: shares, tiers, second names, fallbacks."""

import tomllib
from typing import Any

from tests.configuring.imported import entry, litellm, source
from tests.rows import rows

from chukei.configuring.import_draft import Imported
from chukei.configuring.litellm import import_litellm
from chukei.configuring.litellm_models import METRICS
from chukei.configuring.report import Outcome


def tables(imported: Imported, section: str) -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads(imported.toml or "")[section]
    return found


def group(*params: str, model_name: str = "m", rest: str = "") -> Imported:
    """Import entries of one name, each for a deployment of its own."""
    entries = "".join(
        f"- {{model_name: '{model_name}', litellm_params: {{model: azure/d{i}, api_base: 'https://a.openai.azure.com', "
        f"api_key: os.environ/KEY{', ' + each if each else ''}}}}}\n"
        for i, each in enumerate(params)
    )
    return litellm(f"model_list:\n{entries}{rest}")


@rows(
    ("params", "weights", "priorities"),
    [
        (("", ""), [None, None], [None, None]),
        (("rpm: 600", "rpm: 200"), [600, 200], [None, None]),
        (("rpm: 600, tpm: 1", "rpm: 200, tpm: 9"), [600, 200], [None, None]),
        (("weight: 2, rpm: 1", "weight: 1, rpm: 9"), [2, 1], [None, None]),
        (("weight: 0.25", "weight: 0.75"), [250, 750], [None, None]),
        (("tpm: 4000000", "tpm: 1000000"), [1_000_000, 250_000], [None, None]),
        (("rpm: '30'", "rpm: 10"), [30, 10], [None, None]),
        (("rpm: 1", ""), [1, None], [None, 2]),
        (("weight: 0", "weight: 5"), [None, 5], [2, None]),
        (("order: 1", "order: 2"), [None, None], [None, 2]),
        (("order: 0", "order: 7"), [None, None], [0, 7]),
        (("weight: 1000000, order: 3", "weight: 1, order: 3"), [1_000_000, 1], [3, 3]),
    ],
)
def test_shares_and_tiers(params: tuple[str, ...], weights: list[Any], priorities: list[Any]) -> None:
    found = tables(group(*params), "deployments").values()

    assert [table.get("weight") for table in found] == weights
    assert [table.get("priority") for table in found] == priorities


def test_a_deployment_alone_needs_no_share_and_the_report_says_why() -> None:
    imported = group("rpm: 6, tpm: 9, weight: 1")

    for metric in METRICS:
        found = entry(imported, f"model_list[0].litellm_params.{metric}")
        assert (found.outcome, "this one is alone" in found.message) == (Outcome.DROPPED, True)


def test_the_metric_that_does_not_count_is_dropped_by_name() -> None:
    imported = group("rpm: 6, tpm: 9", "rpm: 3")
    assert entry(imported, "model_list[0].litellm_params.tpm").message == "LiteLLM shares by rpm, which comes first"
    assert entry(imported, "model_list[0].litellm_params.rpm").outcome is Outcome.APPROXIMATED


def test_requests_in_flight_are_bounded_where_the_source_bounds_them() -> None:
    rest = "general_settings: {max_parallel_requests: 40}\nrouter_settings: {default_max_parallel_requests: x}\n"
    found = tables(group("max_parallel_requests: 5", "max_parallel_requests: many", rest=rest), "deployments")
    assert [table["max_concurrent"] for table in found.values()] == [5, 40]


@rows("name", ["*", "a\\tb", "x" * 129])
def test_names_that_no_model_can_have_leave_the_entry_out(name: str) -> None:
    text = f'model_list: [{{model_name: "{name}", litellm_params: {{model: azure/d, api_key: os.environ/K}}}}]'
    imported = litellm(text)
    assert imported.toml is None
    assert imported.report.variables == {}


@rows(
    "entry_text",
    ["{}", "{model_name: m}", "3", "{model_name: m, litellm_params: {}}", "{litellm_params: {model: azure/d}}"],
)
def test_what_is_no_entry_is_reported_as_such(entry_text: str) -> None:
    imported = litellm(f"model_list: [{entry_text}]")
    assert {each.message for each in imported.report.entries.values()} == {
        "is no entry of a model: it needs model_name and litellm_params"
    }


def test_second_names_are_models_of_the_same_deployments() -> None:
    rest = "router_settings: {model_group_alias: {two: m, 'b*d': m, three: gone, m: m}}"
    imported = group("temperature: 0, input_cost_per_token: 0.000001", rest=rest)

    models = tables(imported, "models")
    assert set(models) == {"m", "two"}
    assert models["two"] == models["m"]
    assert [
        entry(imported, f"router_settings.model_group_alias.{key}").outcome.value
        for key in ("two", '"b*d"', "three", "m")
    ] == ["mapped", "dropped", "dropped", "dropped"]


def test_second_names_fall_back_as_the_first_one_does() -> None:
    entries = "".join(
        f"- {{model_name: {name}, litellm_params: {{model: azure/{name}, api_base: a.azure.com, api_key: $K}}}}\n"
        for name in ("one", "two")
    )
    rest = "router_settings: {model_group_alias: {uno: one}, fallbacks: [{one: [two]}]}\n"
    found = tables(litellm(f"model_list:\n{entries}{rest}"), "models")
    assert found["uno"]["deployments"] == found["one"]["deployments"] == ["one", "two-tier-2"]


def test_fallbacks_are_later_tiers_and_copies_are_shared() -> None:
    imported = import_litellm(source("fallbacks"), "fallbacks.yaml")

    models, deployments = tables(imported, "models"), tables(imported, "deployments")
    assert {name: model["deployments"] for name, model in models.items()} == {
        "big": ["big", "small-tier-2", "small-b-tier-3"],
        "small": ["small", "small-b", "big-tier-3"],
        "task": ["big"],
    }
    assert [deployments[name].get("priority", 1) for name in models["big"]["deployments"]] == [1, 2, 3]
    assert deployments["small-b-tier-3"] == deployments["small-b"] | {"deployment": "small-b", "priority": 3}


def test_a_model_does_not_fall_back_on_a_deployment_that_it_has() -> None:
    entries = "".join(
        f"- {{model_name: {name}, litellm_params: {{model: azure/d, api_base: a.azure.com, api_key: os.environ/K}}}}\n"
        for name in ("one", "two")
    )
    imported = litellm(f"model_list:\n{entries}litellm_settings: {{fallbacks: [{{one: [two]}}]}}\n")
    assert tables(imported, "models")["one"]["deployments"] == ["d"]


def test_descriptions_of_models_are_dropped_with_their_reasons() -> None:
    imported = import_litellm(source("responses"), "responses.yaml")

    info = "model_list[0].model_info"
    assert entry(imported, f"{info}.supports_vision").message == "describes the model to LiteLLM only"
    assert entry(imported, f"{info}.hosted_in").message == "unknown to the importer"


def test_shares_of_nothing_are_dropped_with_a_reason_that_names_no_metric() -> None:
    imported = group("rpm: 0, tpm: -1", "weight: .inf")

    for path in ("[0].litellm_params.rpm", "[0].litellm_params.tpm", "[1].litellm_params.weight"):
        found = entry(imported, f"model_list{path}")
        assert found.outcome is Outcome.DROPPED
        assert "None" not in found.message
        assert "no deployment of the model has a share" in found.message


def test_a_fallback_that_is_named_twice_is_asked_once() -> None:
    entries = "".join(
        f"- {{model_name: {name}, litellm_params: {{model: azure/{name}, api_base: 'https://a.openai.azure.com', "
        "api_key: os.environ/KEY}}\n"
        for name in ("one", "two")
    )
    rest = "router_settings: {fallbacks: [{'*': [two]}], default_fallbacks: [two]}\n"

    assert tables(litellm(f"model_list:\n{entries}{rest}"), "models")["one"]["deployments"] == ["one", "two-tier-2"]


def test_a_fallback_with_parameters_of_its_own_is_asked_without_them() -> None:
    entries = "".join(
        f"- {{model_name: {name}, litellm_params: {{model: azure/{name}, api_base: 'https://a.openai.azure.com', "
        "api_key: os.environ/KEY}}\n"
        for name in ("one", "two")
    )
    rest = "router_settings: {fallbacks: [{one: [{model: two, api_key: not-to-be-seen}]}]}\n"
    imported = litellm(f"model_list:\n{entries}{rest}")

    assert tables(imported, "models")["one"]["deployments"] == ["one", "two-tier-2"]
    place = "router_settings.fallbacks[0].one[0]"
    assert entry(imported, f"{place}.model").outcome is Outcome.APPROXIMATED
    assert entry(imported, f"{place}.api_key").outcome is Outcome.DROPPED
    assert "not-to-be-seen" not in (imported.toml or "")

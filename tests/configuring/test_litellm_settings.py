"""LiteLLM's sections become settings of the relay, in LiteLLM's order of precedence."""

import tomllib
from typing import Any

from tests.configuring.imported import entry, litellm, source
from tests.rows import rows

from chukei.configuring.import_draft import Imported
from chukei.configuring.litellm import import_litellm
from chukei.configuring.litellm_settings import SECTIONS
from chukei.configuring.report import Outcome

MODELS = (
    "model_list: [{model_name: m, litellm_params: {model: azure/d, api_base: a.azure.com, api_key: os.environ/K}}]\n"
)


def written(text: str) -> tuple[dict[str, Any], Imported]:
    imported = litellm(MODELS + text)
    found = tomllib.loads(imported.toml or "")
    return {key: value for key, value in found.items() if key not in {"models", "deployments"}}, imported


@rows(
    ("text", "expected"),
    [
        ("general_settings: {completion_model: m}", {"defaults": {"model": "m"}}),
        ("general_settings: {completion_model: other}", {}),
        ("general_settings: {master_key: os.environ/MASTER}", {"auth": {"api_key": {"env": "MASTER"}}}),
        ("general_settings: {master_key: sk-1234}", {"auth": {"api_key": {"env": "RELAY_KEY"}}}),
        ("general_settings: {master_key: null}", {}),
        ("general_settings: {database_url: 'postgresql://x'}", {"stores": {"ledger": {"env": "LEDGER_URL"}}}),
        ("general_settings: {database_url: os.environ/LEDGER_URL}", {"stores": {"ledger": {"env": "LEDGER_URL_2"}}}),
        (
            "litellm_settings: {max_budget: 5.5, budget_duration: 1mo}",
            {"groups": {"everybody": {"total": {"money_per_month": 5.5}}}},
        ),
        ("litellm_settings: {max_budget: 5, budget_duration: 1d}", {}),
        ("litellm_settings: {max_budget: 5}", {}),
        ("litellm_settings: {budget_duration: 30d}", {}),
        ("litellm_settings: {drop_params: true, cache: true, num_retries: null}", {}),
    ],
)
def test_each_setting(text: str, expected: dict[str, Any]) -> None:
    assert written(text)[0] == expected


def test_the_router_comes_before_the_module_except_for_time() -> None:
    text = (
        "litellm_settings: {num_retries: 5, request_timeout: 30, cooldown_time: 7}\n"
        "router_settings: {num_retries: 1, timeout: 60}\n"
    )
    found, imported = written(text)

    assert (found["pool"]["attempts"], found["upstream"]["answer_seconds"], found["pool"]["cooldown_seconds"]) == (
        2,
        30,
        7,
    )
    assert entry(imported, "litellm_settings.num_retries").outcome is Outcome.DROPPED
    assert entry(imported, "router_settings.timeout").outcome is Outcome.DROPPED


def test_fallbacks_need_an_attempt_of_their_own() -> None:
    imported = import_litellm(source("fallbacks"), "fallbacks.yaml")
    assert tomllib.loads(imported.toml or "")["pool"]["attempts"] == 3
    assert written("router_settings: {num_retries: 0, fallbacks: [{m: [gone]}]}")[0]["pool"]["attempts"] == 1


@rows(
    ("path", "outcome"),
    [
        ("litellm_settings.fallbacks[0].big[0]", Outcome.APPROXIMATED),
        ("litellm_settings.fallbacks[0].big[1]", Outcome.DROPPED),
        ("litellm_settings.fallbacks[1].gone[0]", Outcome.DROPPED),
        ("litellm_settings.default_fallbacks[0]", Outcome.APPROXIMATED),
        ("litellm_settings.context_window_fallbacks[0].small[0]", Outcome.DROPPED),
        ("router_settings.retry_policy.TimeoutErrorRetries", Outcome.DROPPED),
    ],
)
def test_what_becomes_of_fallbacks(path: str, outcome: Outcome) -> None:
    assert entry(import_litellm(source("fallbacks"), "fallbacks.yaml"), path).outcome is outcome


def test_the_database_of_litellm_is_not_taken_and_the_report_says_why() -> None:
    _, imported = written("general_settings: {database_url: 'postgresql://user:hunter2@db/litellm'}")

    assert "cannot be taken over" in entry(imported, "general_settings.database_url").message
    assert "hunter2" not in (imported.toml or "") + imported.report.json()


def test_a_proxy_without_a_key_is_open_and_a_relay_is_not_and_the_report_says_so() -> None:
    def said(text: str) -> bool:
        return any("older versions serve everybody" in each for each in written(text)[1].report.assumed)

    assert said("")
    assert not said("general_settings: {master_key: os.environ/MASTER}")


def test_entra_id_and_affinity_are_what_the_relay_does_anyway() -> None:
    imported = import_litellm(source("replicas"), "replicas.yaml")
    assert entry(imported, "router_settings.optional_pre_call_checks[0]").target == "pool.affinity"
    keyless = import_litellm(source("keyless"), "keyless.yaml")
    assert entry(keyless, "litellm_settings.enable_azure_ad_token_refresh").target == "deployments.*.identity"


def test_sections_are_read_in_the_order_of_precedence() -> None:
    assert [section for section, _, _ in SECTIONS] == [
        "router_settings",
        "litellm_settings",
        "general_settings",
        "router_settings",
    ]


def test_a_section_that_is_none_is_reported() -> None:
    _, imported = written("router_settings: 3\nlitellm_settings: []\ngeneral_settings: null\n")
    assert [entry(imported, key).message for key in ("router_settings", "litellm_settings", "general_settings")] == [
        "unknown to the importer"
    ] * 3


def test_the_report_names_the_variable_of_the_ledger_that_the_file_names() -> None:
    found, imported = written("general_settings: {database_url: os.environ/LEDGER_URL}")

    assert found["stores"]["ledger"] == {"env": "LEDGER_URL_2"}
    assert "set LEDGER_URL_2 to it" in entry(imported, "general_settings.database_url").message

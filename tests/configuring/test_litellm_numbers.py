"""LiteLLM's numbers become the relay's, or the report says why not."""

import tomllib
from typing import Any

from tests.configuring.imported import entry, litellm
from tests.rows import rows

from chukei.configuring.report import Outcome

MODELS = (
    "model_list: [{model_name: m, litellm_params: {model: azure/d, api_base: a.azure.com, api_key: os.environ/K}}]\n"
)


@rows(
    ("text", "expected"),
    [
        ("router_settings: {num_retries: 2}", {"pool": {"attempts": 3}}),
        ("router_settings: {num_retries: 0}", {"pool": {"attempts": 1}}),
        ("router_settings: {num_retries: 100}", {}),
        ("router_settings: {num_retries: many}", {}),
        ("router_settings: {num_retries: true}", {}),
        ("router_settings: {timeout: 60}", {"upstream": {"answer_seconds": 60}}),
        ("litellm_settings: {request_timeout: 0.001}", {}),
        ("router_settings: {stream_timeout: 30}", {"stream": {"first_token_seconds": 30}}),
        (
            "router_settings: {stream_timeout: 300}",
            {"stream": {"first_token_seconds": 300}, "pool": {"deadline_seconds": 300}},
        ),
        ("router_settings: {allowed_fails: 0}", {"pool": {"breaker_failures": 1}}),
        ("router_settings: {allowed_fails: 3}", {"pool": {"breaker_failures": 4}}),
        ("router_settings: {cooldown_time: 0}", {}),
        ("router_settings: {cooldown_time: 30}", {"pool": {"cooldown_seconds": 30, "breaker_seconds": 30}}),
        (
            "router_settings: {cooldown_time: 400}",
            {
                "pool": {
                    "cooldown_seconds": 400,
                    "breaker_seconds": 400,
                    "max_cooldown_seconds": 400,
                    "max_breaker_seconds": 400,
                }
            },
        ),
        (
            "router_settings: {disable_cooldowns: true}",
            {"pool": {"max_cooldown_seconds": 0, "breaker_failures": 0, "misconfigured_seconds": 0}},
        ),
        ("router_settings: {disable_cooldowns: false}", {}),
        (
            "general_settings: {global_max_parallel_requests: 50}",
            {"groups": {"everybody": {"total": {"concurrent": 50}}}},
        ),
        ("general_settings: {max_request_size_mb: 0.5}", {"server": {"max_body_bytes": 524_288}}),
        ("general_settings: {maximum_spend_logs_retention_period: 12h}", {"ledger": {"retention_days": 0.5}}),
        ("general_settings: {maximum_spend_logs_retention_period: 1mo}", {"ledger": {"retention_days": 30}}),
        ("general_settings: {maximum_spend_logs_retention_period: forever}", {}),
    ],
)
def test_each_number(text: str, expected: dict[str, Any]) -> None:
    found = tomllib.loads(litellm(MODELS + text).toml or "")
    assert {key: value for key, value in found.items() if key not in {"models", "deployments"}} == expected


def test_a_number_from_a_variable_is_left_to_the_relays_own() -> None:
    imported = litellm(MODELS + "router_settings: {num_retries: os.environ/RETRIES}")
    found = entry(imported, "router_settings.num_retries")
    assert (found.outcome, found.message) == (
        Outcome.APPROXIMATED,
        "comes from the variable RETRIES: set CHUKEI_POOL__ATTEMPTS to its value",
    )


def test_a_bound_is_named_where_a_number_is_outside() -> None:
    imported = litellm(MODELS + "router_settings: {num_retries: -1}")
    assert entry(imported, "router_settings.num_retries").message == "pool.attempts is a number from 0 to 99"

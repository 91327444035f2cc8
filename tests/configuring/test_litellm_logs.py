"""Logs, callbacks and traces: what the relay has of its own, and what it does not call."""

import tomllib
from typing import Any

from tests.configuring.imported import entry, litellm, source
from tests.rows import rows

from chukei.configuring.litellm import import_litellm
from chukei.configuring.report import Outcome

MODELS = (
    "model_list: [{model_name: m, litellm_params: {model: azure/d, api_base: a.azure.com, api_key: os.environ/K}}]\n"
)


@rows(
    ("text", "expected", "outcome"),
    [
        ("json_logs: true", {"log": {"format": "json"}}, Outcome.MAPPED),
        ("json_logs: false", {}, Outcome.MAPPED),
        ("set_verbose: true", {"log": {"level": "debug"}}, Outcome.APPROXIMATED),
        ("set_verbose: 'False'", {}, Outcome.MAPPED),
        ("turn_off_message_logging: true", {}, Outcome.MAPPED),
        ("turn_off_message_logging: false", {}, Outcome.DROPPED),
        ("redact_user_api_key_info: true", {}, Outcome.MAPPED),
        ("redact_user_api_key_info: false", {"telemetry": {"callers": True}}, Outcome.MAPPED),
        ("telemetry: false", {}, Outcome.MAPPED),
        ("callbacks: prometheus", {}, Outcome.MAPPED),
        ("success_callback: otel", {}, Outcome.APPROXIMATED),
        ("failure_callback: langfuse", {}, Outcome.DROPPED),
        ("service_callback: prometheus_system", {}, Outcome.MAPPED),
        ("callbacks: my_callbacks.handler", {}, Outcome.DROPPED),
    ],
)
def test_each_setting(text: str, expected: dict[str, Any], outcome: Outcome) -> None:
    imported = litellm(f"{MODELS}litellm_settings: {{{text}}}")
    found = tomllib.loads(imported.toml or "")
    assert {key: value for key, value in found.items() if key not in {"models", "deployments"}} == expected
    assert entry(imported, f"litellm_settings.{text.partition(':')[0]}").outcome is outcome


def test_each_callback_of_a_list_has_its_own_outcome() -> None:
    imported = import_litellm(source("responses"), "responses.yaml")

    assert [entry(imported, f"litellm_settings.callbacks[{i}]").outcome.value for i in range(3)] == [
        "mapped",
        "approximated",
        "dropped",
    ]
    assert imported.report.variables["OTEL_EXPORTER_OTLP_ENDPOINT"].value == '"$OTEL_ENDPOINT"'
    assert "otel" in imported.report.extras
    assert entry(imported, "callback_settings.otel.message_logging").outcome is Outcome.DROPPED

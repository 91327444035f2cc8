"""What an entry of LiteLLM calls is told from its model, its provider and its address."""

import pytest
from tests.configuring.imported import litellm
from tests.rows import rows

from chukei.configuring.import_draft import Given
from chukei.configuring.litellm_endpoints import Address, NotAzure, Target, address, is_dated, target
from chukei.configuring.report import Outcome


@rows(
    ("text", "endpoint", "deployment", "version"),
    [
        ("https://a.openai.azure.com/", "https://a.openai.azure.com", None, None),
        ("a.openai.azure.com/", "https://a.openai.azure.com", None, None),
        ("https://a.openai.azure.com/openai/v1/", "https://a.openai.azure.com", None, "v1"),
        (
            "https://a.openai.azure.com/openai/responses?api-version=preview",
            "https://a.openai.azure.com",
            None,
            "preview",
        ),
        (
            "https://a.openai.azure.com/openai/deployments/d/chat/completions?api-version=2024-06-01",
            "https://a.openai.azure.com",
            "d",
            "2024-06-01",
        ),
        ("https://a.services.ai.azure.com/api/projects/p", "https://a.services.ai.azure.com", None, None),
        ("https://a.services.ai.azure.com/api/projects/p/openai/v1", "https://a.services.ai.azure.com", None, "v1"),
        ("https://a.services.ai.azure.com/models", "https://a.services.ai.azure.com", None, None),
        ("https://gateway.example/team/openai", "https://gateway.example/team", None, None),
        ("http://10.0.0.1:8080/x", "http://10.0.0.1:8080/x", None, None),
    ],
)
def test_an_address_is_cut_to_the_resource(
    text: str, endpoint: str, deployment: str | None, version: str | None
) -> None:
    found = address(text)
    assert (found.endpoint, found.deployment, found.api_version, found.problem) == (endpoint, deployment, version, None)


@rows(
    "text",
    [
        "https://<your-resource>.openai.azure.com/",
        "https://user:hunter2@a.openai.azure.com",
        "https://a.openai.azure.com/?key=hunter2",
        "https://a.openai.azure.com/#hunter2",
        "ftp://a.example",
        "hunter2",
        "https://a b.example",
        "https://[::",
    ],
)
def test_what_is_no_address_or_may_be_a_credential_is_not_copied(text: str) -> None:
    found = address(text)
    assert found.endpoint is None
    assert "hunter2" not in (found.problem or "hunter2")


@rows(("text", "dated"), [("2024-10-21", True), ("2025-01-01-preview", True), ("2024-13-01", False), ("soon", False)])
def test_versions_are_dates(text: str, dated: bool) -> None:
    assert is_dated(text) is dated


AZURE = "https://a.openai.azure.com"
FOUNDRY = "https://a.services.ai.azure.com"


@rows(
    ("model", "base", "deployment", "v1"),
    [
        ("azure/gpt-4o", AZURE, "gpt-4o", False),
        ("azure/o_series/o3", AZURE, "o3", False),
        ("azure/gpt5_series/five", AZURE, "five", False),
        ("azure/responses/gpt5_series/five", AZURE, "five", False),
        ("azure_text/instruct", AZURE, "instruct", False),
        ("azure/ignored", f"{AZURE}/openai/deployments/real/chat/completions", "real", False),
        ("azure_ai/DeepSeek-V3", FOUNDRY, "DeepSeek-V3", True),
        ("azure_ai/gpt-4o", AZURE, "gpt-4o", True),
        ("openai/gpt-4o", f"{AZURE}/openai/v1", "gpt-4o", True),
        ("gpt-4.1", FOUNDRY, "gpt-4.1", True),
        ("text-completion-openai/instruct", AZURE, "instruct", True),
    ],
)
def test_deployments_of_azure_are_found_under_every_provider(model: str, base: str, deployment: str, v1: bool) -> None:
    found = target(Given(text=model), None, Given(text=base), address(base), versioned=False)
    assert (found.deployment, found.v1, found.wildcard) == (Given(text=deployment), v1, False)


@rows(
    ("model", "provider", "base", "why"),
    [
        ("gpt-4o", None, "", "calls OpenAI"),
        ("openai/gpt-4o", None, "https://api.openai.com/v1", "calls OpenAI"),
        ("bedrock/x", None, AZURE, "provider 'bedrock'"),
        ("azure/", None, AZURE, "names no deployment"),
        ("azure/a b", None, AZURE, "cannot be a deployment"),
        ("azure/speech/tts", None, AZURE, "Azure AI Speech"),
        ("azure/claude-sonnet", None, AZURE, "Claude"),
        ("claude-haiku", None, FOUNDRY, "Claude"),
        ("azure_ai/other", None, f"{FOUNDRY}/anthropic", "Claude"),
        ("azure_ai/llama", None, "https://llama.eastus2.models.ai.azure.com", "serverless endpoint"),
        ("azure_ai/agents/asst_1", None, FOUNDRY, "cannot be a deployment"),
        ("auto_router/x", None, "", "provider 'auto_router'"),
    ],
)
def test_what_is_none_of_azures_is_refused_with_the_reason(
    model: str, provider: str | None, base: str, why: str
) -> None:
    with pytest.raises(NotAzure, match=why):
        target(Given(text=model), provider, Given(text=base), address(base) if base else Address(), versioned=False)


def test_the_provider_may_stand_apart_and_the_model_may_be_a_variable() -> None:
    nothing = (Given(), Address())

    assert target(Given(text="gpt-4o"), "azure", *nothing, versioned=False).deployment == Given(text="gpt-4o")
    assert target(Given(variable="AZURE_MODEL"), None, *nothing, versioned=False) == Target(
        Given(variable="AZURE_MODEL")
    )
    assert target(Given(variable="MODEL"), None, *nothing, versioned=True) == Target(Given(variable="MODEL"))
    assert target(Given(text="azure/*"), None, *nothing, versioned=False).wildcard
    with pytest.raises(NotAzure, match="comes from a variable"):
        target(Given(variable="MODEL"), None, *nothing, versioned=False)
    base = Given(variable="AZURE_FOUNDRY_ENDPOINT")
    assert target(Given(text="openai/x"), None, base, Address(), versioned=False).deployment == Given(text="x")


def test_the_labels_of_hosts_name_variables() -> None:
    assert (address(AZURE).label, address(AZURE).azure) == ("a", True)
    assert (Address().label, address("https://example.com").azure) == ("", False)


@rows(
    ("entry", "outcome"),
    [
        ("{model: azure_ai/Llama, api_base: 'https://l.eastus2.models.ai.azure.com/v1?key=s'}", "serverless endpoint"),
        ("{model: azure_ai/claude, api_base: 'https://a.services.ai.azure.com/anthropic?key=s'}", "Messages API"),
        ("{model: openai/gpt-4o, api_base: 'https://a.openai.azure.com/openai/v1?code=s'}", "has a query"),
        ("{model: openai/gpt-4o, api_base: 'https://u:s@a.openai.azure.com/openai/v1'}", "not the address"),
        ("{model: azure_ai/DeepSeek-R1, api_base: 'https://a.cognitiveservices.azure.com/'}", ""),
    ],
)
def test_an_address_that_cannot_be_copied_still_tells_what_is_called(entry: str, outcome: str) -> None:
    imported = litellm(f"model_list: [{{model_name: m, litellm_params: {entry}}}]")

    assert outcome in imported.report.entries["model_list[0].litellm_params.api_base"].message
    assert imported.report.entries["model_list[0].litellm_params.api_base"].outcome is (
        Outcome.DROPPED
        if outcome in {"serverless endpoint", "Messages API"}
        else Outcome.APPROXIMATED
        if outcome
        else Outcome.MAPPED
    )


def test_a_key_in_the_place_of_a_deployment_is_not_copied_and_a_long_name_is() -> None:
    key, name = "0123456789abcdef" * 2, "gpt-4o-mini-2024-07-18-globalstandard"
    params = "api_base: 'https://a.openai.azure.com', api_key: os.environ/KEY"
    imported = litellm(
        f"model_list: [{{model_name: m, litellm_params: {{model: azure/{key}, {params}}}}},"
        f" {{model_name: n, litellm_params: {{model: azure/{name}, {params}}}}}]"
    )

    assert key not in (imported.toml or "")
    assert key not in str(imported.report.entries)
    assert name in (imported.toml or "")

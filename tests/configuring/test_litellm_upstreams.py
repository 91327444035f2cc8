"""An entry of LiteLLM becomes a deployment with its address, its version and its credential."""

import tomllib
from typing import Any

from tests.configuring.imported import IMPORTS, entry, litellm, source
from tests.rows import rows

from chukei.configuring.import_draft import Imported
from chukei.configuring.litellm import import_litellm
from chukei.configuring.report import Outcome


def deployments(imported: Imported) -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads(imported.toml or "")["deployments"]
    return found


def one(params: str, rest: str = "") -> tuple[dict[str, Any], Imported]:
    """Import one entry with these ``litellm_params``; return the table of its deployment."""
    imported = litellm(f"model_list: [{{model_name: m, litellm_params: {{model: azure/d, {params}}}}}]\n{rest}")
    [table] = deployments(imported).values()
    return table, imported


BASE = "api_base: 'https://a.openai.azure.com'"
KEY = "api_key: os.environ/KEY"


@rows(
    ("version", "written", "outcome"),
    [
        ("2024-10-21", "2024-10-21", Outcome.MAPPED),
        ("v1", "v1", Outcome.MAPPED),
        ("preview", "v1", Outcome.APPROXIMATED),
        ("latest", "v1", Outcome.APPROXIMATED),
        ("soon", None, Outcome.APPROXIMATED),
        ("os.environ/VERSION", None, Outcome.MAPPED),
    ],
)
def test_versions(version: str, written: str | None, outcome: Outcome) -> None:
    table, imported = one(f"{BASE}, {KEY}, api_version: {version}")

    assert table.get("api_version") == written
    assert entry(imported, "model_list[0].litellm_params.api_version").outcome is outcome
    assert ("CHUKEI_DEPLOYMENTS__D__API_VERSION" in imported.report.variables) == version.startswith("os.environ")


def test_a_version_in_an_address_counts_and_the_report_says_that_litellm_does_otherwise() -> None:
    address = "https://a.openai.azure.com/openai/deployments/d/chat/completions?api-version=2024-06-01"
    table, imported = one(f"api_base: '{address}', {KEY}")
    assert table["api_version"] == "2024-06-01"
    assert entry(imported, "model_list[0].litellm_params.api_base").outcome is Outcome.APPROXIMATED

    table, imported = one(f"api_base: '{address}', {KEY}, api_version: '2024-10-21'")
    assert table["api_version"] == "2024-10-21"
    assert entry(imported, "model_list[0].litellm_params.api_base").outcome is Outcome.MAPPED


def test_what_the_entry_leaves_out_comes_from_the_section_else_from_litellms_variables() -> None:
    section = "litellm_settings: {api_base: 'https://b.openai.azure.com', api_version: v1, api_key: os.environ/B}"

    assert one("temperature: 0", section)[0] == {
        "endpoint": "https://b.openai.azure.com",
        "api_key": {"env": "B"},
        "api_version": "v1",
    }
    table, imported = one("temperature: 0")
    assert table == {"api_key": {"env": "AZURE_API_KEY"}}
    assert imported.report.variables["CHUKEI_DEPLOYMENTS__D__ENDPOINT"].value == '"$AZURE_API_BASE"'
    assert sum(each.startswith("an entry without") for each in imported.report.assumed) == 3


@rows(
    ("params", "table"),
    [
        ("azure_ad_token: literal", {"identity": True}),
        (
            "azure_ad_token: oidc/azure, client_id: 11111111-2222-4333-8444-555555555555, tenant_id: x",
            {"identity": True},
        ),
        ("client_id: 11111111-2222-4333-8444-555555555555", {"identity": True}),
        ("client_id: os.environ/ID", {"identity": True}),
        ("azure_scope: 'https://ai.azure.com/.default'", {"identity": True, "scope": "https://ai.azure.com/.default"}),
        ("azure_scope: 'https://cognitiveservices.azure.com/.default'", {"identity": True}),
        ("azure_scope: 'https://user:hunter2@a.example'", {"identity": True}),
        ("tenant_id: t.onmicrosoft.com, client_id: os.environ/ID, client_secret: hunter2", {"identity": True}),
        (f"{KEY}, azure_ad_token: literal, tenant_id: x", {"api_key": {"env": "KEY"}}),
    ],
)
def test_credentials(params: str, table: dict[str, Any]) -> None:
    found, imported = one(f"{BASE}, api_version: v1, {params}")

    written = "client_id: 1111" in params
    expected = table | ({"client_id": "11111111-2222-4333-8444-555555555555"} if written else {})
    assert found == expected | {"endpoint": "https://a.openai.azure.com", "api_version": "v1"}
    assert ("identity" in imported.report.extras) == ("identity" in table)
    assert "hunter2" not in imported.report.json() + (imported.toml or "")


def test_a_service_principal_is_that_of_azures_own_variables() -> None:
    _, imported = one(
        f"{BASE}, tenant_id: contoso.com, client_id: os.environ/ID, client_secret: os.environ/AZURE_CLIENT_SECRET"
    )

    wanted = {name: each.value for name, each in imported.report.variables.items()}
    assert wanted == {"AZURE_TENANT_ID": "contoso.com", "AZURE_CLIENT_ID": '"$ID"', "AZURE_CLIENT_SECRET": None}


def test_a_key_counts_before_an_identity_and_says_so() -> None:
    _, imported = one(f"{BASE}, {KEY}, azure_scope: x", "litellm_settings: {enable_azure_ad_token_refresh: true}")

    found = entry(imported, "model_list[0].litellm_params.azure_scope")
    assert (found.outcome, found.message) == (Outcome.DROPPED, "LiteLLM prefers the key, and so it stays")


def test_addresses_that_are_none_are_left_to_variables_each_for_itself() -> None:
    text = "\n".join(
        f"- {{model_name: m, litellm_params: {{model: azure/d, api_base: 'https://<{name}>.example', {KEY}}}}}"
        for name in "ab"
    )
    found = deployments(litellm(f"model_list:\n{text}"))

    assert found == {
        name: {"api_key": {"env": "KEY"}} | more for name, more in (("d", {}), ("d-2", {"deployment": "d"}))
    }


def test_plain_http_is_allowed_only_where_the_source_has_it() -> None:
    _, imported = one(f"api_base: 'http://gateway.internal', {KEY}")
    assert "plain_http = true" in (imported.toml or "")
    assert any("unencrypted" in each for each in imported.report.assumed)

    assert "plain_http" not in (one(f"{BASE}, {KEY}")[1].toml or "")
    assert "plain_http" not in (one(f"api_base: 'http://127.0.0.1:1', {KEY}")[1].toml or "")


def test_entries_for_the_same_deployment_share_its_table() -> None:
    imported = import_litellm(source("variables"), "variables.yaml")
    assert set(deployments(imported)) == {"small", "large"}
    assert (IMPORTS / "variables.yaml").read_text().count("*shared") == 1

    twice = litellm("model_list:\n" + 2 * f"- {{model_name: m, litellm_params: {{model: azure/d, {BASE}, {KEY}}}}}\n")
    assert list(deployments(twice)) == ["d"]
    assert "the same deployment as an earlier entry" in entry(twice, "model_list[1].model_name").message


def test_deployments_get_names_from_ids_else_from_azure() -> None:
    found = deployments(import_litellm(source("replicas"), "replicas.yaml"))
    assert list(found) == ["site-a-primary", "site-b", "c"]
    assert [table.get("deployment") for table in found.values()] == ["a", "b", None]

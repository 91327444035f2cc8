"""The settings that a deployment has are a configuration that the relay reads, and nothing besides."""

import json
import re
import shutil
import signal
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from tests.infra.deployments import CLIENT, INFRA, TENANT, Deployed, deploy, parameters_of
from tests.infra.test_bicep import ROLES
from tests.live.relays import RelayProcess

from chukei.adapters.ledger.postgres import PostgresDatabase
from chukei.adapters.redis.address import address_of
from chukei.config import ConfigError, Settings, load
from chukei.request.routes import Page, find

PLATFORM = {
    "AzureWebJobsStorage__blobServiceUri": "where the Functions host keeps its locks and keys",
    "AzureWebJobsStorage__clientId": "the identity with which it goes there",
    "AzureWebJobsStorage__credential": "says that it is a managed identity",
    "AzureWebJobsDisableHomepage": "takes the platform's own page off /",
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING": "Microsoft's exporter and the host sign in by it",
}
"""Variables that the relay does not read, and who does."""

ACCOUNT = "/subscriptions/{}/resourceGroups/{}/providers/Microsoft.CognitiveServices/accounts/{}"
EAST = ACCOUNT.format("11111111-1111-4111-8111-111111111111", "models-east", "Contoso-East")
WEST = ACCOUNT.format("22222222-2222-4222-8222-222222222222", "models-west", "contoso-west")
TIERS = f"""[
  {{"name": "east_ptu", "account": "{EAST}", "model": "chat",
    "settings": {{"deployment": "gpt-PTU", "priority": 1, "max_concurrent": 200}}}},
  {{"name": "east", "account": "{EAST.lower()}", "model": "chat", "settings": {{"priority": 2, "weight": 3}}}},
  {{"name": "west", "account": "{WEST}", "model": "chat",
    "settings": {{"priority": 2, "endpoint": "https://elsewhere.openai.azure.com"}}}},
  {{"name": "embed", "account": "{WEST}", "model": "embed"}}
]"""


@dataclass(frozen=True)
class Case:
    """An azd environment, and secrets that the vault must then have."""

    environment: Mapping[str, str]
    secrets: frozenset[str] = field(default=frozenset({"callers-key"}))


AUDIENCE = "66666666-2222-4333-8444-555555555555"
CASES = {
    "default": Case({}),
    "existing deployments with tiers": Case({"RELAY_EXISTING_DEPLOYMENTS": TIERS}),
    "entra": Case({"RELAY_CALLERS": "entra", "RELAY_ENTRA_AUDIENCE": AUDIENCE}, frozenset()),
    "key and entra": Case({"RELAY_CALLERS": "key-and-entra", "RELAY_ENTRA_AUDIENCE": AUDIENCE}),
    "redis and postgresql": Case(
        {"RELAY_USE_REDIS": "true", "RELAY_USE_POSTGRES": "true"},
        frozenset({"callers-key", "redis-url", "postgres-url", "postgres-password"}),
    ),
    "isolated": Case({"RELAY_ISOLATE_NETWORK": "true"}),
    "more settings": Case(
        {"RELAY_SETTINGS": '[{"name": "CHUKEI_STREAM__HEARTBEAT_SECONDS", "value": 10}]'},
    ),
}
by_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


def deployed(case: Case, path: Path = INFRA / "main.bicep") -> Deployed:
    environment = {
        "AZURE_ENV_NAME": "try",
        "AZURE_LOCATION": "swedencentral",
        "AZURE_PRINCIPAL_ID": "whoever-deploys",
        "RELAY_DEPLOY_CONTAINER_APP": "true",
        "SERVICE_RELAY_IMAGE_NAME": "registry.example/chukei:1",
        **case.environment,
    }
    return deploy(parameters_of(environment), path)


def function_settings(result: Deployed) -> dict[str, str]:
    """The variables of the function app, with its references to the key vault resolved."""
    pairs = result.one("Microsoft.Web/sites")["properties"]["siteConfig"]["appSettings"]
    assert len({pair["name"] for pair in pairs}) == len(pairs), "a setting is there twice"
    return {pair["name"]: resolved(pair["value"], result) for pair in pairs}


def resolved(value: str, result: Deployed) -> str:
    found = re.fullmatch(r"@Microsoft\.KeyVault\(VaultName=(.*);SecretName=(.*)\)", value)
    if found is None:
        return value
    assert found[1] == result.one("Microsoft.KeyVault/vaults")["name"]
    return secrets(result)[found[2]]


def secrets(result: Deployed) -> dict[str, str]:
    return {each["name"]: each["properties"]["value"] for each in result.of_type("Microsoft.KeyVault/vaults/secrets")}


def container(result: Deployed) -> dict[str, Any]:
    (found,) = result.one("Microsoft.App/containerApps")["properties"]["template"]["containers"]
    assert isinstance(found, dict)
    return found


def container_settings(result: Deployed) -> dict[str, str]:
    """The variables of the container app, with its secrets fetched from the key vault."""
    app = result.one("Microsoft.App/containerApps")["properties"]["configuration"]
    fetched = {}
    for each in app["secrets"]:
        vault = result.one("Microsoft.KeyVault/vaults")["name"]
        host, _, name = each["keyVaultUrl"].rpartition("/secrets/")
        assert host == f"https://{vault}.vault.azure.net"
        fetched[each["name"]] = secrets(result)[name]
    pairs = container(result)["env"]
    assert len({pair["name"] for pair in pairs}) == len(pairs), "a variable is there twice"
    return {pair["name"]: pair["value"] if "value" in pair else fetched[pair["secretRef"]] for pair in pairs}


@cache
def source() -> str:
    return "\n".join(path.read_text() for path in (INFRA.parent / "src" / "chukei").rglob("*.py"))


def problems_of(settings: Mapping[str, str]) -> list[str]:
    """Everything that is wrong with the variables of a host."""
    known = {name for name in settings if name.startswith("CHUKEI_") or name in PLATFORM or f'"{name}"' in source()}
    found = [f"{name} is read by nobody" for name in sorted(settings.keys() - known)]
    try:
        loaded = load(None, settings)
    except ConfigError as error:
        return [*found, *(str(problem) for problem in error.problems)]
    return [*found, *loaded.notices]


@by_case
def test_both_hosts_have_a_configuration_that_the_relay_reads(case: Case) -> None:
    result = deployed(case)
    assert problems_of(function_settings(result)) == []
    assert problems_of(container_settings(result)) == []
    assert secrets(result).keys() == case.secrets


def planted(tmp_path: Path, old: str, new: str) -> Path:
    shutil.copytree(INFRA, tmp_path / "infra")
    path = tmp_path / "infra" / "modules" / "settings.bicep"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return tmp_path / "infra" / "main.bicep"


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("CHUKEI_STORES__LEDGER", "CHUKEI_STORES__LEGDER", "LEGDER: is not a known key; did you mean ledger?"),
        ("AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_ADDRESS", "AZURE_OPENAI_ADDRESS is read by nobody"),
        ("CHUKEI_API_KEY", "CHUKEI_APIKEY", "CHUKEI_APIKEY is ignored"),
        ("'none'", "'nowhere'", "CHUKEI_STORES__LEDGER: must be sqlite"),
    ],
)
def test_a_planted_mistake_is_found(tmp_path: Path, old: str, new: str, problem: str) -> None:
    found = problems_of(function_settings(deployed(CASES["default"], planted(tmp_path, old, new))))
    assert problem in "\n".join(found)


def test_a_mistake_in_further_settings_is_found() -> None:
    case = Case({"RELAY_SETTINGS": '[{"name": "CHUKEI_STREAM__HEARTBEAT_SECOND", "value": "10"}]'})
    (found,) = problems_of(container_settings(deployed(case)))
    assert "did you mean heartbeat_seconds?" in found


def test_the_table_of_the_platform_has_no_names_that_nothing_sets() -> None:
    results = [deployed(case) for case in CASES.values()]
    used = {name for result in results for name in (*function_settings(result), *container_settings(result))}
    assert used >= PLATFORM.keys()


def loaded(case: str) -> Settings:
    return load(None, function_settings(deployed(CASES[case])))


def test_by_default_the_new_account_is_used_with_the_identity_and_callers_need_the_key() -> None:
    result = deployed(CASES["default"])
    settings = load(None, function_settings(result))
    account = result.one("Microsoft.CognitiveServices/accounts")
    assert settings.open is not None
    assert settings.open.endpoint == f"https://{account['properties']['customSubDomainName']}.openai.azure.com"
    assert settings.default_model == result.one("Microsoft.CognitiveServices/accounts/deployments")["name"]
    (credential,) = settings.credentials.values()
    assert (credential.client_id, credential.api_key) == (CLIENT, None)
    assert settings.auth.api_key is not None
    assert settings.auth.api_key.reveal() == secrets(result)["callers-key"]
    assert settings.telemetry.connection_string is not None


def test_existing_deployments_have_their_tiers_their_settings_and_the_identity() -> None:
    settings = loaded("existing deployments with tiers")
    chat = {deployment.name: deployment for deployment in settings.models["chat"].deployments}
    assert [(name, each.priority, each.weight) for name, each in chat.items()] == [
        ("east_ptu", 1, 1),
        ("east", 2, 3),
        ("west", 2, 1),
    ]
    assert (chat["east_ptu"].deployment, chat["east_ptu"].max_concurrent) == ("gpt-PTU", 200)
    assert chat["east_ptu"].endpoint == chat["east"].endpoint == "https://contoso-east.openai.azure.com"
    assert chat["west"].endpoint == "https://elsewhere.openai.azure.com"
    assert settings.default_model == "chat"
    assert {credential.client_id for credential in settings.credentials.values()} == {CLIENT}


def test_the_identity_may_use_each_existing_account_once_in_its_own_subscription() -> None:
    result = deployed(CASES["existing deployments with tiers"])
    assert result.of_type("Microsoft.CognitiveServices/accounts") == []
    given = [role["scope"]["name"] for role in roles(result) if role["role"] == "Cognitive Services OpenAI User"]
    assert given == ["contoso-east", "contoso-west"]


def test_with_entra_callers_there_is_no_key_anywhere() -> None:
    result = deployed(CASES["entra"])
    assert result.of_type("Microsoft.KeyVault/vaults") == []
    settings = load(None, function_settings(result))
    assert settings.auth.api_key is None
    assert settings.auth.entra is not None
    assert settings.auth.entra.tenants == (TENANT,)
    assert settings.auth.entra.audiences == (AUDIENCE, f"api://{AUDIENCE}")


def test_without_a_client_id_entra_callers_are_refused_with_the_reason() -> None:
    (problem,) = problems_of(function_settings(deployed(Case({"RELAY_CALLERS": "entra"}))))
    assert problem.endswith("is missing: the client id of the relay's app registration, or its App ID URI")


@pytest.mark.parametrize("audience", [AUDIENCE, f"api://{AUDIENCE}"])
def test_an_audience_may_be_given_in_either_form(audience: str) -> None:
    result = deployed(Case({"RELAY_CALLERS": "entra", "RELAY_ENTRA_AUDIENCE": audience}))
    settings = load(None, function_settings(result))
    assert settings.auth.entra is not None
    assert settings.auth.entra.audiences == (AUDIENCE, f"api://{AUDIENCE}")
    assert result.outputs["RELAY_ENTRA_AUDIENCE"] == AUDIENCE, "the hook makes the scope of it"


def further(name: str, value: object, **environment: str) -> Deployed:
    return deployed(Case({**environment, "RELAY_SETTINGS": json.dumps([{"name": name, "value": value}])}))


@pytest.mark.parametrize("value", [True, False, 0.25, 7, "text", ["a", "b"]])
def test_a_further_setting_has_the_value_that_was_written(value: object) -> None:
    """Resource Manager's text of true is True, which is no truth value for the relay."""
    for settings in (function_settings, container_settings):
        text = settings(further("CHUKEI_A", value))["CHUKEI_A"]
        assert (text if isinstance(value, str) else json.loads(text)) == value


def test_a_truth_value_of_a_deployment_is_read() -> None:
    account = f'[{{"name": "east", "account": "{EAST}", "model": "chat", "settings": {{"identity": true}}}}]'
    assert problems_of(function_settings(deployed(Case({"RELAY_EXISTING_DEPLOYMENTS": account})))) == []


@pytest.mark.parametrize("name", ["CHUKEI_API_KEY", "CHUKEI_STORES__QUOTA", "CHUKEI_STORES__LEDGER"])
def test_a_further_setting_takes_the_place_of_a_secret_of_the_vault(name: str) -> None:
    """A name that is there twice would be refused, or one of the two ignored."""
    result = further(name, "another", RELAY_USE_REDIS="true", RELAY_USE_POSTGRES="true")
    assert function_settings(result)[name] == container_settings(result)[name] == "another"


def test_redis_and_postgresql_have_addresses_that_their_clients_read() -> None:
    settings = loaded("redis and postgresql")
    assert settings.stores.quota is not None
    address = address_of(settings.stores.quota.reveal())
    assert "a+key/of=redis=" in str(address.greeting), "the key is decoded as it was"
    assert settings.stores.ledger is not None
    assert "psql-" in repr(PostgresDatabase(settings.stores.ledger.reveal()))
    assert "sslmode=verify-full" in settings.stores.ledger.reveal()


def roles(result: Deployed) -> list[dict[str, Any]]:
    names = {guid: role for role, guid in ROLES.items()}
    return [
        {**each, "role": names[each["properties"]["roleDefinitionId"].rpartition("/")[2]]}
        for each in result.of_type("Microsoft.Authorization/roleAssignments")
    ]


def test_each_role_is_given_on_one_resource_and_no_wider() -> None:
    scopes = {(role["role"], role["scope"]["type"]) for case in CASES.values() for role in roles(deployed(case))}
    assert scopes == {
        ("Storage Blob Data Owner", "Microsoft.Storage/storageAccounts"),
        ("Monitoring Metrics Publisher", "Microsoft.Insights/components"),
        ("Cognitive Services OpenAI User", "Microsoft.CognitiveServices/accounts"),
        ("Key Vault Secrets User", "Microsoft.KeyVault/vaults"),
        ("AcrPull", "Microsoft.ContainerRegistry/registries"),
    }


def test_nothing_that_the_relay_uses_accepts_a_key_where_azure_knows_identities() -> None:
    result = deployed(CASES["default"])
    assert result.one("Microsoft.Storage/storageAccounts")["properties"]["allowSharedKeyAccess"] is False
    assert result.one("Microsoft.CognitiveServices/accounts")["properties"]["disableLocalAuth"] is True
    assert result.one("Microsoft.Insights/components")["properties"]["DisableLocalAuth"] is True
    assert result.one("Microsoft.ContainerRegistry/registries")["properties"]["adminUserEnabled"] is False
    workspace = result.one("Microsoft.OperationalInsights/workspaces")["properties"]
    assert workspace["features"]["disableLocalAuth"] is True


def test_an_isolated_deployment_has_a_private_endpoint_for_each_resource_that_is_closed() -> None:
    case = Case({**CASES["redis and postgresql"].environment, **CASES["isolated"].environment})
    result = deployed(case)
    closed = {
        each["id"]
        for each in result.resources
        if "Disabled"
        in (
            each.get("properties", {}).get("publicNetworkAccess"),
            each.get("properties", {}).get("network", {}).get("publicNetworkAccess"),
        )
    }
    reached = {
        link["properties"]["privateLinkServiceId"]
        for each in result.of_type("Microsoft.Network/privateEndpoints")
        for link in each["properties"]["privateLinkServiceConnections"]
    }
    assert len(closed) == 4
    assert reached == closed
    assert result.one("Microsoft.Web/sites")["properties"]["virtualNetworkSubnetId"].endswith("/subnets/functions")
    environment = result.one("Microsoft.App/managedEnvironments")["properties"]["vnetConfiguration"]
    assert environment["infrastructureSubnetId"].endswith("/subnets/containers")


@pytest.mark.parametrize("strategy", ["", "RollingUpdate", "Recreate"])
def test_instances_are_replaced_one_after_the_other_unless_it_is_switched_off(strategy: str) -> None:
    app = deployed(Case({"RELAY_UPDATE_STRATEGY": strategy})).one("Microsoft.Web/sites")
    chosen = app["properties"]["functionAppConfig"]["siteUpdateStrategy"]
    assert chosen == {"type": strategy or "RollingUpdate"}


def test_only_what_is_asked_for_is_created() -> None:
    function = deployed(Case({"RELAY_DEPLOY_CONTAINER_APP": "false"}))
    assert not function.of_type("Microsoft.App/containerApps")
    assert not function.of_type("Microsoft.ContainerRegistry/registries")
    only_container = deployed(Case({"RELAY_DEPLOY_FUNCTION": "false"}))
    assert not only_container.of_type("Microsoft.Web/sites")
    assert not only_container.of_type("Microsoft.Storage/storageAccounts")
    for result in (function, only_container):
        kinds = {each["type"].partition("/")[0] for each in result.resources}
        assert not kinds & {"Microsoft.Network", "Microsoft.Cache", "Microsoft.DBforPostgreSQL"}


def test_probes_ask_for_pages_that_the_relay_has_on_the_port_of_the_image() -> None:
    result = deployed(CASES["default"])
    probes = {probe["type"]: probe["httpGet"] for probe in container(result)["probes"]}
    assert {kind: find("GET", probe["path"], "").page for kind, probe in probes.items()} == {
        "Startup": Page.READY,
        "Readiness": Page.READY,
        "Liveness": Page.LIVE,
    }
    ingress = result.one("Microsoft.App/containerApps")["properties"]["configuration"]["ingress"]
    image = re.search(r"CHUKEI_SERVER__PORT=(\d+)", (INFRA.parent / "Dockerfile").read_text())
    assert image
    assert {probe["port"] for probe in probes.values()} == {ingress["targetPort"]} == {int(image[1])}


def status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_a_relay_with_the_settings_of_the_container_app_answers_its_probes_also_while_it_stops() -> None:
    """Only its own settings, without an account: then the simulator is behind it."""
    result = deployed(CASES["default"])
    settings = {name: value for name, value in container_settings(result).items() if name.startswith("CHUKEI_")}
    paths = {probe["type"]: probe["httpGet"]["path"] for probe in container(result)["probes"]}
    with RelayProcess(settings) as relay:
        assert {kind: status(relay.url + path) for kind, path in paths.items()} == dict.fromkeys(paths, 200)
        relay.process.send_signal(signal.SIGTERM)
        assert any(status(relay.url + paths["Readiness"]) == 503 for _ in range(5000))
        assert status(relay.url + paths["Liveness"]) == 200
        relay.process.kill()  # it would serve for ten seconds more


def test_the_placeholder_before_the_first_image_is_not_probed() -> None:
    assert container(deployed(Case({"SERVICE_RELAY_IMAGE_NAME": ""})))["probes"] == []


def test_the_probes_are_within_the_limits_of_the_platform() -> None:
    """Of which it names only the one that is exceeded: microsoft/azure-container-apps#1100."""
    for probe in container(deployed(CASES["default"]))["probes"]:
        assert 1 <= probe["failureThreshold"] <= 30
        assert 1 <= probe["periodSeconds"] <= 240
    starts = {probe["type"]: probe for probe in container(deployed(CASES["default"]))["probes"]}["Startup"]
    assert starts["periodSeconds"] * starts["failureThreshold"] >= 60, "as the chart's"


@pytest.mark.parametrize("grace", [None, 20, 550])
def test_the_container_app_waits_longer_than_the_relay_takes_to_stop(grace: int | None) -> None:
    result = deployed(CASES["default"]) if grace is None else further("CHUKEI_SERVER__GRACE_SECONDS", grace)
    server = load(None, container_settings(result)).server
    template = result.one("Microsoft.App/containerApps")["properties"]["template"]
    # Phase 2 takes two seconds, phase 4 one, closing two: docs/deploy-server.md, "Stopping".
    assert template["terminationGracePeriodSeconds"] > server.drain_seconds + 2 + server.grace_seconds + 1 + 2
    assert template["terminationGracePeriodSeconds"] <= 600, "the platform's limit"

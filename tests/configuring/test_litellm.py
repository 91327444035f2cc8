"""Configurations of LiteLLM become valid ones of the relay, every value is in the report, and no secret is anywhere."""

import json
import random
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.configuring.imported import IMPORTS, entry, litellm, source
from tests.configuring.imported import settings as accepted
from tests.rows import rows

from chukei.config.parameters import PARAMETERS
from chukei.configuring.import_source import read
from chukei.configuring.litellm import import_litellm
from chukei.configuring.litellm_prices import PRICES
from chukei.configuring.litellm_reasons import ENTRY, INFO, PARAMS, TOP
from chukei.configuring.litellm_settings import SECTIONS
from chukei.configuring.report import Outcome

SOURCES = sorted(path.stem for path in IMPORTS.glob("*.yaml") if not path.stem.startswith("powerproxy"))
SECRET = "literal-secret"
IDENTITY = ("tenant_id", "client_id", "client_secret", "azure_ad_token", "azure_scope", "litellm_credential_name")


@rows("name", SOURCES)
def test_every_source_becomes_a_valid_configuration(name: str, tmp_path: Path) -> None:
    imported = import_litellm(source(name), f"{name}.yaml")

    found = accepted(imported, tmp_path)

    assert set(imported.report.entries) == {leaf.path for leaf in source(name).root.leaves()}
    assert found.models or "AZURE_OPENAI_ENDPOINT" in imported.report.variables
    assert not found.simulated


@rows("name", SOURCES)
def test_no_secret_of_a_source_is_in_its_result_or_in_its_report(name: str) -> None:
    imported = import_litellm(source(name), f"{name}.yaml")

    assert SECRET not in (imported.toml or "") + imported.report.text() + imported.report.json()


def test_a_region_keeps_its_share_its_version_and_its_parameters(tmp_path: Path) -> None:
    found = accepted(import_litellm(source("regions"), "regions.yaml"), tmp_path)

    chat = {each.deployment: each for each in found.models["chat"].deployments}
    assert {name: (each.endpoint, each.api_version, each.weight) for name, each in chat.items()} == {
        "gpt-4o-east": ("https://fabrikam-east.openai.azure.com", "2024-10-21", 60_000),
        "gpt-4o-west": ("https://fabrikam-west.openai.azure.com", "2024-06-01", 20_000),
    }
    assert found.models["chat"].parameters == {"temperature": 0.2, "max_tokens": 256}
    assert found.models["gpt-4"].deployments == found.models["chat"].deployments
    assert found.models["embed"].deployments[0].api_version == "v1"
    assert found.pool.attempts == 3


def test_a_keyless_source_uses_entra_id_a_ledger_and_limits_for_all(tmp_path: Path) -> None:
    imported = import_litellm(source("keyless"), "keyless.yaml")
    found = accepted(imported, tmp_path)

    assert {name: each.scope for name, each in found.credentials.items()} == {
        "chat-prod": "https://cognitiveservices.azure.com/.default",
        "chat-prod-fabrikam": "https://ai.azure.com/.default",
    }
    total = found.policies.groups["everybody"].total
    assert (total.concurrent, total.money_per_month) == (50, 100_000_000)
    assert (found.default_model, found.log.format, found.ledger.retention_days) == ("chat", "json", 7)
    assert found.server.max_body_bytes == 20 * 1024 * 1024
    assert imported.report.variables["AZURE_TENANT_ID"].value == '"$MY_TENANT"'
    assert imported.report.variables["AZURE_CLIENT_SECRET"].value is None
    assert imported.report.extras == {"identity", "postgres"}
    assert entry(imported, "model_list[1].model_name").message.endswith(
        "its mode is batch, which the relay does not serve"
    )


def test_one_wildcard_alone_becomes_a_resource_that_serves_any_name(tmp_path: Path) -> None:
    imported = import_litellm(source("wildcard"), "wildcard.yaml")

    wanted = {name: each.value for name, each in imported.report.variables.items() if name.startswith("AZURE_OPENAI")}
    assert wanted == {
        "AZURE_OPENAI_ENDPOINT": "https://fabrikam.openai.azure.com",
        "AZURE_OPENAI_API_KEY": '"$AZURE_API_KEY"',
        "AZURE_OPENAI_API_VERSION": "2024-10-21",
    }
    assert accepted(imported, tmp_path).open is not None


def test_credentials_of_a_list_are_those_of_the_entries_that_name_them(tmp_path: Path) -> None:
    imported = import_litellm(source("mixed"), "mixed.yaml")
    found = accepted(imported, tmp_path)

    assert found.models["instruct"].deployments[0].api_version == "2024-02-01"
    assert entry(imported, "credential_list[0].credential_values.api_key").outcome is Outcome.MAPPED
    assert entry(imported, "credential_list[1].credential_values.api_key").outcome is Outcome.DROPPED


def test_variables_that_the_file_sets_stand_where_no_secret_can_be() -> None:
    text = (
        "model_list:\n"
        "- {model_name: m, litellm_params: {model: azure/d, api_base: os.environ/BASE, api_key: os.environ/KEY}}\n"
        "environment_variables: {BASE: 'https://a.openai.azure.com', KEY: literal-secret}\n"
    )
    imported = litellm(text)

    assert 'endpoint = "https://a.openai.azure.com"' in (imported.toml or "")
    assert [entry(imported, f"environment_variables.{name}").outcome for name in ("BASE", "KEY")] == [
        Outcome.MAPPED,
        Outcome.APPROXIMATED,
    ]
    assert SECRET not in (imported.toml or "") + imported.report.json()


def test_values_that_the_user_states_stand_in_the_file() -> None:
    imported = import_litellm(
        source("unnamed"), "x", {"AZURE_API_BASE": "https://a.openai.azure.com", "AZURE_MODEL": "azure/responses/gpt-5"}
    )

    assert 'endpoint = "https://a.openai.azure.com"\n' in (imported.toml or "")
    assert "[deployments.gpt-5]" in (imported.toml or "")


@rows("text", ["{}", "model_list: []", "model_list: [{model_name: m, litellm_params: {model: gpt-4o}}]", "a: [1]"])
def test_without_a_deployment_of_azure_there_is_no_configuration_and_still_a_report(text: str) -> None:
    imported = litellm(text)

    assert imported.toml is None
    assert set(imported.report.entries) == {leaf.path for leaf in read(text.encode()).root.leaves()}


SCALARS: list[Any] = [
    *(None, True, False, 0, 1, 3, -1, 0.3, 2e6, 1e300, float("nan"), float("inf"), 90, 1000, 2**70),
    *("os.environ/SOME_VARIABLE", "${OTHER}", "30d", "1mo", "1e-6", "", "x", "chat", "https://a.openai.azure.com"),
    *(f"{SECRET}-value", f"https://user:{SECRET}@a.example", f"https://a.azure.com/?key={SECRET}", "2024-10-21"),
    *("preview", "redis://h", f"redis://:{SECRET}@h:1", "azure/gpt-4o", "prometheus", "otel", "6379", "bad\nname \x9b"),
]
PLAIN = [value for value in SCALARS if not str(value).startswith(SECRET)]
"""Values for keys of which nobody could tell that their text is a secret."""

NAMES = ["chat", "embed", "other", "*", "model", "host", "type", "a.b", "key", "password", "x y", "bad\nname"]
MODELS = [
    "azure/a",
    "azure/b",
    "azure/responses/c",
    "azure_ai/d",
    "openai/e",
    "azure/*",
    "os.environ/AZURE_M",
    "azure/",
]
BASES = [
    "https://a.openai.azure.com",
    "https://b.openai.azure.com/openai/v1",
    "os.environ/AZURE_B",
    "http://c.internal/x",
]


class Inventor:
    """Invents configurations: of keys that the importer knows, and of others, with values of every kind."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice

    def value(self, depth: int = 0) -> Any:
        kind = self.dice.random()
        if kind < 0.7 or depth > 2:
            return self.dice.choice(SCALARS)
        if kind < 0.85:
            return [self.value(depth + 1) for _ in range(self.dice.randrange(4))]
        keys = [self.dice.choice(NAMES) for _ in range(self.dice.randrange(4))]
        return {key: self.dice.choice(PLAIN) if key == "host" else self.value(depth + 1) for key in keys}

    def table(self, known: Iterable[str], share: float) -> dict[str, Any]:
        keys = [key for key in sorted(known) if self.dice.random() < share]
        plain = {*PARAMETERS, "extra_body", "redis_host", "redis_port", "redis_db"}
        return {
            key: self.dice.choice(PLAIN) if key in plain else self.value()
            for key in [*keys, *self.dice.sample(["invented", "auch.neu", "supports_x"], 1)]
        }

    def often(self, table: dict[str, Any], **choices: list[Any]) -> dict[str, Any]:
        return table | {key: self.dice.choice(of) for key, of in choices.items() if self.dice.random() < 0.9}

    def entry(self) -> dict[str, Any]:
        params = self.table({*PARAMS, *PARAMETERS, *PRICES, *IDENTITY, "timeout", "stream_timeout"}, 0.1)
        params = self.often(params, model=MODELS, api_base=BASES, api_version=["2024-10-21", "v1", "os.environ/V", 7])
        params = self.often(params, api_key=["os.environ/K", f"{SECRET}-key"]) if self.dice.random() < 0.7 else params
        info = self.table(
            {*INFO, *PRICES, "input_cost_per_token_priority", "input_cost_per_token_above_128k_tokens"}, 0.1
        )
        whole = self.table(ENTRY, 0.2)
        return self.often(whole, model_name=NAMES[:3], litellm_params=[params], model_info=[info])

    def configuration(self) -> dict[str, Any]:
        whole = self.table({*TOP, "credential_list", "environment_variables", "callback_settings"}, 0.2)
        for name in ("litellm_settings", "router_settings", "general_settings"):
            keys = {key for section, *tables in SECTIONS for table in tables for key in table if section == name}
            whole[name] = self.table(keys, 0.3) | (
                {"fallbacks": [{"chat": ["other", "embed"]}]} if "model" in name else {}
            )
        whole["router_settings"] = self.often(
            whole["router_settings"],
            model_group_alias=[{"second": "chat"}, 3],
            fallbacks=[[{"chat": ["embed", "other"]}]],
        )
        whole["model_list"] = [self.entry() for _ in range(self.dice.randrange(1, 6))]
        return whole


@settings(max_examples=40)
@given(st.integers(0, 2**32))
def test_whatever_a_configuration_holds_each_value_is_reported_once_and_the_result_is_valid(seed: int) -> None:
    text = json.dumps(Inventor(random.Random(seed)).configuration())
    found = read(
        text.replace("NaN", '"nan"').replace("-Infinity", '"-inf"').replace("Infinity", '"inf"').encode(), as_json=True
    )

    imported = import_litellm(found, "config.json")

    assert set(imported.report.entries) == {leaf.path for leaf in found.root.leaves()}
    assert SECRET not in (imported.toml or "") + imported.report.text() + imported.report.json()
    if imported.toml is not None:
        with tempfile.TemporaryDirectory() as folder:
            assert not accepted(imported, Path(folder)).simulated

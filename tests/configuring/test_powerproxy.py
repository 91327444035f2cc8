"""Configurations of PowerProxy become valid ones of the relay; every value is in the report, and no secret anywhere."""

import hashlib
import json
import random
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.configuring.imported import entry, source
from tests.configuring.imported import settings as accepted
from tests.rows import rows

from chukei.configuring.import_draft import Imported
from chukei.configuring.import_source import read
from chukei.configuring.powerproxy import import_powerproxy
from chukei.configuring.report import Outcome

SECRET = "literal-secret"


def imported(text: str, *deployments: str) -> Imported:
    return import_powerproxy(read(text.encode()), "config.yaml", deployments)


def test_endpoints_and_stand_ins_become_tiers_in_the_order_of_the_file(tmp_path: Path) -> None:
    found = accepted(import_powerproxy(source("powerproxy"), "powerproxy.yaml"), tmp_path)

    assert {
        name: [(each.endpoint, each.deployment, each.priority) for each in model.deployments]
        for name, model in found.models.items()
    } == {
        "gpt-4o": [
            ("https://fabrikam-east.openai.azure.com", "gpt-4o-ptu", 1),
            ("https://fabrikam-east.openai.azure.com", "gpt-4o-paygo", 2),
            ("https://fabrikam-west.openai.azure.com", "gpt-4o", 3),
        ],
        "gpt-4o-mini": [
            ("https://fabrikam-east.openai.azure.com", "gpt-4o-mini", 1),
            ("https://fabrikam-west.openai.azure.com", "gpt-4o-mini", 3),
        ],
        "unknown-to-no-endpoint": [
            ("https://fabrikam-east.openai.azure.com", "unknown-to-no-endpoint", 1),
            ("https://fabrikam-west.openai.azure.com", "unknown-to-no-endpoint", 3),
        ],
    }
    assert {each.client_id for each in found.credentials.values() if each.scope} == {
        "11111111-2222-4333-8444-555555555555"
    }


def test_clients_keep_long_keys_models_and_the_sum_of_their_limits(tmp_path: Path) -> None:
    result = import_powerproxy(source("powerproxy"), "powerproxy.yaml")
    callers = accepted(result, tmp_path).policies.callers

    team = callers["Team 1"]
    assert team.key_sha256 == hashlib.sha256(b"7c1f0e9d8b6a54321fedcba987654321").hexdigest()
    assert (team.rules.models, team.rules.limits.tokens_per_minute) == (("gpt-4o", "gpt-4o-mini"), 25_500)
    assert (callers["Team 2"].key_sha256, callers["Team 2"].rules.limits.tokens_per_minute) == (None, 30_000)
    assert "People" not in callers
    assert "chukei keys create 'Team 2'" in entry(result, "clients[1].key").message


def test_no_secret_is_in_the_result_or_the_report() -> None:
    result = import_powerproxy(source("powerproxy"), "powerproxy.yaml")
    shown = (result.toml or "") + result.report.text() + result.report.json()

    assert SECRET not in shown
    assert "too-short-literal" not in shown
    assert "7c1f0e9d8b6a54321fedcba987654321" not in shown
    assert set(result.report.variables) == {"FABRIKAM_EAST_API_KEY", "REDIS_PASSWORD", "REDIS_URL"}
    assert set(result.report.entries) == {leaf.path for leaf in source("powerproxy").root.leaves()}


ENDPOINTS = "aoai: {endpoints: [{name: one, url: 'https://a.openai.azure.com', key: k}]}\n"


@rows(
    ("plugins", "path", "outcome"),
    [
        ("", "clients[0].deployments_allowed", Outcome.DROPPED),
        ("", "clients[0].max_tokens_per_minute_in_k", Outcome.DROPPED),
        ("{name: AllowDeployments}", "clients[0].deployments_allowed", Outcome.MAPPED),
        ("{name: LimitUsage}", "clients[0].max_tokens_per_minute_in_k", Outcome.APPROXIMATED),
        ("{name: LogUsageToConsole}", "plugins[0].name", Outcome.APPROXIMATED),
        ("{name: MyOwn, x: 1}", "plugins[0].x", Outcome.DROPPED),
    ],
)
def test_what_a_plugin_enforces_counts_only_if_the_plugin_is_there(plugins: str, path: str, outcome: Outcome) -> None:
    clients = "clients: [{name: t, deployments_allowed: chat, max_tokens_per_minute_in_k: 2}]"
    assert entry(imported(f"{clients}\n{ENDPOINTS}plugins: [{plugins}]"), path).outcome is outcome


def test_names_of_deployments_that_the_file_does_not_have_can_be_stated() -> None:
    assert imported(ENDPOINTS).toml is None
    assert list(tomllib.loads(imported(ENDPOINTS, "chat", "embed").toml or "")["models"]) == ["chat", "embed"]


def test_an_address_that_is_a_placeholder_is_left_to_a_variable() -> None:
    result = imported("aoai: {endpoints: [{name: one, url: 'https://<here>.azure.com'}]}", "chat")
    assert set(result.report.variables) == {"CHUKEI_DEPLOYMENTS__ENDPOINT_CHAT__ENDPOINT"}
    assert entry(result, "aoai.endpoints[0].url").outcome is Outcome.APPROXIMATED


WORDS: list[Any] = [
    *(None, True, 0, 1, 0.5, -3, 2**60, "", "chat", "gpt, chat", "a\x9bb", "https://a.openai.azure.com", "https://<x>"),
    *(["chat", "b"], {"chat": 3, "b": 4.5}, [{"name": "x"}], [], {}),
]
KEYS = ["name", "url", "key", "standins", "non_streaming_fraction", "connections", "redis", "description", "invented"]


def invent(dice: random.Random) -> dict[str, Any]:
    """Invent a configuration of the right shape with values of every kind in it."""

    def some(*keys: str) -> dict[str, Any]:
        return {key: dice.choice(WORDS) for key in keys if dice.random() < 0.6}

    def client() -> dict[str, Any]:
        key = {"key": f"{SECRET}-{dice.random()}"} if dice.random() < 0.7 else {}
        named = some(
            "name", "deployments_allowed", "max_tokens_per_minute_in_k", "uses_entra_id_auth", "description", "x"
        )
        return named | key | ({"name": dice.choice(["one", "two"])} if dice.random() < 0.7 else {})

    def endpoint() -> dict[str, Any]:
        virtual = [
            some("name", "x") | {"standins": [some("name", "non_streaming_fraction"), 3]}
            for _ in range(dice.randrange(3))
        ]
        return some(*KEYS) | {"key": f"{SECRET}-key", "virtual_deployments": virtual}

    names = ["AllowDeployments", "LimitUsage", "LogUsageToConsole", "LogUsageToCsvFile", "Other"]
    plugins = [{"name": name, **some("redis", "y")} for name in names if dice.random() < 0.6]
    return some("region", "fixed_client", "user_assigned_managed_identity_client_id", "zzz") | {
        "clients": [client() for _ in range(dice.randrange(4))],
        "plugins": plugins,
        "aoai": some("mock_response", "w") | {"endpoints": [endpoint() for _ in range(dice.randrange(4))]},
    }


@settings(max_examples=40)
@given(st.integers(0, 2**32))
def test_whatever_a_configuration_holds_each_value_is_reported_once_and_the_result_is_valid(seed: int) -> None:
    found = read(json.dumps(invent(random.Random(seed))).encode(), as_json=True)

    result = import_powerproxy(found, "config.json", ("chat",))

    assert set(result.report.entries) == {leaf.path for leaf in found.root.leaves()}
    assert SECRET not in (result.toml or "") + result.report.text() + result.report.json()
    if result.toml is not None:
        with tempfile.TemporaryDirectory() as folder:
            assert not accepted(result, Path(folder)).simulated

"""What a configuration may hold but hardly means, and spellings that cannot work."""

from pathlib import Path

import pytest
from tests.rows import rows

from chukei.config import ConfigError, Settings, load

DEPLOYMENT = """
[deployments.east]
endpoint = "https://east.openai.azure.com"
api_key = { env = "KEY" }
"""


def read(tmp_path: Path, text: str) -> Settings:
    path = tmp_path / "relay.toml"
    path.write_text(text)
    return load(path, {"KEY": "k"})


def problem(tmp_path: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    return str(caught.value)


def test_every_origin_that_a_browser_sends(tmp_path: Path, subtests: pytest.Subtests) -> None:
    for origin in [
        "https://app.example",
        "http://localhost:5173",
        "http://[::1]:5173",
        "app://obsidian.md",
        "tauri://localhost",
        "capacitor://localhost",
        "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
        "moz-extension://0a1b2c3d-1111-4222-8333-444455556666",
        "vscode-webview://1k2v3",
        "*",
    ]:
        with subtests.test(origin=origin):
            settings = read(tmp_path, f'[server]\ncors_origins = ["{origin}"]\n')
            assert settings.server.cors_origins == (origin,)


def test_what_no_browser_sends(tmp_path: Path, subtests: pytest.Subtests) -> None:
    for origin, advice in [
        ("https://app.example/", "without a path or a slash"),
        ("https://app.example/path", "without a path"),
        ("https://*.example", "is not an origin"),
        ("app.example", "is not an origin"),
        ("https://user@app.example", "is not an origin"),
        ("https://app.example?x", "is not an origin"),
        ("app://", "is not an origin"),
        ("https://app.example:443", "write https://app.example"),
        ("https://app.example:99999", "is not an origin"),
        ("null", "write * for that"),
    ]:
        with subtests.test(origin=origin):
            assert advice in problem(tmp_path, f'[server]\ncors_origins = ["{origin}"]\n')


def test_a_version_that_is_no_day(tmp_path: Path, subtests: pytest.Subtests) -> None:
    for version in ["2024-13-99", "2023-02-29", "2024-00-10-preview", "0000-01-01"]:
        with subtests.test(version=version):
            assert "is not a version" in problem(tmp_path, f'{DEPLOYMENT}api_version = "{version}"\n')


def test_an_endpoint_with_a_path(tmp_path: Path, subtests: pytest.Subtests) -> None:
    for endpoint in [
        "https://x.services.ai.azure.com/models",
        "https://x.services.ai.azure.com/models/chat/completions",
        "https://x.openai.azure.com/v1",
        "https://gateway.example/models",
    ]:
        with subtests.test(endpoint=endpoint):
            said = problem(tmp_path, DEPLOYMENT.replace("https://east.openai.azure.com", endpoint))
            assert f"must be the resource's address alone: https://{endpoint.split('/')[2]}" in said


def test_a_gateway_in_front_may_have_a_path(tmp_path: Path) -> None:
    read(tmp_path, DEPLOYMENT.replace("east.openai.azure.com", "gateway.example/team"))


def test_what_is_hardly_meant_is_noted(tmp_path: Path, subtests: pytest.Subtests) -> None:
    for text, notice in [
        ("[groups.a.limits]\ntokens_per_day = 0", "groups.a.limits.tokens_per_day is 0, which refuses every request"),
        (
            "[callers.a.limits]\nmoney_per_month = 5",
            "callers.a.limits.money_per_month does not limit what has no prices: chat",
        ),
        (
            "[models.chat.parameters]\ntemprature = 1",
            "models.chat.parameters.temprature is no parameter of OpenAI's APIs; did you mean temperature?",
        ),
        ('[audit]\nmodels = ["chat"]', "audit.folder is not set, so nothing is audited"),
        ("[groups.a.parameters]\ntop_k = 1", "groups.a.parameters.top_k is no parameter of OpenAI's APIs"),
    ]:
        with subtests.test(text=text):
            settings = read(tmp_path, f'{DEPLOYMENT}[models.chat]\ndeployments = ["east"]\n{text}\n')
            assert any(told.startswith(notice) for told in settings.notices), settings.notices


@rows(
    ("text", "told"),
    [
        ('[audit]\ngroups = ["sales"]', "audit.groups: 'sales' is not a group of this configuration"),
        ('[audit]\nmodels = ["east", "chat"]', "audit.models: 'chat' is not a model of this configuration"),
        ('[log]\nlevels = { "chukei.pool" = "loud" }', "log.levels: must map names of loggers"),
        ("[log]\nlevels = { x = 7 }", "log.levels: must map names of loggers"),
    ],
)
def test_a_choice_of_nothing_is_a_mistake(tmp_path: Path, text: str, told: str) -> None:
    """A misspelt group would not be audited, and nobody would notice."""
    assert told in problem(tmp_path, f"{DEPLOYMENT}{text}\n")


def test_money_on_models_with_prices_is_not_noted(tmp_path: Path) -> None:
    text = """
[models.chat]
deployments = ["east"]
prices = { input = 1.0, output = 2.0 }
parameters = { temperature = 0.2 }
[models.free]
deployments = ["east"]
[groups.a]
models = ["chat"]
limits = { money_per_month = 5 }
[callers.b]
groups = ["a"]
limits = { money_per_month = 5, concurrent = 2 }
"""
    assert read(tmp_path, DEPLOYMENT + text).notices == ()


def test_trust_in_this_machine_is_a_setting(tmp_path: Path) -> None:
    assert not read(tmp_path, "").closed
    settings = read(tmp_path, "[auth]\nlocal = false\n")
    assert settings.closed
    assert not settings.auth.local
    assert "auth.local: is false although" in problem(tmp_path, "[auth]\nlocal = false\nanonymous = true\n")

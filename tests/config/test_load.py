"""From a file and the environment to settings: every key, every mistake at once, and no secret shown."""

import os
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chukei.config import (
    AdminSettings,
    AuditSettings,
    ConfigError,
    LedgerSettings,
    LogSettings,
    MetricsSettings,
    PoolSettings,
    ReloadSettings,
    Secret,
    ServerSettings,
    Settings,
    StoreSettings,
    StreamSettings,
    UpstreamSettings,
    load,
)

SECRET = "sk-very-secret-0123"
FULL = """
[server]
host = "0.0.0.0"
port = 8000
cors_origins = ["https://app.example"]
allowed_hosts = ["Relay.Example"]
max_body_bytes = 2048
max_bodies_bytes = 1_048_576
max_header_bytes = 8192
header_seconds = 1
body_seconds = 2.5
keepalive_seconds = 3
drain_seconds = 4
grace_seconds = 0
hang_seconds = 0

[stream]
heartbeat_seconds = 4
first_token_seconds = 5
thinking_seconds = 5.5
idle_seconds = 6
write_seconds = 7
max_event_bytes = 8192

[upstream]
connect_seconds = 8
answer_seconds = 9
keepalive_seconds = 10
ca_file = "CA"
plain_http = true
pass_headers = ["AOAI-Evals"]
pass_versions = ["preview"]

[pool]
attempts = 4
deadline_seconds = 11
retry_share = 0.5
cooldown_seconds = 12
max_cooldown_seconds = 0
breaker_failures = 0
breaker_seconds = 13
max_breaker_seconds = 14
misconfigured_seconds = 0
affinity = ["user", "session"]
session_header = "X-Conversation"
affinity_load = 2
hedge_share = 0.05
deployment_header = true

[stores]
quota = "redis://cache.internal:6379/1"
quota_away = "closed"
quota_seconds = 0.2
replicas = 3
ledger = "postgresql://db.internal/chukei"

[ledger]
retention_days = 90
spool = "/var/spool/chukei"
max_spool_bytes = 100_000

[admin]
api_key = { env = "ADMIN_KEY" }
currency = "EUR"

[auth]
api_key = { env = "RELAY_KEY" }

[metrics]
enabled = true
api_key = { env = "METRICS_KEY" }
callers = true
max_rows = 50

[log]
format = "json"
level = "debug"
levels = { "chukei.request" = "warning" }

[audit]
folder = "/var/log/chukei/audit"
redact = "company.privacy:redact"
callers = ["team-a"]
groups = ["research"]
models = ["chat"]
max_content_bytes = 1000
max_file_bytes = 100_000
max_bytes = 2_000_000
max_waiting_bytes = 70_000

[groups.research]

[reload]
watch_seconds = 0.5

[defaults]
model = "chat"

[models.chat]
deployments = ["west", "east"]
system = "Be kind."
parameters = { temperature = 0.3 }
caps = { max_completion_tokens = 4096 }

[deployments.east]
endpoint = "https://east.openai.azure.com/"
deployment = "gpt-4o"
api_version = "2024-10-21"
api_key = { env = "EAST_KEY" }
priority = 1
weight = 3
max_concurrent = 40
quota_group = "sweden-standard"
spillover = "gpt-4o-standard"

[deployments.west]
endpoint = "http://west.internal:8080/openai/v1"
identity = true
client_id = "c-1"
scope = "https://ai.azure.com/.default"
priority = 2
"""
KEYS = {
    "RELAY_KEY": SECRET,
    "EAST_KEY": SECRET + "-east",
    "ADMIN_KEY": SECRET + "-admin",
    "METRICS_KEY": SECRET + "-metrics",
}


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "chukei.toml"
    path.write_text(text)
    return path


def problems(path: Path | None, environment: Mapping[str, str]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(path, environment)
    assert SECRET not in str(caught.value)
    shown = [str(problem) for problem in caught.value.problems]
    assert all(problem in str(caught.value) for problem in shown)
    return [problem.removeprefix(f"{path}: ") for problem in shown]


def test_every_key(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("x")
    settings = load(written(tmp_path, FULL.replace('"CA"', f'"{tmp_path / "ca.pem"}"')), KEYS)
    assert settings.server == ServerSettings(
        "0.0.0.0",
        8000,
        ("https://app.example",),
        ("relay.example",),
        2048,
        1_048_576,
        8192,
        1.0,
        2.5,
        3.0,
        4.0,
        0.0,
        0.0,
    )
    assert settings.stream == StreamSettings(4.0, 5.0, 5.5, 6.0, 7.0, 8192)
    assert settings.upstream == UpstreamSettings(
        8.0, 9.0, 10.0, str(tmp_path / "ca.pem"), True, ("aoai-evals",), ("preview",), {}
    )
    assert settings.pool == PoolSettings(
        4, 11.0, 0.5, 12.0, 0.0, 0, 13.0, 14.0, 0.0, ("user", "session"), "x-conversation", 2.0, 0.05, True
    )
    assert settings.stores.quota is not None
    assert settings.stores.quota.reveal() == "redis://cache.internal:6379/1"
    assert (settings.stores.quota_away, settings.stores.quota_seconds, settings.stores.replicas) == ("closed", 0.2, 3)
    assert settings.stores.ledger is not None
    assert settings.stores.ledger.reveal() == "postgresql://db.internal/chukei"
    assert settings.ledger == LedgerSettings(90.0, "/var/spool/chukei", 100_000)
    assert settings.admin.api_key is not None
    assert settings.admin.api_key.reveal() == SECRET + "-admin"
    assert settings.admin.currency == "EUR"
    assert settings.reload == ReloadSettings(0.5)
    assert settings.metrics.api_key is not None
    assert settings.metrics.api_key.reveal() == SECRET + "-metrics"
    assert replace(settings.metrics, api_key=None) == MetricsSettings(enabled=True, callers=True, max_rows=50)
    assert settings.log == LogSettings("json", "debug", {"chukei.request": "warning"})
    assert settings.audit == AuditSettings(
        "/var/log/chukei/audit",
        "company.privacy:redact",
        ("team-a",),
        ("research",),
        ("chat",),
        1000,
        100_000,
        2_000_000,
        70_000,
    )
    assert settings.auth.api_key is not None
    assert settings.auth.api_key.reveal() == SECRET
    chat = settings.models["chat"]
    assert [(item.name, item.endpoint, item.deployment) for item in chat.deployments] == [
        ("east", "https://east.openai.azure.com", "gpt-4o"),
        ("west", "http://west.internal:8080", "west"),
    ]
    first, second = chat.deployments
    assert (first.priority, first.weight, first.max_concurrent) == (1, 3, 40)
    assert (first.quota_group, first.spillover) == ("sweden-standard", "gpt-4o-standard")
    assert (second.priority, second.weight, second.max_concurrent) == (2, 1, None)
    assert (second.quota_group, second.spillover) == (None, None)
    assert (chat.system, chat.parameters, chat.caps) == (
        "Be kind.",
        {"temperature": 0.3},
        {"max_completion_tokens": 4096},
    )
    east, west = settings.credentials["east"], settings.credentials["west"]
    assert east.api_key is not None
    assert east.api_key.reveal() == SECRET + "-east"
    assert (west.scope, west.client_id, west.api_key) == ("https://ai.azure.com/.default", "c-1", None)
    assert (settings.default_model, settings.open, settings.simulated) == ("chat", None, False)
    assert settings.notices == ()


def test_the_test_above_sets_every_key_that_settings_have() -> None:
    kinds = (
        ServerSettings,
        StreamSettings,
        UpstreamSettings,
        PoolSettings,
        StoreSettings,
        LedgerSettings,
        AdminSettings,
        LogSettings,
        ReloadSettings,
        AuditSettings,
    )
    for kind in kinds:
        assert is_dataclass(kind)
        for field in fields(kind):
            if field.name not in ("proxies", "ledger_by_default", "entra"):  # see other files; from ledger
                assert f"\n{field.name} = " in FULL


def test_no_secret_is_shown(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("x")
    environment = KEYS | {"HTTPS_PROXY": f"http://user:{SECRET}@proxy:3128"}
    settings = load(written(tmp_path, FULL.replace('"CA"', f'"{tmp_path / "ca.pem"}"')), environment)
    assert SECRET not in repr(settings)
    assert SECRET not in str(settings)
    assert SECRET not in f"{Secret(SECRET)} {Secret(SECRET)!r} {[Secret(SECRET)]}"
    assert settings.upstream.proxies["https"].endswith("@proxy:3128")


def test_nothing_configured_is_the_simulator() -> None:
    settings = load(None, {"PATH": "/bin", "HOME": "/"})
    assert settings.simulated
    assert settings.default_model == "chat"
    assert settings.server == ServerSettings()
    assert not settings.auth.anonymous


AZURE = {"AZURE_OPENAI_ENDPOINT": "https://r.openai.azure.com", "AZURE_OPENAI_API_KEY": SECRET}


def test_azures_own_variables_are_one_resource() -> None:
    settings = load(None, AZURE | {"AZURE_OPENAI_DEPLOYMENT": "gpt-4o", "OPENAI_API_VERSION": "2024-10-21"})
    assert not settings.simulated
    assert settings.open is not None
    assert (settings.open.endpoint, settings.open.api_version) == ("https://r.openai.azure.com", "2024-10-21")
    assert settings.default_model == "gpt-4o"
    key = settings.credentials[settings.open.name].api_key
    assert key is not None
    assert key.reveal() == SECRET


def test_each_name_of_the_deployments_variable(subtests: pytest.Subtests) -> None:
    for name in [
        "AZURE_OPENAI_DEPLOYMENT",
        "AZURE_OPENAI_DEPLOYMENT_NAME",
        "AZURE_OPENAI_CHAT_DEPLOYMENT",
        "AZURE_OPENAI_CHAT_DEPLOYMENT_NAME",
    ]:
        with subtests.test(name=name):
            assert load(None, AZURE | {name: "d"}).default_model == "d"
            assert load(None, AZURE | {name: " "}).default_model is None


def test_without_a_key_the_identity_is_used() -> None:
    settings = load(None, {"AZURE_OPENAI_ENDPOINT": "https://r.openai.azure.com", "AZURE_CLIENT_ID": "c"})
    [credential] = settings.credentials.values()
    assert (credential.scope, credential.client_id) == ("https://cognitiveservices.azure.com/.default", "c")


def test_a_token_variable_is_a_token() -> None:
    environment = {"AZURE_OPENAI_ENDPOINT": "https://r.openai.azure.com", "AZURE_OPENAI_AD_TOKEN": SECRET}
    [credential] = load(None, environment).credentials.values()
    assert credential.token is not None
    assert (credential.token.reveal(), credential.api_key, credential.scope) == (SECRET, None, None)


def test_a_deployment_without_models_is_a_model_of_its_own_name(tmp_path: Path) -> None:
    text = '[deployments.east]\nendpoint = "https://e.example"\napi_key = { env = "K" }\n'
    settings = load(written(tmp_path, text), {"K": SECRET})
    assert list(settings.models) == ["east"]
    assert settings.default_model == "east"


# Precedence.


def test_variables_come_before_the_file_and_the_file_before_defaults(tmp_path: Path) -> None:
    path = written(tmp_path, "[server]\nport = 1000\nbody_seconds = 5\n")
    settings = load(path, {"CHUKEI_SERVER__PORT": "2000"})
    assert (settings.server.port, settings.server.body_seconds, settings.server.header_seconds) == (2000, 5.0, 10.0)


def test_the_shared_key_of_the_environment_wins_over_the_files(tmp_path: Path) -> None:
    path = written(tmp_path, '[auth]\napi_key = { env = "FILES" }\n')
    environment = {"FILES": "from-the-file", "CHUKEI_API_KEY": "from-the-environment"}
    setting = {"CHUKEI_AUTH__API_KEY": "from-the-setting"}
    for extra, wanted in (({}, "from-the-environment"), (setting, "from-the-setting")):
        key = load(path, environment | extra).auth.api_key
        assert key is not None
        assert key.reveal() == wanted


def test_origins_know_no_capitals() -> None:
    settings = load(None, {"CHUKEI_SERVER__CORS_ORIGINS": "https://App.Example"})
    assert settings.server.cors_origins == ("https://app.example",)


def test_a_variables_text_is_a_string_where_one_is_wanted() -> None:
    environment = {
        "CHUKEI_DEPLOYMENTS__A__ENDPOINT": "https://x.openai.azure.com",
        "CHUKEI_DEPLOYMENTS__A__API_KEY": "42",
        "CHUKEI_DEPLOYMENTS__A__DEPLOYMENT": "123",
        "CHUKEI_MODELS__A__DEPLOYMENTS": '["a"]',
        "CHUKEI_MODELS__A__SYSTEM": '"quoted as in TOML"',
    }
    model = load(None, environment).models["a"]
    assert (model.deployments[0].deployment, model.system) == ("123", "quoted as in TOML")


def test_the_file_may_be_named_by_a_variable_and_an_argument_wins(tmp_path: Path) -> None:
    path = written(tmp_path, "[server]\nport = 1000\n")
    assert load(None, {"CHUKEI_CONFIG": str(path)}).server.port == 1000
    other = tmp_path / "other.toml"
    other.write_text("[server]\nport = 3000\n")
    assert load(other, {"CHUKEI_CONFIG": str(path)}).server.port == 3000


def test_variables_reach_every_kind_of_value(tmp_path: Path) -> None:
    path = written(tmp_path, '[deployments.East-1]\nendpoint = "https://e.example"\napi_key = { env = "K" }\n')
    settings = load(
        path,
        {
            "K": "from-file",
            "CHUKEI_DEPLOYMENTS__EAST_1__DEPLOYMENT": "gpt",
            "CHUKEI_DEPLOYMENTS__EAST_1__API_KEY": SECRET,
            "CHUKEI_SERVER__CORS_ORIGINS": "https://a.example, https://b.example",
            "CHUKEI_SERVER__ALLOWED_HOSTS": '["a", "b"]',
            "CHUKEI_STREAM__IDLE_SECONDS": "2.5",
            "CHUKEI_UPSTREAM__PLAIN_HTTP": "true",
            "CHUKEI_LOG__FORMAT": "json",
        },
    )
    assert settings.models["East-1"].deployments[0].deployment == "gpt"
    key = settings.credentials["East-1"].api_key
    assert key is not None
    assert key.reveal() == SECRET
    assert settings.server.cors_origins == ("https://a.example", "https://b.example")
    assert settings.server.allowed_hosts == ("a", "b")
    assert (settings.stream.idle_seconds, settings.upstream.plain_http, settings.log.format) == (2.5, True, "json")


def test_a_key_that_looks_like_a_value_is_still_a_key(subtests: pytest.Subtests) -> None:
    for key in ["12345678", "1e5", "true", '"quoted"', "0x1f", "2024-10-21", "[1]"]:
        with subtests.test(key=key):
            for name in ("CHUKEI_AUTH__API_KEY", "CHUKEI_API_KEY"):
                found = load(None, {name: key}).auth.api_key
                assert found is not None
                assert found.reveal() == key


def test_the_shared_key() -> None:
    found = load(None, {"CHUKEI_API_KEY": SECRET}).auth.api_key
    assert found is not None
    assert found.reveal() == SECRET


# Mistakes.


def test_every_mistake_is_named_at_once_with_its_place(tmp_path: Path) -> None:
    text = """
    nonsense = 1
    [server]
    prot = 1
    port = 99999
    host = 5
    cors_origins = ["https://a.example/path", "a.example", 5]
    header_seconds = -1
    [stream]
    idle_seconds = nan
    heartbeat_seconds = "15"
    max_event_bytes = 1.5
    [upstream]
    ca_file = "/no/such/file.pem"
    plain_http = "yes"
    [auth]
    api_key = "literal"
    [log]
    level = "loud"
    format = ""
    [pool]
    attempts = 0
    afinity = []
    [stores]
    quota = "sqlite:///here"
    [models.chat]
    deployments = ["east", "east", "missing"]
    parameters = { stream = true }
    caps = { n = -1 }
    [models.empty]
    deployments = []
    [deployments.east]
    endpoint = "http://e.example"
    api_version = "2024"
    max_concurrent = 0
    [deployments.west]
    api_key = { env = "NOT_SET" }
    identity = true
    [deployments.south]
    endpoint = "https://user:pass@s.example"
    scope = "x"
    [defaults]
    model = "other"
    """
    found = problems(written(tmp_path, text), {"CHUKEI_SERVER__GRACE_SECONDS": "soon", "CHUKEI___PORT": "1"})
    expected = [
        "nonsense: is not a known key",
        "server.prot: is not a known key; did you mean port?",
        "server.port: must be between 0 and 65_535",
        "server.host: must be a string, not a number",
        "server.cors_origins: ",
        "server.header_seconds: must be between",
        "stream.idle_seconds: must be between",
        "stream.heartbeat_seconds: must be a number of seconds, not a string",
        "stream.max_event_bytes: must be a whole number",
        "upstream.ca_file: /no/such/file.pem is not a readable file",
        "upstream.plain_http: must be true or false, not a string",
        "auth.api_key: a secret does not belong in a file",
        "log.level: must be one of debug, info, warning, error",
        "log.format: must not be empty",
        "pool.attempts: must be between 1 and 100, not 0",
        "pool.afinity: is not a known key; did you mean affinity?",
        "stores.quota: must be ",
        "models.chat.deployments: names 'missing'",
        "models.chat.deployments: names one deployment twice",
        "models.chat.parameters: must not hold stream",
        "models.chat.caps: n must be a number",
        "models.empty.deployments: is empty",
        "deployments.east.endpoint: is plain http",
        "deployments.east.api_version: '2024' is not a version",
        "deployments.east.api_key: is missing",
        "deployments.east.max_concurrent: must be between 1 and",
        "deployments.west.endpoint: is missing",
        "deployments.west.api_key: the environment variable NOT_SET is not set",
        "deployments.west.identity: is true although api_key is set",
        "deployments.south.endpoint: must not hold a user name",
        "deployments.south.scope: only means something",
        "defaults.model: names 'other'",
        "CHUKEI_SERVER__GRACE_SECONDS: must be a number of seconds, not a string",
        "CHUKEI___PORT: is not a setting",
    ]
    for start in expected:
        assert any(problem.startswith(start) for problem in found), (start, found)


ENDPOINTS = [
    ("https://r.openai.azure.com/", "https://r.openai.azure.com"),
    (" https://r.openai.azure.com ", "https://r.openai.azure.com"),
    ("https://r.services.ai.azure.com/openai/v1/", "https://r.services.ai.azure.com"),
    ("https://r.services.ai.azure.com/api/projects/p/openai/v1", "https://r.services.ai.azure.com/api/projects/p"),
    ("https://r.services.ai.azure.us/api/projects/p-1/", "https://r.services.ai.azure.us/api/projects/p-1"),
    ("https://r.cognitiveservices.azure.com/", "https://r.cognitiveservices.azure.com"),
    ("https://gateway.example/api/projects/p", "https://gateway.example/api/projects/p"),
    ("https://R.OpenAI.Azure.com:443/", "https://r.openai.azure.com"),
    ("https://r.openai.azure.com:8443", "https://r.openai.azure.com:8443"),
    ("https://gateway.example/prefix", "https://gateway.example/prefix"),
    ("http://localhost:7222", "http://localhost:7222"),
    ("http://127.0.0.1:7222", "http://127.0.0.1:7222"),
    ("https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443"),
]


def test_endpoints(subtests: pytest.Subtests) -> None:
    for endpoint, clean in ENDPOINTS:
        with subtests.test(endpoint=endpoint):
            settings = load(None, {"AZURE_OPENAI_ENDPOINT": endpoint, "AZURE_OPENAI_API_KEY": SECRET})
            assert settings.open is not None
            assert settings.open.endpoint == clean


def test_bad_endpoints(subtests: pytest.Subtests) -> None:
    for endpoint in [
        "r.openai.azure.com",
        "ftp://r.example",
        "https://",
        "https:///path",
        "https://[::1",
        "https://r.example:99999",
        "https://r.example:x",
        "https://r.example?api-version=1",
        "https://r.example#x",
        "http://r.example",
        "https://u:p@r.example",
        "https://r.example/openai/deployments/d",
        "https://r.services.ai.azure.com/api/projects",
        "https://r.services.ai.azure.com/api/projects/p/models",
        "https://r.openai.azure.com/api/projects/p",
        "https://r.services.ai.azure.com/anthropic/v1",
        "https://contoso..openai.azure.com",
        "https://a b.example",
        "https://" + "a" * 70 + ".example",
    ]:
        with subtests.test(endpoint=endpoint):
            [problem] = problems(None, {"AZURE_OPENAI_ENDPOINT": endpoint, "AZURE_OPENAI_API_KEY": SECRET})
            assert problem.startswith("AZURE_OPENAI_ENDPOINT: ")


BAD_VARIABLES: list[tuple[dict[str, str], str]] = [
    ({"AZURE_OPENAI_API_KEY": SECRET}, "AZURE_OPENAI_API_KEY: is set without AZURE_OPENAI_ENDPOINT"),
    ({"CHUKEI_API_KEY": ""}, "auth.api_key: the environment variable CHUKEI_API_KEY is empty"),
    ({"CHUKEI_API_KEY": "a\nb"}, "auth.api_key: the secret holds spaces"),
    ({"CHUKEI_API_KEY": " key"}, "auth.api_key: the secret holds spaces"),
    ({"CHUKEI_API_KEY": "鍵"}, "auth.api_key: the secret holds spaces"),
    ({"CHUKEI_AUTH__API_KEY": ""}, "CHUKEI_AUTH__API_KEY: is set but empty"),
    ({"CHUKEI_API_KEY": SECRET, "CHUKEI_AUTH__ANONYMOUS": "true"}, "CHUKEI_AUTH__ANONYMOUS: is true although a key"),
    ({"CHUKEI_SERVER__": "x"}, "CHUKEI_SERVER__: is not a setting"),
    ({"CHUKEI_SERVER__PROT": "1"}, "CHUKEI_SERVER__PROT: is not a known key; did you mean port?"),
    ({"CHUKEI_SERVER__PORT__X": "1"}, "server.port: must be a whole number, not a table"),
    ({"CHUKEI_MODELS__X__SYSTEM": "s"}, "models: are set without any deployment"),
    ({"HTTPS_PROXY": "socks5://p:1"}, "upstream.https_proxy: the variable HTTPS_PROXY must be"),
    ({"HTTPS_PROXY": "https://p:1"}, "upstream.https_proxy: the variable HTTPS_PROXY must be"),
    ({"HTTPS_PROXY": "http://[::1"}, "upstream.https_proxy: the variable HTTPS_PROXY must be"),
    ({"HTTPS_PROXY": "http://p:99999"}, "upstream.https_proxy: the variable HTTPS_PROXY must be"),
    ({"CHUKEI_SERVER__CORS_ORIGINS": "http://["}, "CHUKEI_SERVER__CORS_ORIGINS: "),
    (AZURE | {"OPENAI_API_VERSION": "v9"}, "AZURE_OPENAI_API_VERSION: 'v9' is not a version"),
]


SERVICE_LINKS = {
    "CHUKEI_SERVICE_HOST": "10.0.0.11",
    "CHUKEI_SERVICE_PORT": "7221",
    "CHUKEI_SERVICE_PORT_HTTP": "7221",
    "CHUKEI_SERVICE_PORT_A__B": "7221",
    "CHUKEI_PORT": "tcp://10.0.0.11:7221",
    "CHUKEI_PORT_7221_TCP": "tcp://10.0.0.11:7221",
    "CHUKEI_PORT_7221_TCP_PROTO": "tcp",
    "CHUKEI_PORT_7221_TCP_ADDR": "10.0.0.11",
    "CHUKEI_SERVER_SERVICE_HOST": "10.0.0.12",
    "CHUKEI_SERVER_PORT_53_UDP_PORT": "53",
    "CHUKEI_AUTH_PORT": "tcp://10.0.0.13:80",
}


def test_what_kubernetes_tells_of_services_is_no_setting(subtests: pytest.Subtests) -> None:
    for variable in SERVICE_LINKS:
        with subtests.test(variable=variable):
            settings = load(None, {variable: SERVICE_LINKS[variable]})
            assert settings == load(None, {})


def test_a_variable_without_a_section_is_ignored_and_named(subtests: pytest.Subtests) -> None:
    for variable in ["CHUKEI_POOL", "CHUKEI_API_KEYS", "CHUKEI_LOG_FORMAT", "CHUKEI_SERVER_PORT"]:
        with subtests.test(variable=variable):
            [note] = load(None, {variable: "x"}).notices
            assert note.startswith(f"{variable} is ignored; settings are named CHUKEI_SECTION__KEY")


def test_a_misspelt_variable_is_told_the_right_one(subtests: pytest.Subtests) -> None:
    for variable, meant in [("CHUKEI_APIKEY", "CHUKEI_API_KEY"), ("CHUKEI_CONFG", "CHUKEI_CONFIG")]:
        with subtests.test(variable=variable, meant=meant):
            [note] = load(None, {variable: "x"}).notices
            assert note.endswith(f"; did you mean {meant}?")


def test_a_variable_that_is_like_none_gets_no_guess() -> None:
    [note] = load(None, {"CHUKEI_FOO": "x"}).notices
    assert "did you mean" not in note


def test_bad_variables(subtests: pytest.Subtests) -> None:
    for environment, start in BAD_VARIABLES:
        with subtests.test(environment=environment):
            found = [problem.removeprefix("configuration: ") for problem in problems(None, environment)]
            assert any(problem.startswith(start) for problem in found), found


def test_a_file_that_cannot_be_read(tmp_path: Path, subtests: pytest.Subtests) -> None:
    for content, what in [
        (b"[server", "is not valid TOML"),
        (b"\xff", "is not UTF-8 text"),
        (b"a = 1\na = 2", "is not valid TOML"),
        (b"a = " + b"9" * 5000, "is not valid TOML"),  # more digits than Python reads
        (b"a = " + b"[" * 20_000 + b"]" * 20_000, "is not valid TOML"),
    ]:
        with subtests.test(content=content[:20]):
            path = tmp_path / "x.toml"
            path.write_bytes(content)
            [problem] = problems(path, {})
            assert what in problem


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    [missing] = problems(tmp_path / "none.toml", {})
    assert "there is no such file" in missing
    [folder] = problems(tmp_path, {})
    assert "cannot be read" in folder


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    """A shell's ``<(command)`` is one. It would be empty when it is read again, and an empty configuration is valid."""
    os.mkfifo(tmp_path / "pipe")
    [pipe] = problems(tmp_path / "pipe", {})
    assert "is not a regular file" in pipe


def test_mistakes_come_with_the_files_that_may_correct_them(tmp_path: Path) -> None:
    key, authorities = tmp_path / "key", tmp_path / "ca.pem"
    authorities.write_text("nonsense")
    path = written(
        tmp_path, f'[admin]\napi_key = {{ file = "{key}" }}\n[upstream]\nca_file = "{authorities}"\n[sever]\n'
    )
    with pytest.raises(ConfigError) as caught:
        load(path, {})
    assert caught.value.files == {str(each) for each in (path, key, authorities)}


def test_a_variable_that_no_parser_reads_is_text() -> None:
    for text in ("9" * 5000, "[" * 20_000):
        assert load(None, {"CHUKEI_API_KEY": "x", "CHUKEI_SERVER__HOST": text}).server.host == text


def test_a_table_that_is_none(tmp_path: Path, subtests: pytest.Subtests) -> None:
    for table in ["server", "models", "deployments", "pool", "stores", "auth"]:
        with subtests.test(table=table):
            assert any("must be a table" in problem for problem in problems(written(tmp_path, f"{table} = 1"), {}))


def test_proxies_are_taken_in_either_case() -> None:
    environment = {
        "https_proxy": "http://low:1",
        "HTTPS_PROXY": "http://HIGH:1",
        "NO_PROXY": "a,b",
        "HTTP_PROXY": "p:1",
    }
    assert load(None, environment).upstream.proxies == {"https": "http://low:1", "no": "a,b", "http": "p:1"}


def test_http_proxy_of_a_cgi_request_is_not_believed() -> None:
    """A client's Proxy header would be HTTP_PROXY there (httpoxy, CVE-2016-5385)."""
    assert load(None, {"HTTP_PROXY": "http://evil:1", "REQUEST_METHOD": "POST"}).upstream.proxies == {}


@given(
    environment=st.dictionaries(
        st.from_regex(r"CHUKEI_[A-Z_]{0,20}", fullmatch=True)
        | st.sampled_from(["CHUKEI_SERVER__PORT", "CHUKEI_AUTH__API_KEY", "HTTPS_PROXY", "AZURE_OPENAI_ENDPOINT"]),
        st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=20),
        max_size=4,
    )
)
def test_any_environment_is_read_or_every_problem_named(environment: dict[str, str]) -> None:
    environment.pop("CHUKEI_CONFIG", None)
    try:
        assert isinstance(load(None, environment), Settings)
    except ConfigError as error:
        known = error.problems
        assert known


def test_a_secret_may_be_in_a_file_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "admin-key"
    text = f"[admin]\napi_key = {{ file = '{file}' }}\n"
    assert problems(written(tmp_path, text), {}) == [
        f"admin.api_key: {file} is not a readable file; give one that holds the secret alone"
    ]
    for content in (SECRET, f"{SECRET}\n", f"{SECRET}\r\n"):
        file.write_bytes(content.encode())
        settings = load(written(tmp_path, text), {})
        assert settings.admin.api_key == Secret(SECRET)
        assert list(settings.files) == [settings.path, str(file)] == [str(tmp_path / "chukei.toml"), str(file)]
    for content, problem in (
        ("\n", f"{file} is empty"),
        (f"{SECRET}\n\n", "the secret holds spaces around it, control or non-ASCII characters; copy it again"),
        ("ä" * 20, "the secret holds spaces around it, control or non-ASCII characters; copy it again"),
    ):
        file.write_text(content, "utf-8")
        assert problems(written(tmp_path, text), {}) == [f"admin.api_key: {problem}"]


def test_a_reference_to_a_key_vault_that_was_not_resolved_is_no_secret() -> None:
    """Anybody who knows the names of the vault and the secret could write it."""
    reference = "@Microsoft.KeyVault(VaultName=a-vault;SecretName=callers-key)"
    problem = (
        "is a reference to a key vault that the platform could not resolve; "
        "give the app's identity the role Key Vault Secrets User, and restart the app"
    )
    for environment, place in (
        ({"CHUKEI_API_KEY": reference}, "configuration: auth.api_key"),
        ({"CHUKEI_STORES__QUOTA": reference}, "CHUKEI_STORES__QUOTA"),
        ({"AZURE_OPENAI_ENDPOINT": ENDPOINTS[0][0], "AZURE_OPENAI_API_KEY": reference}, "configuration: api_key"),
    ):
        assert problems(None, environment) == [f"{place}: {problem}"]


def test_secrets_are_equal_by_their_value_and_do_not_show_it() -> None:
    assert Secret("a") == Secret("a") != Secret("b")
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2
    assert Secret("a") != "a"
    assert repr(Secret("a")) == "Secret(…)"


def test_metrics_are_open_or_have_a_key_that_is_long_enough(tmp_path: Path) -> None:
    file = written(tmp_path, '[metrics]\nopen = true\napi_key = { env = "METRICS_KEY" }\nmax_rows = 10')
    assert problems(file, {"METRICS_KEY": "short"}) == [
        "metrics.api_key: is shorter than 16 characters; make one with: openssl rand -hex 32",
        "metrics.max_rows: must be between 20 and 100_000, not 10",
        "metrics.open: means that everybody may read metrics without a key; remove it or metrics.api_key",
    ]


def test_the_deployment_for_batches(tmp_path: Path) -> None:
    text = """
[deployments.a]
endpoint = "https://a.openai.azure.com"
api_key = { env = "KEY" }

[models.chat]
deployments = ["a"]
batch_deployment = "%s"
"""
    assert (
        load(written(tmp_path, text % "gpt-4o-batch"), {"KEY": SECRET}).models["chat"].batch_deployment
        == "gpt-4o-batch"
    )
    [problem] = problems(written(tmp_path, text % "a b"), {"KEY": SECRET})
    assert problem.startswith("models.chat.batch_deployment: 'a b' is not the name of a deployment")


@pytest.mark.parametrize("currency", ["usd", "US", "EURO", "\u20ac"])
def test_a_currency_is_a_code(tmp_path: Path, currency: str) -> None:
    [problem] = problems(written(tmp_path, f'[admin]\ncurrency = "{currency}"\n'), {})
    assert problem.startswith("admin.currency: must be the three capital letters of an ISO 4217 code")

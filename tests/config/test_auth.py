"""What the configuration says of who may call: every key, every mistake, and no secret shown."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

import pytest
from tests.fakes import FakeClock

from chukei.adapters.identity.access import access
from chukei.config import AuthSettings, ConfigError, EntraSettings, Settings, load

TENANT = "11111111-AAAA-4bbb-8ccc-222222222222"
OTHER = "99999999-aaaa-4bbb-8ccc-222222222222"
CLIENT = "33333333-aaaa-4bbb-8ccc-444444444444"
PEPPER = "a pepper of thirty-two characters or more"
VARIABLES = {"RELAY_KEY": "the shared key", "PEPPER_1": PEPPER + " 1", "PEPPER_3": PEPPER + " 3"}
FULL = f"""
[auth]
anonymous = false
local = true
api_key = {{ env = "RELAY_KEY" }}
app_service = true
peppers = {{ 1 = {{ env = "PEPPER_1" }}, 3 = {{ env = "PEPPER_3" }} }}
unpeppered_keys = true
key_cache_seconds = 600
failures_per_minute = 5

[auth.entra]
tenant = ["{TENANT}", "{OTHER}"]
audience = ["api://chukei", "{CLIENT}"]
scope = "Relay.Call"
role = "Relay.Call.All"
groups = {{ "{CLIENT.upper()}" = "staff", "Lead" = "leads" }}
authority = "https://login.microsoftonline.us/"

[groups.leads]
[groups.staff]
"""


def read(tmp_path: Path, text: str, environment: Mapping[str, str] = VARIABLES) -> Settings:
    path = tmp_path / "chukei.toml"
    path.write_text(text)
    return load(path, environment)


def problems(tmp_path: Path, text: str, environment: Mapping[str, str] = VARIABLES) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text, environment)
    assert PEPPER not in str(caught.value)
    return [f"{problem.key}: {problem.message}" for problem in caught.value.problems]


def test_every_key(tmp_path: Path) -> None:
    auth = read(tmp_path, FULL).auth
    assert auth.api_key is not None
    assert auth.api_key.reveal() == "the shared key"
    assert {version: pepper.reveal() for version, pepper in auth.peppers.items()} == {
        1: PEPPER + " 1",
        3: PEPPER + " 3",
    }
    assert (auth.app_service, auth.platform_auth) == (True, False)
    assert (auth.unpeppered_keys, auth.key_cache_seconds, auth.failures_per_minute) == (True, 600.0, 5)
    assert auth.entra == EntraSettings(
        (TENANT.lower(), OTHER),
        ("api://chukei", CLIENT),
        "Relay.Call",
        "Relay.Call.All",
        {CLIENT: "staff", "Lead": "leads"},
        "https://login.microsoftonline.us",
    )


def test_the_test_above_sets_every_key_that_settings_have() -> None:
    names = {"tenants": "tenant", "audiences": "audience"}
    for field in [*fields(AuthSettings), *fields(EntraSettings)]:
        if field.name not in ("platform_auth", "entra"):
            assert f"\n{names.get(field.name, field.name)} = " in FULL


def test_nothing_set() -> None:
    assert load(None, {}).auth == AuthSettings()


def test_no_secret_is_shown(tmp_path: Path) -> None:
    shown = repr(read(tmp_path, FULL))
    assert PEPPER not in shown
    assert "the shared key" not in shown


def test_one_pepper_is_version_one(tmp_path: Path) -> None:
    peppers = read(tmp_path, '[auth]\npepper = { env = "PEPPER_1" }').auth.peppers
    assert {version: pepper.reveal() for version, pepper in peppers.items()} == {1: PEPPER + " 1"}


def test_by_variables_alone() -> None:
    environment = {
        "CHUKEI_AUTH__PEPPERS__2": PEPPER,
        "CHUKEI_AUTH__ENTRA__TENANT": TENANT,
        "CHUKEI_AUTH__ENTRA__AUDIENCE": f"api://chukei, {CLIENT}",
        "CHUKEI_AUTH__ENTRA__AUTHORITY": "http://127.0.0.1:8080",
    }
    auth = load(None, environment).auth
    assert auth.peppers[2].reveal() == PEPPER
    assert auth.entra == EntraSettings((TENANT.lower(),), ("api://chukei", CLIENT), authority="http://127.0.0.1:8080")


def test_what_the_platform_says(subtests: pytest.Subtests) -> None:
    for value, on in [("True", True), ("true", True), ("False", False), ("", False), ("1", False)]:
        with subtests.test(value=value):
            assert (
                load(None, {"WEBSITE_AUTH_ENABLED": value, "CHUKEI_AUTH__APP_SERVICE": "true"}).auth.platform_auth is on
            )


ENTRA = f'[auth.entra]\ntenant = "{TENANT}"\naudience = "{CLIENT}"\n'


def test_mistakes(tmp_path: Path, subtests: pytest.Subtests) -> None:
    for text, problem in [
        ("[auth.entra]", "auth.entra.tenant: is missing"),
        ("[auth.entra]", "auth.entra.audience: is missing"),
        ('[auth.entra]\naudience = "x"\ntenant = "common"', "auth.entra.tenant: 'common' is not a tenant's id"),
        (
            ENTRA + 'scope = "api://chukei/Relay.Call"',
            "auth.entra.scope: 'api://chukei/Relay.Call' is not the bare name",
        ),
        (ENTRA + 'scope = "a b"', "auth.entra.scope: 'a b' is not the bare name"),
        (ENTRA + 'groups = { "Lead" = "leads" }', "auth.entra.groups: names 'leads', but there is no [groups.leads]"),
        (ENTRA + 'groups = { "Lead" = 7 }', "auth.entra.groups: must map object ids and roles"),
        (ENTRA + "groups = 7", "auth.entra.groups: must be a table"),
        (ENTRA + "tenants = []", "auth.entra.tenants: is not a known key; did you mean tenant?"),
        *(
            (ENTRA + f'authority = "{address}"', f"auth.entra.authority: {address!r} is not an https:// address")
            for address in (
                "http://login.example",
                "login.microsoftonline.com",
                "https://login.example/common",
                "https://login.example?x=1",
                "https://user@login.example",
                "https://",
                "https://[::1",
                "ftp://127.0.0.1",
                "http://127.0.0.1.evil.example",
            )
        ),
        ("[auth]\nentra = 7", "auth.entra: must be a table"),
        ('[auth]\npepper = { env = "RELAY_KEY" }', "auth.pepper: must have at least 32 characters"),
        ('[auth]\npepper = "x"', "auth.pepper: a secret does not belong in a file"),
        ('[auth]\npepper = { env = "PEPPER_2" }', "auth.pepper: the environment variable PEPPER_2 is not set"),
        ('[auth]\npeppers = { 0 = { env = "PEPPER_1" } }', "auth.peppers.0: is no version"),
        ('[auth]\npeppers = { new = { env = "PEPPER_1" } }', "auth.peppers.new: is no version"),
        ('[auth]\npeppers = { 4294967296 = { env = "PEPPER_1" } }', "auth.peppers.4294967296: is no version"),
        (
            '[auth]\npepper = { env = "PEPPER_1" }\npeppers = { 1 = { env = "PEPPER_3" } }',
            "auth.peppers.1: is set, and so is pepper",
        ),
        ("[auth]\nunpeppered_keys = true", "auth.unpeppered_keys: is true without a pepper"),
        ("[auth]\nkey_cache_seconds = 1", "auth.key_cache_seconds: must be between"),
        ("[auth]\nfailures_per_minute = -1", "auth.failures_per_minute: must be between"),
        ('[auth]\nanonymous = true\napi_key = { env = "RELAY_KEY" }', "auth.anonymous: is true although a key is set"),
        ("[auth]\nanonymous = true\n" + ENTRA, "auth.anonymous: is true although callers are to sign in"),
        ("[auth]\nanonymous = true\napp_service = true", "auth.anonymous: is true although callers are to sign in"),
        ('[auth]\napp_service = "yes"', "auth.app_service: must be true or false"),
    ]:
        with subtests.test(text=text):
            assert any(found.startswith(problem) for found in problems(tmp_path, text))


def test_what_closes_the_door_to_this_machine_too(tmp_path: Path, subtests: pytest.Subtests) -> None:
    for text, closed in [
        ("", False),
        ("[auth]\nanonymous = true", False),
        ("[callers.x]\n[callers.y]", False),
        (f'[callers.x]\n[callers.y]\nkey_sha256 = "{"0" * 64}"', True),
        ('[auth]\napi_key = { env = "RELAY_KEY" }', True),
        ("[auth]\napp_service = true", True),
        (ENTRA, True),
    ]:
        with subtests.test(text=text):
            settings = read(tmp_path, text)
            assert settings.closed is closed
            gatekeeper = access(settings, FakeClock(), FakeClock()).gatekeeper
            assert ("closed" in repr(gatekeeper)) is closed

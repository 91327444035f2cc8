"""The files of Visual Studio Code and of the dev container: they are JSON, and what they name exists."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from scripts.package_functions import PYTHONS
from tests.rows import rows

ROOT = Path(__file__).parents[1]

if not (ROOT / ".vscode").is_dir():
    pytest.skip("this is a source distribution, which has no .vscode/ and no .devcontainer/", allow_module_level=True)


def read(name: str) -> Any:
    return json.loads((ROOT / name).read_text("utf-8"))


TASKS = {task["label"]: task for task in read(".vscode/tasks.json")["tasks"]}
SETTINGS = read(".vscode/settings.json")


@rows("label", TASKS)
def test_a_task_runs_a_script_that_is_there(label: str) -> None:
    task = TASKS[label]
    if task["type"] == "func":
        assert (ROOT / task["options"]["cwd"].removeprefix("${workspaceFolder}/") / "host.json").is_file()
    else:
        assert os.access(ROOT / task["command"], os.X_OK)
    for other in ("windows", "linux", "osx"):
        if other in task:
            program, script = task[other]["command"].split(" ")
            assert program == "python"
            assert (ROOT / script.replace("\\", "/")).is_file()


def test_what_is_to_run_before_is_a_task() -> None:
    before = [launch.get("preLaunchTask") for launch in read(".vscode/launch.json")["configurations"]]
    before += [task.get("dependsOn") for task in TASKS.values()]
    before.append(SETTINGS["azureFunctions.preDeployTask"])
    assert {label for label in before if label} <= set(TASKS)


def test_the_debugger_attaches_where_the_extension_lets_the_worker_listen() -> None:
    attaching = [each for each in read(".vscode/launch.json")["configurations"] if each["request"] == "attach"]
    assert [each["connect"] for each in attaching] == [{"host": "localhost", "port": 9091}]
    assert TASKS[attaching[0]["preLaunchTask"]]["type"] == "func"


def test_the_functions_extension_finds_the_app_and_deploys_the_package() -> None:
    assert (ROOT / SETTINGS["azureFunctions.projectSubpath"] / "function_app.py").is_file()
    assert SETTINGS["azureFunctions.deploySubpath"] == "dist/functions"
    assert "dist/functions" in (ROOT / "scripts" / "package_functions.py").read_text("utf-8")
    assert SETTINGS["azureFunctions.projectLanguageModel"] == 2


class TestDevContainer:
    container = read(".devcontainer/devcontainer.json")

    def test_its_python_is_the_functions_default(self) -> None:
        assert f":{PYTHONS[0]}-" in self.container["image"]

    def test_every_feature_and_core_tools_have_a_version(self) -> None:
        assert all(re.fullmatch(r"ghcr\.io/.+:[0-9.]+", feature) for feature in self.container["features"])
        prepare = ROOT / self.container["postCreateCommand"]
        assert os.access(prepare, os.X_OK)
        assert re.search(r"azure-functions-core-tools@4\.\d+\.\d+$", prepare.read_text("utf-8"), re.MULTILINE)

    def test_it_has_the_extensions_that_are_recommended(self) -> None:
        wanted = read(".vscode/extensions.json")["recommendations"]
        assert self.container["customizations"]["vscode"]["extensions"] == wanted


@pytest.mark.parametrize("name", ["package-functions", "functions-local"])
def test_the_short_command_and_the_program_are_both_documented(name: str) -> None:
    text = (ROOT / "docs" / "deploy-functions.md").read_text("utf-8")
    assert f"scripts/{name}" in text
    assert f"scripts\\{name.replace('-', '_')}.py" in text or name.replace("-", "_") + ".py" in text

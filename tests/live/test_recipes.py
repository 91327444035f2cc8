"""Every recipe in the documentation runs as it is printed, against a relay that was started as a newcomer starts it."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml
from tests import markdown
from tests.live.client_packages import CODEX, NODE, npm_packages, python_clients
from tests.live.relays import RelayProcess, clean_environment
from tests.markdown import Fence

ADDRESS = "http://127.0.0.1:7221"
QUICK = {"CHUKEI_SIMULATOR__FIRST_TOKEN_SECONDS": "0", "CHUKEI_SIMULATOR__INTER_TOKEN_SECONDS": "0"}

# What the browser's recipes have that Node lacks: a page to write to, and before version 22 WebSockets.
BROWSER = """
globalThis.document = { body: { append: (text) => process.stdout.write(text) } };
globalThis.WebSocket ??= (await import("ws")).WebSocket;
"""


@pytest.fixture(scope="module")
def relay() -> Iterator[RelayProcess]:
    with RelayProcess(QUICK) as relay:
        yield relay


def local(fence: Fence, relay: RelayProcess) -> str:
    """Return a recipe with the relay's own address, without a look at the machine's proxies."""
    return fence.text.replace(urlsplit(ADDRESS).netloc, urlsplit(relay.url).netloc)


def run(command: list[str], folder: Path, more: dict[str, str] | None = None) -> str:
    environment = clean_environment(more)
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr[-2000:]
    return result.stdout


ELSEWHERE = re.compile(r"\b(az account|azd|docker|func|helm|kubectl|podman) ")
"""What a recipe may need that not every machine has: an account of Azure, a cluster, a host of containers."""


def recipes(*languages: str) -> list[Fence]:
    """Return the recipes for a relay on this machine that need nothing else."""
    return [
        fence for fence in markdown.fences(*languages) if ADDRESS in fence.text and not ELSEWHERE.search(fence.text)
    ]


# Runs each file as a program. The packages are imported once for all, which takes longer than all recipes.
RUNNER = """
import contextlib, io, json, runpy, sys, traceback
for file in sys.argv[1:]:
    said, wrong = io.StringIO(), ""
    with contextlib.redirect_stdout(said):
        try:
            runpy.run_path(file, run_name="__main__")
        except BaseException:
            wrong = traceback.format_exc()
    print(json.dumps({"said": said.getvalue(), "wrong": wrong}))
"""


# Packages that the tests do not have themselves, and whose recipes run in the clients' own environment.
OTHERS = re.compile(r"^from (agents|semantic_kernel)\b", re.MULTILINE)


def is_own(fence: Fence) -> bool:
    """Whether a recipe needs only what the tests have."""
    return OTHERS.search(fence.text) is None


@pytest.fixture(scope="module")
def told(relay: RelayProcess, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """What each recipe in Python printed, and how it failed."""
    folder, fences = tmp_path_factory.mktemp("recipes"), [each for each in recipes("python") if is_own(each)]
    files = [folder / f"recipe{number}.py" for number in range(len(fences))]
    for file, fence in zip(files, fences, strict=True):
        file.write_text(local(fence, relay), "utf-8")
    lines = run([sys.executable, "-W", "error", "-c", RUNNER, *map(str, files)], folder).splitlines()
    return {str(fence): json.loads(line) for fence, line in zip(fences, lines, strict=True)}


@pytest.mark.parametrize("fence", [each for each in recipes("python") if not is_own(each)], ids=str)
def test_python_clients(fence: Fence, relay: RelayProcess, tmp_path: Path) -> None:
    file = tmp_path / "recipe.py"
    file.write_text(local(fence, relay), "utf-8")
    assert len(run([str(python_clients()), str(file)], tmp_path).split()) > 2


@pytest.mark.parametrize("fence", [each for each in recipes("python") if is_own(each)], ids=str)
def test_python(fence: Fence, told: dict[str, dict[str, str]]) -> None:
    assert told[str(fence)]["wrong"] == ""
    said = told[str(fence)]["said"]
    if "chat--truncate" in fence.text:
        assert said.startswith("stream_incomplete - ")
    elif "repeat: " in fence.text:
        assert said.strip() == fence.text.partition("repeat: ")[2].partition('"')[0]
    else:
        assert len(said.split()) > 2


# Files of clients' settings. The first line of each names the file, below the user's home.
SETTINGS = {fence.text.partition("\n")[0].removeprefix("# "): fence for fence in recipes("yaml", "toml")}

# Programs whose settings are such files, and where to find them.
PROGRAMS = {
    "llm": lambda: python_clients().parent,
    "codex": lambda: npm_packages(CODEX) / ".bin",
    "cn": lambda: npm_packages() / ".bin",
}


def program(fence: Fence) -> str:
    """Return the program that a recipe for the shell begins with, after its variables."""
    return next((word for word in fence.text.split() if "=" not in word), "")


def test_every_file_of_settings_is_tried() -> None:
    folders = {"~/.config/io.datasette.llm": "llm", "~/.codex": "codex", "~/.continue": "cn"}
    begun = {program(fence) for fence in markdown.fences("sh")}
    tried = {name for name in SETTINGS if folders.get(name.rpartition("/")[0]) in begun & set(PROGRAMS)}
    assert set(SETTINGS) - tried == {"librechat.yaml"}
    assert len(tried) == len(PROGRAMS)


@pytest.mark.parametrize("fence", [each for each in markdown.fences("sh") if program(each) in PROGRAMS], ids=str)
def test_programs(fence: Fence, relay: RelayProcess, tmp_path: Path) -> None:
    folder = PROGRAMS[program(fence)]()
    for name, settings in SETTINGS.items():
        file = tmp_path / name.removeprefix("~/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(local(settings, relay), "utf-8")
    home = {"HOME": str(tmp_path), "PATH": f"{folder}:{os.environ['PATH']}"}
    for command in fence.text.splitlines():
        said = run(["sh", "-c", command], tmp_path, home)
        assert ("soba" in said.lower() or "{" in said) if "--schema" in command else len(said.split()) > 2


def test_the_settings_of_librechat_are_valid(tmp_path: Path) -> None:
    npm_packages()
    settings = yaml.safe_load(SETTINGS["librechat.yaml"].text)
    code = """
        import { configSchema } from "librechat-data-provider";
        const found = configSchema.strict().safeParse(JSON.parse(process.argv[1]));
        console.log(found.success ? "valid" : JSON.stringify(found.error.issues));
    """
    command = ["node", "--input-type=module", "--eval", code]
    assert run([*command, json.dumps(settings)], NODE) == "valid\n"
    settings["endpoints"]["custom"][0]["models"]["default"] = 1
    assert run([*command, json.dumps(settings)], NODE) != "valid\n", "the schema says nothing"


@pytest.mark.parametrize("fence", recipes("powershell"), ids=str)
def test_powershell(fence: Fence, relay: RelayProcess, tmp_path: Path) -> None:
    if shutil.which("pwsh") is None:
        pytest.skip("there is no PowerShell on this machine")
    file = tmp_path / "recipe.ps1"
    file.write_text(local(fence, relay), "utf-8")
    assert len(run(["pwsh", "-NoProfile", "-File", str(file)], tmp_path).split()) > 2


@pytest.mark.parametrize("fence", recipes("sh"), ids=str)
def test_curl(fence: Fence, relay: RelayProcess, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("there is no curl on this machine")
    assert fence.text.startswith("curl ")
    said = run(["sh", "-c", "set -e\n" + local(fence, relay)], tmp_path)
    if "chat--truncate" in fence.text:
        assert "event: error" in said
    elif "/metrics" in fence.text:
        assert "\nchukei_requests_total{" in said
    else:
        assert said.rstrip().endswith("data: [DONE]")


def test_the_printed_events_are_those_that_arrive(relay: RelayProcess) -> None:
    """docs/http.md shows a stream: the request above it gets just that."""
    text = markdown.section(markdown.read("docs/http.md"), "/api/chat-stream")
    shown = text.partition("```\ndata:")[2].partition("```")[0]
    request = next(fence for fence in recipes("sh") if "repeat: one" in fence.text)
    if shutil.which("curl") is None:
        pytest.skip("there is no curl on this machine")
    assert run(["sh", "-c", local(request, relay)], markdown.ROOT) == "data:" + shown


@pytest.mark.parametrize("fence", recipes("js"), ids=str)
def test_javascript(fence: Fence, relay: RelayProcess, tmp_path: Path) -> None:
    (tmp_path / "node_modules").symlink_to(npm_packages())
    file = tmp_path / "recipe.mjs"
    file.write_text(BROWSER + local(fence, relay), "utf-8")
    assert len(run(["node", str(file)], tmp_path).split()) > 2


def test_the_first_command_needs_no_configuration() -> None:
    """What the README types first is `scripts/run`, which is executable and serves what this suite serves."""
    script = markdown.ROOT / "scripts" / "run"
    assert os.access(script, os.X_OK)
    assert "scripts/run" in markdown.section(markdown.read("README.md"), "Sixty seconds")

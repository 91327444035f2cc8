"""Every recipe in the documentation runs as it is printed, against a relay that was started as a newcomer starts it."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import markdown
from tests.live.relays import RelayProcess, clean_environment
from tests.markdown import Fence

ADDRESS = "http://127.0.0.1:7221"
NODE = markdown.ROOT / "tests" / "node"
QUICK = {"CHUKEI_SIMULATOR__FIRST_TOKEN_SECONDS": "0", "CHUKEI_SIMULATOR__INTER_TOKEN_SECONDS": "0"}

# The page that the browser's recipe writes to.
DOCUMENT = "globalThis.document = { body: { append: (text) => process.stdout.write(text) } };\n"


@pytest.fixture(scope="module")
def relay() -> Iterator[RelayProcess]:
    with RelayProcess(QUICK) as relay:
        yield relay


def local(fence: Fence, relay: RelayProcess) -> str:
    """Return a recipe with the relay's own address, without a look at the machine's proxies."""
    return fence.text.replace(ADDRESS, relay.url)


def run(command: list[str], folder: Path) -> str:
    result = subprocess.run(command, cwd=folder, env=clean_environment(), capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr[-2000:]
    return result.stdout


def recipes(*languages: str) -> list[Fence]:
    """Return the recipes for a relay on this machine that need nothing of Azure."""
    return [fence for fence in markdown.fences(*languages) if ADDRESS in fence.text and "az account" not in fence.text]


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


@pytest.fixture(scope="module")
def told(relay: RelayProcess, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """What each recipe in Python printed, and how it failed."""
    folder, fences = tmp_path_factory.mktemp("recipes"), recipes("python")
    files = [folder / f"recipe{number}.py" for number in range(len(fences))]
    for file, fence in zip(files, fences, strict=True):
        file.write_text(local(fence, relay), "utf-8")
    lines = run([sys.executable, "-W", "error", "-c", RUNNER, *map(str, files)], folder).splitlines()
    return {str(fence): json.loads(line) for fence, line in zip(fences, lines, strict=True)}


@pytest.mark.parametrize("fence", recipes("python"), ids=str)
def test_python(fence: Fence, told: dict[str, dict[str, str]]) -> None:
    assert told[str(fence)]["wrong"] == ""
    said = told[str(fence)]["said"]
    if "chat--truncate" in fence.text:
        assert said.startswith("stream_incomplete - ")
    elif "repeat: " in fence.text:
        assert said.strip() == fence.text.partition("repeat: ")[2].partition('"')[0]
    else:
        assert len(said.split()) > 2


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
    packages = sorted(NODE.glob("node_modules/openai-*"))
    if shutil.which("node") is None or not packages:
        pytest.skip("Node, or the npm package that other tests install, is not on this machine")
    entry = (packages[-1] / "index.mjs").as_uri()
    code = local(fence, relay).replace('from "openai"', f'from "{entry}"')
    file = tmp_path / "recipe.mjs"
    file.write_text(DOCUMENT + code, "utf-8")
    assert len(run(["node", str(file)], tmp_path).split()) > 2


def test_the_first_command_needs_no_configuration() -> None:
    """What the README types first is `scripts/run`, which is executable and serves what this suite serves."""
    script = markdown.ROOT / "scripts" / "run"
    assert os.access(script, os.X_OK)
    assert "scripts/run" in markdown.section(markdown.read("README.md"), "Sixty seconds")

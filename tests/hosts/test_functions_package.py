"""The folder for Azure that scripts/package-functions makes, loaded with only the packages of its requirements."""

import importlib.metadata
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from tests.live.functions_client import call, request
from tests.live.functions_host import ROOT, FunctionsHost

pytestmark = pytest.mark.anyio

KEY = {"CHUKEI_API_KEY": "a-key-for-callers"}
# The platform brings the worker; below Python 3.13 an app does not pin it.
WORKER = "azure-functions-runtime"


def pins(path: Path) -> dict[str, str]:
    """Name and version of each release that a locked requirements file names for this Python."""
    lines = (line.split("\\")[0].strip() for line in path.read_text().splitlines() if line[:1].isalnum())
    wanted = [Requirement(line) for line in lines]
    return {canonicalize_name(r.name): str(r.specifier) for r in wanted if r.marker is None or r.marker.evaluate()}


def link_distribution(name: str, target: Path) -> None:
    """Puts the files of an installed distribution into another directory, by symbolic links."""
    for file in importlib.metadata.distribution(name).files or ():
        if ".." not in file.parts and file.suffix != ".pyc":
            link = target.joinpath(*file.parts)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(file.locate())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("package") / "functions"
    environment = {**os.environ, "FUNCTIONS_PACKAGE": str(target), "PYTHON": sys.executable}
    subprocess.run([ROOT / "scripts" / "package-functions"], env=environment, check=True, stdout=subprocess.DEVNULL)
    return target


@pytest.fixture(scope="module")
def packaged(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FunctionsHost]:
    """The packaged folder in a Python without site-packages, but for what its requirements name and are installed."""
    site = tmp_path_factory.mktemp("site")
    installed = {canonicalize_name(distribution.name) for distribution in importlib.metadata.distributions()}
    for name in {*pins(folder / "requirements.txt"), WORKER} & installed:
        link_distribution(name, site)
    environment = {**KEY, "PYTHONPATH": str(site)}
    with FunctionsHost(folder, environment, interpreter=(sys.executable, "-S")) as running:
        yield running


async def test_the_folder_serves_with_what_its_requirements_name(packaged: FunctionsHost) -> None:
    assert (await call(packaged, "/health/live"))[0] == 200
    body = json.dumps({"messages": [{"role": "user", "content": "Hello"}]}).encode()
    headers = [("api-key", KEY["CHUKEI_API_KEY"]), ("content-type", "application/json")]
    async with request(packaged, "POST", "/api/chat-stream", headers=headers, body=body) as exchange:
        assert (await exchange.response()).status_code == 200
        assert (await exchange.rest()).endswith(b"data: [DONE]\n\n")


async def test_the_line_for_a_request_reaches_the_log_with_its_fields(packaged: FunctionsHost) -> None:
    """The platform keeps a record's message and nothing that is attached to it."""
    await call(packaged, "/v1/models", headers=[("x-request-id", "for-the-log"), ("api-key", KEY["CHUKEI_API_KEY"])])
    packaged.wait_for_log('"request_id":"for-the-log"')
    assert KEY["CHUKEI_API_KEY"] not in packaged.logs


async def test_the_host_beside_the_worker_is_not_taken_for_a_local_caller(packaged: FunctionsHost) -> None:
    body = json.dumps({"messages": [{"role": "user", "content": "Hello"}]}).encode()
    headers = [("content-type", "application/json")]
    status, answer = await call(packaged, "/v1/chat/completions", "POST", headers=headers, body=body)
    assert (status, answer["error"]["type"]) == (401, "authentication_error")


async def test_a_configuration_with_mistakes_is_told_to_the_log_and_not_to_callers() -> None:
    with FunctionsHost(ROOT / "functions", {**KEY, "CHUKEI_SERVER__PORT": "a-port-that-is-none"}) as host:
        for path in ("/", "/health/live", "/v1/models"):
            status, answer = await call(host, path)
            assert (status, answer["error"]["code"]) == (500, "misconfigured")
            assert "PORT" not in json.dumps(answer).upper()
        host.wait_for_log("CHUKEI_SERVER__PORT")


def test_the_folder_has_no_more_than_it_needs(folder: Path) -> None:
    expected = {"chukei", "function_app.py", "host.json", "requirements.txt", ".funcignore"}
    # A host that other tests started here may have left its bytecode.
    assert {path.name for path in folder.iterdir()} - {"chukei.toml", "__pycache__"} == expected


def test_what_is_deployed_is_what_is_tested() -> None:
    deployed, tested = pins(ROOT / "functions" / "requirements.txt"), pins(ROOT / "requirements" / "test.txt")
    differing = {name for name in deployed.keys() & tested.keys() if deployed[name] != tested[name]}
    assert not differing
    assert {"azure-functions", "fastapi", "uvicorn", "msgspec"} <= deployed.keys() & tested.keys()


def test_the_extension_imports_without_warnings() -> None:
    """It takes names from FastAPI that FastAPI has deprecated: a FastAPI that drops them must not get in unnoticed."""
    command = [sys.executable, "-W", "error", "-c", "import azurefunctions.extensions.http.fastapi"]
    assert subprocess.run(command, capture_output=True, text=True, check=False).stderr == ""

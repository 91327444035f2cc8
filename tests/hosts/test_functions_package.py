"""The folder for Azure that scripts/package-functions makes, loaded with only the packages of its requirements.

Packaging itself is tried on copies of the clone, with an interpreter that has nothing but the standard library.
"""

import importlib.metadata
import json
import marshal
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import CodeType

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from scripts.package_functions import PYTHONS
from tests.hosts.clones import INTERPRETER, clone, run
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


def test_the_folder_has_no_more_than_it_needs(folder: Path) -> None:
    expected = {"chukei", "function_app.py", "host.json", "requirements.txt", ".funcignore"}
    assert not [path for path in folder.rglob("*") if path.is_symlink()]
    # A host that other tests started here may have left its bytecode.
    assert {path.name for path in folder.iterdir()} - {"chukei.toml", "__pycache__"} == expected


# Packaging.

SECRET = "a-secret-of-the-developer"


def used(folder: Path) -> Path:
    """A clone in which somebody has worked."""
    clone(folder)
    functions = folder / "functions"
    for name in ("local.settings.json", ".env", ".venv/bin/python", "notes.txt"):
        (functions / name).parent.mkdir(parents=True, exist_ok=True)
        (functions / name).write_text(SECRET)
    (folder / "src" / "chukei" / ".env").write_text(SECRET)
    (folder / "src" / "chukei" / "local.settings.json").write_text(SECRET)
    return folder


@pytest.fixture
def workplace(tmp_path: Path) -> Path:
    """A clone in a folder with a space in its name."""
    return used(tmp_path / "my clone")


@pytest.fixture(scope="module")
def zipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another, with a package and its zip."""
    folder = used(tmp_path_factory.mktemp("zipped") / "my clone")
    done = run(folder, "package_functions.py", "--zip")
    assert done.stdout.splitlines() == [str(folder / "dist" / "functions"), str(folder / "dist" / "functions.zip")]
    return folder


def packed(folder: Path) -> dict[str, bytes]:
    """Name and content of each file in the zip."""
    with zipfile.ZipFile(folder / "dist" / "functions.zip") as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def test_nothing_of_the_developer_gets_into_the_package(zipped: Path) -> None:
    target = zipped / "dist" / "functions"
    files = packed(zipped)
    assert set(files) == {path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()}
    assert {"function_app.py", "host.json", "chukei/__init__.py", "chukei/LICENSE"} <= set(files)
    assert not [name for name, content in files.items() if SECRET.encode() in content]
    # Nor where it was made: bytecode holds the name of its source.
    assert not [name for name, content in files.items() if os.fsencode(zipped.name) in content]


def test_the_package_is_small(zipped: Path) -> None:
    """The platform's limits are counted in hundreds of megabytes; what is uploaded at each deployment should not be."""
    files = packed(zipped)
    assert sum(map(len, files.values())) < 8_500_000
    assert (zipped / "dist" / "functions.zip").stat().st_size < 4_000_000
    assert max(map(len, files)) < 100  # Windows has room for 260 with the folder's own name


def test_the_same_files_make_the_same_zip(zipped: Path) -> None:
    first = (zipped / "dist" / "functions.zip").read_bytes()
    for path in (zipped / "src").rglob("*.py"):
        os.utime(path, (1, 1))
    run(zipped, "package_functions.py", "--zip")
    assert (zipped / "dist" / "functions.zip").read_bytes() == first


def test_tracebacks_name_the_files_where_the_platform_has_them(folder: Path) -> None:
    if f"{sys.version_info.major}.{sys.version_info.minor}" not in PYTHONS:
        pytest.skip("the platform does not have this Python, so there is no bytecode of it")
    cached = next((folder / "chukei" / "__pycache__").glob("cli.*.pyc"))
    code = marshal.loads(cached.read_bytes()[16:])
    assert isinstance(code, CodeType)
    assert code.co_filename == "/home/site/wwwroot/chukei/cli.py"


def test_a_stale_package_is_replaced_whole(workplace: Path) -> None:
    run(workplace, "package_functions.py")
    target = workplace / "dist" / "functions"
    (target / "chukei" / "gone.py").write_text("")
    (target / "local.settings.json").write_text(SECRET)
    (workplace / "src" / "chukei" / "new.py").write_text("")
    assert run(workplace, "package_functions.py").returncode == 0
    assert not (target / "chukei" / "gone.py").exists()
    assert not (target / "local.settings.json").exists()
    assert (target / "chukei" / "new.py").is_file()
    assert [path.name for path in (workplace / "dist").iterdir()] == ["functions"]


@pytest.mark.parametrize("name", ["functions", "src", "precious"])
def test_a_folder_that_is_no_package_is_left_alone(workplace: Path, name: str) -> None:
    (workplace / "precious").mkdir()
    (workplace / "precious" / "thesis.txt").write_text("years of work")
    before = {path for path in (workplace / name).rglob("*") if "__pycache__" not in path.parts}
    done = run(workplace, "package_functions.py", "--output", str(workplace / name))
    assert done.returncode == 1
    assert "is no package of this program" in done.stderr
    assert {path for path in (workplace / name).rglob("*") if "__pycache__" not in path.parts} == before


def test_a_configuration_comes_along_unless_it_is_no_toml(workplace: Path) -> None:
    configuration = workplace / "functions" / "chukei.toml"
    configuration.write_text("[stream]\nheartbeat_seconds = 10\n")
    run(workplace, "package_functions.py")
    packaged = workplace / "dist" / "functions" / "chukei.toml"
    assert packaged.read_text() == configuration.read_text()
    configuration.write_text("[stream]\nheartbeat_seconds = \n")
    done = run(workplace, "package_functions.py")
    assert done.returncode == 1
    assert "functions/chukei.toml is not TOML" in done.stderr
    assert "line 2" in done.stderr
    assert "heartbeat_seconds = 10" in packaged.read_text()  # the package before is still whole
    assert [path.name for path in (workplace / "dist").iterdir()] == ["functions"]


def test_several_runs_at_once_leave_one_whole_package(workplace: Path) -> None:
    command = [*INTERPRETER, str(workplace / "scripts" / "package_functions.py")]
    runs = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for _ in range(3)]
    errors = [each.communicate(timeout=120)[1] for each in runs]
    assert [each.returncode for each in runs] == [0, 0, 0], errors
    assert [path.name for path in (workplace / "dist").iterdir()] == ["functions"]
    sources = {path.relative_to(ROOT / "src") for path in (ROOT / "src" / "chukei").rglob("*.py")}
    made = workplace / "dist" / "functions"
    assert sources == {path.relative_to(made) for path in (made / "chukei").rglob("*.py")}


def test_what_is_deployed_is_what_is_tested() -> None:
    deployed, tested = pins(ROOT / "functions" / "requirements.txt"), pins(ROOT / "requirements" / "test.txt")
    differing = {name for name in deployed.keys() & tested.keys() if deployed[name] != tested[name]}
    assert not differing
    assert {"azure-functions", "fastapi", "uvicorn", "msgspec"} <= deployed.keys() & tested.keys()


def test_the_extension_imports_without_warnings() -> None:
    """It takes names from FastAPI that FastAPI has deprecated: a FastAPI that drops them must not get in unnoticed."""
    command = [sys.executable, "-W", "error", "-c", "import azurefunctions.extensions.http.fastapi"]
    assert subprocess.run(command, capture_output=True, text=True, check=False).stderr == ""

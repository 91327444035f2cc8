"""A local build of the function app for the Python that runs the tests: downloaded, measured, judged and served."""

import importlib.metadata
import json
import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from scripts.package_functions import GLIBC, PYTHONS, SITE, environment
from tests.hosts.clones import clone
from tests.live.functions_client import call, request
from tests.live.functions_host import ROOT, FunctionsHost

LOCK = ROOT / "functions" / "requirements.txt"
OWN = f"{sys.version_info.major}.{sys.version_info.minor}"
KEY = "a-key-for-callers"


pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(OWN not in PYTHONS, reason=f"the platform has no Python {OWN}"),
]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = clone(tmp_path_factory.mktemp("build") / "a clone")
    command = [sys.executable, str(folder / "scripts" / "package_functions.py"), "--build", "local", "--python", OWN]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    unreachable = re.search(r".*(NewConnectionError|ConnectTimeout|from versions: none|ProxyError).*", done.stderr)
    if unreachable is not None:
        pytest.skip(f"no package index can be reached: {unreachable[0][:200]}")
    assert done.returncode == 0, done.stderr
    return folder / "dist" / "functions"


def locked() -> dict[str, str]:
    """Name and version of what the lock has for this Python on the platform."""
    lines = (line.split("\\")[0].strip() for line in LOCK.read_text().splitlines() if line[:1].isalnum())
    wanted = [Requirement(line) for line in lines]
    fitting = [each for each in wanted if each.marker is None or each.marker.evaluate(environment(OWN))]
    return {canonicalize_name(each.name): str(each.specifier).removeprefix("==") for each in fitting}


def test_a_local_build_holds_what_is_locked(built: Path) -> None:
    found = {
        canonicalize_name(distribution.name): distribution.version
        for distribution in importlib.metadata.distributions(path=[str(built / SITE)])
    }
    assert found == locked()


def test_its_libraries_ask_for_no_newer_c_library_than_the_platform_has(built: Path) -> None:
    libraries = sorted((built / SITE).rglob("*.so*"))
    assert len(libraries) > 10
    for library in libraries:
        content = library.read_bytes()
        assert content[:5] == b"\x7fELF\x02"
        assert int.from_bytes(content[18:20], "little") == 62, library  # EM_X86_64
        versions = {int(found) for found in re.findall(rb"GLIBC_2\.(\d+)", content)}
        assert max(versions, default=0) <= GLIBC[1], library


def test_it_is_far_from_the_limits_of_the_platform(built: Path) -> None:
    size = sum(path.stat().st_size for path in built.rglob("*") if path.is_file())
    assert size < 120_000_000
    assert max(len(path.relative_to(built).as_posix()) for path in built.rglob("*")) < 180


async def test_it_serves_with_nothing_but_what_it_holds(built: Path, tmp_path: Path) -> None:
    if sysconfig.get_platform() != "linux-x86_64":
        pytest.skip("the build is for Linux on x86_64")
    if not (built / SITE / "azure_functions_runtime").is_dir():  # up to 3.12 the platform brings its worker itself
        worker = importlib.metadata.distribution("azure-functions-runtime").locate_file("azure_functions_runtime")
        (tmp_path / "azure_functions_runtime").symlink_to(str(worker))
    settings = {"CHUKEI_API_KEY": KEY, "PYTHONPATH": os.pathsep.join(map(str, (built / SITE, tmp_path)))}
    with FunctionsHost(built, settings, interpreter=(sys.executable, "-S")) as host:
        assert (await call(host, "/health/live"))[0] == 200
        body = json.dumps({"messages": [{"role": "user", "content": "say: hello"}]}).encode()
        headers = [("api-key", KEY), ("content-type", "application/json")]
        async with request(host, "POST", "/api/chat-stream", headers=headers, body=body) as exchange:
            assert (await exchange.response()).status_code == 200
            assert (await exchange.rest()).endswith(b"data: [DONE]\n\n")

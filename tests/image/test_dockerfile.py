"""The Dockerfile and what it installs, without building it."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from tests import markdown

PROJECT = tomllib.loads(markdown.read("pyproject.toml"))["project"]
TEXT = markdown.read("Dockerfile").replace("\\\n", " ")


def pins(lock: str) -> dict[str, str]:
    """Return the versions of a lock by package."""
    found = re.findall(r"^([\w.-]+)(?:\[[\w,-]+\])?==(\S+)", markdown.read(f"requirements/{lock}.txt"), re.MULTILINE)
    return {name.lower(): version for name, version in found}


def test_it_follows_the_rules_for_such_files() -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not installed")
    done = subprocess.run([hadolint, "--no-color", markdown.ROOT / "Dockerfile"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_every_extra_is_locked_for_the_image() -> None:
    extras = PROJECT["optional-dependencies"]
    assert len(extras) > 5
    wanted = [
        Requirement(each) for each in PROJECT["dependencies"] + [each for extra in extras.values() for each in extra]
    ]
    assert {each.name.lower() for each in wanted} - pins("image").keys() == set()


@pytest.mark.parametrize("lock", ["image", "build"])
def test_the_image_has_the_versions_that_are_tested(lock: str) -> None:
    tested = pins("test")
    assert {name: version for name, version in pins(lock).items() if tested.get(name) != version} == {}


def test_what_builds_the_package_is_not_installed_for_it() -> None:
    assert pins("build").keys() & pins("image").keys() == set()


def test_a_change_of_the_source_does_not_install_the_libraries_anew() -> None:
    stages = re.split(r"^FROM ", TEXT, flags=re.MULTILINE)
    (libraries,) = [stage for stage in stages if "requirements/image.txt" in stage]
    assert "COPY src" not in libraries
    (application,) = [stage for stage in stages if "COPY src" in stage]
    assert application.index("requirements/build.txt") < application.index("COPY src")


def test_every_library_has_a_wheel_for_arm64(tmp_path: Path) -> None:
    """There is no compiler where the image is built. pip asks its index, which must be within reach."""
    platforms = [f"--platform=manylinux_2_{minor}_aarch64" for minor in range(17, 42)]
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--no-deps", "--require-hashes"]
    command += ["--only-binary=:all:", "--python-version=3.13", "--implementation=cp", *platforms]
    command += ["--platform=manylinux2014_aarch64", f"--target={tmp_path}", "-r", "requirements/image.txt"]
    done = subprocess.run(command, cwd=markdown.ROOT, capture_output=True, text=True)
    if "ConnectionError" in done.stderr or "NewConnectionError" in done.stderr:
        pytest.skip("no package index is within reach")
    assert done.returncode == 0, done.stderr

"""The locked packages fit the platform: its Python versions, its Linux and the C library of its oldest image.

A lock holds hashes without file names. functions/wheels.txt, which is written with the lock, says which wheels of the
index they stand for. tests/live/test_functions_build.py installs them.
"""

import re
from collections.abc import Iterator

from packaging.requirements import Requirement
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import canonicalize_name, parse_wheel_filename
from scripts.package_functions import PLATFORMS, PYTHONS, environment
from tests.live.functions_host import ROOT
from tests.rows import rows

LOCK = ROOT / "functions" / "requirements.txt"
RECORD = ROOT / "functions" / "wheels.txt"


def recorded() -> Iterator[tuple[str, str, list[str]]]:
    """Hash, file name and Python versions of each recorded wheel."""
    for line in RECORD.read_text().splitlines():
        if not line.startswith("#"):
            digest, name, *pythons = line.split()
            yield digest, name, pythons


def tags_of(python: str) -> set[Tag]:
    """The tags of wheels that run on the platform."""
    major, _, minor = python.partition(".")
    version = (int(major), int(minor))
    return {*cpython_tags(version, platforms=PLATFORMS), *compatible_tags(version, platforms=PLATFORMS)}


def locked(python: str) -> dict[str, str]:
    """Name and version of what the lock has for this Python on the platform."""
    lines = (line.split("\\")[0].strip() for line in LOCK.read_text().splitlines() if line[:1].isalnum())
    wanted = [Requirement(line) for line in lines]
    fitting = [each for each in wanted if each.marker is None or each.marker.evaluate(environment(python))]
    return {canonicalize_name(each.name): str(each.specifier).removeprefix("==") for each in fitting}


@rows("python", PYTHONS)
def test_every_requirement_has_a_wheel_for_the_platform(python: str) -> None:
    found = {}
    for _, name, pythons in recorded():
        distribution, version, _, tags = parse_wheel_filename(name)
        if python in pythons and tags & tags_of(python):
            found[canonicalize_name(distribution)] = str(version)
    assert found == locked(python)


def test_the_record_is_of_this_lock() -> None:
    hashes = set(re.findall(r"--hash=sha256:([0-9a-f]{64})", LOCK.read_text()))
    digests = [digest for digest, _, _ in recorded()]
    assert len(digests) > 50
    assert set(digests) <= hashes


def test_a_wheel_for_another_system_or_a_newer_one_would_not_pass() -> None:
    for tag in ("cp313-cp313-macosx_11_0_arm64", "cp313-cp313-win_amd64", "cp313-cp313-musllinux_1_2_x86_64"):
        assert not parse_wheel_filename(f"a-1-{tag}.whl")[3] & tags_of("3.13")
    assert not parse_wheel_filename("a-1-cp313-cp313-manylinux_2_34_x86_64.whl")[3] & tags_of("3.13")
    assert not parse_wheel_filename("a-1-cp312-cp312-manylinux_2_17_x86_64.whl")[3] & tags_of("3.13")
    assert parse_wheel_filename("a-1-cp38-abi3-manylinux_2_28_x86_64.whl")[3] & tags_of("3.13")


def test_the_tests_and_the_documentation_name_the_same_pythons() -> None:
    page = (ROOT / "docs" / "deploy-functions.md").read_text()
    classifiers = (ROOT / "pyproject.toml").read_text()
    for python in PYTHONS:
        assert f"Python :: {python}" in classifiers
        assert python in page

"""The locks: whole, so that pip need not resolve, and installable with the oldest pip that this Python brings."""

import re
import subprocess
import sys
import venv
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from tests.rows import rows

ROOT = Path(__file__).parents[1]
FUNCTIONS = ROOT / "functions" / "requirements.txt"
# The Functions worker is installed beside the test lock, which holds what it needs.
WHOLE = [*(lock for lock in sorted((ROOT / "requirements").glob("*.txt")) if lock.stem != "worker"), FUNCTIONS]

OLDEST_PIPS: dict[tuple[int, ...], str] = {(3, 11): "22.3", (3, 12): "23.2.1", (3, 13): "24.2", (3, 14): "25.2"}
"""The pip that the first release of each Python brings."""


def pins(lock: Path) -> dict[str, Requirement]:
    """Return what a lock pins on this machine, by name."""
    lines = re.findall(r"^[\w.-]+(?:\[[\w,-]+\])?==[^\\\n]+", lock.read_text(), re.MULTILINE)
    found = [Requirement(line.strip()) for line in lines]
    return {canonicalize_name(pin.name): pin for pin in found if pin.marker is None or pin.marker.evaluate()}


def needed(pin: Requirement) -> Iterator[Requirement]:
    """Yield what a pinned release needs on this machine; nothing where that release is not installed here."""
    try:
        installed = distribution(pin.name)
    except PackageNotFoundError:
        return
    if installed.version not in pin.specifier:
        return
    for line in installed.requires or []:
        need = Requirement(line)
        extras = pin.extras or {""}
        if need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in extras):
            yield need


@rows("lock", WHOLE)
def test_a_lock_holds_everything_with_its_extras(lock: Path) -> None:
    """An extra without its pin makes pip look for the newest release of the package, which has no hash in the lock."""
    pinned = pins(lock)
    missing = {
        f"{name}: {need}"
        for name, pin in pinned.items()
        for need in needed(pin)
        if (held := pinned.get(canonicalize_name(need.name))) is None or not need.extras <= held.extras
    }
    assert not missing


def test_the_oldest_pip_of_this_python_installs_the_locks(tmp_path: Path) -> None:
    version = OLDEST_PIPS.get(sys.version_info[:2])
    if version is None:
        pytest.skip("the pip that this Python brings is not known here")
    venv.create(tmp_path / "env", with_pip=True)
    pip = [str(tmp_path / "env" / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*pip, *arguments], capture_output=True, text=True, check=False, timeout=600)

    made = run("install", "--quiet", f"pip=={version}")
    if made.returncode:
        pytest.skip(f"pip {version} cannot be had here: {made.stderr.strip().splitlines()[-1][:200]}")

    # Without --no-deps, as the remote build of Azure Functions does it: extras that are pinned without it would show.
    # The largest locks are left out, since pip would download them whole; the test above reads them.
    def install(lock: str) -> subprocess.CompletedProcess[str]:
        return run("install", "--dry-run", "--require-hashes", "-r", str(ROOT / "requirements" / f"{lock}.txt"))

    with ThreadPoolExecutor() as pool:  # it waits for the index most of the time
        done = list(pool.map(install, ("serve", "entra", "redis", "postgres")))
    assert [each.stderr for each in done if each.returncode] == []

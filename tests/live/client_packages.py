"""The packages of clients, installed from their locks when first needed, each set into a folder of its own.

Where a set cannot be had, its tests are skipped with the reason.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NODE = ROOT / "tests" / "node"
CODEX = NODE / "codex"
PYTHON_CLIENTS = ROOT / ".venv-clients"
INSTALL_SECONDS = 300
OLDEST_NODE = 20


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep the other processes of a test run from installing into the same folder at the same time."""
    name = hashlib.sha256(str(folder).encode()).hexdigest()[:16]
    with (Path(tempfile.gettempdir()) / f"chukei-clients-{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _install(command: Sequence[str], folder: Path, what: str) -> None:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_SECONDS)
    except subprocess.TimeoutExpired:
        pytest.skip(f"{what} could not be installed: the registry does not answer in {INSTALL_SECONDS} seconds")
    if done.returncode != 0:
        pytest.skip(f"{what} could not be installed: {done.stderr.strip()[-300:]}")


def npm_packages(folder: Path = NODE) -> Path:
    """Install a folder's npm packages from its lock; return their folder."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("there is no Node on this machine")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.lstrip("v").partition(".")[0]) < OLDEST_NODE:
        pytest.skip(f"Node {version.strip()} is too old for the packages; {OLDEST_NODE} or later is needed")
    packages, lock = folder / "node_modules", folder / "package-lock.json"
    installed = packages / ".package-lock.json"
    with _alone(folder):
        if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
            _install([npm, "ci", "--silent"], folder, "the npm packages")
            os.utime(installed)
    return packages


def python_clients() -> Path:
    """Install the clients of requirements/clients.txt into an environment of their own; return its interpreter.

    Their requirements contradict those of the relay and of its tests.
    """
    lock, stamp = ROOT / "requirements" / "clients.txt", PYTHON_CLIENTS / ".installed"
    python = PYTHON_CLIENTS / "bin" / "python"
    with _alone(PYTHON_CLIENTS):
        if not stamp.exists() or stamp.read_bytes() != lock.read_bytes():
            _install([sys.executable, "-m", "venv", str(PYTHON_CLIENTS)], ROOT, "the Python clients")
            pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--no-compile"]
            if find_spec("uv") is not None:  # scripts/lock installs it; it takes a tenth of the time
                pip = [sys.executable, "-m", "uv", "pip", "install", "--python", str(python)]
            _install([*pip, "--quiet", "--require-hashes", "--no-deps", "-r", str(lock)], ROOT, "the Python clients")
            stamp.write_bytes(lock.read_bytes())
    return python

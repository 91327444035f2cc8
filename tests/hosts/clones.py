"""A copy of what packaging and local preparation read, so that they can be tried without touching this clone."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.live.functions_host import ROOT

# The programs may need no installed package, and nothing that PYTHONPATH names.
INTERPRETER = (sys.executable, "-E", "-S")


def clone(folder: Path) -> Path:
    """The files of this clone that the two programs use, in a folder of their own."""
    folder.mkdir(parents=True)
    generated = shutil.ignore_patterns("__pycache__", ".venv", ".env", "local.settings.json", "chukei.toml")
    for name in ("functions", "scripts", "src"):
        shutil.copytree(ROOT / name, folder / name, ignore=generated)
    shutil.copy(ROOT / "LICENSE", folder)
    return folder


def run(
    folder: Path, script: str, *options: str, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs one of the clone's programs to its end, whatever its exit status."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("AZURE_", "CHUKEI_"))}
    command = [*INTERPRETER, str(folder / "scripts" / script), *options]
    return subprocess.run(
        command, env={**own, **(env or {})}, cwd=folder.parent, capture_output=True, text=True, check=False, timeout=120
    )

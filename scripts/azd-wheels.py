"""Puts the packages of a function app's requirements.txt into its folder, for the platform's Python and Linux.

    python scripts/azd-wheels.py dist/functions

azd deploys the folder as it is. A build by the platform is not used, because it has chosen Python 3.11 for apps of
Python 3.13 (https://github.com/Azure/azure-dev/issues/8538). Each package is a wheel with the hash of the lock, so this
works on any operating system, with any Python from 3.11 on.
"""

import subprocess
import sys
from pathlib import Path

from pip._vendor.packaging.requirements import Requirement

PYTHON = "3.13"
"""The version in infra/modules/function-app.bicep."""

# pip tests markers, and the versions of Python that a package names, against the Python that it runs on, whatever
# --python-version says. So markers are tested here, and the lock has the versions that fit.
TARGET = {
    "implementation_name": "cpython",
    "os_name": "posix",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "platform_system": "Linux",
    "python_full_version": f"{PYTHON}.0",
    "python_version": PYTHON,
    "sys_platform": "linux",
}
# The platform's image is a Debian 12 with glibc 2.36.
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")


def entries(lock: str) -> list[str]:
    """Return the requirements of a lock; each has the lines of its hashes."""
    found: list[str] = []
    continued = False
    for line in lock.splitlines():
        if continued:
            found[-1] += f"\n{line}"
        elif line and not line.startswith("#") and not line[0].isspace():
            found.append(line)
        else:
            continue
        continued = line.endswith("\\")
    return found


def for_target(entry: str) -> str | None:
    """Return the requirement without its marker, or None if it is not for the platform."""
    head, *hashes = entry.split("\\\n")
    requirement = Requirement(head)
    if requirement.marker is not None and not requirement.marker.evaluate(dict(TARGET)):
        return None
    requirement.marker = None
    return " \\\n".join([str(requirement), *(line.strip() for line in hashes)])


def install(folder: Path) -> int:
    """Install into the folder; return pip's exit status."""
    wanted = [each for entry in entries((folder / "requirements.txt").read_text()) if (each := for_target(entry))]
    chosen = folder.with_name(f"{folder.name}-requirements.txt")
    chosen.write_text("\n".join(wanted) + "\n")
    packages = folder / ".python_packages" / "lib" / "site-packages"
    options = [option for platform in PLATFORMS for option in ("--platform", platform)]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    command += ["--require-hashes", "--no-deps", "--ignore-requires-python", "--only-binary", ":all:"]
    command += ["--implementation", "cp", "--python-version", PYTHON, *options]
    command += ["--target", str(packages), "--requirement", str(chosen)]
    try:
        return subprocess.run(command, check=False).returncode
    finally:
        chosen.unlink()


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    status = install(folder)
    if status:
        print(f"the packages of {folder} could not be installed; pip says why above", file=sys.stderr)
    sys.exit(status)

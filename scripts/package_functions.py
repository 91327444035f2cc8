"""Makes dist/functions, the folder that Azure Functions takes as it is. Needs Python 3.11 and its standard library.

    python scripts/package_functions.py                    for a remote build: the platform installs requirements.txt
    python scripts/package_functions.py --build local      with the locked packages in it, for the platform's Linux
    python scripts/package_functions.py --zip              and dist/functions.zip of it
    python scripts/package_functions.py --lock             resolves functions/requirements.txt anew (needs uv)

The chukei package is copied as source and not as a wheel: a path in requirements.txt would be relative to wherever the
platform's remote build happens to run pip, and the app's own folder is on the worker's path anyway.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
FUNCTIONS = ROOT / "functions"
REQUIREMENTS = FUNCTIONS / "requirements.txt"
WHEELS = FUNCTIONS / "wheels.txt"

PYTHONS = ("3.13", "3.14", "3.12", "3.11")
"""What the platform offers, the default first; docs/deploy-functions.md names the source."""

GLIBC = (2, 31)
"""The oldest C library of the platform's Python images: Debian 11 is under 3.11, Debian 12 under 3.12 and 3.13."""

PLATFORMS = (
    *(f"manylinux_{GLIBC[0]}_{minor}_x86_64" for minor in range(GLIBC[1], 4, -1)),
    "manylinux2014_x86_64",
    "manylinux2010_x86_64",
    "manylinux1_x86_64",
    "linux_x86_64",
)
"""The tags of wheels that run there, the best first (PEP 600)."""

APP = ("function_app.py", "host.json", "requirements.txt", ".funcignore")
SITE = Path(".python_packages", "lib", "site-packages")
WWWROOT = "/home/site/wwwroot"
"""Where the platform puts the app; tracebacks name it."""


class Refused(Exception):
    """The package cannot be made; the text says why and what helps."""


def main() -> None:
    """Reads the command line and does what it says."""
    if sys.version_info < (3, 11):  # noqa: UP036 - whoever calls this has installed nothing yet
        sys.exit("package-functions: this needs Python 3.11 or later; PYTHON names another one")
    options = command_line()
    try:
        if options.lock:
            lock()
            return
        target = options.output.absolute()
        package(target, options.build == "local", options.python, options.zip)
    except (Refused, OSError) as error:
        sys.exit(f"package-functions: {error}")


def command_line() -> argparse.Namespace:
    """The options, with their defaults."""
    parser = argparse.ArgumentParser(prog="package-functions", description="Makes the folder for Azure Functions.")
    output = Path(os.environ.get("FUNCTIONS_PACKAGE") or ROOT / "dist" / "functions")
    parser.add_argument(
        "--build",
        choices=("remote", "local"),
        default="remote",
        help="who installs requirements.txt: the platform (the default), or this program, for the platform's Linux",
    )
    parser.add_argument(
        "--python", choices=PYTHONS, help=f"the app's Python, for a local build (default: {PYTHONS[0]})"
    )
    parser.add_argument(
        "--output", type=Path, default=output, metavar="FOLDER", help="the folder to make (default: dist/functions)"
    )
    parser.add_argument("--zip", action="store_true", help="write FOLDER.zip too")
    parser.add_argument("--lock", action="store_true", help="resolve functions/requirements.txt anew, and nothing else")
    return parser.parse_args()


def package(target: Path, local: bool, python: str | None, with_zip: bool) -> None:
    """Makes the folder, and its zip, beside their places and then exchanges them, so that nobody sees half of one."""
    if target.exists() and not (is_package(target) or is_empty(target)):
        raise Refused(f"{target} is there and is no package of this program: name another folder, or remove it")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".making-", dir=target.parent) as workplace:
        made = Path(workplace, "functions")
        made.mkdir()
        copy_app(made)
        compile_bytecode(made / "chukei", f"{WWWROOT}/chukei", python)
        if local:
            install(made / SITE, python or PYTHONS[0])
        files = sorted(path for path in made.rglob("*") if path.is_file())
        print(f"{len(files)} files, {sum(path.stat().st_size for path in files) / 1e6:.1f} MB", file=sys.stderr)
        archive = Path(workplace, "functions.zip")
        if with_zip:
            write_zip(archive, made, files)
        put_in_place(made, target)
        print(target)
        if with_zip:
            print(archive.replace(target.with_name(f"{target.name}.zip")))


def is_package(folder: Path) -> bool:
    """Whether a folder is one that this program has made."""
    return (folder / "function_app.py").is_file() and (folder / "chukei" / "__init__.py").is_file()


def is_empty(folder: Path) -> bool:
    """Whether it is a folder without anything in it."""
    return folder.is_dir() and not any(folder.iterdir())


def copy_app(made: Path) -> None:
    """Copies what belongs to the app, by name: no local settings, no virtual environment, nothing hidden."""
    for name in APP:
        shutil.copyfile(FUNCTIONS / name, made / name)
    configuration = FUNCTIONS / "chukei.toml"
    if configuration.is_file():
        import tomllib  # not at the top, so that an older Python gets to the message about itself

        try:
            tomllib.loads(configuration.read_text("utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise Refused(f"functions/chukei.toml is not TOML: {error}") from None
        shutil.copyfile(configuration, made / "chukei.toml")
    source = ROOT / "src" / "chukei"
    unwanted = shutil.ignore_patterns("__pycache__", "*.pyc", ".*", "local.settings.json")
    shutil.copytree(source, made / "chukei", ignore=unwanted, copy_function=shutil.copyfile)
    shutil.copyfile(ROOT / "LICENSE", made / "chukei" / "LICENSE")


def compile_bytecode(folder: Path, deployed: str, python: str | None) -> bool:
    """Adds bytecode that is used as it is, whatever time stamps unpacking leaves. Another Python version ignores it.

    The platform mounts the app read-only, so without bytecode every cold start would compile the source again.
    """
    interpreter = interpreter_of(python)
    if interpreter is None:
        return False
    options = ["-q", "--invalidation-mode", "unchecked-hash", "-d", deployed]
    subprocess.run([*interpreter, "-m", "compileall", *options, str(folder)], check=False, stdout=subprocess.DEVNULL)
    return True


def interpreter_of(python: str | None) -> list[str] | None:
    """The command of an interpreter of this version on this machine; without a version, the one that runs this."""
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    if python in (None, here):
        return [sys.executable]
    for command in ([f"python{python}"], ["py", f"-{python}"]):
        found = shutil.which(command[0])
        if found is not None:
            tried = [found, *command[1:]]
            check = f"import sys; sys.exit('{python}' != '%d.%d' % sys.version_info[:2])"
            if subprocess.run([*tried, "-c", check], check=False, capture_output=True).returncode == 0:
                return tried
    return None


def put_in_place(made: Path, target: Path) -> None:
    """Renames the new folder to its name and removes the one before; another run at the same time may win."""
    for _ in range(100):
        before = made.with_name(f"before-{secrets.token_hex(8)}")
        with contextlib.suppress(FileNotFoundError):
            target.rename(before)
        try:
            made.rename(target)
            return
        except OSError:
            if not target.exists():
                raise
    raise Refused(f"{target} is made again and again by another program")


# A local build.


def install(site: Path, python: str) -> None:
    """Installs the locked packages as the platform's Linux needs them, whatever this machine is.

    Only wheels, each checked by its hash. pip evaluates markers for the interpreter that runs it, so the lines that
    are meant for the platform are chosen here.
    """
    with tempfile.TemporaryDirectory() as folder:
        chosen = Path(folder, "requirements.txt")
        chosen.write_text("".join(lines for lines in locked(python)), "utf-8")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        command += ["--target", str(site), "--requirement", str(chosen), "--require-hashes", "--no-deps"]
        command += ["--only-binary=:all:", "--no-compile", "--ignore-requires-python"]
        command += ["--implementation", "cp", "--python-version", python]
        command += [option for platform in PLATFORMS for option in ("--platform", platform)]
        if subprocess.run(command, check=False, stdout=sys.stderr).returncode:
            raise Refused("pip could not install the locked packages, see above")
    shutil.rmtree(site / "bin", ignore_errors=True)
    if not compile_bytecode(site, f"{WWWROOT}/{SITE.as_posix()}", python):
        print(f"no Python {python} is here to compile bytecode: cold starts will be slower", file=sys.stderr)


def locked(python: str) -> Iterator[str]:
    """The requirements with their hashes that are meant for a Python version on the platform, without markers."""
    try:
        from pip._vendor.packaging.requirements import Requirement
    except ImportError:
        raise Refused(f"a local build needs pip, which {sys.executable} does not have") from None
    for block in blocks():
        named, *hashes = [line.rstrip("\\ ") for line in block]
        requirement = Requirement(named)
        if requirement.marker is None or requirement.marker.evaluate(environment(python)):
            requirement.marker = None
            yield " \\\n".join([str(requirement), *hashes]) + "\n"


def blocks() -> Iterator[list[str]]:
    """Each requirement of the lock: its line, and the lines of its hashes."""
    block: list[str] = []
    for line in REQUIREMENTS.read_text("utf-8").splitlines():
        if line[:1].isalnum():
            if block:
                yield block
            block = [line]
        elif line.lstrip().startswith("--hash="):
            block.append(line)
    if block:
        yield block


def environment(python: str) -> dict[str, str]:
    """The environment of markers on the platform (PEP 508)."""
    return {
        "implementation_name": "cpython",
        "os_name": "posix",
        "platform_machine": "x86_64",
        "platform_python_implementation": "CPython",
        "platform_system": "Linux",
        "python_full_version": f"{python}.0",
        "python_version": python,
        "sys_platform": "linux",
    }


def write_zip(archive: Path, folder: Path, files: list[Path]) -> None:
    """Writes the files of a folder: the same bytes each time, and permissions as on Linux wherever it is made."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        for path in files:
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix())
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3
            entry.external_attr = 0o100644 << 16
            target.writestr(entry, path.read_bytes())


# The lock.


def lock() -> None:
    """Resolves functions/requirements.txt with the versions that the tests use, and records the platform's wheels."""
    extras = ("identity", "entra", "redis", "postgres", "azure-monitor")
    command = ["--universal", "--python-version", "3.11", "--generate-hashes", "--no-strip-extras"]
    command += ["--exclude-newer", os.environ.get("LOCK_BEFORE", "7 days")]
    command += ["--constraint", "requirements/test.txt", "--constraint", "requirements/identity.txt"]
    command += ["pyproject.toml", "functions/requirements.in", "--output-file", "functions/requirements.txt"]
    command += [option for extra in extras for option in ("--extra", extra)]
    compiled(*command)
    record_wheels()


def record_wheels() -> None:
    """Writes functions/wheels.txt: which file of the index each hash is that the platform installs.

    A lock holds hashes and no file names, so that nobody could tell from it whether a release has a wheel for a Python
    version and a C library. A test compares the record with the lock.
    """
    import tomllib

    wheels: dict[tuple[str, str], list[str]] = {}
    for python in sorted(PYTHONS):
        options = ["--no-deps", "--only-binary", ":all:", "--format", "pylock.toml", "--python-version", python]
        options += ["--python-platform", f"x86_64-manylinux_{GLIBC[0]}_{GLIBC[1]}"]
        found: dict[str, Any] = tomllib.loads(compiled(*options, "functions/requirements.txt"))
        for release in found["packages"]:
            for wheel in release["wheels"]:
                name = wheel["url"].rsplit("/", 1)[-1]
                wheels.setdefault((name, wheel["hashes"]["sha256"]), []).append(python)
    lines = [f"{digest}  {name}  {' '.join(pythons)}" for (name, digest), pythons in sorted(wheels.items())]
    heading = [
        "# The wheels that the hashes of requirements.txt stand for on the platform's Linux, with the Python versions.",
        "# Written by scripts/package-functions --lock.",
    ]
    WHEELS.write_text("\n".join([*heading, *lines, ""]), "utf-8")


def compiled(*options: str) -> str:
    """What `uv pip compile` writes; the registry's address stays out of it."""
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-emit-find-links", "--no-emit-index-url"]
    named = {**os.environ, "UV_CUSTOM_COMPILE_COMMAND": "scripts/package-functions --lock"}
    done = subprocess.run([*command, *options], cwd=ROOT, env=named, check=False, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise Refused("uv could not resolve the requirements, see above (is uv installed beside this Python?)")
    return done.stdout


if __name__ == "__main__":
    main()

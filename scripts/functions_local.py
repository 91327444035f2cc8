"""Prepares functions/ so that `func start` serves this clone from there. Needs Python 3.11 and its standard library.

    python scripts/functions_local.py                                       the built-in simulator answers
    python scripts/functions_local.py --endpoint https://NAME.openai.azure.com --deployment NAME

It writes local.settings.json with a new key for callers, .env with that key for test.http, and a virtual environment
.venv with the locked packages, in which `import chukei` means this clone's src/. What is there already is kept.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import secrets
import subprocess
import sys
from pathlib import Path

from package_functions import FUNCTIONS, PYTHONS, REQUIREMENTS, ROOT, interpreter_of

SETTINGS = FUNCTIONS / "local.settings.json"
ENVIRONMENT = FUNCTIONS / ".env"
VENV = FUNCTIONS / ".venv"
STAMP = VENV / ".installed"
KEY = "CHUKEI_API_KEY"


class Refused(Exception):
    """The folder cannot be prepared; the text says why and what helps."""


def main() -> None:
    """Reads the command line, prepares the folder, and says what to type next."""
    parser = argparse.ArgumentParser(prog="functions-local", description="Prepares functions/ for `func start`.")
    parser.add_argument(
        "--endpoint",
        metavar="URL",
        help="an Azure OpenAI resource; its key is taken from the variable AZURE_OPENAI_API_KEY, and without that the"
        " account of `az login` is used. Without an endpoint the built-in simulator answers",
    )
    parser.add_argument("--deployment", metavar="NAME", help="the deployment for clients that name no model")
    parser.add_argument("--settings-only", action="store_true", help="write the settings, make no virtual environment")
    options = parser.parse_args()
    try:
        settings = write_settings(options.endpoint, options.deployment)
        write_key(settings)
        if not options.settings_only:
            make_venv()
    except (Refused, OSError) as error:
        sys.exit(f"functions-local: {error}")
    endpoint = settings.get("AZURE_OPENAI_ENDPOINT")
    print(f"{endpoint} answers." if endpoint else "The built-in simulator answers.")
    activate = r".venv\Scripts\activate" if os.name == "nt" else ". .venv/bin/activate"
    print(f"Next:  cd functions && {activate} && func start")


def write_settings(endpoint: str | None, deployment: str | None) -> dict[str, str]:
    """Writes local.settings.json unless it is there, and returns its values."""
    if SETTINGS.exists():
        if endpoint or deployment:
            raise Refused("functions/local.settings.json is there and is kept: change it there, or remove it first")
        return read_settings()
    values = {
        "FUNCTIONS_WORKER_RUNTIME": "python",
        # HTTP triggers need no storage, so no storage emulator either.
        "AzureWebJobsStorage": "",
        "AzureWebJobsDisableHomepage": "true",
        # Without this nothing streams on Python 3.12 and earlier.
        "PYTHON_ENABLE_INIT_INDEXING": "1",
        KEY: secrets.token_hex(32),
    }
    if endpoint:
        if not endpoint.startswith(("https://", "http://")):
            raise Refused(f"--endpoint {endpoint} is no address: it begins with https://")
        values["AZURE_OPENAI_ENDPOINT"] = endpoint
        if os.environ.get("AZURE_OPENAI_API_KEY"):
            values["AZURE_OPENAI_API_KEY"] = os.environ["AZURE_OPENAI_API_KEY"]
    if deployment:
        values["AZURE_OPENAI_DEPLOYMENT"] = deployment
    create(SETTINGS, json.dumps({"IsEncrypted": False, "Values": values}, indent=2) + "\n")
    return values


def read_settings() -> dict[str, str]:
    """The values of the local.settings.json that is there."""
    try:
        values = json.loads(SETTINGS.read_text("utf-8-sig"))["Values"]
    except (ValueError, KeyError, TypeError) as error:
        raise Refused(f"functions/local.settings.json cannot be read ({error!r}): mend it, or remove it") from None
    print("functions/local.settings.json is there and is kept")
    return {str(name): str(value) for name, value in values.items()}


def write_key(settings: dict[str, str]) -> None:
    """Writes the callers' key into .env, where the requests of test.http find it."""
    key = settings.get(KEY)
    if key is None:
        return
    line = f"{KEY}={key}"
    if not ENVIRONMENT.exists():
        create(ENVIRONMENT, line + "\n")
    elif line not in ENVIRONMENT.read_text("utf-8").splitlines():
        print(f"functions/.env is kept; its {KEY} is not the one of local.settings.json", file=sys.stderr)


def create(path: Path, text: str) -> None:
    """Writes a new file that only its owner reads; it never replaces one, not even one made in the same moment."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise Refused(f"functions/{path.name} has just been made by another program: run this again") from None
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


def make_venv() -> None:
    """Makes the virtual environment that Core Tools runs the worker with, unless it is there for the same lock."""
    python = next(filter(None, map(interpreter_of, own_first())), None)
    if python is None:
        raise Refused(f"the platform runs Python {', '.join(PYTHONS)}, and none of them is found here: install one")
    version = run(*python, "-c", "import sys; print(sys.version)")
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes() + os.fsencode(ROOT) + version.encode()).hexdigest()
    if STAMP.is_file() and STAMP.read_text("utf-8") == wanted:
        return
    run(*python, "-m", "venv", "--clear", str(VENV))
    inside = str(VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))
    pip = [inside, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes", "--no-deps"]
    run(*pip, "--requirement", str(REQUIREMENTS))
    # An editable installation would need a build backend; a path file does the same.
    site = Path(run(inside, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    (site / "chukei-of-this-clone.pth").write_text(f"{ROOT / 'src'}\n", "utf-8")
    STAMP.write_text(wanted, "utf-8")


def own_first() -> list[str]:
    """The platform's Python versions, that of this interpreter first if it is one of them."""
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    return sorted(PYTHONS, key=lambda python: python != own)


def run(*command: str) -> str:
    """Runs a program and returns what it wrote; Refused if it fails, after it has said why."""
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        print(done.stdout, file=sys.stderr)  # venv says there what is missing
        raise Refused(f"{' '.join(command[:4])} … failed, see above")
    return done.stdout


if __name__ == "__main__":
    main()

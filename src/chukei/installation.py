"""How this copy of chukei was installed, for advice that fits the installation."""

import sys
from functools import cache
from pathlib import Path

_ADVICE = {
    "clone": ".venv/bin/python -m pip install --require-hashes --no-deps -r requirements/{extra}.txt",
    "pipx": "pipx inject chukei 'chukei[{extra}]'",
    "pipx run": "pipx run --spec 'chukei[{extra}]' chukei",
    "uv tool": "uv tool install 'chukei[{extra}]'",
    "uvx": "uvx --from 'chukei[{extra}]' chukei",
    "uv": "uv pip install 'chukei[{extra}]'",
    "pip": "pip install 'chukei[{extra}]'",
}


@cache
def is_clone() -> bool:
    """Whether the code runs from a clone of the repository, which has the lock files."""
    import json  # imported here, because most processes never give advice

    source = _record("direct_url.json")
    if source is not None and json.loads(source).get("dir_info", {}).get("editable", False):
        return True
    return (Path(__file__).parents[2] / "requirements").is_dir()  # run from the clone without installation


def _record(name: str) -> str | None:
    """Return what the installer has recorded."""
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        return distribution("chukei").read_text(name)
    except PackageNotFoundError:
        return None


def tool_of(prefix: Path, installer: str | None) -> str:
    """Return the tool that made the environment at ``prefix``: a key of the table of advice.

    pipx and uv leave a file of their own in an environment. That of ``uvx`` is a part of uv's cache.
    """
    if (prefix / "pipx_metadata.json").is_file():
        return "pipx" if prefix.parent.name == "venvs" else "pipx run"
    if (prefix / "uv-receipt.toml").is_file():
        return "uv tool"
    if any(part.startswith("archive-v") for part in prefix.parts):
        return "uvx"
    return "uv" if (installer or "").strip() == "uv" else "pip"


def _tool() -> str:
    return "clone" if is_clone() else tool_of(Path(sys.prefix), _record("INSTALLER"))


def command_for(extra: str) -> str:
    """Return the command that installs an optional part."""
    return _ADVICE[_tool()].format(extra=extra)


def called() -> str:
    """Return how this copy is called from a shell: ``chukei``, unless that would not find it."""
    return spelled(_tool(), sys.argv[0])


def spelled(tool: str, program: str) -> str:
    """Return the words before a command's name, given the tool and what the shell has started."""
    import shlex
    import shutil

    if tool in ("uvx", "pipx run"):  # whose environments are on no path
        return f"{tool} chukei"
    found = shutil.which("chukei")
    if Path(program).stem != "chukei" or (found is not None and Path(found).samefile(program)):
        return "chukei"
    return shlex.quote(program)

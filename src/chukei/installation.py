"""How this copy of chukei was installed, for advice that fits the installation."""

from functools import cache
from pathlib import Path


@cache
def is_clone() -> bool:
    """Whether the code runs from a clone of the repository, which has the lock files."""
    import json  # imported here, because most processes never give advice
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        source = distribution("chukei").read_text("direct_url.json")
    except PackageNotFoundError:
        source = None
    if source is not None and json.loads(source).get("dir_info", {}).get("editable", False):
        return True
    return (Path(__file__).parents[2] / "requirements").is_dir()  # run from the clone without installation


def command_for(extra: str) -> str:
    """Return the command that installs an optional part."""
    if is_clone():
        return f".venv/bin/python -m pip install --require-hashes --no-deps -r requirements/{extra}.txt"
    return f"pip install 'chukei[{extra}]'"

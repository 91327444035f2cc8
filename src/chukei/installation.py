"""How this copy of chukei came onto the machine, for advice that works there."""

from functools import cache
from pathlib import Path


@cache
def is_clone() -> bool:
    """Whether the code runs from a clone of the repository, where its own lock files say what is installed."""
    import json  # where advice is given, which most processes never do
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        told = distribution("chukei").read_text("direct_url.json")
    except PackageNotFoundError:
        told = None
    if told is not None and json.loads(told).get("dir_info", {}).get("editable", False):
        return True
    return (Path(__file__).parents[2] / "requirements").is_dir()  # run from its folder without any installation


def command_for(extra: str) -> str:
    """Return the command that installs an optional part."""
    if is_clone():
        return f".venv/bin/python -m pip install --require-hashes --no-deps -r requirements/{extra}.txt"
    return f"pip install 'chukei[{extra}]'"

"""The pages' files, read once from the installed package."""

from functools import cache
from typing import TYPE_CHECKING

from chukei.pages import Asset

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

_TYPES = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "svg": "image/svg+xml",
    "png": "image/png",
    "json": "application/json",
}
PAGE = "index.html"


@cache
def _catalogue() -> "dict[str, Traversable]":
    """Name every file of the page. Requests look names up here and never touch a path."""
    from importlib.resources import files  # whoever serves only the API never needs it

    found: dict[str, Traversable] = {}

    def add(folder: "Traversable", prefix: str) -> None:
        for entry in folder.iterdir():
            if entry.is_dir():
                add(entry, f"{prefix}{entry.name}/")
            elif entry.name.rpartition(".")[2] in _TYPES:
                found[prefix + entry.name] = entry

    add(files("chukei") / "web", "")
    return found


@cache
def asset(name: str) -> Asset | None:
    """Return a file of the page by its name, the page itself for ``""``, or None."""
    entry = _catalogue().get(name or PAGE)
    if entry is None:
        return None
    return Asset(_TYPES[entry.name.rpartition(".")[2]], entry.read_bytes())

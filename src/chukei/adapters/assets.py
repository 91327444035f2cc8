"""The pages' files, read once from the installed package."""

from functools import cache
from pathlib import Path

from chukei.gateway.pages import Asset

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
def _catalogue() -> dict[str, Path]:
    """Return all files of the pages by name. Requests look names up here and never use a path."""
    found: dict[str, Path] = {}

    def add(folder: Path, prefix: str) -> None:
        for entry in folder.iterdir():
            if entry.is_dir():
                add(entry, f"{prefix}{entry.name}/")
            elif entry.name.rpartition(".")[2] in _TYPES:
                found[prefix + entry.name] = entry

    add(Path(__file__).parents[1] / "web", "")
    return found


@cache
def asset(name: str) -> Asset | None:
    """Return a file of the pages by its name, the chat page for ``""``, or None."""
    entry = _catalogue().get(name or PAGE)
    if entry is None:
        return None
    return Asset(_TYPES[entry.name.rpartition(".")[2]], entry.read_bytes())

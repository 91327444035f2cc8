"""Reading the project's own Markdown: its fences, tables, headings and links."""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_HEADING = re.compile(r"^(#+) +(.+?) *$", re.MULTILINE)
_LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`]+)`")
_CELL_END = re.compile(r"(?<!\\)\|")


@dataclass(frozen=True)
class Fence:
    """A block of code in a page; ``line`` is where it begins."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[Path]:
    """Return every Markdown page that belongs to the project: what git tracks, and what it would."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    except (OSError, subprocess.CalledProcessError):  # an unpacked archive is no repository
        return sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
    return sorted(ROOT / name for name in listed if name and (ROOT / name).exists())


def read(name: str) -> str:
    """Return the text of a page, by its name below the root."""
    return (ROOT / name).read_text("utf-8")


def fences(*languages: str) -> list[Fence]:
    """Return the blocks in these languages of all pages."""
    return [
        Fence(str(page.relative_to(ROOT)), text.count("\n", 0, found.start()) + 1, found[1], found[2])
        for page in pages()
        for text in [page.read_text("utf-8")]
        for found in _FENCE.finditer(text)
        if found[1] in languages
    ]


def configurations() -> list[Fence]:
    """Return the samples of the relay's configuration. A file of another program begins with its path."""
    return [fence for fence in fences("toml") if not fence.text.startswith("# ~/")]


def section(text: str, heading: str) -> str:
    """Return what stands under a heading, up to the next one of its level or above.

    Raises:
        LookupError: there is no such heading.
    """
    level = 0
    start = 0
    for found in _HEADING.finditer(_FENCE.sub(lambda match: "\n" * match[0].count("\n"), text)):
        if level and len(found[1]) <= level:
            return "\n".join(text.split("\n")[start : _line(text, found)])
        if not level and found[2] == heading:
            level, start = len(found[1]), _line(text, found)
    if not level:
        raise LookupError(heading)
    return "\n".join(text.split("\n")[start:])


def _line(text: str, found: re.Match[str]) -> int:
    return found.string.count("\n", 0, found.start())


def rows(text: str) -> Iterator[list[str]]:
    """Yield the cells of each table row, heads and rules left out."""
    lines = text.split("\n")
    for at, line in enumerate(lines):
        following = lines[at + 1] if at + 1 < len(lines) else ""
        if line.startswith("| ") and not following.startswith("|--"):
            yield [cell.strip() for cell in _CELL_END.split(line)[1:-1]]


def codes(text: str) -> list[str]:
    """Return what stands in backquotes."""
    return _CODE.findall(text)


def links(text: str) -> list[str]:
    """Return the targets of links outside code."""
    return _LINK.findall(_CODE.sub("", _FENCE.sub("", text)))


def anchors(text: str) -> set[str]:
    """Return the anchors that a page's headings get, by GitHub's rule."""
    plain = _FENCE.sub("", text)
    titles = [found[2].replace("`", "") for found in _HEADING.finditer(plain)]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}

"""What the site needs beside the pages, which are written for reading on GitHub.

- The README is a page of it. Other links that leave ``docs/`` lead to the repository if ``REPO_URL`` names it;
  otherwise only their text stays.
- Headings get the anchors that GitHub gives them, and lists are read by GitHub's rules.
- Pages in ``docs/ja/`` say that they are in Japanese.
"""

import posixpath
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from xml.etree.ElementTree import Element

from markdown.treeprocessors import Treeprocessor
from markdown.util import AtomicString
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pymdownx.slugs import slugify

from markdown import Extension, Markdown

ROOT = Path(__file__).parents[1]
BRANCH = "main"
README = "readme.md"
"""The README as a page of the site."""
DIAGRAM = re.compile(r"^```mermaid\n.*?^```\n", re.DOTALL | re.MULTILINE)


_ITEM = re.compile(r"( *)([-*+]|(\d{1,9})[.)])( +)(?=\S)")
_FENCE = re.compile(r" *(```+|~~~+)")


class ListsByFour:
    """Indents what is in lists by four spaces for each level, as Python-Markdown wants it.

    GitHub (CommonMark) takes as part of an item what is indented as its text is, so two or three spaces do. There, a
    list may follow a paragraph at once, but a number other than 1 at the start of a paragraph's line begins none.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._items: list[tuple[int, int]] = []  # of each level: where its mark is, and where its text begins
        self._fence = ""
        self._loose = False  # whether the present item holds more than one block

    def take(self, line: str) -> None:
        """Add the next line of the page."""
        if self._fence or not line.strip():
            if self._fence and line.strip().startswith(self._fence):
                self._fence = ""
            self._loose = self._loose or not self._fence
            self._put(line)
            return
        found = _ITEM.match(line)
        after_text = bool(self.lines and self.lines[-1].strip())
        sibling = self._leave(len(line) - len(line.lstrip()), found, after_text)
        if found and after_text and not sibling and found[3] not in (None, "1"):
            line, found = line[: found.end(2) - 1] + "\\" + line[found.end(2) - 1 :], None
        if found and after_text and (self._loose if sibling else not self._items):
            self.lines.append("")
        self._put(line)
        if found:
            self._loose = False
            self._items.append((found.end(1), found.end()))
        elif mark := _FENCE.match(line):
            self._fence = mark[1]

    def _leave(self, indent: int, found: re.Match[str] | None, after_text: bool) -> bool:
        """End the items that this line is not part of, and tell whether it begins another item of the same list."""
        if after_text and not found:
            return False  # a line of a paragraph may be indented less than its first
        while self._items and indent < self._items[-1][1]:
            mark, _ = self._items.pop()
            if found and indent >= mark:
                return True
        return False

    def _put(self, line: str) -> None:
        text = self._items[-1][1] if self._items else 0
        indent = min(len(line) - len(line.lstrip()), text)
        self.lines.append(" " * 4 * len(self._items) + line[indent:] if line.strip() else "")


class _AsOnGitHub(Treeprocessor):
    """Turns links that leave ``docs/`` into links to the repository, and reads code in tables as GitHub does."""

    repository = ""
    page = ""

    def run(self, root: Element) -> None:
        for cell in [*root.iter("th"), *root.iter("td")]:
            for code in cell.iter("code"):  # a pipe there stands behind a backslash, in code too
                code.text = AtomicString((code.text or "").replace("\\|", "|"))
        for tag, name in (("a", "href"), ("img", "src")):
            for link in root.iter(tag):
                self._direct(link, name)

    def _direct(self, link: Element, name: str) -> None:
        target = urlsplit(link.get(name, ""))
        if target.scheme or target.netloc or not target.path:
            return
        folder = "" if self.page == README else posixpath.join("docs", posixpath.dirname(self.page))
        path = posixpath.normpath(posixpath.join(folder, target.path))
        anchor = f"#{target.fragment}" if target.fragment else ""
        if path == "README.md" or path.startswith("docs/"):
            inside = README if path == "README.md" else path.removeprefix("docs/")
            link.set(name, posixpath.relpath(inside, posixpath.dirname(self.page) or ".") + anchor)
        elif name == "src":
            return
        elif self.repository:
            kind = "tree" if (ROOT / path).is_dir() else "blob"
            link.set("href", f"{self.repository}/{kind}/{BRANCH}/{path}{anchor}")
        else:
            link.tag = "span"
            del link.attrib["href"]


_as_on_github = _AsOnGitHub()


class _Links(Extension):
    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802 - the name that Markdown calls
        md.treeprocessors.register(_as_on_github, "as-on-github", 1)  # MkDocs' own resolver is at 0


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Take the repository's address, and the rule by which GitHub names anchors."""
    _as_on_github.repository = (config.repo_url or "").rstrip("/")
    config.edit_uri = f"edit/{BRANCH}/docs/" if _as_on_github.repository else None
    config.mdx_configs.setdefault("toc", {})["slugify"] = slugify(case="lower")
    config.markdown_extensions.append(_Links())  # Markdown takes instances, too
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the README, without the diagram that only GitHub draws, and the relay's own icon."""
    readme = DIAGRAM.sub("", (ROOT / "README.md").read_text("utf-8"))
    files.append(File.generated(config, README, content=readme))
    icon = ROOT / "src" / "chukei" / "web" / "icon.svg"
    files.append(File.generated(config, "icon.svg", abs_src_path=str(icon)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Note from which page its links start, and read its lists as GitHub does."""
    _as_on_github.page = page.file.src_uri
    lists = ListsByFour()
    for line in markdown.split("\n"):
        lists.take(line)
    return "\n".join(lists.lines)


def on_post_page(output: str, page: Page, **_: Any) -> str:
    """Say the language of a page that is not in English."""
    japanese = page.file.src_uri.startswith("ja/")
    return output.replace('<html lang="en"', '<html lang="ja"', 1) if japanese else output

"""Nothing is left over in the pages' modules: every export has an importer, every word a place that says it."""

import re
from functools import cache
from pathlib import Path

import pytest
from tests.browser.page_weight import PAGES, later, modules
from tests.browser.scripted_server import WEB
from tests.browser.test_sources import without_comments

HERE = Path(__file__).parent
MODULES = sorted(WEB.rglob("*.js"))
_EXPORT = re.compile(r"^export (?:async )?(?:function\*?|class|const|let) (\w+)", re.M)
_KEY = re.compile(r"^  \"([^\"]+)\": \[", re.M)
BY_KIND = ("refused", "blocked")
"""Kinds of words that views/tray.js completes: what cannot be attached, and why a message cannot be sent."""
_SAID = re.compile(r"(?:\.say\(|data-say(?:-label|-placeholder)?\"?[=:] ?|dataset\.say\w* = )\"([^\"$]+)\"")


def is_table(module: Path) -> bool:
    """Whether a module holds words and nothing else."""
    return "words" in module.parts and "WORDS" in module.read_text("utf-8")


@cache
def code(module: Path) -> str:
    """A module without its comments."""
    return without_comments(module.read_text("utf-8"))


@cache
def spoken(page: str) -> str:
    """Everything of a page that may name words."""
    parts = [code(module) for module in [*modules(page), *later(page)] if not is_table(module)]
    return "\n".join([(WEB / page).read_text("utf-8"), *parts])


@cache
def words(page: str) -> dict[str, str]:
    """The keys of a page's words, with the table that holds each."""
    tables = [module for module in modules(page) if is_table(module)]
    return {key: table.relative_to(WEB).as_posix() for table in tables for key in _KEY.findall(code(table))}


def test_every_module_belongs_to_a_page() -> None:
    """Except for those that hold types alone."""
    loaded = {module for page in PAGES for module in [*modules(page), *later(page)]}
    assert [module.name for module in MODULES if module not in loaded and code(module).strip() != "export {};"] == []


def test_every_export_is_imported() -> None:
    """By another module; what only tests import may be exported for them, and is named in a test."""
    others = "\n".join(path.read_text("utf-8") for path in [*HERE.glob("*.mjs"), *HERE.parent.glob("browser/**/*.py")])
    left = [
        f"{module.relative_to(WEB)}: {name}"
        for module in MODULES
        for name in _EXPORT.findall(code(module))
        if not any(
            re.search(rf"import [^;]*\b{name}\b|\w\.{name}\(", code(other)) for other in MODULES if other != module
        )
        and not re.search(rf"\b{name}\b", others)
    ]
    assert left == []


@pytest.mark.parametrize("page", PAGES)
def test_every_word_that_is_said_is_known(page: str) -> None:
    assert sorted(set(_SAID.findall(spoken(page))) - set(words(page))) == []


def test_every_word_is_said_somewhere() -> None:
    """A key stands in a module as it is, or as a template whose fixed parts it has."""
    told = "\n".join(spoken(page) for page in PAGES)
    literal = set(re.findall(r"[\"'`]([\w.-]+)(?=[\"'`])", told))
    templates = [
        re.compile(".+".join(re.escape(part) for part in re.split(r"\$\{[^}]*\}", text)))
        for text in set(re.findall(r"`(?=((?:[\w.-]|\$\{[^`{}]*\})*\$\{[^`{}]*\}[\w.-]*)`)", told))
        if re.search(r"[\w-]\.|\.[\w-]", re.sub(r"\$\{[^}]*\}", "", text))
    ]
    templates += [re.compile(rf"{kind}\..+") for kind in BY_KIND]
    left = [
        f"{table}: {key}"
        for page in PAGES
        for key, table in words(page).items()
        if key not in literal and not any(template.fullmatch(key) for template in templates)
    ]
    assert sorted(set(left)) == []

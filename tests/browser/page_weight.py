"""What each page loads: its modules, found by their imports, and how much they weigh.

``python -m tests.browser.page_weight`` writes the lists of modules into the pages, so that a browser asks for all of
them at once and not one level of imports after the other. Modules that are reached by ``import()`` alone are in a list
of their own, which the page uses after its first paint.
"""

import gzip
import re
from collections.abc import Iterator
from pathlib import Path

from tests.browser.scripted_server import WEB
from tests.browser.test_sources import without_comments

PAGES = {"index.html": "main.js", "admin.html": "admin.js"}
_IMPORT = re.compile(r"^(?:import|export)\s(?:[^;\"]*?\sfrom\s)?\"(\.[^\"]+)\";", re.M)
_LATER_IMPORT = re.compile(r"\bimport\(\"(\.[^\"]+)\"\)")
_PRELOAD = re.compile(r"(?: *<link rel=\"modulepreload\" [^>]*>\n)+")


def imports(module: Path, how: re.Pattern[str] = _IMPORT) -> Iterator[Path]:
    """The modules that a module imports or passes on."""
    for name in how.findall(without_comments(module.read_text("utf-8"))):
        yield (module.parent / name).resolve()


def _with_imports(found: list[Path]) -> list[Path]:
    """These modules and all that they import, by their distance."""
    for module in found:
        found.extend(each for each in dict.fromkeys(imports(module)) if each not in found)
    return found


def modules(page: str) -> list[Path]:
    """The modules that run before a page is seen, its own first, then by their distance from it."""
    return _with_imports([WEB / PAGES[page]])


def later(page: str) -> list[Path]:
    """The other modules of a page, by their distance from those."""
    first = modules(page)
    found = list(first)
    for module in found:
        _with_imports(found)
        found.extend(each for each in imports(module, _LATER_IMPORT) if each not in found)
    return found[len(first) :]


def files(page: str) -> list[Path]:
    """Everything that a page loads by itself."""
    named = re.findall(r"href=\"web/([^\"]+)\"", _PRELOAD.sub("", (WEB / page).read_text("utf-8")))
    return [WEB / page, *(WEB / name for name in dict.fromkeys(named)), *modules(page), *later(page)]


def zipped(found: list[Path]) -> int:
    """The bytes that the relay sends for these files to a browser that reads gzip."""
    return sum(len(gzip.compress(path.read_bytes())) for path in found)


_LISTS = {
    r" *<(?:template id=\"later\"|script type=\"module\")": lambda page: modules(page)[1:],
    r" *</template>": later,
}
"""What each list of modules stands before, and which modules it names: all but the one that the script names."""


def with_preloads(page: str) -> str:
    """A page's text with a link for each of its modules."""
    text = _PRELOAD.sub("", (WEB / page).read_text("utf-8"))
    for before, listed in _LISTS.items():
        links = [f'<link rel="modulepreload" href="web/{each.relative_to(WEB).as_posix()}">\n' for each in listed(page)]
        place = re.search(before, text)
        assert place is not None or links == [], f"{page} has no place for what it loads later"
        if place is not None:
            text = text[: place.start()] + "".join(f"    {link}" for link in links) + text[place.start() :]
    return text


if __name__ == "__main__":
    for each in PAGES:
        (WEB / each).write_text(with_preloads(each), "utf-8")

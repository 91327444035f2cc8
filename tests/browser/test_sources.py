"""What the page's files must not contain, whatever a test happens to exercise."""

import re

from tests.browser.scripted_server import WEB
from tests.rows import rows

FILES = sorted(path for path in WEB.rglob("*") if path.is_file())
CODE = [path for path in FILES if path.suffix in (".js", ".html", ".css")]

FORBIDDEN = {
    "a markup sink": (
        r"innerHTML|outerHTML|insertAdjacentHTML|setHTML|document\.write"
        r"|createContextualFragment|DOMParser|srcdoc"
    ),
    "code from text": r"\beval\(|new Function|set(?:Timeout|Interval)\(\s*[\"'`]|javascript:[^`*]",
    "an inline handler or style": r"<[^>]*\s(?:on[a-z]+|style)=|<style|<script(?![^>]*\ssrc=)",
    "an address outside the relay": (
        r"(?:https?:)?//(?!www\.w3\.org/(?:2000/svg|1998/Math/MathML))[a-z0-9-]+\.[a-z]{2,}"
    ),
    "an absolute path": r"(?:src|href)=\"/|fetch\(\s*[\"'`]/|(?<!\w)url\(|@import",
    "a key kept for good": r"localStorage\.setItem",
}


def test_the_page_is_there() -> None:
    assert {"index.html", "main.js", "sse.js", "icon.svg"} <= {path.name for path in FILES}


@rows("what", FORBIDDEN)
def test_no_file_contains(what: str) -> None:
    found = [
        f"{path.name}: {match.group()}"
        for path in CODE
        for match in re.finditer(FORBIDDEN[what], without_comments(path.read_text()))
    ]
    assert found == []


def test_no_style_names_a_side_that_does_not_turn_with_the_script() -> None:
    """Except for formulas, which read from left to right in every language."""
    side = r"(?:margin|padding|border)-(?:left|right)\b|(?<![\w-])(?:left|right|float):|text-align: *(?:left|right)"
    found = [
        f"{path.name}: {line.strip()}"
        for path in CODE
        if path.suffix == ".css"
        for line in without_comments(path.read_text()).split("\n")
        if re.search(side, line) and not line.startswith(".math-")
    ]
    assert found == []


def test_comments_are_left_out_and_nothing_else() -> None:
    assert without_comments("a // b\n  // c\nd /* e\nf */ g\n") == "a // b\n\nd  g\n"


def test_every_file_that_is_named_exists() -> None:
    names = re.findall(r"(?:src|href)=\"(web/[^\"]+)\"", (WEB / "index.html").read_text())
    assert len(names) >= 6
    assert [name for name in names if not (WEB.parent / name).is_file()] == []


def without_comments(text: str) -> str:
    """Comments may name what the code avoids."""
    return re.sub(r"/\*.*?\*/|^\s*//[^\n]*", "", text, flags=re.S | re.M)

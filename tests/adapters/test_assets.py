"""The page's files: found by name, never by path."""

from tests.rows import rows

from chukei.adapters.assets import asset


def test_the_page_and_its_files() -> None:
    page = asset("")
    assert page is not None
    assert page == asset("index.html")
    assert page.content_type == "text/html; charset=utf-8"
    assert page.content.lstrip().lower().startswith(b"<!doctype html>")
    script = asset("markdown/inline.js")
    assert script is not None
    assert script.content_type == "text/javascript; charset=utf-8"


@rows(
    "name",
    [
        "..",
        "../app.py",
        "/etc/passwd",
        "markdown",
        "markdown/",
        "./index.html",
        "INDEX.HTML",
        "x\x00.js",
        "%2e%2e/app.py",
    ],
)
def test_anything_else_does_not_exist(name: str) -> None:
    assert asset(name) is None

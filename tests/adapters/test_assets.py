"""The pages' documents and files: found by their address, never by a path."""

import re

import pytest
from tests.rows import rows

from chukei.adapters.assets import asset, digest


@rows(("name", "page"), [("", "main.js"), ("admin.html", "admin.js")])
def test_a_document_names_its_files_by_the_digest_of_all(name: str, page: str) -> None:
    document = asset(name)
    assert document is not None
    assert (document.content_type, document.lasting) == ("text/html; charset=utf-8", False)
    assert document.content.lstrip().lower().startswith(b"<!doctype html>")
    named = re.findall(r"(?:src|href)=\"([^#\"]+)\"", document.content.decode())
    assert f"web/{digest()}/{page}" in named
    for address in named:
        found = asset(address)
        assert found is not None, address
        assert found.lasting, address


@pytest.mark.parametrize("version", ["", "0123456789abcdef0123/"])
def test_without_the_digest_or_with_another_one_a_file_is_the_current_one_and_does_not_last(version: str) -> None:
    found, current = asset(f"web/{version}markdown/inline.js"), asset(f"web/{digest()}/markdown/inline.js")
    assert found is not None
    assert current is not None
    assert (found.content_type, found.lasting) == ("text/javascript; charset=utf-8", False)
    assert (found.content, found.tag) == (current.content, current.tag)


@rows(
    "name",
    [
        "index.html",
        "web",
        "web/",
        "web/index.html",
        "web/admin.html",
        "web/..",
        "web/../app.py",
        "web//etc/passwd",
        "web/markdown",
        "web/markdown/",
        "web/./main.js",
        "web/MAIN.JS",
        "web/x\x00.js",
        "web/%2e%2e/app.py",
        "web/0123456789abcdef0123",
        "web/0123456789abcdef0123/",
        "web/0123456789abcdef0123/../main.js",
        "web/0123456789abcdef0123/0123456789abcdef0123/main.js",
        "web/0123456789ABCDEF0123/main.js",
        "main.js",
    ],
)
def test_anything_else_does_not_exist(name: str) -> None:
    assert asset(name) is None

"""The pages' words are there in every language, with the same values to fill in."""

import json
import re
from pathlib import Path

import pytest
from tests.browser.scripted_server import WEB

TABLES = sorted(path for path in WEB.rglob("*.js") if "export const WORDS = {" in path.read_text())


def table(path: Path) -> dict[str, list[str]]:
    """The texts of a table, which is written as JSON is, but with a comma after the last row."""
    body = path.read_text().split("export const WORDS = ", 1)[1].removesuffix(";\n")
    read: dict[str, list[str]] = json.loads(re.sub(r",(\s*[}\]])", r"\1", body))
    return read


@pytest.mark.parametrize("path", TABLES, ids=lambda path: str(path.relative_to(WEB)))
def test_both_languages_say_the_same_things(path: Path) -> None:
    for key, texts in table(path).items():
        assert len(texts) == 2, key
        assert all(texts), key
        english, japanese = (sorted(re.findall(r"\{\w+\}", text)) for text in texts)
        assert english == japanese, key


def test_there_are_tables() -> None:
    assert sum(len(table(path)) for path in TABLES) > 300


def test_no_key_is_in_two_tables_of_a_page() -> None:
    chat = [key for path in TABLES if path.parent == WEB / "words" for key in table(path)]
    assert len(chat) == len(set(chat))

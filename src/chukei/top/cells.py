"""Text in the cells of a terminal. Names come from outside: what could move the cursor is replaced."""

import unicodedata
from functools import lru_cache

_HARMFUL = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Categories of control, format (also bidirectional), surrogate, private, unassigned and separator characters."""

_WIDE = frozenset("WF")
_NARROW_MARKS = frozenset({"Mn", "Me"})


@lru_cache(4096)
def clean(text: str) -> str:
    """Return the text with a replacement character for each that a terminal might obey."""
    if text.isascii() and text.isprintable():
        return text
    return "".join("\N{REPLACEMENT CHARACTER}" if unicodedata.category(each) in _HARMFUL else each for each in text)


@lru_cache(4096)
def width(text: str) -> int:
    """Return the number of cells that a text needs (Unicode Standard Annex 11)."""
    if text.isascii():
        return len(text)
    return sum(_cells(each) for each in text)


def _cells(character: str) -> int:
    if unicodedata.category(character) in _NARROW_MARKS:
        return 0
    return 2 if unicodedata.east_asian_width(character) in _WIDE else 1


def cut(text: str, cells: int) -> str:
    """Return the text, cut with an ellipsis if it needs more than so many cells."""
    if width(text) <= cells:
        return text
    if cells <= 0:
        return ""
    kept, used = [], 1
    for each in text:
        used += _cells(each)
        if used > cells:
            break
        kept.append(each)
    return "".join(kept) + "…"


def fit(text: str, cells: int, *, right: bool = False) -> str:
    """Return the text in exactly so many cells, at the left or at the right."""
    text = cut(text, cells)
    space = " " * (cells - width(text))
    return space + text if right else text + space


def wrapped(text: str, cells: int) -> list[str]:
    """Return the text in at most two lines of so many cells, broken at a space if there is one."""
    if width(text) <= cells:
        return [text]
    head = cut(text, cells + 1).removesuffix("…")
    at = head.rfind(" ")
    at = at if at > 0 else len(head)
    return [text[:at], cut(text[at:].lstrip(), cells)]

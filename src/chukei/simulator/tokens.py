"""Cutting text into pieces the size of tokens, and counting them.

Not a real tokenizer: words of up to eight letters are one token with the space before them, longer ones are cut
into syllable-sized pieces, digits go by threes and Chinese or Japanese by one or two characters. Pieces are
strings, so each is valid UTF-8 by itself, and together they are exactly the text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

WHOLE_WORD = 8  # letters: English words up to this length are mostly one token in o200k_base
SAMPLE_CHARACTERS = 16_384  # beyond this, counting extrapolates: a prompt of a megabyte must not block the loop

_PIECE = re.compile(
    r"""
      \ ?[^\W\d_\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+(?:['’][^\W\d_]{1,2}\b)?   # a word and the space before it
    | \ ?\d{1,3}                                      # digits
    | [\u3040-\u30ff]{1,2}                            # kana
    | [\u3400-\u9fff\uac00-\ud7af]                    # han, hangul
    | \r?\n[\r\n]*                                    # line ends
    | [ \t]+(?=\ \S)                                  # indentation, apart from a word's own space
    | \ ?[^\w\s]{1,3}                                 # punctuation, symbols, emoji
    | [ \t]+ | .                                      # anything else
    """,
    re.VERBOSE | re.DOTALL,
)


def split(text: str) -> list[str]:
    """Cut text into token-like pieces; joined, they are the text again."""
    pieces: list[str] = []
    for match in _PIECE.finditer(text):
        piece = match.group()
        if len(piece) <= WHOLE_WORD + 1:
            pieces.append(piece)
        else:
            pieces.extend(_subwords(piece))
    return pieces


def _subwords(word: str) -> list[str]:
    # First piece longer than the rest, as byte-pair encodings tend to keep stems together.
    head = 5 if word[0] == " " else 4
    return [word[:head], *(word[at : at + 4] for at in range(head, len(word), 4))]


def count(text: str) -> int:
    """Count tokens: exactly as ``split`` does, extrapolated for very long texts."""
    if len(text) <= SAMPLE_CHARACTERS:
        return len(split(text))
    return len(split(text[:SAMPLE_CHARACTERS])) * len(text) // SAMPLE_CHARACTERS


def until_stop(text: str, stops: Sequence[str]) -> str:
    """Cut text before the first stop sequence in it."""
    found = [at for at in (text.find(stop) for stop in stops if stop) if at >= 0]
    return text[: min(found)] if found else text

"""Tokens: splitting text into them, counting them, and their pace.

It is not a real tokenizer. A word of up to eight letters is one token, with the space before it. Longer words are cut
into pieces as long as a syllable, digits into groups of three, Chinese and Japanese into one or two characters. Each
piece is valid UTF-8, and joined they are the text.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Sequence

WHOLE_WORD = 8  # letters: English words up to this length are mostly one token in o200k_base
SAMPLE_CHARACTERS = 16_384  # beyond this, counting extrapolates: a prompt of a megabyte must not block the loop
PROMPT_SHARE = 0.6  # of the time to the first token: what the prompt's content filter takes
MAX_FACTOR = 20.0  # a log-normal has a long tail; a single gap beyond this is no use to anybody

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
    """Split text into token-like pieces; joined, they are the text."""
    pieces: list[str] = []
    for piece in _PIECE.findall(text):
        if len(piece) <= WHOLE_WORD + 1:
            pieces.append(piece)
        else:  # the first piece is longer than the rest, as byte-pair encodings tend to keep stems together
            head = 5 if piece[0] == " " else 4
            pieces += [piece[:head], *(piece[at : at + 4] for at in range(head, len(piece), 4))]
    return pieces


def count(text: str) -> int:
    """Count the tokens of ``split``; very long texts are extrapolated."""
    if len(text) <= SAMPLE_CHARACTERS:
        return len(split(text))
    return len(split(text[:SAMPLE_CHARACTERS])) * len(text) // SAMPLE_CHARACTERS


def until_stop(text: str, stops: Sequence[str]) -> str:
    """Cut text before the first stop sequence in it."""
    found = [at for at in (text.find(stop) for stop in stops if stop) if at >= 0]
    return text[: min(found)] if found else text


class Pace:
    """The pace of the model: time to the first token, and a gap with jitter between tokens.

    Waits, in seconds, have a log-normal distribution with the configured mean. ``jitter`` is the relative standard
    deviation. A mean of 0 gives no wait.
    """

    def __init__(self, first_token: float, inter_token: float, jitter: float, rng: random.Random) -> None:
        self._first = first_token
        self._inter = inter_token
        self._sigma = math.sqrt(math.log1p(jitter * jitter))
        self._rng = rng

    def _around(self, mean: float) -> float:
        if mean <= 0 or self._sigma == 0:
            return max(mean, 0.0)
        # exp(N(-s²/2, s)) has mean 1, whatever s is.
        factor = math.exp(self._rng.gauss(-self._sigma * self._sigma / 2, self._sigma))
        return mean * min(factor, MAX_FACTOR)

    def prompt(self) -> float:
        """Return the wait until the prompt is checked and the headers are sent."""
        return self._around(self._first * PROMPT_SHARE)

    def first(self) -> float:
        """Return the wait from there to the first token."""
        return self._around(self._first * (1 - PROMPT_SHARE))

    def token(self) -> float:
        """Return the wait between two tokens."""
        return self._around(self._inter)

    def total(self, tokens: int) -> float:
        """Return the wait for a whole answer of ``tokens``, for a client that does not stream."""
        return self.prompt() + self.first() + sum(self.token() for _ in range(max(tokens - 1, 0)))

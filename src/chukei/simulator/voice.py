"""The choice of words for an answer."""

from __future__ import annotations

import random
import zlib
from collections.abc import Sequence
from typing import TypeVar

Phrase = TypeVar("Phrase")


class Voice(random.Random):
    """The random generator for the words of an answer, which follow from the seed and the prompt.

    ``again`` is how often the prompt was answered before: each time the words are others. None stands for words that
    stay the same.
    """

    def __init__(self, seed: int, prompt: str, again: int | None = None) -> None:
        super().__init__(f"{seed}:{prompt}" + ("" if again is None else f":{again}"))
        self._turn = zlib.crc32(f"{seed}:{prompt}".encode("utf-8", "surrogatepass")) + (again or 0)

    def next_of(self, phrases: Sequence[Phrase]) -> Phrase:
        """Return one of the phrases. They take turns, so the next answer to the same prompt gets another one."""
        self._turn += 1
        return phrases[self._turn % len(phrases)]

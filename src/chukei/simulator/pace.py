"""How fast the simulated model speaks: time to the first token, then a jittered gap between tokens."""

from __future__ import annotations

import math
import random

PROMPT_SHARE = 0.6  # of the time to the first token: what the prompt's content filter takes
MAX_FACTOR = 20.0  # a log-normal has a long tail; a single gap beyond this is no use to anybody


class Pace:
    """Draws waiting times, in seconds, from a log-normal distribution with the configured mean.

    The relative standard deviation is ``jitter``. A mean of 0 gives 0: as fast as possible.
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
        """Return the wait until the prompt is checked and the headers go out."""
        return self._around(self._first * PROMPT_SHARE)

    def first(self) -> float:
        """Return the wait from there to the first token."""
        return self._around(self._first * (1 - PROMPT_SHARE))

    def token(self) -> float:
        """Return the wait between two tokens."""
        return self._around(self._inter)

    def total(self, tokens: int) -> float:
        """Return the wait for a whole answer of so many tokens, for a client that does not stream."""
        return self.prompt() + self.first() + sum(self.token() for _ in range(max(tokens - 1, 0)))

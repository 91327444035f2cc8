"""What the simulated model says."""

from __future__ import annotations

import random
import re

from chukei.simulator.prompts import Prompt

# One space after the colon belongs to the request, the rest to the text.
_REPEAT = re.compile(r"\s*(?:repeat|say|echo|繰り返して)\s*[:：] ?(.*)", re.DOTALL | re.I)


def repeated(text: str) -> str | None:
    """Return the text that is to be repeated exactly, if that is what is asked."""
    match = _REPEAT.fullmatch(text)
    return match[1] if match else None


def wants_plain_text(text: str) -> bool:
    """Say whether a prompt is answered in words even when tools are at hand."""
    return repeated(text) is not None


def answer(prompt: Prompt, rng: random.Random) -> str:
    """Answer a prompt in words."""
    exact = repeated(prompt.text)
    if exact is not None:
        return exact
    return f"Hello! You said: {prompt.text}"

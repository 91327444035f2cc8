"""Which tools the model calls, and with what."""

from __future__ import annotations

import random
import re
from typing import Any

from chukei.simulator.prompts import Prompt, Tool, find_tool
from chukei.simulator.prose import wants_plain_text
from chukei.simulator.schemas import places_in, sample

MOST_CALLS = 4
_WORD = re.compile(r"[a-z]{3,}|[\u3040-\u30ff\u3400-\u9fff]{2}")
_LISTED = re.compile(r"\b([A-Z][\w'-]+)(?:,\s*([A-Z][\w'-]+))*,?\s+and\s+([A-Z][\w'-]+)")


def choose_calls(prompt: Prompt, rng: random.Random) -> list[tuple[Tool, Any]]:
    """Return the functions to call with their arguments; none when the answer is to be text.

    With ``auto`` the model calls something for every question it is asked with tools at hand, save greetings and
    requests to repeat, and answers in words once it has the results.
    """
    if not prompt.tools or prompt.tool_choice == "none":
        return []
    forced = prompt.tool_choice == "required" or prompt.tool_named is not None
    if not forced and (prompt.tool_results or wants_plain_text(prompt.text)):
        return []
    tool = _tool(prompt)
    return [(tool, sample(tool.parameters, rng, subject)) for subject in _subjects(prompt)]


def _tool(prompt: Prompt) -> Tool:
    if prompt.tool_named is not None:
        named = find_tool(prompt.tools, prompt.tool_named)
        if named is not None:
            return named
    asked = set(_WORD.findall(prompt.text.lower()))

    def overlap(tool: Tool) -> int:
        return len(asked & set(_WORD.findall(f"{tool.name} {tool.description}".replace("_", " ").lower())))

    return max(prompt.tools, key=overlap)


def _subjects(prompt: Prompt) -> list[str]:
    """Return one text for each call: several when the prompt names several places or things."""
    if not prompt.parallel:
        return [prompt.text]
    places = places_in(prompt.text)
    if len(places) > 1:
        return places[:MOST_CALLS]
    listed = _LISTED.search(prompt.text)
    if listed is not None:
        return [name for name in listed.groups() if name][:MOST_CALLS]
    return [prompt.text]

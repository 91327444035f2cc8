"""What the model is asked, whichever endpoint asks it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from chukei.simulator.tokens import count

Choice = Literal["auto", "none", "required"]

TOKENS_PER_MESSAGE = 4  # role and separators, as in the chat format of the GPT models
IMAGE_TOKENS = 85  # an image in low detail


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may call."""

    name: str
    description: str
    parameters: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Prompt:
    """A conversation boiled down to what an answer depends on."""

    text: str
    system: str = ""
    turns: int = 1
    tool_results: tuple[str, ...] = ()
    tools: tuple[Tool, ...] = ()
    tool_choice: Choice = "auto"
    tool_named: str | None = None
    parallel: bool = True
    schema: dict[str, Any] | None = None
    tokens: int = 0


def fields_of(value: Any) -> dict[str, Any]:
    """Return the fields of a JSON object, none if it is something else."""
    return value if isinstance(value, dict) else {}


def text_of(content: Any) -> str:
    """Return the text of a message's content: a string, or a list of parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(
            str(part.get("text") or part.get("refusal") or "") if isinstance(part, dict) else str(part)
            for part in content
        )
    return ""


def images_in(content: Any) -> int:
    """Count the images among the parts of a message's content."""
    if not isinstance(content, list):
        return 0
    return sum(1 for part in content if isinstance(part, dict) and "image" in str(part.get("type")))


def conversation(messages: Iterable[tuple[str, Any]]) -> Prompt:
    """Boil down (role, content) pairs; roles are those of chat."""
    text = ""
    system: list[str] = []
    results: list[str] = []
    turns = tokens = 0
    for role, content in messages:
        words = text_of(content)
        tokens += count(words) + TOKENS_PER_MESSAGE + IMAGE_TOKENS * images_in(content)
        if role == "user":
            text, turns = words, turns + 1
            results = []
        elif role in ("system", "developer"):
            system.append(words)
        elif role in ("tool", "function"):
            results.append(words)
        else:
            results = []
    return Prompt(
        text=text,
        system="\n".join(system),
        turns=max(turns, 1),
        tool_results=tuple(results),
        tokens=tokens + TOKENS_PER_MESSAGE - 1,
    )


def find_tool(tools: Sequence[Tool], name: str) -> Tool | None:
    """Return the tool of that name."""
    return next((tool for tool in tools if tool.name == name), None)

"""A prompt with its tools, in one form for all endpoints."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from chukei.simulator.attachments import Attachment, attached
from chukei.simulator.azure import invalid_value, missing_parameter
from chukei.simulator.tokens import count

ToolChoice = Literal["auto", "none", "required"]

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
    """The parts of a conversation on which the answer depends.

    ``asked_before`` is how often the user has said the same text before, ``attachments`` is what came with it.
    """

    text: str
    system: str = ""
    turns: int = 1
    asked_before: int = 0
    attachments: tuple[Attachment, ...] = ()
    tool_results: tuple[str, ...] = ()
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice = "auto"
    tool_named: str | None = None
    parallel: bool = True
    schema: dict[str, Any] | None = None
    tokens: int = 0


def fields_of(value: Any) -> dict[str, Any]:
    """Return the fields of a JSON object; none for any other value."""
    return value if isinstance(value, dict) else {}


def text_of(content: Any) -> str:
    """Return the text of a message's content: a string, or a list of parts."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "".join(
        str(part.get("text") or part.get("refusal") or "") if isinstance(part, dict) else str(part) for part in parts
    )


def _images_in(content: Any) -> int:
    parts = content if isinstance(content, list) else []
    return sum(1 for part in parts if isinstance(part, dict) and "image" in str(part.get("type")))


def conversation(messages: Iterable[tuple[str, Any]]) -> Prompt:
    """Return the prompt of (role, content) pairs; the roles are those of chat."""
    asked: list[str] = [""]
    attachments: tuple[Attachment, ...] = ()
    system: list[str] = []
    results: list[str] = []
    tokens = 0
    for role, content in messages:
        words = text_of(content)
        tokens += count(words) + TOKENS_PER_MESSAGE + IMAGE_TOKENS * _images_in(content)
        if role in ("system", "developer"):
            system.append(words)
        elif role in ("tool", "function"):
            results.append(words)
        else:
            results = []
            if role == "user":
                text, attachments = attached(content, words)
                asked.append(text)
    tokens += TOKENS_PER_MESSAGE - 1
    *before, text = asked
    return Prompt(
        text, "\n".join(system), max(len(before), 1), before.count(text), attachments, tuple(results), tokens=tokens
    )


def find_tool(tools: Sequence[Tool], name: str) -> Tool | None:
    """Return the tool with this name; None if there is none."""
    return next((tool for tool in tools if tool.name == name), None)


def read_tools(functions: list[dict[str, Any]], name: str) -> tuple[Tool, ...]:
    """Read function definitions, which are the same in both APIs; ApiError 400, at ``name``, if one has no name."""
    for at, function in enumerate(functions):
        if not isinstance(function.get("name"), str):
            raise missing_parameter(name.format(at))
    return tuple(
        Tool(
            name=function["name"],
            description=str(function.get("description") or ""),
            parameters=given if isinstance(given := function.get("parameters"), dict) else {"type": "object"},
        )
        for function in functions
    )


def read_choice(choice: Any, tools: tuple[Tool, ...]) -> tuple[ToolChoice, str | None]:
    """Read ``tool_choice``: the mode of choosing, and the function that the model must call."""
    if choice is None or choice in ("auto", "none", "required"):
        if choice is not None and not tools:
            raise invalid_value("'tool_choice' is only allowed when 'tools' are specified.", "tool_choice")
        return choice or "auto", None
    if isinstance(choice, dict):
        name = (fields_of(choice.get("function")) or choice).get("name")
        if isinstance(name, str) and find_tool(tools, name) is not None:
            return "required", name
        raise invalid_value(f"Tool choice '{name}' not found in 'tools' parameter.", "tool_choice")
    what = f"Invalid value: '{choice}'. Supported values are: 'none', 'auto', and 'required'."
    raise invalid_value(what, "tool_choice")

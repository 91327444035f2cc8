"""An authorised request, and its prompt, tools and options in one form for all endpoints."""

from __future__ import annotations

import base64
import random
import string
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import msgspec

from chukei.simulator.azure import ApiError, invalid_value, missing_parameter, served_model, shape, unreadable_json
from chukei.simulator.tokens import Pace, count

Request = TypeVar("Request", bound=msgspec.Struct)
ToolChoice = Literal["auto", "none", "required"]

RESPONSES_KEPT = 4096  # the oldest are forgotten
TOKENS_PER_MESSAGE = 4  # role and separators, as in the chat format of the GPT models
IMAGE_TOKENS = 85  # an image in low detail
DEFAULT_MODEL = "gpt-4.1-mini-2025-04-14"
REASONING = ("o1", "o3", "o4", "gpt-5")
_ALPHANUMERIC = string.ascii_letters + string.digits
# What a model asked for "some JSON" answers.
JSON_OBJECT: dict[str, Any] = {
    "type": "object",
    "properties": {
        "answer": {"type": "string"},
        "question": {"type": "string"},
        "simulated": {"const": True},
        "items": {"type": "array", "items": {"type": "integer"}},
    },
}


@dataclass(frozen=True, slots=True)
class Filter:
    """The content filter's action on a completion: cut it after some tokens, or annotate it afterwards."""

    how: Literal["blocks", "asynchronous"]
    after: int = 0


class Stored:
    """The state of a resource: the deployments of its stored responses, and its conversations."""

    def __init__(self, conversations: Iterable[str] = ()) -> None:
        self._conversations = frozenset(conversations)
        self._responses: OrderedDict[str, str] = OrderedDict()

    def keep(self, response: str, deployment: str) -> None:
        """Store a response of a deployment."""
        self._responses[response] = deployment
        if len(self._responses) > RESPONSES_KEPT:
            self._responses.popitem(last=False)

    def has_response(self, response: str, deployment: str) -> bool:
        """Whether this response of this deployment is stored."""
        return self._responses.get(response) == deployment

    def has_conversation(self, conversation: str) -> bool:
        """Whether this conversation exists."""
        return conversation in self._conversations


@dataclass(frozen=True, slots=True)
class Call:
    """A request with everything that determines its answer.

    ``dice`` is the random generator for ids, padding and pace; it differs for each request. ``voice`` is that for the
    words. ``occurrence`` is the number of earlier requests with the same body.
    """

    operation: str
    deployment: str
    api_version: str | None
    body: bytes
    content_type: str
    created: int
    dice: random.Random
    seed: int
    pace: Pace
    filter: Filter | None = None
    occurrence: int = 0
    model_asked: str | None = None
    deployments: tuple[str, ...] = ()
    stored: Stored = field(default_factory=Stored)

    @property
    def model(self) -> str:
        """The full name of the model, which follows from the deployment's."""
        return served_model(self.deployment) or (self.deployment if self.reasoning else DEFAULT_MODEL)

    @property
    def reasoning(self) -> bool:
        """Whether it is a reasoning model."""
        return self.deployment.startswith(REASONING)

    def older_than(self, date: str) -> bool:
        """Whether the api-version is dated and before this date. The v1 path has no date."""
        return self.api_version is not None and self.api_version[:10] < date

    def voice(self, prompt: str, *, fixed: bool) -> random.Random:
        """Return the random generator for words.

        A repeated prompt gives other words, unless ``fixed``: the client has set ``seed`` or a temperature of 0.
        """
        return random.Random(f"{self.seed}:{prompt}" + ("" if fixed else f":{self.occurrence}"))  # noqa: S311

    def id(self, prefix: str, length: int = 29) -> str:
        """Return a new id: the prefix and random letters and digits."""
        return prefix + "".join(self.dice.choices(_ALPHANUMERIC, k=length))

    def hex_id(self, prefix: str, digits: int = 50) -> str:
        """Return a new id in the form of the Responses API."""
        return f"{prefix}{self.dice.getrandbits(4 * digits):0{digits}x}"

    def completion(self, prefix: str, object_: str) -> dict[str, Any]:
        """Return the first fields of a completion and of each of its chunks. The fingerprint depends on the model."""
        return {
            "created": self.created,
            "id": self.id(prefix),
            "model": self.model,
            "object": object_,
            "system_fingerprint": f"fp_{random.Random(self.model).getrandbits(40):010x}",  # noqa: S311
        }

    def obfuscated(self, length: int) -> str:
        """Return padding that fills text of this length up to a multiple of 16, as recorded."""
        return base64.b64encode(self.dice.randbytes(12), b"ab").decode()[: 16 - length % 16]

    def read(self, type_: type[Request]) -> Request:
        """Decode the JSON body; ApiError 400 with Azure's message if it is invalid."""
        try:
            return msgspec.json.decode(self.body, type=type_)
        except msgspec.ValidationError as error:
            raise _misfit(str(error)) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise unreadable_json() from None


def _misfit(message: str) -> ApiError:
    """Convert msgspec's message, such as "Expected `int`, got `str` - at `$.n`", into an error of Azure's."""
    what, _, where = message.partition(" - at ")
    param = where.strip("`").removeprefix("$").removeprefix(".")
    if what.startswith("Object missing required field"):
        name = what.split("`")[1]
        return missing_parameter(f"{param}.{name}" if param else name)
    return invalid_value(f"Invalid type for '{param}': {what[:1].lower()}{what[1:]}.", param, "invalid_type")


class StreamOptions(msgspec.Struct):
    """``stream_options``."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may call."""

    name: str
    description: str
    parameters: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Prompt:
    """The parts of a conversation on which the answer depends."""

    text: str
    system: str = ""
    turns: int = 1
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
    text = ""
    system: list[str] = []
    results: list[str] = []
    turns = tokens = 0
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
                text, turns = words, turns + 1
    tokens += TOKENS_PER_MESSAGE - 1
    return Prompt(text, "\n".join(system), max(turns, 1), tuple(results), tokens=tokens)


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


def usage(prompt_tokens: int, completion_tokens: int, reasoning_tokens: int) -> dict[str, Any]:
    """Return the usage object of chat."""
    total = prompt_tokens + completion_tokens
    used = shape("usage", prompt_tokens=prompt_tokens, completion_tokens=completion_tokens, total_tokens=total)
    used["completion_tokens_details"]["reasoning_tokens"] = reasoning_tokens
    return used

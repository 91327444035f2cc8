"""An authorised request, in one form for all endpoints."""

from __future__ import annotations

import base64
import random
import string
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar
from uuid import UUID

import msgspec

from chukei.simulator.azure import (
    ApiError,
    invalid_value,
    missing_parameter,
    out_of_range,
    served_model,
    shape,
    unreadable_json,
)
from chukei.simulator.credentials import Ephemeral
from chukei.simulator.prompts import Prompt
from chukei.simulator.stored import Kept, Stored
from chukei.simulator.tokens import Pace
from chukei.simulator.voice import Voice

Request = TypeVar("Request", bound=msgspec.Struct)

DEFAULT_MODEL = "gpt-4.1-mini-2025-04-14"
ROUTER = "model-router"
ROUTED = ("gpt-5-nano-2025-08-07", "gpt-4.1-mini-2025-04-14", "gpt-5-mini-2025-08-07")
REASONING = ("o1", "o3", "o4", "gpt-5")
# The types of the fields of objects, by name.
FIELDS: dict[str, tuple[type, str]] = {
    **dict.fromkeys(("file_ids", "files", "items", "part_ids", "testing_criteria"), (list, "an array")),
    **dict.fromkeys(("attributes", "data_source", "expires_after", "hyperparameters", "metadata"), (dict, "an object")),
    **dict.fromkeys(("endpoint", "filename", "input_file_id", "name", "purpose", "suffix"), (str, "a string")),
    **dict.fromkeys(("bytes", "max_num_results", "seed"), (int, "an integer")),
}
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


@dataclass(frozen=True, slots=True)
class Call:
    """A request with everything that determines its answer.

    ``dice`` is the random generator for padding and pace and ``names`` that for ids; they differ for each request.
    ``voice`` is that for the words. ``occurrence`` is the number of earlier requests with the same body. ``ids`` are
    those in the path. ``limit`` is the most tokens of the answer, besides the client's own limit. ``struck`` are the
    faults that apply, ``faults_of`` returns those in another deployment's name, and ``ask`` answers a request of a
    batch: its operation and body give the status and the body of the answer.
    """

    operation: str
    deployment: str
    api_version: str | None
    body: bytes
    content_type: str
    created: int
    dice: random.Random
    names: random.Random
    seed: int
    pace: Pace
    stage_seconds: float = 0.0  # how long each stage of a job takes
    job_looks: int = 1
    filter: Filter | None = None
    limit: int | None = None
    occurrence: int = 0
    ids: tuple[str, ...] = ()
    query: Mapping[str, str] = field(default_factory=dict)
    deployments: tuple[str, ...] = ()
    stored: Stored = field(default_factory=Stored)
    struck: frozenset[str] = frozenset()
    faults_of: Callable[[str], frozenset[str]] = lambda _: frozenset()
    ask: Callable[[str, bytes], tuple[int, bytes]] = lambda _operation, _body: (404, b"{}")
    memory: dict[str, Kept] | None = None  # the responses that the socket of a turn remembers, by id
    ephemeral: Ephemeral = field(default_factory=Ephemeral)
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def model(self) -> str:
        """The full name of the model, which follows from the deployment's; a router chooses one for each prompt."""
        if self.deployment.startswith(ROUTER):
            return ROUTED[zlib.crc32(self.body) % len(ROUTED)]
        return served_model(self.deployment) or (self.deployment if self.reasoning else DEFAULT_MODEL)

    @property
    def reasoning(self) -> bool:
        """Whether it is a reasoning model."""
        name = self.model if self.deployment.startswith(ROUTER) else self.deployment
        return name.startswith(REASONING)

    def older_than(self, date: str) -> bool:
        """Whether the api-version is dated and before this date. The v1 path has no date."""
        return self.api_version is not None and self.api_version[:10] < date

    def voice(self, prompt: Prompt, *, fixed: bool) -> Voice:
        """Return the random generator for words.

        A repeated prompt gives other words, unless ``fixed``: the client has set ``seed`` or a temperature of 0.
        """
        return Voice(self.seed, prompt.text, None if fixed else self.occurrence + prompt.asked_before)

    def id(self, prefix: str, length: int = 29) -> str:
        """Return a new id: the prefix and random letters and digits."""
        return prefix + "".join(self.names.choices(_ALPHANUMERIC, k=length))

    def hex_id(self, prefix: str, digits: int = 50) -> str:
        """Return a new id in the form of the Responses API."""
        return f"{prefix}{self.names.getrandbits(4 * digits):0{digits}x}"

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

    def guid(self, prefix: str) -> str:
        """Return a new id in the form of the files that a batch makes."""
        return prefix + str(UUID(int=self.names.getrandbits(128), version=4))

    def number(self, name: str, default: int, low: int, high: int) -> int:
        """Return a whole number of the query; ApiError 400 if it is none or out of bounds."""
        given = self.query.get(name, "")
        try:
            value = int(given) if given else default
        except ValueError:
            what = f"Invalid type for '{name}': expected an integer, but got a string instead."
            raise invalid_value(what, name, "invalid_type") from None
        if not low <= value <= high:
            raise out_of_range(name, value, low, high)
        return value

    def object(self, *required: str) -> dict[str, Any]:
        """Return the fields of the JSON body that are not null; none if it is empty.

        ApiError 400 if one that is required is missing, or one has not the type of its name in ``FIELDS``.
        """
        try:
            given = msgspec.json.decode(self.body or b"{}")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise unreadable_json() from None
        if not isinstance(given, dict):
            raise unreadable_json()
        given = {name: value for name, value in given.items() if value is not None}
        for name in required:
            if given.get(name) in (None, ""):
                raise missing_parameter(name)
        for name, value in given.items():
            kind, words = FIELDS.get(name, (object, ""))
            if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
                raise invalid_value(f"Invalid type for '{name}': expected {words}.", name, "invalid_type")
        return given

    def read(self, type_: type[Request]) -> Request:
        """Decode the JSON body; ApiError 400 with Azure's message if it is invalid."""
        try:
            return msgspec.json.decode(self.body, type=type_)
        except msgspec.ValidationError as error:
            raise misfit(str(error)) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise unreadable_json() from None


def misfit(message: str, inside: str = "") -> ApiError:
    """Convert msgspec's message, such as "Expected `int`, got `str` - at `$.n`", into an error of Azure's.

    ``inside`` is the name of the field that was read; "" for a whole body.
    """
    what, _, where = message.partition(" - at ")
    param = (inside + where.strip("`").removeprefix("$")).removeprefix(".")
    if what.startswith("Object missing required field"):
        name = what.split("`")[1]
        return missing_parameter(f"{param}.{name}" if param else name)
    return invalid_value(f"Invalid type for '{param}': {what[:1].lower()}{what[1:]}.", param, "invalid_type")


class StreamOptions(msgspec.Struct):
    """``stream_options``."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


def usage(prompt_tokens: int, completion_tokens: int, reasoning_tokens: int) -> dict[str, Any]:
    """Return the usage object of chat."""
    total = prompt_tokens + completion_tokens
    used = shape("usage", prompt_tokens=prompt_tokens, completion_tokens=completion_tokens, total_tokens=total)
    used["completion_tokens_details"]["reasoning_tokens"] = reasoning_tokens
    return used

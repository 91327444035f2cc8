"""One authorised request, as the operations see it."""

from __future__ import annotations

import base64
import random
import string
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import msgspec

from chukei.simulator.errors import invalid_value, missing_parameter, model_error
from chukei.simulator.pace import Pace

Request = TypeVar("Request", bound=msgspec.Struct)

RESPONSES_KEPT = 4096  # the oldest are forgotten

_ALPHANUMERIC = string.ascii_letters + string.digits

# What the chunks call the model behind a deployment whose name says which one it is.
_MODELS = {
    "gpt-4o-mini": "gpt-4o-mini-2024-07-18",
    "gpt-4o": "gpt-4o-2024-11-20",
    "gpt-4.1-nano": "gpt-4.1-nano-2025-04-14",
    "gpt-4.1-mini": "gpt-4.1-mini-2025-04-14",
    "gpt-4.1": "gpt-4.1-2025-04-14",
    "gpt-5-mini": "gpt-5-mini-2025-08-07",
    "gpt-5-nano": "gpt-5-nano-2025-08-07",
    "gpt-5": "gpt-5-2025-08-07",
    "gpt-35-turbo": "gpt-35-turbo",
    "o1": "o1-2024-12-17",
    "o3-mini": "o3-mini-2025-01-31",
    "o3": "o3-2025-04-16",
    "o4-mini": "o4-mini-2025-04-16",
}
DEFAULT_MODEL = "gpt-4.1-mini-2025-04-14"
REASONING = ("o1", "o3", "o4", "gpt-5")


def served_model(deployment: str) -> str | None:
    """Return the full name of the model that a deployment's name begins with; None if it does not say."""
    for name, model in _MODELS.items():
        if deployment == name or deployment.startswith(name + "-"):
            return model
    return None


@dataclass(frozen=True, slots=True)
class Filter:
    """What the content filter does to the completion: cut it after so many tokens, or comment on it afterwards."""

    how: Literal["blocks", "asynchronous"]
    after: int = 0


class Stored:
    """What a resource keeps of earlier requests: whose response is whose, and which conversations there are."""

    def __init__(self, conversations: Iterable[str] = ()) -> None:
        self._conversations = frozenset(conversations)
        self._responses: OrderedDict[str, str] = OrderedDict()

    def keep(self, response: str, deployment: str) -> None:
        """Keep a response, for the deployment that made it."""
        self._responses[response] = deployment
        if len(self._responses) > RESPONSES_KEPT:
            self._responses.popitem(last=False)

    def has_response(self, response: str, deployment: str) -> bool:
        """Whether the deployment made this response, and it was kept."""
        return self._responses.get(response) == deployment

    def has_conversation(self, conversation: str) -> bool:
        """Whether there is such a conversation."""
        return conversation in self._conversations


@dataclass(frozen=True, slots=True)
class Call:
    """A request with everything that its answer depends on.

    ``dice`` draws ids, padding and pace, and differs from request to request; ``voice`` draws the words.
    ``occurrence`` is how often the very same body came before.
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
    obfuscation: bool = True
    occurrence: int = 0
    model_asked: str | None = None
    deployments: tuple[str, ...] = ()
    stored: Stored = field(default_factory=Stored)

    @property
    def model(self) -> str:
        """The model's full name, by the deployment's."""
        named = served_model(self.deployment)
        return named or (self.deployment if self.reasoning else DEFAULT_MODEL)

    @property
    def reasoning(self) -> bool:
        """Whether the model thinks before it speaks."""
        return self.deployment.startswith(REASONING)

    def voice(self, prompt: str, *, fixed: bool) -> random.Random:
        """Return the dice for words.

        Asked again, the same prompt gives other words, unless the client wants them ``fixed``, with ``seed`` or a
        temperature of 0.
        """
        return random.Random(f"{self.seed}:{prompt}" + ("" if fixed else f":{self.occurrence}"))  # noqa: S311

    def id(self, prefix: str, length: int = 29) -> str:
        """Return a new id: the prefix and random letters and digits."""
        return prefix + "".join(self.dice.choices(_ALPHANUMERIC, k=length))

    def hex_id(self, prefix: str, digits: int = 50) -> str:
        """Return a new id as the Responses API makes them."""
        return f"{prefix}{self.dice.getrandbits(4 * digits):0{digits}x}"

    def fingerprint(self) -> str:
        """Return a ``system_fingerprint``: the same for the same model."""
        return f"fp_{random.Random(self.model).getrandbits(40):010x}"  # noqa: S311

    def obfuscated(self, length: int) -> str:
        """Return padding that, with text of this length, makes a multiple of 16, as recorded."""
        need = 16 - length % 16
        return base64.b64encode(self.dice.randbytes(12), b"ab").decode()[:need]

    def read(self, type_: type[Request]) -> Request:
        """Decode the JSON body; ApiError 400 in Azure's words for what does not fit."""
        try:
            return msgspec.json.decode(self.body, type=type_)
        except msgspec.ValidationError as error:
            raise _misfit(str(error)) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            message = "We could not parse the JSON body of your request. The API expects a JSON payload."
            raise model_error(400, message) from None


def _misfit(message: str) -> Exception:
    """Turn msgspec's "Expected `int`, got `str` - at `$.n`" into an error of Azure's."""
    what, _, where = message.partition(" - at ")
    param = where.strip("`").removeprefix("$").removeprefix(".")
    if what.startswith("Object missing required field"):
        name = what.split("`")[1]
        return missing_parameter(f"{param}.{name}" if param else name)
    return invalid_value(f"Invalid type for '{param}': {what[:1].lower()}{what[1:]}.", param, "invalid_type")


def usage(prompt_tokens: int, completion_tokens: int, reasoning_tokens: int) -> dict[str, Any]:
    """Return the usage object of chat."""
    return {
        "completion_tokens": completion_tokens,
        "completion_tokens_details": {
            "accepted_prediction_tokens": 0,
            "audio_tokens": 0,
            "reasoning_tokens": reasoning_tokens,
            "rejected_prediction_tokens": 0,
        },
        "prompt_tokens": prompt_tokens,
        "prompt_tokens_details": {"audio_tokens": 0, "cached_tokens": 0},
        "total_tokens": prompt_tokens + completion_tokens,
    }

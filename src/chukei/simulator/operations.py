"""The paths and their operations. The operations for models and embeddings are in this module."""

from __future__ import annotations

import base64
import hashlib
import math
import re
from array import array
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import unquote

import msgspec

from chukei.simulator import azure
from chukei.simulator.calls import Call
from chukei.simulator.chat import chat
from chukei.simulator.chat import error_event as chat_error_event
from chukei.simulator.completions import completions
from chukei.simulator.exchanges import Reply, sorted_json, whole
from chukei.simulator.media import fields, image_edits, images, speech, transcription, translation
from chukei.simulator.responses import error_event as responses_error_event
from chukei.simulator.responses import responses
from chukei.simulator.tokens import count

DIMENSIONS = 1536  # text-embedding-3-small and ada-002
LARGE_DIMENSIONS = 3072  # text-embedding-3-large
MOST_INPUTS = 2048  # the API's own limit
MOST_WORDS = 256  # of one text that count; the rest is in the digest of the whole
OWN_SHARE = 0.25  # how much of a vector is the text's alone, so that no two texts get the same

_WORD = re.compile(r"[^\W_\u3040-\u30ff\u3400-\u9fff]+|[\u3040-\u30ff\u3400-\u9fff]")


@dataclass(frozen=True, slots=True)
class Route:
    """A parsed path. ``deployment`` is None if ``model`` in the body names it."""

    operation: str
    deployment: str | None = None
    model: str | None = None  # of GET models/{id}
    versioned: bool = True  # whether api-version must be given


def find(method: str, path: str) -> Route | None:
    """Return the route of a request line; None if there is none.

    The path is split before it is decoded: a deployment named ``dep/a b`` is sent as ``dep%2Fa%20b``.
    """
    root, *rest = (unquote(part) for part in path.strip("/").split("/"))
    versioned = rest[:1] != ["v1"]
    rest = rest if versioned else rest[1:]
    if root != "openai" or method not in ("GET", "POST"):
        return None
    if method == "GET":
        return Route("models", None, "/".join(rest[1:]) or None, versioned) if rest[:1] == ["models"] else None
    deployment = None
    if versioned and rest[:1] == ["deployments"] and len(rest) > 2:
        deployment, rest = rest[1], rest[2:]
    operation = "/".join(rest)
    found = operation in OPERATIONS and operation != "models"
    # Only the classic path names a deployment, and only Responses do without it there.
    if found and (not versioned or (deployment is None) == (operation == "responses")):
        return Route(operation, deployment, versioned=versioned)
    return None


class _Named(msgspec.Struct):
    model: Any = None


def model_of(body: bytes, content_type: str) -> str:
    """Return the deployment in the body's ``model``; ApiError 400 if it is missing."""
    model: Any
    if content_type.startswith("multipart/"):
        part = fields(body, content_type).get("model")
        model = part.data.decode(errors="replace") if part else None
    else:
        try:
            model = msgspec.json.decode(body, type=_Named).model
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise azure.unreadable_json() from None
    if not isinstance(model, str) or not model:
        raise azure.missing_parameter("model")
    return model


def error_event_of(operation: str) -> Callable[[int], bytes]:
    """Return the function that makes an error event for streams of this operation."""
    return responses_error_event if operation == "responses" else chat_error_event


def models(call: Call) -> Reply:
    """Answer with the list or with one model; ApiError 404 if it does not exist."""
    if call.model_asked is None:
        data = [_model(call, name) for name in call.deployments or azure.LISTED_MODELS]
        return whole(sorted_json({"data": data, "object": "list"}))
    if call.deployments and call.model_asked not in call.deployments:
        raise azure.recorded_error("no-resource")
    return whole(sorted_json(_model(call, call.model_asked)))


def _model(call: Call, name: str) -> dict[str, Any]:
    """Describe a model in Azure's classic form or in OpenAI's."""
    if call.api_version is None:
        return azure.shape("v1-model", id=name)
    model = azure.shape("classic-model", id=name)
    speaks = not name.startswith(("text-embedding", "gpt-image", "whisper", "tts"))
    model["capabilities"] |= {
        "chat_completion": speaks and "instruct" not in name,
        "completion": "instruct" in name,
        "embeddings": name.startswith("text-embedding"),
    }
    return model


class EmbeddingRequest(msgspec.Struct):
    """The body of an embeddings request."""

    input: str | list[str | int | list[int]]
    model: str | None = None
    dimensions: int | None = None
    encoding_format: Literal["float", "base64"] | None = None


def embeddings(call: Call) -> Reply:
    """Answer an embeddings request."""
    request = call.read(EmbeddingRequest)
    most = LARGE_DIMENSIONS if "large" in call.deployment else DIMENSIONS
    size = most if request.dimensions is None else request.dimensions
    if not 1 <= size <= most:
        raise azure.out_of_range("dimensions", size, 1, most)
    texts, tokens = _texts(request.input)
    data: list[dict[str, Any]] = []
    for at, text in enumerate(texts):
        # Four-byte floats in both encodings, so that both say the same.
        floats = array("f", _vector(text, size, call.seed))
        as_text = request.encoding_format == "base64"
        embedding = base64.b64encode(floats.tobytes()).decode() if as_text else floats.tolist()
        data.append({"embedding": embedding, "index": at, "object": "embedding"})
    used = {"prompt_tokens": tokens, "total_tokens": tokens}
    body = {"data": data, "model": call.deployment, "object": "list", "usage": used}
    return whole(sorted_json(body), wait=call.pace.prompt(), prompt_tokens=tokens)


def _texts(given: str | list[str | int | list[int]]) -> tuple[list[str], int]:
    """Return the texts to embed and their tokens; ApiError 400 if there are none or too many, or one is empty."""
    entries = [given] if isinstance(given, str) else given
    if not entries or any(entry in ("", []) for entry in entries):
        raise azure.invalid_value("'$.input' is invalid: it must not be empty.", "input", "invalid_value")
    if isinstance(entries[0], int):
        return [" ".join(map(str, entries))], len(entries)
    if len(entries) > MOST_INPUTS:
        message = f"Invalid 'input': array too long. Expected at most {MOST_INPUTS} items, but got {len(entries)}."
        raise azure.invalid_value(message, "input", "array_above_max_length")
    tokens = sum(len(entry) if isinstance(entry, list) else count(str(entry)) for entry in entries)
    return [" ".join(map(str, entry)) if isinstance(entry, list) else str(entry) for entry in entries], tokens


def _vector(text: str, size: int, seed: int) -> list[float]:
    """Return the unit vector of a text: the weighted sum of its words' vectors and a small one of the whole text.

    So similar texts have similar vectors.
    """
    words = Counter(_WORD.findall(text.lower())).most_common(MOST_WORDS)
    norm = math.sqrt(sum(1 + math.log(times) for _, times in words)) or 1.0
    weights = [(word, math.sqrt(1 + math.log(times)) / norm) for word, times in words]
    total = [0.0] * size
    for word, weight in (*weights, ("\0" + text, OWN_SHARE)):
        direction = hashlib.shake_128(f"{seed}:{word}".encode()).digest(size)
        for at, byte in enumerate(direction):
            total[at] += (byte - 127.5) * weight
    length = math.sqrt(sum(value * value for value in total))
    return [value / length for value in total]


OPERATIONS: dict[str, Callable[[Call], Reply]] = {
    "chat/completions": chat,
    "completions": completions,
    "responses": responses,
    "embeddings": embeddings,
    "images/generations": images,
    "images/edits": image_edits,
    "audio/transcriptions": transcription,
    "audio/translations": translation,
    "audio/speech": speech,
    "models": models,
}

"""The lists of models, and embeddings."""

from __future__ import annotations

import base64
import hashlib
import math
import re
from array import array
from collections import Counter
from typing import Any, Literal

import msgspec

from chukei.simulator import azure
from chukei.simulator.calls import Call
from chukei.simulator.exchanges import Reply, sorted_json, whole
from chukei.simulator.tokens import count

DIMENSIONS = 1536  # text-embedding-3-small and ada-002
LARGE_DIMENSIONS = 3072  # text-embedding-3-large
MOST_INPUTS = 2048  # the API's own limit
MOST_WORDS = 256  # of one text that count; the rest is in the digest of the whole
OWN_SHARE = 0.25  # how much of a vector is the text's alone, so that no two texts get the same

_WORD = re.compile(r"[^\W_\u3040-\u30ff\u3400-\u9fff]+|[\u3040-\u30ff\u3400-\u9fff]")


def models(call: Call) -> Reply:
    """Answer with the list or with one model; ApiError 404 if it does not exist."""
    if not call.ids:
        data = [_model(call, name) for name in call.deployments or azure.LISTED_MODELS]
        return whole(sorted_json({"data": data, "object": "list"}))
    if call.deployments and call.ids[0] not in call.deployments:
        raise azure.recorded_error("no-resource")
    return whole(sorted_json(_model(call, call.ids[0])))


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

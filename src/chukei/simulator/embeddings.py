"""Embeddings: unit vectors that depend on the words of a text, so that similar texts are near one another."""

from __future__ import annotations

import base64
import hashlib
import math
import re
from array import array
from collections import Counter
from typing import Any, Literal

import msgspec

from chukei.simulator.calls import Call
from chukei.simulator.errors import invalid_value
from chukei.simulator.steps import Reply, sorted_json, whole
from chukei.simulator.tokens import count

DIMENSIONS = 1536  # text-embedding-3-small and ada-002
LARGE_DIMENSIONS = 3072  # text-embedding-3-large
MOST_INPUTS = 2048  # the API's own limit
MOST_WORDS = 256  # of one text that count; the rest is in the digest of the whole
OWN_SHARE = 0.25  # how much of a vector is the text's alone, so that no two texts get the same

_WORD = re.compile(r"[^\W_\u3040-\u30ff\u3400-\u9fff]+|[\u3040-\u30ff\u3400-\u9fff]")


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
        raise invalid_value(f"Invalid 'dimensions': expected a value from 1 to {most}, but got {size}.", "dimensions")
    texts, tokens = _texts(request.input)
    as_text = request.encoding_format == "base64"
    data = [
        {"embedding": _encoded(text, size, call.seed, as_text), "index": at, "object": "embedding"}
        for at, text in enumerate(texts)
    ]
    body: dict[str, Any] = {
        "data": data,
        "model": call.deployment,
        "object": "list",
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }
    return whole(sorted_json(body), wait=call.pace.prompt(), prompt_tokens=tokens)


def _texts(given: str | list[str | int | list[int]]) -> tuple[list[str], int]:
    """Return the texts to embed and their tokens; ApiError 400 for none, too many, or an empty one."""
    entries = [given] if isinstance(given, str) else given
    if not entries or any(entry in ("", []) for entry in entries):
        raise invalid_value("'$.input' is invalid: it must not be empty.", "input", "invalid_value")
    if isinstance(entries[0], int):
        return [" ".join(map(str, entries))], len(entries)
    if len(entries) > MOST_INPUTS:
        message = f"Invalid 'input': array too long. Expected at most {MOST_INPUTS} items, but got {len(entries)}."
        raise invalid_value(message, "input", "array_above_max_length")
    tokens = sum(len(entry) if isinstance(entry, list) else count(str(entry)) for entry in entries)
    return [" ".join(map(str, entry)) if isinstance(entry, list) else str(entry) for entry in entries], tokens


def _encoded(text: str, size: int, seed: int, as_text: bool) -> list[float] | str:
    # Four-byte floats in both encodings, so that both say the same.
    floats = array("f", vector(text, size, seed))
    return base64.b64encode(floats.tobytes()).decode() if as_text else floats.tolist()


def vector(text: str, size: int, seed: int) -> list[float]:
    """Return the unit vector of a text: the weighted sum of its words' directions, and a little of its own."""
    words = Counter(_WORD.findall(text.lower())).most_common(MOST_WORDS)
    total = [0.0] * size
    norm = math.sqrt(sum(1 + math.log(times) for _, times in words)) or 1.0
    for word, times in words:
        weight = math.sqrt(1 + math.log(times)) / norm
        for at, byte in enumerate(_direction(word, size, seed)):
            total[at] += (byte - 127.5) * weight
    for at, byte in enumerate(_direction("\0" + text, size, seed)):
        total[at] += (byte - 127.5) * OWN_SHARE
    length = math.sqrt(sum(value * value for value in total))
    return [value / length for value in total]


def _direction(word: str, size: int, seed: int) -> bytes:
    return hashlib.shake_128(f"{seed}:{word}".encode()).digest(size)

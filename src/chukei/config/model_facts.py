"""What the configuration tells clients about a model: see ``Model`` for the fields."""

import re
from collections.abc import Mapping
from typing import Any

from chukei.config.bounds import Whole
from chukei.config.reader import Reader

APIS = (
    "chat",
    "responses",
    "messages",
    "completions",
    "embeddings",
    "image_generation",
    "image_edit",
    "transcription",
    "translation",
    "speech",
    "realtime",
)
"""The APIs that a model may be said to serve, by the names of their operations."""

INPUTS = ("text", "image")
"""What a model may be said to take."""

_LANGUAGE = re.compile(r"[a-z]{2,3}", re.ASCII)


def _apis(table: Reader) -> tuple[str, ...]:
    return _some_of(table, "apis", table.strings("apis"), APIS)


def _input(table: Reader) -> tuple[str, ...]:
    return _some_of(table, "input", table.strings("input"), INPUTS)


def _some_of(table: Reader, key: str, names: tuple[str, ...], known: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if name not in known:
            table.problem(key, f"{name!r} is none of {', '.join(known)}")
    return names


def _descriptions(table: Reader) -> dict[str, Any]:
    descriptions = table.mapping("descriptions")
    for language, text in descriptions.items():
        if not _LANGUAGE.fullmatch(language) or not isinstance(text, str) or not text.strip():
            table.problem("descriptions", 'must hold texts by their languages, { ja = "…", de = "…" }')
    return descriptions


OF_WHAT_IS_TOLD: Mapping[str, object] = {
    "descriptions": _descriptions,
    "apis": _apis,
    "input": _input,
    "context_tokens": Whole(1, 1_000_000_000),
    "output_tokens": Whole(1, 1_000_000_000),
    "max_images": Whole(0, 1_000_000),
    "failure": False,
}
"""How the fields are read that need more than their type. ``failure`` has no key: it is for the simulator's models."""

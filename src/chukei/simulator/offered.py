"""The models that a relay lists while the simulator answers; ``offered.toml`` has them."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Offered:
    """A model: its id, what readers are told in English and in other languages, its limits, and what it serves."""

    id: str
    description: str
    descriptions: Mapping[str, str]
    failure: bool = False
    context_tokens: int | None = None
    output_tokens: int | None = None
    apis: tuple[str, ...] = ("chat", "responses")
    input: tuple[str, ...] = ("text", "image")


def offered(default: str) -> list[Offered]:
    """Return the models to list, the default first and the failures last."""
    table = tomllib.loads(Path(__file__).with_name("offered.toml").read_text("utf-8"))
    models = [Offered(name, **told) for name, told in table["models"].items()]
    failures = [Offered(name, **told, failure=True) for name, told in table["failures"].items()]
    found = [*models, *failures]
    if default not in (each.id for each in found):
        found.insert(0, _other(default, table["other"]))
    return sorted(found, key=lambda each: each.id != default)


def _other(name: str, told: dict[str, Any]) -> Offered:
    others = {language: text.replace("{name}", name) for language, text in told["descriptions"].items()}
    return Offered(name, told["description"].replace("{name}", name), others)

"""Values that fit a JSON Schema, for tool arguments and structured answers.

It supports the subset of Azure's structured outputs and a little more: type, enum, const, properties, required,
items, anyOf, oneOf, allOf, $ref into $defs, minimum, maximum, minItems, minLength, maxLength and common formats.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import Any

from chukei.simulator.prompts import fields_of
from chukei.simulator.prose import phrases

_Maker = Callable[[dict[str, Any], str, int], Any]  # schema, name of the field, depth

DEPTH = 6  # schemas may refer to themselves; from here on only what is required is filled in
HARD_DEPTH = 24

_FORMATS = {
    "date": "2026-04-01",
    "date-time": "2026-04-01T09:30:00Z",
    "time": "09:30:00",
    "email": "hanako@example.com",
    "uri": "https://example.com/",
    "uuid": "123e4567-e89b-42d3-a456-426614174000",
    "ipv4": "192.0.2.7",
    "hostname": "example.com",
}


def places_in(text: str) -> list[str]:
    """Return the places in a text, in order."""
    return [place for _, place in sorted((text.find(place), place) for place in phrases()["places"] if place in text)]


def sample(schema: Any, rng: random.Random, hint: str = "") -> Any:
    """Return a value that fits the schema. ``hint`` is a text for places and queries."""
    return _Sampler(fields_of(schema), rng, hint).value(schema, "", 0)


class _Sampler:
    def __init__(self, root: dict[str, Any], rng: random.Random, hint: str) -> None:
        self._root = root
        self._rng = rng
        self._hint = hint
        self._makers: dict[str, _Maker] = {
            "object": self._object,
            "array": self._array,
            "integer": self._integer,
            "number": self._number,
            "boolean": lambda _schema, _name, _depth: rng.random() < 0.5,
            "null": lambda _schema, _name, _depth: None,
        }
        # What a name asks for; the first that fits.
        self._meanings: tuple[tuple[str, Callable[[], str]], ...] = (
            (r"location|city|place|town|address|destination|origin|country|region", self._place),
            (r"query|question|text|prompt|search|message|input|expression|content", self._query),
            (r"date|day|when", lambda: _FORMATS["date"]),
            (r"name|title|subject|author", self._person),
        )

    def value(self, schema: Any, name: str, depth: int) -> Any:
        schema = self._resolved(schema)
        if "const" in schema:
            return schema["const"]
        if isinstance(schema.get("enum"), list) and schema["enum"]:
            return self._rng.choice(schema["enum"])
        if depth > HARD_DEPTH:
            return None
        make: _Maker = self._makers.get(_type(schema), self._string)
        return make(schema, name, depth)

    def _resolved(self, schema: Any) -> dict[str, Any]:
        for _ in range(HARD_DEPTH):
            if not isinstance(schema, dict):
                return {}
            if isinstance(schema.get("$ref"), str):
                schema = self._at(schema["$ref"])
            elif options := schema.get("anyOf") or schema.get("oneOf"):
                schema = _first_real(options)
            elif isinstance(schema.get("allOf"), list):
                rest = {key: value for key, value in schema.items() if key != "allOf"}
                schema = _merged([*(self._resolved(part) for part in schema["allOf"]), rest])
            else:
                return schema
        return {}

    def _at(self, reference: str) -> Any:
        found: Any = self._root
        for step in reference.removeprefix("#").strip("/").split("/"):
            if step:
                found = found.get(step) if isinstance(found, dict) else None
        return found

    def _object(self, schema: dict[str, Any], _name: str, depth: int) -> dict[str, Any]:
        properties = fields_of(schema.get("properties"))
        required = schema.get("required")
        required = required if isinstance(required, list) else []
        wanted = [key for key in properties if depth < DEPTH or key in required]
        wanted += [key for key in required if isinstance(key, str) and key not in properties]
        return {key: self.value(properties.get(key), key, depth + 1) for key in wanted}

    def _array(self, schema: dict[str, Any], name: str, depth: int) -> list[Any]:
        least = _whole(schema.get("minItems"), 0)
        size = max(least, self._rng.randint(2, 3) if depth < DEPTH else 0)
        size = min(size, _whole(schema.get("maxItems"), size), 64)
        return [self.value(schema.get("items"), name, depth + 1) for _ in range(size)]

    def _integer(self, schema: dict[str, Any], _name: str, _depth: int) -> int:
        low, high = _bounds(schema, 1)
        return self._rng.randint(int(-(-low // 1)), max(int(high // 1), int(-(-low // 1))))

    def _number(self, schema: dict[str, Any], _name: str, _depth: int) -> float:
        low, high = _bounds(schema, 0.5)
        return min(max(round(self._rng.uniform(low, high), 1), low), high)

    def _string(self, schema: dict[str, Any], name: str, _depth: int) -> str:
        if schema.get("format") in _FORMATS:
            return _FORMATS[str(schema["format"])]
        say = next((say for words, say in self._meanings if re.search(words, name, re.IGNORECASE)), None)
        text = say() if say else f"a simulated {name or 'value'}".replace("_", " ")
        least = _whole(schema.get("minLength"), 0)
        text += "." * min(max(least - len(text), 0), 10_000)
        return text[: _whole(schema.get("maxLength"), len(text))]

    def _place(self) -> str:
        return next(iter(places_in(self._hint)), "Tokyo")

    def _person(self) -> str:
        return str(self._rng.choice(phrases()["people"]))

    def _query(self) -> str:
        return self._hint.strip()[:200] or "hello"


def _type(schema: dict[str, Any]) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((entry for entry in kind if entry != "null"), "null")
    if kind is None:
        if "properties" in schema:
            return "object"
        return "array" if "items" in schema else "string"
    return str(kind)


def _first_real(options: Any) -> Any:
    """Return the first option that is not null."""
    options = options if isinstance(options, list) else []
    real = [option for option in options if fields_of(option).get("type") != "null"]
    return next(iter(real or options), {})


def _merged(parts: list[dict[str, Any]]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for part in parts:
        for key, value in part.items():
            if key == "properties" and isinstance(value, dict):
                merged[key] = {**merged.get(key, {}), **value}
            elif key == "required" and isinstance(value, list):
                merged[key] = [*merged.get(key, []), *value]
            else:
                merged[key] = value
    return merged


def _whole(value: Any, default: int) -> int:
    return value if isinstance(value, int) and value >= 0 else default


def _bounds(schema: dict[str, Any], step: float) -> tuple[float, float]:
    def number(name: str, change: float) -> float | None:
        value = schema.get(name)
        return value + change if isinstance(value, int | float) and not isinstance(value, bool) else None

    low = number("minimum", 0)
    low = number("exclusiveMinimum", step) if low is None else low
    high = number("maximum", 0)
    high = number("exclusiveMaximum", -step) if high is None else high
    if low is None:
        low = 1 if high is None or high >= 1 else high - 10
    if high is None:
        high = max(low + 9, 10)
    return low, max(high, low)

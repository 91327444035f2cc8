"""Values that fit a JSON Schema, for tool arguments and structured answers.

Knows the subset that Azure's structured outputs accept, and a little more: type, enum, const, properties, required,
items, anyOf, oneOf, allOf, $ref into $defs, minimum, maximum, minItems, minLength, maxLength and common formats.
"""

from __future__ import annotations

import random
import re
from typing import Any

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

PLACES = (
    *("Tokyo", "Osaka", "Kyoto", "Paris", "London", "Berlin", "Seattle", "San Francisco", "New York", "Boston"),
    *("Sydney", "Madrid", "Rome", "Oslo", "Cairo", "Mumbai", "Singapore", "Toronto", "Lisbon", "Vienna"),
    *("東京", "大阪", "京都", "札幌", "福岡", "那覇", "名古屋", "横浜", "パリ", "ロンドン"),
)
_PLACE_WORDS = re.compile(r"location|city|place|town|address|destination|origin|country|region", re.I)
_QUERY_WORDS = re.compile(r"query|question|text|prompt|search|message|input|expression|content", re.I)
_DATE_WORDS = re.compile(r"date|day|when", re.I)
_TITLE_WORDS = re.compile(r"name|title|subject|author", re.I)
_NAMES = ("Aiko", "Haruto", "Mina", "Jonas", "Leila", "Tomás")


def places_in(text: str) -> list[str]:
    """Return the places named in a text, in order."""
    found = [(text.find(place), place) for place in PLACES if place in text]
    return [place for _, place in sorted(found)]


def sample(schema: Any, rng: random.Random, hint: str = "") -> Any:
    """Return a value that fits the schema; the hint is text to take places and queries from."""
    return _Sampler(schema if isinstance(schema, dict) else {}, rng, hint).value(schema, "", 0)


class _Sampler:
    def __init__(self, root: dict[str, Any], rng: random.Random, hint: str) -> None:
        self._root = root
        self._rng = rng
        self._hint = hint

    def value(self, schema: Any, name: str, depth: int) -> Any:
        schema = self._resolved(schema)
        if "const" in schema:
            return schema["const"]
        if isinstance(schema.get("enum"), list) and schema["enum"]:
            return self._rng.choice(schema["enum"])
        if depth > HARD_DEPTH:
            return None
        make = {
            "object": self._object,
            "array": self._array,
            "integer": self._integer,
            "number": self._number,
            "boolean": self._boolean,
            "null": self._null,
        }.get(_type(schema), self._string)
        return make(schema, name, depth)

    def _resolved(self, schema: Any) -> dict[str, Any]:
        for _ in range(HARD_DEPTH):
            if not isinstance(schema, dict):
                return {}
            if isinstance(schema.get("$ref"), str):
                schema = self._at(schema["$ref"])
            elif schema.get("anyOf") or schema.get("oneOf"):
                schema = _first_real(schema.get("anyOf") or schema.get("oneOf"))
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
        properties = schema.get("properties")
        properties = properties if isinstance(properties, dict) else {}
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

    def _boolean(self, _schema: dict[str, Any], _name: str, _depth: int) -> bool:
        return self._rng.random() < 0.5

    def _null(self, _schema: dict[str, Any], _name: str, _depth: int) -> None:
        return None

    def _string(self, schema: dict[str, Any], name: str, _depth: int) -> str:
        if schema.get("format") in _FORMATS:
            return _FORMATS[str(schema["format"])]
        text = self._words(name)
        least = _whole(schema.get("minLength"), 0)
        text += "." * min(max(least - len(text), 0), 10_000)
        return text[: _whole(schema.get("maxLength"), len(text))]

    def _words(self, name: str) -> str:
        if _PLACE_WORDS.search(name):
            return next(iter(places_in(self._hint)), "Tokyo")
        if _QUERY_WORDS.search(name):
            return self._hint.strip()[:200] or "hello"
        if _DATE_WORDS.search(name):
            return "2026-04-01"
        if _TITLE_WORDS.search(name):
            return self._rng.choice(_NAMES)
        return f"a simulated {name or 'value'}".replace("_", " ")


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
    real = [option for option in options if not (isinstance(option, dict) and option.get("type") == "null")]
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
    def number(*names: str) -> float | None:
        for name in names:
            value = schema.get(name)
            if isinstance(value, int | float) and not isinstance(value, bool):
                return value + (step if name == "exclusiveMinimum" else -step if name == "exclusiveMaximum" else 0)
        return None

    low = number("minimum", "exclusiveMinimum")
    high = number("maximum", "exclusiveMaximum")
    if low is None:
        low = 1 if high is None or high >= 1 else high - 10
    if high is None:
        high = max(low + 9, 10)
    return low, max(high, low)

"""The top-level fields of a client's JSON object, found and changed without re-encoding the rest of it.

A body is validated and indexed in one pass of a compiled parser; each change replaces or inserts the bytes of one
field. Two fields of one name are refused, because two readers could then see two requests (RFC 8259 §4).
"""

import re

import msgspec

from chukei.errors import CallerError

_SPACE = re.compile(rb"[ \t\n\r]*")
_KEY = re.compile(rb'"((?:[^"\\]|\\.)*)"[ \t\n\r]*:[ \t\n\r]*', re.DOTALL)
_OBJECT = dict[str, msgspec.Raw]

MAX_FIELDS = 256
"""No API has a tenth as many; the bound keeps a hostile object from costing time for each of millions of fields."""


class Fields:
    """One JSON object and the changes to it.

    Raises:
        CallerError: 400, where the bytes are not a JSON object, or name a field twice.
    """

    __slots__ = ("_changed", "_open", "_raw", "_spans", "_values")

    def __init__(self, raw: bytes, *, param: str | None = None) -> None:
        self._raw = raw
        self._values = _decode(raw, param)
        self._open, self._spans = _index(raw, self._values)
        self._changed: dict[str, bytes] = {}

    def copy(self) -> "Fields":
        """Return the same object with its own changes: those made so far, and none that either makes later."""
        other = Fields.__new__(Fields)
        other._raw, other._values, other._open, other._spans = self._raw, self._values, self._open, self._spans
        other._changed = dict(self._changed)
        return other

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def raw(self, name: str) -> bytes | None:
        """Return a field's JSON as it came, or None where it is missing or null."""
        value = self._values.get(name)
        if value is None:
            return None
        found = bytes(value)
        return None if found == b"null" else found

    def text(self, name: str) -> str | None:
        """Return a string field, or None where it is missing or null."""
        value = self._decoded(name)
        if value is None or isinstance(value, str):
            return value
        raise _wrong_type(name, "a string")

    def flag(self, name: str) -> bool | None:
        """Return a boolean field, or None where it is missing or null."""
        value = self._decoded(name)
        if value is None or isinstance(value, bool):
            return value
        raise _wrong_type(name, "true or false")

    def number(self, name: str) -> int | float | None:
        """Return a number field, or None where it is missing or null."""
        value = self._decoded(name)
        if value is None or (isinstance(value, (int, float)) and not isinstance(value, bool)):
            return value
        raise _wrong_type(name, "a number")

    def _decoded(self, name: str) -> object:
        raw = self.raw(name)
        if raw is None or raw[:1] in b"[{":
            return raw
        try:
            return msgspec.json.decode(raw)
        except msgspec.DecodeError:
            raise _wrong_type(name, "valid JSON") from None

    def set(self, name: str, value: bytes) -> None:
        """Replace a field's value, or add the field, with JSON given as bytes."""
        self._changed[name] = value

    def bytes(self) -> bytes:
        """Return the object with the changes made; without any, the very bytes that came."""
        if not self._changed:
            return self._raw
        added = [msgspec.json.encode(name) + b":" + value for name, value in self._changed.items() if name not in self]
        parts: list[bytes] = [self._raw[: self._open], b",".join(added)]
        if added and self._spans:
            parts.append(b",")
        position = self._open
        for name, (start, end) in self._spans.items():
            if name in self._changed:
                parts += [self._raw[position:start], self._changed[name]]
                position = end
        parts.append(self._raw[position:])
        return b"".join(parts)


def _wrong_type(name: str, what: str) -> CallerError:
    return CallerError(400, "invalid_type", f"'{name}' must be {what}.", param=name)


def _decode(raw: bytes, param: str | None) -> dict[str, msgspec.Raw]:
    what = f"'{param}'" if param else "The request body"
    try:
        if not raw.isascii():
            raw.decode()  # the parser does not look into strings that it leaves as they are (RFC 8259 §8.1)
        return msgspec.json.decode(raw, type=_OBJECT)
    except msgspec.ValidationError:
        raise CallerError(400, "invalid_json", f"{what} must be a JSON object.", param=param) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        reason = str(error).removeprefix("JSON is malformed: ")
        raise CallerError(400, "invalid_json", f"{what} is not valid JSON: {reason}.", param=param) from None
    except RecursionError:
        raise CallerError(400, "invalid_json", f"{what} is nested too deeply.", param=param) from None


def _index(raw: bytes, values: dict[str, msgspec.Raw]) -> tuple[int, dict[str, tuple[int, int]]]:
    """Return the index behind the opening brace, and each field's span; the parser found the object valid."""
    if len(values) > MAX_FIELDS:
        raise CallerError(400, "too_many_fields", f"The object has more than {MAX_FIELDS} fields.")
    start = _skip(raw, 0) + 1
    position = _skip(raw, start)
    spans: dict[str, tuple[int, int]] = {}
    while raw[position : position + 1] == b'"':
        key = _KEY.match(raw, position)
        assert key is not None
        name = msgspec.json.decode(b'"' + key[1] + b'"', type=str)
        value = bytes(values[name])
        end = key.end() + len(value)
        # The parser keeps the last of two fields of one name; then the first one's bytes differ, or the name returns.
        if name in spans or not raw.startswith(value, key.end()):
            raise CallerError(400, "duplicate_field", f"The field '{name}' appears more than once.", param=name)
        spans[name] = (key.end(), end)
        position = _skip(raw, end)
        if raw[position : position + 1] not in (b",", b"}"):
            raise CallerError(400, "duplicate_field", f"The field '{name}' appears more than once.", param=name)
        if raw[position : position + 1] == b",":
            position = _skip(raw, position + 1)
    return start, spans


def _skip(raw: bytes, position: int) -> int:
    space = _SPACE.match(raw, position)
    assert space is not None
    return space.end()

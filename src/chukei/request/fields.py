"""The top-level fields of a client's JSON object, read and changed without re-encoding the rest of it.

A body is validated and indexed in one pass of a compiled parser. Each change replaces, inserts or cuts the bytes of
one field. Duplicate names are refused, because two readers could then see different requests (RFC 8259 §4). A name
that differs only in case from one that the relay acts on is refused as well, because some readers ignore case.
"""

import codecs
import re
from collections.abc import Collection, Iterable, Iterator
from typing import ClassVar

import msgspec

from chukei.errors import CallerError

# All quantifiers are possessive: the matcher never backtracks and keeps no state for each character.
_ENDS = (b",", b"}")
_WHITE = (b" ", b"\t", b"\n", b"\r")
_RUN = 4096
_SPACE = re.compile(rb"[ \t\n\r]*+")
_KEY = re.compile(rb'"((?:[^"\\]|\\.)*+)"[ \t\n\r]*+:[ \t\n\r]*+', re.DOTALL)
_BEHIND = re.compile(rb"[ \t\n\r]*+(?:,[ \t\n\r]*+" + _KEY.pattern + rb"|\})", re.DOTALL)
_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_Place = tuple[int, int, int]
"""Offsets of a field's name, of its value, and of the end of its value."""

MAX_FIELDS = 256
"""No API has a tenth as many. The bound keeps a hostile object from costing time for each of millions of fields."""

MAX_NAME = 256
"""Characters in a field's name; the longest of any API has about thirty."""

EXACT = frozenset(
    [
        "model",
        "messages",
        "input",
        "prompt",
        "instructions",
        "system",
        "stream",
        "stream_options",
        "include_usage",
        "n",
        "best_of",
        "max_tokens",
        "max_completion_tokens",
        "max_output_tokens",
        "background",
        "store",
        "previous_response_id",
        "conversation",
        "container",
        "service_tier",
        "data_sources",
        "size",
        "quality",
    ]
)
"""Names that the relay reads or writes. The same name in another case is refused, because some readers ignore case.

Readers in .NET often do. No client of OpenAI's or Azure's APIs writes these names in capitals.
"""

_COUNTED_FROM = 16 * 1024
"""Bytes from which fields are counted while they are parsed; a smaller body cannot hold enough of them to matter."""

_SLICE = 256 * 1024
"""Bytes that are checked as UTF-8 at a time, so that the decoded text is never in memory as a whole."""


class Fields:
    """One JSON object and the changes to it.

    Reading methods return the client's values and ignore changes; ``bytes`` returns the changed object.

    Raises:
        CallerError: 400 if the bytes are not a JSON object, or name a field twice.
    """

    __slots__ = ("_added", "_changed", "_moved", "_open", "_places", "_raw", "_renamed", "_values")

    content_type: ClassVar[bytes] = b"application/json"

    def __init__(self, raw: bytes, *, param: str | None = None) -> None:
        self._raw = raw
        self._values = _decode(raw, param)
        self._open, self._places = _index(raw, self._values)
        self._changed: dict[str, bytes] = {}  # the client's fields, by the names it gave them
        self._added: dict[str, bytes] = {}
        self._renamed: dict[str, str] = {}  # the client's name for a field, by the one it has now
        self._moved: set[str] = set()  # the names that the client's removed and renamed fields had

    def copy(self) -> "Fields":
        """Return a copy with the changes made so far. Later changes to either do not affect the other."""
        other = Fields.__new__(Fields)
        other._raw, other._values, other._open, other._places = self._raw, self._values, self._open, self._places
        other._changed, other._added = dict(self._changed), dict(self._added)
        other._renamed, other._moved = dict(self._renamed), set(self._moved)
        return other

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def has_any(self, names: frozenset[str]) -> bool:
        """Whether the client sent a field of any of these names."""
        return not names.isdisjoint(self._values)

    @property
    def sent(self) -> bytes:
        """The object as received."""
        return self._raw

    @property
    def names(self) -> Collection[str]:
        """The names of the client's fields."""
        return self._places

    def raw(self, name: str) -> bytes | None:
        """Return a field's JSON as received, or None if it is missing or null."""
        value = self._values.get(name)
        if value is None:
            return None
        found = bytes(value)
        return None if found == b"null" else found

    def begins_with(self, name: str, pattern: re.Pattern[bytes]) -> bool:
        """Whether a field's JSON, as received, begins with a pattern. Long values are not copied."""
        place = self._places.get(name)
        return place is not None and pattern.match(self._raw, place[1], place[2]) is not None

    def holds(self, name: str, pattern: re.Pattern[bytes]) -> bool:
        """Whether a field's JSON, as received, contains a pattern."""
        place = self._places.get(name)
        return place is not None and pattern.search(self._raw, place[1], place[2]) is not None

    def nested(self, names: Collection[str] | None = None, *, but: Collection[str] = ()) -> Iterator[tuple[int, int]]:
        """Yield where the values of some fields begin and end, in the object as received: those objects and lists."""
        for name, (_, begin, end) in self._places.items():
            if (names is None or name in names) and name not in but and self._raw[begin : begin + 1] in (b"{", b"["):
                yield begin, end

    def around(self, name: str) -> list[tuple[int, int]]:
        """Return the parts of the object as received before and after the value of a field, or all of it."""
        place = self._places.get(name)
        return [(0, len(self._raw))] if place is None else [(0, place[1]), (place[2], len(self._raw))]

    def beginning(self, name: str, length: int) -> bytes | None:
        """Return the first ``length`` bytes of a field's JSON, as received; None if it is shorter or missing."""
        place = self._places.get(name)
        if place is None or place[2] - place[1] < length:
            return None
        return self._raw[place[1] : place[1] + length]

    def text(self, name: str) -> str | None:
        """Return a string field, or None if it is missing or null."""
        value = self._decoded(name)
        if value is None or isinstance(value, str):
            return value
        raise _wrong_type(name, "a string")

    def flag(self, name: str) -> bool | None:
        """Return a boolean field, or None if it is missing or null."""
        value = self._decoded(name)
        if value is None or isinstance(value, bool):
            return value
        raise _wrong_type(name, "true or false")

    def number(self, name: str) -> int | float | None:
        """Return a number field, or None if it is missing or null."""
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
        sent_as = self._sent_as(name)
        if sent_as is None:
            self._added[name] = value
        else:
            self._changed[sent_as] = value

    def rename(self, old: str, new: str) -> None:
        """Rename a field, keeping its place and value.

        If ``old`` is missing, nothing happens. If ``new`` exists, it stays and ``old`` is removed. A ``new`` that is
        null counts as missing and is replaced.
        """
        value = self._now(old)
        if value is None or old == new:
            return
        there = self._now(new)
        if there is not None and there != b"null":
            self.remove(old)
            return
        self.remove(new)
        if old in self._added:
            self._added = {new if name == old else name: value for name, value in self._added.items()}
            return
        sent_as = self._sent_as(old)
        assert sent_as is not None
        self._renamed.pop(old, None)
        self._renamed[new] = sent_as
        self._moved.add(sent_as)

    def remove(self, name: str) -> None:
        """Cut a field and the comma that separated it. If the field is missing, nothing happens."""
        self._added.pop(name, None)
        sent_as = self._sent_as(name)
        if sent_as is not None:
            self._renamed.pop(name, None)
            self._moved.add(sent_as)

    def _sent_as(self, name: str) -> str | None:
        """Return the client's name for the field now called ``name``; None if it was added or is missing."""
        sent_as = self._renamed.get(name)
        return sent_as if sent_as is not None or name not in self._values or name in self._moved else name

    def _now(self, name: str) -> bytes | None:
        sent_as = self._sent_as(name)
        if sent_as is None:
            return self._added.get(name)
        return self._changed.get(sent_as) or bytes(self._values[sent_as])

    def _edits(self, named: dict[str, str], kept: int) -> Iterator[tuple[int, int, bytes]]:
        """Yield the replacements in the client's bytes, in order: start, end and new bytes.

        ``named`` maps the client's names to the new names of renamed fields. ``kept`` is how many of the client's
        fields stay.
        """
        for name, (key, value, end) in self._places.items():
            if name in self._moved and name not in named:
                yield key, end, b""
                yield from self._comma(end)
                continue
            kept -= 1
            if named.get(name, name) != name:
                yield key, _name_end(self._raw, key), msgspec.json.encode(named[name])
            if name in self._changed:
                yield value, end, self._changed[name]
            if kept == 0 and self._moved:
                yield from self._comma(end)

    def _comma(self, position: int) -> Iterator[tuple[int, int, bytes]]:
        """Yield the cut of the comma that follows ``position`` and optional white space, if there is one."""
        comma = _skip(self._raw, position)
        if self._raw[comma : comma + 1] == b",":
            yield comma, comma + 1, b""

    def bytes(self) -> bytes:
        """Return the object with the changes applied; without changes, the received bytes themselves."""
        if not self._changed and not self._added and not self._moved:
            return self._raw
        named = {sent_as: name for name, sent_as in self._renamed.items()}
        kept = len(self._places) - len(self._moved) + len(named)
        added = [msgspec.json.encode(name) + b":" + value for name, value in self._added.items()]
        view = memoryview(self._raw)  # avoids a copy of each part before they are joined
        parts: list[bytes | memoryview] = [view[: self._open], b",".join(added)]
        if added and kept:
            parts.append(b",")
        position = self._open
        for start, end, new in self._edits(named, kept):
            parts += (view[position:start], new)
            position = end
        parts.append(view[position:])
        return b"".join(parts)


def _wrong_type(name: str, what: str) -> CallerError:
    return CallerError(400, "invalid_type", f"'{name}' must be {what}.", param=name)


def _decode(raw: bytes, param: str | None) -> dict[str, msgspec.Raw]:
    what = f"'{param}'" if param else "The request body"
    try:
        if not raw.isascii():
            _check_text(raw)  # the parser does not validate strings that it does not decode (RFC 8259 §8.1)
        values = _decode_object(raw) if len(raw) < _COUNTED_FROM else _decode_counting(raw)
    except _TooMany:
        raise _too_many() from None
    except msgspec.ValidationError:
        raise CallerError(400, "invalid_json", f"{what} must be a JSON object.", param=param) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        reason = str(error).removeprefix("JSON is malformed: ")
        raise CallerError(400, "invalid_json", f"{what} is not valid JSON: {reason}.", param=param) from None
    except RecursionError:
        raise CallerError(400, "invalid_json", f"{what} is nested too deeply.", param=param) from None
    _check_names(values)
    return values


def _check_text(raw: bytes) -> None:
    if len(raw) <= _SLICE:
        raw.decode()
        return
    decoder, view = codecs.getincrementaldecoder("utf-8")(), memoryview(raw)
    for start in range(0, len(raw), _SLICE):
        decoder.decode(view[start : start + _SLICE])
    decoder.decode(b"", final=True)


class _Name(str):
    """A key type that makes the parser call the counter: it has no hook for plain strings."""

    __slots__ = ()


class _TooMany(Exception):
    """Stops the parser."""


def _decode_counting(raw: bytes) -> dict[str, msgspec.Raw]:
    """Decode, and stop at the first field beyond the bound: millions of fields would cost seconds and gigabytes."""
    count = 0

    def counted(kind: type, name: str) -> str:
        nonlocal count
        count += 1
        if count > MAX_FIELDS:
            raise _TooMany
        return _Name(name)

    values = msgspec.json.decode(raw, type=dict[_Name, msgspec.Raw], dec_hook=counted)
    return {str(name): value for name, value in values.items()}


def _check_names(values: dict[str, msgspec.Raw]) -> None:
    if len(values) > MAX_FIELDS:
        raise _too_many()
    names = "".join(values)
    if len(names) > MAX_NAME and max(map(len, values)) > MAX_NAME:
        raise CallerError(400, "invalid_json", f"A field's name is longer than {MAX_NAME} characters.")
    if names.isascii() and names == names.lower():
        return
    check_case(values, EXACT)


def check_case(names: Iterable[str], exact: Collection[str]) -> None:
    """Check that no name differs in case alone from those that are read, which must be ``exact``.

    Raises:
        CallerError: 400, some readers could take one for the other.
    """
    for name in names:
        meant = name.casefold()
        if name != meant and meant in exact:
            message = f"The field {name!r} must be spelt {meant!r}: some readers of JSON would take one for the other."
            raise CallerError(400, "ambiguous_field", message, param=meant)


def _too_many() -> CallerError:
    return CallerError(400, "too_many_fields", f"The object has more than {MAX_FIELDS} fields.")


def _index(raw: bytes, values: dict[str, msgspec.Raw]) -> tuple[int, dict[str, _Place]]:
    """Return the offset after the opening brace, and each field's place. The object is known to be valid JSON."""
    start = _skip(raw, 0) + 1
    places: dict[str, _Place] = {}
    key = _KEY.match(raw, _skip(raw, start))
    while key is not None and (spelt := key[1]) is not None:
        name = spelt.decode()
        if "\\" in name:
            name = msgspec.json.decode(b'"' + spelt + b'"', type=str)
        value = memoryview(values[name])  # a view, since it may be a megabyte of prompt
        begin = key.end()
        end = begin + len(value)
        behind = _BEHIND.match(raw, end if raw[end : end + 1] in _ENDS else _skip(raw, end))
        # Of two fields of one name the parser keeps the last: then the first one's bytes differ, or the name recurs.
        if name in places or not raw.startswith(value, begin) or behind is None:
            raise CallerError(400, "duplicate_field", f"The field '{name}' appears more than once.", param=name)
        places[name] = (key.start(1) - 1, begin, end)
        key = behind
    return start, places


def _name_end(raw: bytes, start: int) -> int:
    """Return the offset after the quoted name that begins at ``start``."""
    key = _KEY.match(raw, start)
    assert key is not None
    return key.end(1) + 1


def _skip(raw: bytes, position: int) -> int:
    """Return the offset of what follows the white space at ``position``, if there is any."""
    if raw[position : position + 1] not in _WHITE:
        return position
    while raw[position : position + _RUN].isspace() and position + _RUN < len(raw):
        position += _RUN  # isspace skips a long run ten times as fast as the pattern
    space = _SPACE.match(raw, position)
    assert space is not None
    return space.end()

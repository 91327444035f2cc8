"""Multipart forms: parsed once and written anew, so that the upstream reads the same form as the relay.

Format: RFC 7578, RFC 2046 §5.1. Clients write forms in many ways, and parsers interpret them differently. So the
relay passes on none of a form's framing. It sends the parts in their order under its own boundary. Each part's head
has only a name, a file name and a content type; each value is copied byte for byte. An ambiguous form is refused.
"""

import logging
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from chukei.errors import CallerError

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MAX_PARTS = 256
"""Parts of a form; the longest of any API has 16 pictures and about 20 fields."""

MAX_HEAD_FIELDS = 8
"""Fields in a part's head; RFC 7578 defines three."""

MAX_HEAD_FIELD = 4096
"""Bytes of one field in a part's head: a file name may take 255 characters of nine bytes each."""

MAX_TYPE = 1024
"""Bytes of a form's content type."""

_MAX_VALUE = 4096
_OURS = frozenset({"model", "stream", "n", "size", "quality", "session"})
_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
_PARAMETER = re.compile(rb'(?:[ \t]*+;)++[ \t]*+(%b)=("(?:[^"\\]|\\.)*+"|[^\s;"]++)' % _TOKEN, re.DOTALL)
_END = re.compile(rb"[ \t;]*+\Z")
_ESCAPED = re.compile(rb'\\(["\\])')
_BOUNDARY = re.compile(rb"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")  # RFC 2046 §5.1.1
_NAME = re.compile(rb"[0-9A-Za-z_.\[\]-]{1,128}")
_TYPE = re.compile(rb"(%b)/%b(?:[ \t]*+;[\x20-\x7e]*+)?" % (_TOKEN, _TOKEN))
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_PADDING = re.compile(rb"[ \t]++(?=\r\n)")
_BEHIND_END = re.compile(rb"[ \t]*+(?:\r?\n|\Z)")
_PLAIN_CHARSETS = (b"utf-8", b"us-ascii")
SILENT = logging.getLogger("chukei.multipart.parser")
SILENT.disabled = True  # a caller's input must not write log lines


@dataclass(frozen=True, slots=True)
class Part:
    """One part: its head's fields, and the offsets of its value in a form that is in memory."""

    name: str
    filename: bytes | None
    type: bytes | None
    start: int = 0
    end: int = 0


class Form:
    """One form. ``content_type`` describes the body that ``write`` returns.

    Raises:
        CallerError: 400 if the body is not a valid form, or if two parsers could read it differently.
    """

    __slots__ = ("_boundary", "_parts", "_raw", "content_type")

    def __init__(self, raw: bytes, content_type: bytes) -> None:
        self._raw, self._parts = _read(raw, boundary_of(content_type))
        self._boundary = _new_boundary(raw)
        self.content_type = b"multipart/form-data; boundary=" + self._boundary

    @property
    def files(self) -> int:
        """The number of files."""
        return sum(part.filename is not None for part in self._parts)

    def text(self, name: str, most: int = _MAX_VALUE) -> str | None:
        """Return a field's text, which may have ``most`` bytes, or None if it is missing."""
        part = next((part for part in self._parts if part.name == name), None)
        if part is None:
            return None
        if part.end - part.start > most:
            raise CallerError(400, "invalid_type", f"'{name}' is too long.", param=name)
        try:
            return self._raw[part.start : part.end].decode()
        except UnicodeDecodeError:
            raise CallerError(400, "invalid_type", f"'{name}' is not UTF-8 text.", param=name) from None

    def write(self, replaced: Mapping[str, str]) -> bytes:
        """Return the form under the relay's own boundary, with the given fields' texts replaced or added in front."""
        return b"".join(self._pieces(replaced))

    def _pieces(self, replaced: Mapping[str, str]) -> Iterator[bytes | memoryview]:
        view, delimiter = memoryview(self._raw), b"--" + self._boundary
        there = {part.name for part in self._parts}
        for name, text in replaced.items():
            if name not in there:
                yield delimiter + head_of(Part(name, None, None)) + text.encode() + b"\r\n"
        for part in self._parts:
            yield delimiter + head_of(part)
            given = replaced.get(part.name)
            yield view[part.start : part.end] if given is None else given.encode()
            yield b"\r\n"
        yield delimiter + b"--\r\n"


def _new_boundary(raw: bytes) -> bytes:
    """Return an unpredictable boundary that does not occur in the form."""
    while True:
        boundary = unforeseen_boundary()
        if boundary not in raw:
            return boundary


def unforeseen_boundary() -> bytes:
    """Return a boundary that nobody could foresee, so that no value was made to contain it."""
    import secrets  # only forms need it

    return b"chukei-" + secrets.token_hex(16).encode()


def head_of(part: Part) -> bytes:
    """Return the bytes between a part's boundary and its value."""
    lines = b'\r\nContent-Disposition: form-data; name="' + part.name.encode() + b'"'
    if part.filename is not None:
        lines += b'; filename="' + part.filename + b'"'
    if part.type is not None:
        lines += b"\r\nContent-Type: " + part.type
    return lines + b"\r\n\r\n"


def boundary_of(content_type: bytes) -> bytes:
    """Return the boundary that a form's content type names.

    Raises:
        CallerError: 400, it names none, or an invalid one.
    """
    if len(content_type) > MAX_TYPE:
        raise invalid(f"the content type is longer than {MAX_TYPE} bytes")
    boundary = _parameters(content_type.partition(b";"), "the content type").get(b"boundary")
    if boundary is None:
        raise invalid("the content type names no boundary")
    if not _BOUNDARY.fullmatch(boundary):
        raise invalid("the content type's boundary has characters that no boundary may have")
    return boundary


def _parameters(value: tuple[bytes, bytes, bytes], where: str) -> dict[bytes, bytes]:
    """Return the parameters of a header's value that was partitioned at the first semicolon."""
    text = value[1] + value[2]
    found: dict[bytes, bytes] = {}
    position = 0
    while match := _PARAMETER.match(text, position):
        name, given = match[1].lower(), match[2]
        if name in found or (b"*" in name and name != b"filename*"):
            raise invalid(f"{where} names a parameter twice, or in parts")
        found[name] = _ESCAPED.sub(rb"\1", given[1:-1]) if given.startswith(b'"') else given
        position = match.end()
    if not _END.match(text, position):
        raise invalid(f"{where} has a parameter that cannot be read")
    return found


class _Reader:
    """Receives the parser's callbacks and collects the parts of a form in their order."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self.parts: list[Part] = []
        self.complete = False
        self._fields: dict[bytes, bytes] = {}
        self._field = self._value = b""
        self._start = self._end = 0

    def callbacks(self) -> "MultipartCallbacks":
        """Return the parser's callbacks."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._take_field,
            "on_header_value": self._take_value,
            "on_header_end": self._end_field,
            "on_part_data": self._take_data,
            "on_part_end": self._end_part,
            "on_end": self._finish,
        }

    def _begin(self) -> None:
        self._fields = {}
        self._start = self._end = -1

    def _take_field(self, data: bytes, start: int, end: int) -> None:
        self._field, self._value = data[start:end].lower(), b""

    def _take_value(self, data: bytes, start: int, end: int) -> None:
        self._value = data[start:end]

    def _end_field(self) -> None:
        take_field(self._fields, self._field, self._value)

    def _take_data(self, data: bytes, start: int, end: int) -> None:
        if self._start < 0:
            self._start = start
        self._end = end

    def _end_part(self) -> None:
        self.parts.append(part_of(self._fields, max(self._start, 0), max(self._end, 0)))

    def _finish(self) -> None:
        self.complete = True
        raise Complete


def take_field(fields: dict[bytes, bytes], name: bytes, value: bytes) -> None:
    """Add a field to those of a part's head.

    Raises:
        CallerError: 400, the field is there already, or has control characters.
    """
    if name in fields:
        raise invalid("a part's head names a field twice")
    if _CONTROL.search(value):
        raise invalid("a part's head has control characters")
    fields[name] = value.strip(b" \t")


class Complete(Exception):
    """Stops the parser after the last boundary."""


def _read(raw: bytes, boundary: bytes) -> tuple[bytes, list[Part]]:
    """Return a form's parts, and the bytes to which their offsets refer."""
    from python_multipart.exceptions import FormParserError  # only forms need it
    from python_multipart.multipart import MultipartParser

    line = b"--" + boundary
    first = raw.find(line)
    if first < 0 or (raw[max(first - 2, 0) : first] != b"\r\n" and raw[: min(first, 64)].strip(b"\r\n")):
        raise invalid("it does not begin with its boundary")
    padding = _PADDING.match(raw, first + len(line))  # the parser accepts padding after every boundary but the first
    if padding is not None:
        raw = line + raw[padding.end() :]
    elif first:
        raw = raw[first:]
    delimiters = raw.count(b"\r\n" + line)
    if delimiters > MAX_PARTS:
        raise invalid(f"it has more than {MAX_PARTS} parts")
    reader = _Reader(raw)
    parser: Any = MultipartParser(
        boundary, reader.callbacks(), max_header_count=MAX_HEAD_FIELDS, max_header_size=MAX_HEAD_FIELD
    )
    parser.logger = SILENT
    try:
        parser.write(raw)
    except Complete:
        pass
    except FormParserError:
        raise invalid("a boundary or a part's head cannot be read") from None
    if not reader.complete:
        raise invalid("it ends inside a part")
    if delimiters != len(reader.parts):
        raise invalid("a line begins with its boundary and goes on, or parts follow its end")
    last = raw.rfind(line) + len(line) + 2
    if not _BEHIND_END.match(raw, last):
        raise invalid("its last boundary goes on")
    _check_names(reader.parts)
    return raw, reader.parts


def part_of(fields: dict[bytes, bytes], start: int = 0, end: int = 0) -> Part:
    """Return a part from the fields of its head.

    Raises:
        CallerError: 400, two readers could take it for different parts.
    """
    disposition = fields.get(b"content-disposition", b"").partition(b";")
    if disposition[0].strip().lower() != b"form-data":
        raise invalid("a part has no plain 'Content-Disposition: form-data'")
    if fields.get(b"content-transfer-encoding", b"binary").lower() not in (b"binary", b"8bit", b"7bit"):
        raise invalid("a part has a 'Content-Transfer-Encoding'; send its bytes as they are")
    given = _parameters(disposition, "a part's head")
    name = given.get(b"name")
    if name is None or not _NAME.fullmatch(name):
        raise invalid("a part must have one name, of letters, digits and _ . - [ ]")
    kind = fields.get(b"content-type")
    if kind is not None:
        _check_type(kind)
    return Part(name.decode(), _filename(given), kind, start, end)


def _check_type(kind: bytes) -> None:
    match = _TYPE.fullmatch(kind)
    if match is None or match[1].lower() in (b"multipart", b"message"):
        raise invalid("a part's content type cannot be read, or is another form")


def _filename(given: dict[bytes, bytes]) -> bytes | None:
    """Return a file name, escaped so that all parsers read it alike in quotation marks: WHATWG HTML §4.10.21.8."""
    extended = given.get(b"filename*")
    name = given.get(b"filename")
    if extended is not None:  # RFC 6266 §4.3: it takes precedence over filename
        charset, _, value = extended.partition(b"'")
        if charset.lower() != b"utf-8" or b"'" not in value:
            raise invalid("an extended file name must be in UTF-8")
        name = unquote_to_bytes(value.partition(b"'")[2])
    if name is None:
        return None
    if _CONTROL.search(name):
        raise invalid("a file's name has control characters")
    return name.replace(b"\\", b"%5C").replace(b'"', b"%22")


def _check_names(parts: list[Part]) -> None:
    """Check that every parser finds the same values under the names that the relay reads, however it compares names."""
    seen: set[str] = set()
    for part in parts:
        name = part.name
        if name.startswith("_") and _meant(name) == "charset":
            raise invalid("it names a character set for other parts; send UTF-8")
        if not note_name(name, _OURS, seen):
            continue
        charset = _parameters((part.type or b"").partition(b";"), "a part's content type").get(b"charset", b"utf-8")
        if part.filename is not None or charset.lower() not in _PLAIN_CHARSETS:
            raise CallerError(400, "invalid_type", f"'{name}' must be a field of UTF-8 text.", param=name)


def note_name(name: str, read: Collection[str], seen: set[str]) -> bool:
    """Return whether a part has one of the names that are ``read``, and add that to those ``seen`` before.

    Raises:
        CallerError: 400, some parsers could take the part for another.
    """
    meant = _meant(name)
    if meant not in read:
        return False
    if name != meant:
        message = f"The field {name!r} must be spelt {meant!r}: some readers would take one for the other."
        raise CallerError(400, "ambiguous_field", message, param=meant)
    if name in seen:
        raise CallerError(400, "duplicate_field", f"The field '{name}' appears more than once.", param=name)
    seen.add(name)
    return True


def _meant(name: str) -> str:
    return name.lower().partition("[")[0].strip("_.-")


def invalid(why: str) -> CallerError:
    """Return the error for a form that cannot be read in one way only."""
    return CallerError(400, "invalid_form", f"The request body is not a valid multipart form: {why}.")

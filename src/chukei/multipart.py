"""The form fields of a multipart body that matter to the relay: read and replaced without touching its files.

Format: RFC 7578, RFC 2046 §5.1. A body that two readers could understand differently is refused: two ``model`` fields,
a part whose name depends on who reads it, a boundary that is only the beginning of another line.
"""

import re

from chukei.errors import CallerError

_BOUNDARY = re.compile(rb';\s*boundary=(?:"([^"]{1,70})"|([^;\s"]{1,70}))', re.IGNORECASE)
# A backslash before a quotation mark is left out: it escapes for some readers and not for others.
_QUOTED = rb'"(?:[^"\\\r\n]|\\(?!"))*"'
_PARAMETER = re.compile(rb';[ \t]*([^\s;="]+)=(' + _QUOTED + rb'|[^;\s"]+)[ \t]*')
_DISPOSITION = re.compile(
    rb"\r\ncontent-disposition:[ \t]*form-data[ \t]*"
    rb'((?:;[ \t]*[^\s;="]+=(?:' + _QUOTED + rb'|[^;\s"]+)[ \t]*)*)\r\n(?![ \t])',
    re.IGNORECASE,
)
_BARE_LINE_END = re.compile(rb"\r(?!\n)|(?<!\r)\n")
_BEHIND_DELIMITER = re.compile(rb"[ \t]*(?=\r\n)")
_ONCE = frozenset({b"model", b"stream"})
_MAX_PARTS = 256
_MAX_VALUE = 4096


class Form:
    """The small text fields of one form."""

    __slots__ = ("_delimiter", "_spans", "raw")

    def __init__(self, raw: bytes, content_type: bytes) -> None:
        found = _BOUNDARY.search(content_type)
        if found is None:
            raise _invalid("the content type names no boundary")
        self.raw = raw
        self._delimiter = b"--" + (found[1] or found[2])
        self._spans = self._index()

    def _index(self) -> dict[bytes, tuple[int, int]]:
        spans: dict[bytes, tuple[int, int]] = {}
        raw, delimiter = self.raw, self._delimiter
        if not raw.startswith(delimiter):
            raise _invalid("it does not begin with its boundary")
        position = len(delimiter)
        for _ in range(_MAX_PARTS):
            if raw.startswith(b"--", position):
                return spans
            name, start, end = self._part(position)
            if name in _ONCE and name in spans:
                text = name.decode()
                raise CallerError(400, "duplicate_field", f"The field '{text}' appears more than once.", param=text)
            spans[name] = (start, end)
            position = end + 2 + len(delimiter)
        raise _invalid(f"it has more than {_MAX_PARTS} parts")

    def _part(self, position: int) -> tuple[bytes, int, int]:
        """Return the name of the part whose delimiter ends at ``position``, and its value's span."""
        raw = self.raw
        if _BEHIND_DELIMITER.match(raw, position) is None:
            raise _invalid("a line begins with its boundary and goes on")
        head_end = raw.find(b"\r\n\r\n", position)
        end = raw.find(b"\r\n" + self._delimiter, head_end + 2)
        if head_end < 0 or end < 0:
            raise _invalid("it ends inside a part")
        return _name(raw[position : head_end + 2].lstrip(b" \t")), head_end + 4, end

    def text(self, name: str) -> str | None:
        """Return a field's text, or None where it is missing."""
        span = self._spans.get(name.encode())
        if span is None:
            return None
        if span[1] - span[0] > _MAX_VALUE:
            raise CallerError(400, "invalid_type", f"'{name}' is too long.", param=name)
        try:
            return self.raw[span[0] : span[1]].decode()
        except UnicodeDecodeError:
            raise CallerError(400, "invalid_type", f"'{name}' is not UTF-8 text.", param=name) from None

    def with_text(self, name: str, value: str) -> bytes:
        """Return the body with a field's text replaced, or with the field added in front."""
        span = self._spans.get(name.encode())
        if span is not None:
            return self.raw[: span[0]] + value.encode() + self.raw[span[1] :]
        head = b'\r\nContent-Disposition: form-data; name="' + name.encode() + b'"\r\n\r\n'
        return self._delimiter + head + value.encode() + b"\r\n" + self.raw


def _name(head: bytes) -> bytes:
    """Return the name that a part's head gives it; ``head`` begins and ends with a line end."""
    found = _DISPOSITION.search(head)
    if found is None or head.lower().count(b"\r\ncontent-disposition") != 1 or _BARE_LINE_END.search(head):
        raise _invalid("a part has no plain 'Content-Disposition: form-data'")
    names = [(key.lower(), value) for key, value in _PARAMETER.findall(found[1]) if key.lower() in (b"name", b"name*")]
    if len(names) != 1 or names[0][0] != b"name":
        raise _invalid("a part must have one name")
    value: bytes = names[0][1]
    return value[1:-1] if value.startswith(b'"') else value


def _invalid(why: str) -> CallerError:
    return CallerError(400, "invalid_form", f"The request body is not a valid multipart form: {why}.")

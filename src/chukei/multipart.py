"""The form fields of a multipart body that matter to the relay: read and replaced without touching its files.

Format: RFC 7578, RFC 2046 §5.1. A body with two ``model`` fields is refused, since two readers could choose
differently.
"""

import re

from chukei.errors import CallerError

_BOUNDARY = re.compile(rb';\s*boundary=(?:"([^"]{1,70})"|([^;\s"]{1,70}))', re.IGNORECASE)
_NAME = re.compile(rb';\s*name=(?:"([^"]*)"|([^;\s"]+))', re.IGNORECASE)
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
            head_end = raw.find(b"\r\n\r\n", position)
            end = raw.find(b"\r\n" + delimiter, head_end + 2)
            if head_end < 0 or end < 0:
                raise _invalid("it ends inside a part")
            name = _NAME.search(raw, position, head_end)
            if name is not None:
                key = name[1] if name[1] is not None else name[2]
                if key == b"model" and key in spans:
                    raise CallerError(
                        400, "duplicate_field", "The field 'model' appears more than once.", param="model"
                    )
                spans[key] = (head_end + 4, end)
            position = end + 2 + len(delimiter)
        raise _invalid(f"it has more than {_MAX_PARTS} parts")

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


def _invalid(why: str) -> CallerError:
    return CallerError(400, "invalid_form", f"The request body is not a valid multipart form: {why}.")

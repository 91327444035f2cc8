"""One line of the audit: what was asked and what was answered, as far as it is text.

``answer`` is what the client was sent, as text: for a stream its events, heartbeats and error events included. A
text put together from them would leave out tool calls, refusals, reasoning and whatever a later API adds.
"""

import importlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from chukei.errors import CallerError
from chukei.request import codings

Redactor = Callable[[dict[str, Any]], Mapping[str, Any] | None]
"""Returns an entry without what must not be kept, or None to leave the entry out."""

_CONTENT = ("request", "answer")
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Content:
    """A body: its first bytes, its size as it was sent, its media type, how it is compressed, and what is missing.

    ``cut`` says that ``kept`` is not all of it.
    """

    kept: bytes | bytearray
    size: int
    media_type: str
    coding: str | None = None
    cut: bool = False


def load_redactor(name: str) -> Redactor:
    """Import ``package.module:function``.

    Raises:
        ValueError: there is no such function; the message says why.
    """
    module, _, attribute = name.partition(":")
    if not (module and attribute):
        raise ValueError("must be package.module:function")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except Exception as error:
        raise ValueError(f"{name} cannot be imported: {type(error).__name__}: {error}") from error
    if not callable(found):
        raise ValueError(f"{name} is not a function")
    return found  # type: ignore[no-any-return]


def line_of(
    about: Mapping[str, object], request: Content, answer: Content, max_bytes: int, redact: Redactor | None
) -> tuple[bytes, str | None]:
    """Return the line of an entry. If the redaction failed, the line has no content, and the second value says where.

    The line is empty if the redactor leaves the entry out.
    """
    request = _plain(request, max_bytes)
    sizes = {"request_bytes": request.size, "answer_bytes": answer.size}
    truncated = request.cut or answer.cut
    entry = {**about, "request": _shown(request), "answer": _shown(answer), **sizes, "truncated": truncated}
    if redact is None:
        try:
            return _line(entry), None
        except RecursionError:  # JSON that is nested as deeply as can be read is one level deeper here
            return _line({**entry, "request": _text(request), "answer": _text(answer)}), None
    try:
        kept = redact(entry)
        return (b"" if kept is None else _line(dict(kept))), None
    except BaseException as error:  # noqa: BLE001 - whatever happens, nothing may be kept unredacted
        failed = _place(error)
    return _line({**about, **dict.fromkeys(_CONTENT), **sizes, "redaction": "failed"}), failed


def _line(entry: Mapping[str, object]) -> bytes:
    try:
        return _encode(entry) + b"\n"
    except UnicodeEncodeError:  # a lone surrogate, which JSON can escape
        return json.dumps(entry).encode() + b"\n"


def _shown(content: Content) -> object:
    """Return JSON as JSON and text as text. Of other media only the type and the size are kept."""
    media_type = content.media_type
    if media_type.endswith("json") and not content.cut:
        try:
            return msgspec.json.decode(content.kept)
        except (msgspec.DecodeError, ValueError, RecursionError):
            return _text(content)
    return _text(content)


def _text(content: Content) -> object:
    """Return JSON and text as text, and of other media only the type and the size."""
    media_type = content.media_type
    if media_type.endswith("json") or media_type.startswith("text/") or not content.size:
        return content.kept.decode(errors="replace")
    return {"media_type": media_type, "bytes": content.size}


def _plain(content: Content, max_bytes: int) -> Content:
    """Decompress a body, as far as it is kept and readable."""
    if content.coding is None:
        return content
    made, cut = bytearray(), content.cut
    try:
        for part in codings.plain(bytes(content.kept), content.coding):
            made += part
            if len(made) > max_bytes:
                cut = True
                break
    except CallerError:
        cut = True
    return Content(bytes(made[:max_bytes]), content.size, content.media_type, cut=cut)


def _place(error: BaseException) -> str:
    """Return the type of an error and where it was raised. Its message may contain what must not be kept."""
    trace, place = error.__traceback__, ""
    while trace is not None:
        place = f" in {trace.tb_frame.f_code.co_name}, line {trace.tb_lineno}"
        trace = trace.tb_next
    return f"{type(error).__name__}{place}"

"""The message in an upstream's error body, bounded and without markup. Pure.

Gateways, proxies and model servers around Azure OpenAI write errors in various formats. OpenAI's clients read only
``error.message``.
"""

import contextlib
import json
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from chukei.usage import DECODE_ERRORS

MAX_CHARACTERS = 1000
"""Characters of a message that is not in OpenAI's format. The longest of Azure's own has about 400 characters."""

_LONGEST_READ = 16 * MAX_CHARACTERS
"""Characters of a text that are examined; enough for a message with markup around it."""

_HTML = re.compile(r"\s*(<\?xml[^>]{0,200}>\s*)?<(!doctype|html|head|body|!--)", re.IGNORECASE)
_TAG = re.compile(r"</?[A-Za-z!?][^<>]*>")
_TAG_BEGIN = re.compile(r"(?<!<)<++(?=[A-Za-z!?/])")  # matches each run only once
_BOM = b"\xef\xbb\xbf"
_TELLING = (
    *("error", "message", "detail", "details", "errors", "msg", "error_description"),
    *("faultstring", "reason", "description", "title"),
)
_DEPTH = 6
"""Nesting depth of the search for a message. FastAPI's list of objects needs three."""


class Explanation(NamedTuple):
    """An upstream's message: a ``body`` in OpenAI's format, as received, or else a ``text``, or neither."""

    body: bytes | None = None
    text: str = ""


def explanation(body: bytes, content_type: bytes) -> Explanation:
    """Return the message in an error body. ``content_type`` is in lower case, without parameters."""
    raw = body.removeprefix(_BOM).strip(b" \t\r\n")
    if not raw or b"\0" in raw or content_type.startswith((b"image/", b"audio/", b"video/")):
        return Explanation()
    text = raw.decode("utf-8", "replace")
    if "html" in content_type.decode("latin-1") or _HTML.match(text):
        return Explanation()
    if text[0] not in '{["':
        return Explanation(text=plain(text))
    try:
        value, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return Explanation() if text[0] in "{[" else Explanation(text=plain(text))
    rest = text[end:].strip()
    error = value.get("error") if isinstance(value, dict) else None
    if isinstance(error, dict) and not rest:
        return Explanation(body=body.removeprefix(_BOM).decode("utf-8", "replace").encode())
    words = plain(" ".join(part for part in (_message(value, _DEPTH), rest) if part))
    if isinstance(error, dict):
        with contextlib.suppress(*DECODE_ERRORS):  # it is nested too deeply, or has a lone surrogate
            return Explanation(body=msgspec.json.encode({"error": error | {"message": words}}))
    return Explanation(text=words)


def _message(value: Any, depth: int) -> str:
    """Return the message in a JSON value of unknown structure, or an empty string."""
    if isinstance(value, str):
        return value
    if not depth:
        return ""
    if isinstance(value, list):
        return _joined(_message(item, depth - 1) for item in value)
    if not isinstance(value, dict):
        return ""
    for name in _TELLING:
        if said := _message(value.get(name), depth - 1):
            place = value.get("loc")  # FastAPI's location of the error
            where = ".".join(map(str, place)) if isinstance(place, list) else ""
            return f"{where}: {said}" if where else said
    if depth < _DEPTH:  # ASP.NET's table of fields and their errors
        return _joined(f"{name}: {said}" for name, item in value.items() if (said := _message(item, depth - 1)))
    return ""


def _joined(parts: Iterable[str]) -> str:
    kept: list[str] = []
    for part in parts:
        if part:
            kept.append(part)
        if len(kept) >= MAX_CHARACTERS:
            break
    return "; ".join(kept)


def plain(text: str) -> str:
    """Return a text of any origin as one bounded line, without markup and control characters."""
    text = _TAG_BEGIN.sub("", _TAG.sub(" ", text[:_LONGEST_READ]))
    text = " ".join("".join(each if each.isprintable() else " " for each in text).split())
    return text if len(text) <= MAX_CHARACTERS else text[: MAX_CHARACTERS - 1] + "…"

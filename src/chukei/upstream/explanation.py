"""What an upstream says in an error: its words, bounded and without markup, and without the relay's own credentials.

Gateways, proxies and model servers in front of or behind Azure OpenAI each have a shape of their own for errors; what
OpenAI's clients read is ``error.message``. Pure.
"""

import contextlib
import json
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from chukei.usage import DECODE_ERRORS

MAX_CHARACTERS = 1000
"""Of an explanation that is not in OpenAI's shape. The longest of Azure's own is about 400 characters long."""

_LONGEST_READ = 16 * MAX_CHARACTERS
"""Characters of a text that are looked at: so many hold an explanation, whatever markup is around it."""

_HTML = re.compile(r"\s*(<\?xml[^>]{0,200}>\s*)?<(!doctype|html|head|body|!--)", re.IGNORECASE)
_TAG = re.compile(r"</?[A-Za-z!?][^<>]*>")
_TAG_BEGIN = re.compile(r"(?<!<)<++(?=[A-Za-z!?/])")  # each run is tried once
_BOM = b"\xef\xbb\xbf"
_TELLING = (
    *("error", "message", "detail", "details", "errors", "msg", "error_description"),
    *("faultstring", "reason", "description", "title"),
)
_DEPTH = 6
"""How deep an explanation is looked for. FastAPI's list of objects takes three."""


class Explanation(NamedTuple):
    """An error's own words: a ``body`` in OpenAI's shape, as it came; or else a ``text``, or neither."""

    body: bytes | None = None
    text: str = ""


def explanation(body: bytes, content_type: bytes) -> Explanation:
    """Return what the body of an error answer says. ``content_type`` is its type in small letters, no parameters."""
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
    words = plain(" ".join(part for part in (_words(value, _DEPTH), rest) if part))
    if isinstance(error, dict):
        with contextlib.suppress(*DECODE_ERRORS):  # it nests too deeply, or has half a character
            return Explanation(body=msgspec.json.encode({"error": error | {"message": words}}))
    return Explanation(text=words)


def _words(value: Any, depth: int) -> str:
    """Return the sentence in a JSON value of unknown shape, or an empty string."""
    if isinstance(value, str):
        return value
    if not depth:
        return ""
    if isinstance(value, list):
        return _joined(_words(item, depth - 1) for item in value)
    if not isinstance(value, dict):
        return ""
    for name in _TELLING:
        if said := _words(value.get(name), depth - 1):
            place = value.get("loc")  # FastAPI says where
            where = ".".join(map(str, place)) if isinstance(place, list) else ""
            return f"{where}: {said}" if where else said
    if depth < _DEPTH:  # a table of fields and what is wrong with each, as ASP.NET writes it
        return _joined(f"{name}: {said}" for name, item in value.items() if (said := _words(item, depth - 1)))
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

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

from chukei import sse
from chukei.model import Headers
from chukei.usage import DECODE_ERRORS

MAX_CHARACTERS = 1000
"""Of an explanation that is not in OpenAI's shape. The longest of Azure's own is about 400 characters long."""

_LONGEST_READ = 16 * MAX_CHARACTERS
"""Characters of a text that are looked at: so many hold an explanation, whatever markup is around it."""

MASK = "[redacted]"
"""Stands where a credential of the relay stood."""

SHORTEST_SECRET = 6
"""Characters. What is shorter would be found by chance; Azure's keys have 32 or 84."""

_CREDENTIALS = frozenset({b"api-key", b"authorization"})
_HTML = re.compile(r"\s*(<\?xml[^>]{0,200}>\s*)?<(!doctype|html|head|body|!--)", re.IGNORECASE)
_TAG = re.compile(r"</?[A-Za-z!?][^<>]*>")
_TAG_BEGIN = re.compile(r"(?<!<)<++(?=[A-Za-z!?/])")  # each run is tried once
_LINE_END = re.compile(rb"\r\n|\n|\r")
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
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


class Blotter:
    """Blots the credentials of one request out of what its upstream says, however JSON spells them."""

    __slots__ = ("_headers",)

    def __init__(self, headers: Headers) -> None:
        self._headers = headers

    @property
    def _secrets(self) -> list[str]:
        # Looked for only when there is something to blot: most requests never fail.
        found = (
            value.removeprefix(b"Bearer ").decode("latin-1") for name, value in self._headers if name in _CREDENTIALS
        )
        return [secret for secret in found if len(secret) >= SHORTEST_SECRET]

    def text(self, text: str) -> str:
        """Return a text without them."""
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return text

    def fields(self, headers: Headers) -> Headers:
        """Return header fields without those that hold one."""
        secrets = [secret.encode("latin-1") for secret in self._secrets]
        return [field for field in headers if not any(secret in field[1] for secret in secrets)]

    def json(self, raw: bytes) -> bytes:
        """Return JSON without them: the same bytes, where it holds none.

        Each string is looked at by itself, so nothing depends on how deep it nests, on names that are there twice, or
        on whether it is JSON at all.
        """
        secrets = self._secrets
        if not secrets:
            return raw

        def cleaned(found: re.Match[bytes]) -> bytes:
            if b"\\" not in found[0]:
                return found[0]
            try:
                text = json.loads(found[0].decode("utf-8", "replace"), strict=False)
            except ValueError:
                return found[0]
            return json.dumps(self.text(text)).encode() if any(secret in text for secret in secrets) else found[0]

        return self._plain(_STRING.sub(cleaned, raw) if b"\\" in raw else raw)

    def events(self, block: bytes) -> bytes:
        """Return whole server-sent events without them: the same bytes, where they hold none."""
        return b"".join(map(self._event, sse.split(block)))

    def _event(self, event: bytes) -> bytes:
        data = sse.data_of(event)
        cleaned = self.json(data)
        if cleaned == data:
            return self._plain(event)
        lines = [line for line in _LINE_END.split(event) if line and not line.startswith(b"data")]
        return self._plain(b"".join(line + b"\n" for line in lines)) + sse.write(cleaned)

    def _plain(self, raw: bytes) -> bytes:
        for secret in self._secrets:
            raw = raw.replace(secret.encode("latin-1"), MASK.encode())
        return raw

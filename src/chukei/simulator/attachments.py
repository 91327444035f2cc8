"""What came with a message: pictures and files, in the forms of all APIs, and text files written into the text."""

from __future__ import annotations

import base64
import binascii
import json
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

HEAD_CHARACTERS = 256 * 1024  # of base64: a photograph's size in pixels stands after its thumbnail

_DATA = re.compile(r"data:([\w.+-]+/[\w.+-]+)?(?:;[^,;]*)*?;base64,", re.ASCII | re.IGNORECASE)
# A text file as chat pages write it: its name in quotes, then its text in a fence.
_FILE = re.compile(r'File ("(?:[^"\\\n]|\\.){0,300}"):\n(`{3,})\n')


@dataclass(frozen=True, slots=True)
class Attachment:
    """A picture or a file.

    ``type`` is the content type, "" if it is unknown. ``size`` is in bytes and ``pixels`` is the width and height; both
    are None if they are unknown, as for a picture that is only named by its address.
    """

    kind: Literal["picture", "file"]
    name: str = ""
    type: str = ""
    size: int | None = None
    pixels: tuple[int, int] | None = None


def attached(content: Any, text: str) -> tuple[str, tuple[Attachment, ...]]:
    """Return the text of a user's message without the files that are written into it, and all that is attached."""
    files: list[Attachment] = []
    while match := _FILE.match(text):
        end = re.compile(rf"\n{match[2]}(?:\n\n|\Z)").search(text, match.end() - 1)
        if end is None:
            break
        try:
            name = str(json.loads(match[1]))
        except ValueError:
            break
        size = len(text[match.end() : end.start() + 1].encode("utf-8", "replace"))
        files.append(Attachment("file", name, "text/plain", size))
        text = text[end.end() :]
    parts = content if isinstance(content, list) else []
    return text, (*files, *(found for part in parts if isinstance(part, dict) for found in _of_part(part)))


def _of_part(part: dict[str, Any]) -> Iterator[Attachment]:
    kind = str(part.get("type"))
    if kind in ("image_url", "input_image"):  # chat completions, Responses
        given = part.get("image_url")
        address = given.get("url") if isinstance(given, dict) else given
        yield _of_address("picture", "", str(address or ""))
    elif kind in ("image", "document") and isinstance(source := part.get("source"), dict):  # messages
        address = f"data:{source.get('media_type')};base64,{source.get('data')}"
        yield _of_address("picture" if kind == "image" else "file", "", str(source.get("url") or address))
    elif kind in ("file", "input_file"):
        inner = part.get("file")
        fields = inner if isinstance(inner, dict) else part
        yield _of_address("file", str(fields.get("filename") or ""), str(fields.get("file_data") or ""))


def _of_address(kind: Literal["picture", "file"], name: str, address: str) -> Attachment:
    match = _DATA.match(address)
    if match is None:
        return Attachment(kind, name)
    data = address[match.end() :]
    size = len(data) * 3 // 4 - data[-2:].count("=")
    try:
        head = base64.b64decode(data[:HEAD_CHARACTERS])
    except (binascii.Error, ValueError):
        head = b""
    return Attachment(kind, name, match[1] or "", size, pixels_of(head) if kind == "picture" else None)


def pixels_of(head: bytes) -> tuple[int, int] | None:
    """Return the width and height of a picture by its first bytes; None if they do not tell."""
    try:
        if head.startswith(b"\x89PNG"):
            return struct.unpack_from(">II", head, 16)
        if head.startswith(b"GIF8"):
            return struct.unpack_from("<HH", head, 6)
        return _pixels_of_jpeg(head) if head.startswith(b"\xff\xd8") else None
    except struct.error:
        return None


def _pixels_of_jpeg(head: bytes) -> tuple[int, int] | None:
    at = 2
    while at < len(head):
        mark, code, length = struct.unpack_from(">BBH", head, at)
        if mark != 0xFF:
            return None
        if 0xC0 <= code <= 0xCF and code not in (0xC4, 0xC8, 0xCC):  # a frame's header, whatever its coding
            height, width = struct.unpack_from(">HH", head, at + 5)
            return width, height
        at += 2 + length
    return None

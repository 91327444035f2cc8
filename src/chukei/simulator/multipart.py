"""Reading multipart/form-data (RFC 7578), as much of it as audio and image requests use."""

from __future__ import annotations

import re
from dataclasses import dataclass

from chukei.simulator.errors import model_error

_BOUNDARY = re.compile(r'boundary=(?:"([^"]+)"|([^\s;]+))', re.I)
_NAME = re.compile(r'[;\s]name="([^"]*)"', re.I)
_FILENAME = re.compile(r'filename="([^"]*)"', re.I)


@dataclass(frozen=True, slots=True)
class Part:
    """One field of a form: its bytes, and the file name if it is a file."""

    data: bytes
    filename: str | None = None


def fields(body: bytes, content_type: str) -> dict[str, Part]:
    """Return the fields of a form by name, the last of each; ApiError 400 if it is none."""
    boundary = _BOUNDARY.search(content_type)
    if boundary is None:
        raise model_error(400, "Could not parse multipart form: there is no boundary in the content type.")
    mark = b"--" + (boundary[1] or boundary[2]).encode()
    sections = (b"\r\n" + body).split(b"\r\n" + mark)
    if len(sections) < 2 or not sections[-1].startswith(b"--"):
        raise model_error(400, "Could not parse multipart form: the closing boundary is missing.")
    found: dict[str, Part] = {}
    for section in sections[1:-1]:
        head, _, data = section.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        text = head.decode(errors="replace")
        name = _NAME.search(text)
        if name is not None:
            filename = _FILENAME.search(text)
            found[name[1]] = Part(data, filename[1] if filename else None)
    return found

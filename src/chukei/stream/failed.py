"""The end of a stream that the relay breaks off with an error, in the form of its API.

The Responses API ends such a stream with two events, and clients differ in which of them they read. OpenAI's packages
raise at ``error``. Codex takes its message from ``response.failed``. Vercel's AI SDK validates both against a schema
that requires ``type`` and ``sequence_number``; without them it shows its own complaint in the place of the message.
"""

import msgspec

from chukei.model import Dialect
from chukei.stream import sse
from chukei.stream.stream import Stream


def error_events(error: bytes, dialect: Dialect, stream: Stream | None) -> bytes:
    """Return the events that tell of an error. ``error`` is the JSON of an ``error`` object in OpenAI's format.

    ``stream`` is what has been sent so far, if anything.
    """
    if dialect is Dialect.RESPONSES:
        return _failed_response(msgspec.json.decode(error, type=dict[str, msgspec.Raw]), stream)
    return sse.write(b'{"error":' + error + b"}", None if dialect is Dialect.CHAT else "error")


def _failed_response(error: dict[str, msgspec.Raw], stream: Stream | None) -> bytes:
    number = 0 if stream is None else stream.passed
    told = {"type": _text(error, "type", "upstream_error"), "message": _text(error, "message", "")}
    code = _text(error, "code", str(told["type"]))
    response: dict[str, object] = {
        "object": "response",
        "status": "failed",
        "error": {"code": code, "message": told["message"]},
        "incomplete_details": None,
        "output": [],
        "usage": None,
    }
    if stream is not None:
        response |= {"id": stream.response_id, "model": stream.model}
    failed = {"type": "response.failed", "sequence_number": number + 1, "response": response}
    first = {"type": "error", "sequence_number": number, "error": {**error, **told, "code": code}}
    return sse.write(msgspec.json.encode(first), "error") + sse.write(msgspec.json.encode(failed), "response.failed")


def _text(error: dict[str, msgspec.Raw], name: str, otherwise: str) -> str:
    """Return a member as text: the API's are strings, but Azure's gateways also send numbers and null."""
    value = msgspec.json.decode(error.get(name, b"null"))
    return otherwise if value is None else value if isinstance(value, str) else str(value)

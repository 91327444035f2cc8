"""Errors in the form of their API: the end of a stream that the relay breaks off, and the body of an error status.

The Responses API ends such a stream with two events, and clients differ in which of them they read. OpenAI's packages
raise at ``error``. Codex takes its message from ``response.failed``. Vercel's AI SDK validates both against a schema
that requires ``type`` and ``sequence_number``; without them it shows its own complaint in the place of the message.
"""

import msgspec

from chukei.model import Dialect
from chukei.stream import sse
from chukei.stream.stream import Stream

_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
"""The Messages API's types of errors by status (Anthropic: "Errors"). 503 is the relay's own of the same meaning."""

_KNOWN = frozenset({*_KINDS.values(), "api_error"})


def message_error(error: bytes, status: int, request_id: str | None = None) -> bytes:
    """Return an error in the form of the Messages API. ``error`` is the JSON of an ``error`` object of any API."""
    members = msgspec.json.decode(error, type=dict[str, msgspec.Raw])
    kind = _text(members, "type", "")
    if kind not in _KNOWN or kind == "invalid_request_error":  # the relay's own errors of all 4xx have that type
        kind = _KINDS.get(status) or ("invalid_request_error" if status < 500 else "api_error")
    given = {name: value for name, value in members.items() if bytes(value) != b"null"}
    told = {**given, "type": kind, "message": _text(members, "message", "")}
    body: dict[str, object] = {"type": "error", "error": told}
    return msgspec.json.encode(body if request_id is None else {**body, "request_id": request_id})


def error_events(error: bytes, dialect: Dialect, stream: Stream | None, status: int = 500) -> bytes:
    """Return the events that tell of an error. ``error`` is the JSON of an ``error`` object in OpenAI's format.

    ``stream`` is what has been sent so far, if anything. ``status`` is the error's outside a stream.
    """
    if stream is not None and stream.background and stream.response_id is not None and not stream.complete:
        return _goes_on(msgspec.json.decode(error, type=dict[str, msgspec.Raw]), stream)
    if dialect is Dialect.MESSAGES:
        return sse.write(message_error(error, status), "error")
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


def _goes_on(error: dict[str, msgspec.Raw], stream: Stream) -> bytes:
    """Return the error event of a background response, which has not failed: only its stream has.

    So there is no ``response.failed``. The number is that of the last event passed on, since clients resume after the
    largest number that they have seen.
    """
    last = max(stream.passed - 1, 0) + stream.starts_at
    again = f"GET /v1/responses/{stream.response_id}?stream=true&starting_after={last}"
    message = f"{_text(error, 'message', '')} The response goes on in the background; continue reading with {again}."
    told = {"type": _text(error, "type", "upstream_error"), "message": message.strip()}
    code = _text(error, "code", told["type"])
    event = {"type": "error", "sequence_number": last, "error": {**error, **told, "code": code}}
    return sse.write(msgspec.json.encode(event), "error")


def _text(error: dict[str, msgspec.Raw], name: str, otherwise: str) -> str:
    """Return a member as text: the API's are strings, but Azure's gateways also send numbers and null."""
    value = msgspec.json.decode(error.get(name, b"null"))
    return otherwise if value is None else value if isinstance(value, str) else str(value)

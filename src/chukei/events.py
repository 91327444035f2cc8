"""The few fields of the upstream's events that matter to the relay; the parser skips all others. Pure."""

from collections.abc import Collection

import msgspec

from chukei.model import End
from chukei.usage import DECODE_ERRORS, WireUsage

_SILENT = frozenset({b"null", b'""', b"[]", b"{}"})


class _Choice(msgspec.Struct):
    index: int = 0
    delta: dict[str, msgspec.Raw] | None = None
    text: str | None = None
    finish_reason: str | None = None


class Chunk(msgspec.Struct):
    """One event of a chat or a text completion."""

    choices: list[_Choice] | None = None
    usage: WireUsage | None = None
    error: msgspec.Raw = msgspec.Raw()
    model: str | None = None
    service_tier: str | None = None


class _IncompleteDetails(msgspec.Struct):
    reason: str | None = None


class Response(msgspec.Struct):
    """A response within an event."""

    id: str | None = None
    model: str | None = None
    service_tier: str | None = None
    error: msgspec.Raw = msgspec.Raw()
    usage: WireUsage | None = None
    incomplete_details: _IncompleteDetails | None = None


class ResponseEvent(msgspec.Struct):
    """One event of the Responses API. ``code`` is that of an error which is not nested."""

    type: str = ""
    delta: msgspec.Raw = msgspec.Raw()
    code: str | None = None
    response: Response | None = None
    error: msgspec.Raw = msgspec.Raw()
    usage: WireUsage | None = None


def cause_of(event: ResponseEvent) -> bytes:
    """Return the error of an event: its own field, that of its response, or the event itself where it is flat."""
    inner = event.response.error if event.response is not None else msgspec.Raw()
    for error in (event.error, inner):
        if bytes(error).startswith(b"{"):
            return bytes(error)
    return msgspec.json.encode({"code": event.code})


def is_empty(field: msgspec.Raw) -> bool:
    """Whether a field was missing or null; ``Raw | None`` would take null alone."""
    return bytes(field) in (b"", b"null")


def is_chat_preamble(chunk: Chunk) -> bool:
    """Whether a chunk holds no output yet: filter results, the role, empty content."""
    if chunk.usage is not None or not is_empty(chunk.error) or chunk.choices is None:
        return False
    for choice in chunk.choices:
        if choice.finish_reason or choice.text:
            return False
        for key, value in (choice.delta or {}).items():
            if key != "role" and bytes(value) not in _SILENT:
                return False
    return True


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _ToolCall(msgspec.Struct):
    function: _Function | None = None


def generated(event: Chunk | ResponseEvent) -> int:
    """Return how many bytes of an event were generated, as JSON writes them: text, reasoning, refusals, tool calls."""
    if isinstance(event, ResponseEvent):
        return _length("delta", bytes(event.delta))
    return sum(
        (len(choice.text.encode()) if choice.text else 0)
        + sum(_length(key, bytes(value)) for key, value in (choice.delta or {}).items())
        for choice in event.choices or ()
    )


def _length(key: str, value: bytes) -> int:
    if key == "role" or not value or value in _SILENT:
        return 0
    if key == "tool_calls":
        try:
            calls = msgspec.json.decode(value, type=list[_ToolCall])
        except DECODE_ERRORS:
            return len(value)
        made = [call.function for call in calls if call.function is not None]
        return sum(len((each.name or "").encode()) + len((each.arguments or "").encode()) for each in made)
    return len(value) - 2 if value[:1] == b'"' else len(value)


def end_of(reasons: Collection[str]) -> End:
    """Return how a complete answer ended, from the finish reasons of its choices."""
    if "content_filter" in reasons:
        return End.CONTENT_FILTER
    if "length" in reasons or "max_output_tokens" in reasons:
        return End.LENGTH
    return End.COMPLETED

"""Decoding of the few fields of upstream events that the relay uses; the parser skips all others. Pure."""

import contextlib
from collections.abc import Collection
from typing import Any, TypeVar

import msgspec

from chukei.model import End
from chukei.usage import DECODE_ERRORS, is_usage

T = TypeVar("T", bound=msgspec.Struct)

_SILENT = frozenset({b"null", b'""', b"[]", b"{}"})


class _Choice(msgspec.Struct):
    index: int = 0
    delta: dict[str, msgspec.Raw] | None = None
    text: str | None = None
    finish_reason: str | None = None


class Chunk(msgspec.Struct):
    """One event of a chat or a text completion."""

    choices: list[_Choice] | None = None
    usage: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()
    model: object = None
    service_tier: object = None


class _IncompleteDetails(msgspec.Struct):
    reason: str | None = None


class Response(msgspec.Struct):
    """A response in an event."""

    id: str | None = None
    model: object = None
    service_tier: object = None
    error: msgspec.Raw = msgspec.Raw()
    usage: msgspec.Raw = msgspec.Raw()
    tool_usage: msgspec.Raw = msgspec.Raw()
    incomplete_details: _IncompleteDetails | None = None


class Item(msgspec.Struct, frozen=True):
    """An item of a response: its id, what its resource has encrypted in it, and the container in which code ran.

    ``environment`` is the place of a shell's call, which may be a container too.
    """

    id: str | None = None
    encrypted_content: str | None = None
    container_id: str | None = None
    environment: msgspec.Raw = msgspec.Raw()


class Message(msgspec.Struct):
    """The message that an event of the Messages API begins."""

    model: object = None
    usage: msgspec.Raw = msgspec.Raw()


class _MessageDelta(msgspec.Struct):
    stop_reason: str | None = None
    container: msgspec.Raw = msgspec.Raw()


class MessageEvent(msgspec.Struct):
    """One event of Anthropic's Messages API (Anthropic: "Streaming Messages")."""

    type: str = ""
    message: Message | None = None
    delta: _MessageDelta | None = None
    usage: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()


class _Container(msgspec.Struct):
    id: str | None = None


def container_in(field: msgspec.Raw) -> tuple[Item, ...]:
    """Return the container of a message in which its tools ran, as an item; none if there was none."""
    if is_empty(field):
        return ()
    with contextlib.suppress(*DECODE_ERRORS):
        id = msgspec.json.decode(field, type=_Container).id
        return (Item(container_id=id),) if id else ()
    return ()


STOP_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
}
"""The finish reasons for the Messages API's stop reasons. Others, such as ``pause_turn``, have no counterpart."""


class ResponseEvent(msgspec.Struct):
    """One event of the Responses API. ``code`` belongs to an error event without a nested error."""

    type: str = ""
    code: str | int | None = None
    response: Response | None = None
    item: Item | None = None
    error: msgspec.Raw = msgspec.Raw()
    usage: msgspec.Raw = msgspec.Raw()


def read(data: bytes, kind: type[T]) -> T:
    """Decode an event. A field of an unexpected type is left out.

    Raises:
        msgspec.DecodeError: it is not a JSON object; other ``DECODE_ERRORS`` are possible too.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError:
        return _read_loosely(data, kind)


def _read_loosely(data: bytes, kind: type[T]) -> T:
    sent = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
    found: dict[str, Any] = {}
    for name in kind.__struct_fields__:
        with contextlib.suppress(*DECODE_ERRORS):
            raw = bytes(sent[name]) if name in sent else b"null"
            if raw == b"null":
                continue
            if name == "choices":
                found[name] = [read(bytes(each), _Choice) for each in msgspec.json.decode(raw, type=list[msgspec.Raw])]
            elif name in _NESTED:
                found[name] = read(raw, _NESTED[name])
            else:
                found[name] = msgspec.json.decode(raw, type=kind.__annotations__[name])
    return kind(**found)


_NESTED: dict[str, type[msgspec.Struct]] = {"response": Response, "item": Item}


def cause_of(event: ResponseEvent) -> bytes:
    """Return the error of an event: its ``error`` field, its response's, or an object with the event's ``code``."""
    inner = event.response.error if event.response is not None else msgspec.Raw()
    for error in (event.error, inner):
        if bytes(error).startswith(b"{"):
            return bytes(error)
    return msgspec.json.encode({"code": event.code})


def is_empty(field: msgspec.Raw) -> bool:
    """Whether a field is missing or null; ``Raw | None`` would accept only null."""
    return bytes(field) in (b"", b"null")


def is_chat_preamble(chunk: Chunk) -> bool:
    """Whether a chunk contains no output: only filter results, the role or empty content."""
    if is_usage(chunk.usage) or not is_empty(chunk.error) or chunk.choices is None:
        return False
    for choice in chunk.choices:
        if choice.finish_reason or choice.text:
            return False
        for key, value in (choice.delta or {}).items():
            if key != "role" and bytes(value) not in _SILENT:
                return False
    return True


def end_of(reasons: Collection[str]) -> End:
    """Return how a complete answer ended, from the finish reasons of its choices."""
    if "content_filter" in reasons:
        return End.CONTENT_FILTER
    if "length" in reasons or "max_output_tokens" in reasons:
        return End.LENGTH
    return End.COMPLETED

"""The simple form of ``/api/chat-stream``: chat chunks in, events with plain text as data out.

A line end in the text begins another ``data`` line, and a space always follows ``data:``. So a reader that follows
WHATWG HTML §9.2 gets the text back exactly, with LF for every kind of line end.
"""

import msgspec

from chukei.stream import sse
from chukei.usage import DECODE_ERRORS, Usage


class _Delta(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None


class _Choice(msgspec.Struct):
    index: int = 0
    delta: _Delta | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] | None = None


class PlainText:
    """Rewrites the chat events of one stream. ``finish`` writes the events at its end."""

    __slots__ = ("_carriage_return",)

    def __init__(self) -> None:
        self._carriage_return = False

    def rewrite(self, block: bytes) -> bytes:
        """Return the plain form of a block of whole chat events."""
        return b"".join(self._event(sse.data_of(event)) for event in sse.split(block))

    def _event(self, data: bytes) -> bytes:
        try:
            chunk = msgspec.json.decode(data, type=_Chunk)
        except DECODE_ERRORS:
            return b""
        deltas = (choice.delta for choice in chunk.choices or () if choice.index == 0)
        return self._text("".join(delta.content or delta.refusal or "" for delta in deltas if delta is not None))

    def _text(self, text: str) -> bytes:
        if not text:
            return b""
        if self._carriage_return and text.startswith("\n"):
            text = text[1:]  # the second half of a CRLF; the first half was already written as a line end
        self._carriage_return = text.endswith("\r")
        if text == "[DONE]":
            return sse.write("[DONE") + sse.write("]")  # text must not look like the end of the stream
        return sse.write(text) if text else b""

    def finish(self, reasons: dict[int, str], usage: Usage | None) -> bytes:
        """Return the ``finish`` event and the ``[DONE]`` after it."""
        tokens = None
        if usage is not None:
            tokens = {
                "prompt_tokens": usage.input,
                "completion_tokens": usage.output,
                "total_tokens": usage.input + usage.output,
            }
        summary = msgspec.json.encode({"finish_reason": reasons.get(0), "usage": tokens})
        return sse.write(summary, "finish") + sse.DONE

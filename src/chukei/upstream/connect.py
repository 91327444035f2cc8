"""From sending a request to its first event. The client has no status yet, so every failure can be an HTTP error.

The table in ``pool.verdicts`` defines the meaning of each failure and the status for the client.
"""

import asyncio
import contextlib
import re
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from chukei.azure import EVENT_STREAM
from chukei.errors import UpstreamError, event_too_large
from chukei.model import Dialect, Operation, header
from chukei.pool.verdicts import ROWS
from chukei.ports import Answer, Upstream
from chukei.stream.redaction import Redactor
from chukei.stream.stream import Stream
from chukei.upstream.refusals import (
    MAX_ERROR_BYTES,
    OPERATORS,
    error_of_event,
    failure,
    is_encoded,
    is_json,
    is_whole_object,
    is_whole_text,
    media_type,
    read_whole,
    refusal,
    unexpected_type,
    unpadded,
    without_retry,
)
from chukei.upstream.writing import UpstreamRequest

ERROR_SECONDS = 5.0
"""Time limit for an error body. The status has arrived already and is more important."""

HOLD_BYTES = 256 * 1024
"""Bytes of a JSON answer that are held back while it may still be an error; a chat's answer is a few kilobytes."""

HOLD_SECONDS = 1.0
"""Seconds for which a JSON answer is held back after its first byte. A generated answer arrives faster."""

LARGE_EVENT_BYTES = 16 * 1024 * 1024
"""The least cap on events that contain whole images or sounds."""

ANYTHING = (b"",)
"""As the content types of an operation: whatever a user has stored, which is passed on without being looked at."""

_EVENTS = b"text/event-stream"
_ERROR = b'"error"'  # an answer without it is not an error
_EVENT = re.compile(rb"(?:data|event|id|retry)(?::|[\r\n])|:")  # the beginning of an event stream (WHATWG HTML §9.2)
_BEGINS = (b"data", b"event", b"id", b"retry", b"\xef\xbb\xbf")  # possible beginnings, if a read ends inside them
_MARKUP = re.compile(rb"<(?:!doctype|html|head|body|\?xml)", re.IGNORECASE)


class Waits(msgspec.Struct, frozen=True, gc=False):
    """Time limits of an answer, in seconds from the sending of its request.

    The answer's head must arrive within ``life`` seconds, the first output within ``output``. ``stated`` is the limit
    that error messages name; ``life`` may be the remainder of it.
    """

    life: float
    output: float
    stated: float

    @classmethod
    def within(cls, left: float, limit: float, whole: float, output: float) -> "Waits":
        """Return the limits of one attempt, if ``left`` seconds remain of the ``whole`` time for all attempts."""
        # If the limit of all attempts is reached before the attempt's own, the error message names that of all.
        return cls(min(limit, left), output, limit if limit <= left + 1.0 else whole)

    def after(self, seconds: float) -> "Waits":
        """Return the remaining limits after some seconds."""
        return Waits(max(self.life - seconds, 0.0), max(self.output - seconds, 0.0), self.stated)


@dataclass(slots=True)
class Opened:
    """An answer that has begun. ``stream`` is None for a whole answer; ``first`` has the bytes that can be sent now.

    ``whole`` says that ``first`` is the complete answer.
    """

    answer: Answer
    stream: Stream | None
    first: bytes
    whole: bool = False


async def connect(
    upstream: Upstream,
    request: UpstreamRequest,
    operation: Operation,
    *,
    wants_stream: bool,
    waits: Waits,
    cap: int,
    sent: Callable[[], None],
    answered: Callable[[Answer], None],
) -> Opened:
    """Send the request and wait until the answer has begun.

    A stream has begun with its first output, or a background response's id; ``cap`` bounds an event. Cancellation
    closes the connection. ``sent`` is called when the request is on its way, ``answered`` when the headers are there.

    Raises:
        UpstreamError: the upstream failed; the connection is closed or back in its pool.
    """
    begun = asyncio.get_running_loop().time()
    body = request.body if request.parts is None else request.parts
    alive = False
    try:
        async with asyncio.timeout_at(begun + waits.life) as limit:
            answer = await upstream.request(
                request.method, request.endpoint, request.target, request.headers, body, sent, request.length
            )
            answered(answer)
            alive = True
            if waits.output > waits.life:
                limit.reschedule(begun + waits.output)
            try:
                return await _Opening(answer, request, operation, wants_stream=wants_stream, cap=cap).opened()
            except BaseException:
                answer.abort()
                raise
    except TimeoutError:
        if alive and waits.output > waits.life:
            message = f"The upstream began to answer, but sent no output within {waits.output:g} s."
            raise failure("thinking_timeout", message, code="upstream_timeout") from None
        raise failure("upstream_timeout", f"The upstream sent no output within {waits.stated:g} s.") from None


class _Opening:
    """Reads the beginning of one answer and classifies it."""

    __slots__ = ("_answer", "_cap", "_ended", "_operation", "_redactor", "_request", "_wants_stream")

    def __init__(
        self, answer: Answer, request: UpstreamRequest, operation: Operation, *, wants_stream: bool, cap: int
    ) -> None:
        self._answer = answer
        self._request = request
        self._operation = operation
        self._wants_stream = wants_stream
        self._cap = max(cap, LARGE_EVENT_BYTES) if operation.large_events else cap
        self._redactor = Redactor(request.headers)
        self._ended = False

    async def opened(self) -> Opened:
        """Return the answer, once its kind is known.

        Raises:
            UpstreamError: it is an error, or not a valid answer.
        """
        answer = self._answer
        content_type = media_type(answer.headers)
        operation = self._operation
        if answer.status != 200 and answer.status not in operation.statuses:
            raise await self._refusal()
        if is_encoded(answer.headers):
            message = "The upstream compressed its answer although it was asked not to."
            raise failure("unexpected_encoding", f"{message} {OPERATORS}")
        if operation.media == ANYTHING:
            return Opened(answer, None, b"")
        body = await self._look()
        seen = unpadded(body)
        if not seen and len(operation.statuses) > 1:  # such as 204
            return Opened(answer, None, b"", whole=True)
        if content_type == _EVENTS and seen[:1] != b"{":
            return await self._opened_stream(body)
        if (self._wants_stream or not content_type) and _EVENT.match(seen):
            self._rename(EVENT_STREAM)
            return await self._opened_stream(body)
        return await self._opened_whole(body, seen, content_type)

    async def _read(self) -> bytes:
        """Return the next bytes; empty at the end."""
        while (data := await self._answer.read()) is None:
            pass
        self._ended = data == b""
        return data

    async def _look(self) -> bytes:
        """Read enough of a body to know its kind."""
        body = b""
        while not self._ended and len(body) <= HOLD_BYTES:
            body += await self._read()
            seen = unpadded(body)
            if seen[:1] == b"{" or (seen and _is_decided(seen)):
                break
        return body

    # Streams.

    async def _opened_stream(self, first: bytes) -> Opened:
        request = self._request
        stream = Stream(
            self._operation.dialect,
            strip_usage=request.strip_usage,
            skip_empty=request.skip_empty_choices,
            cap=self._cap,
            redactor=self._redactor,
            background=request.background,
        )
        return Opened(self._answer, stream, await self._first_output(stream, first))

    async def _first_output(self, stream: Stream, data: bytes) -> bytes:
        """Read until there are bytes to send. An error event before them becomes an error status."""
        while True:
            if not data and not self._ended:
                data = await self._read()
            first = stream.feed(data) if data else stream.finish(proper=not self._answer.until_close)
            data = b""
            if stream.failure is not None and stream.failed_first and _is_telling(stream):
                raise error_of_event(stream.failure, self._redactor)
            if first:
                return first
            if stream.overflowed:
                raise without_retry(event_too_large(), ROWS["event_too_large"])
            if self._ended:
                raise failure("upstream_lost", "The upstream ended its answer before any output.")

    # Whole answers.

    async def _opened_whole(self, body: bytes, seen: bytes, content_type: bytes) -> Opened:
        media = self._operation.media
        if b"html" in content_type or (seen[:1] == b"<" and _MARKUP.match(seen)):
            raise unexpected_type(content_type)
        known = content_type.startswith(media)
        if is_json(content_type) or (seen[:1] == b"{" and not known and b"application/json" in media):
            return await self._opened_json(body, content_type)
        # Without a content type it may be text or sound, which cannot be recognised by their form, unlike JSON.
        if (self._wants_stream and self._operation.generates) or not (known or (not content_type and len(media) > 1)):
            raise unexpected_type(content_type)
        return Opened(self._answer, None, body, whole=self._ended)

    async def _opened_json(self, body: bytes, content_type: bytes) -> Opened:
        """Hold back a JSON answer while it may still be an error, or break off."""
        if not self._ended and header(self._answer.headers, b"content-length") == b"%d" % len(body):
            self._ended = True
        if not self._ended:
            parts = [body]
            await self._gather(parts, HOLD_BYTES, HOLD_SECONDS)
            body = b"".join(parts)
        streams = self._wants_stream and self._operation.generates
        said = read_whole(body) if streams or _ERROR in body else None
        if said is not None and (error := said.failure) is not None:
            raise error_of_event(error, self._redactor)
        if self._ended and not is_whole_object(body) and not (self._may_be_text and is_whole_text(body)):
            raise failure("unexpected_answer", "The upstream's answer is no JSON, or was cut off.")
        if streams and said is not None:
            message = "The upstream answered as a whole; this model or operation does not stream. Leave 'stream' out."
            raise failure("not_a_stream", message, usage=said.reported_usage)
        if b"application/json" not in self._operation.media:
            raise unexpected_type(content_type)
        if not is_json(content_type):
            self._rename((b"content-type", b"application/json"))  # OpenAI's clients decode only this type
        return Opened(self._answer, None, body, whole=self._ended)

    @property
    def _may_be_text(self) -> bool:
        """Whether the operation's answer may be text, which some servers encode as a JSON string."""
        return b"text/" in self._operation.media

    def _rename(self, content_type: tuple[bytes, bytes]) -> None:
        """Replace the answer's content type by the actual one."""
        fields = [field for field in self._answer.headers if field[0] != b"content-type"]
        self._answer.headers = [*fields, content_type]

    async def _gather(self, parts: list[bytes], most: int, seconds: float) -> None:
        """Read until the end, but no longer than ``seconds`` and not beyond ``most`` bytes."""
        size = sum(map(len, parts))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not self._ended and size <= most:
                    parts.append(await self._read())
                    size += len(parts[-1])

    # Error statuses.

    async def _refusal(self) -> UpstreamError:
        error = await read_refusal(self._answer, self._redactor)
        if self._answer.status >= 400:
            self._answer.finish()
        return error


async def read_refusal(answer: Answer, redactor: Redactor) -> UpstreamError:
    """Return the error for an answer with a status that is none of success, after reading its body if that tells."""
    body = b""
    if answer.status >= 400:
        with contextlib.suppress(UpstreamError, TimeoutError):  # the status has arrived and is more important
            async with asyncio.timeout(ERROR_SECONDS):
                while len(body) < MAX_ERROR_BYTES and (data := await answer.read()) != b"":
                    body += data or b""
    return refusal(answer.status, answer.headers, body[:MAX_ERROR_BYTES], redactor)


def _is_decided(seen: bytes) -> bool:
    """Whether the beginning of a body suffices to tell whether it is an event stream."""
    return _EVENT.match(seen) is not None or not any(begin.startswith(seen) for begin in _BEGINS)


def _is_telling(stream: Stream) -> bool:
    """Whether an error event can become an error status without losing information for the client."""
    return stream.dialect is Dialect.CHAT or (stream.failure or b"").startswith(b"{")

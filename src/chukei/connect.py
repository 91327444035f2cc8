"""From a request to the first event: nothing has been promised to the client yet, so every failure is a plain error.

What a failure means, and which status the client gets for it, is in ``verdicts``.
"""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

import msgspec

from chukei.call import UpstreamRequest
from chukei.errors import UpstreamError, event_too_large
from chukei.explanation import Blotter, explanation, plain
from chukei.model import Dialect, End, Headers, Operation, header
from chukei.pool import retry_after
from chukei.ports import Answer, Upstream
from chukei.relay import Stream
from chukei.usage import DECODE_ERRORS, Usage, WireUsage
from chukei.verdicts import OWN_STATUS, ROWS, Fault, Row, Said, Words, row_of, row_of_status, said_in
from chukei.wire import EVENT_STREAM, headers_down

MAX_ERROR_BYTES = 64 * 1024
"""An error body is a few hundred bytes; more is not worth waiting for."""

ERROR_SECONDS = 5.0
"""Nor is one that takes longer than this: the status has arrived, and says more."""

HOLD_BYTES = 256 * 1024
"""Of a JSON answer so much is held, while it may still be an error: a chat's answer is a few kilobytes."""

HOLD_SECONDS = 1.0
"""For so long after its first byte. An answer that has been made arrives in less."""

LARGE_EVENT_BYTES = 16 * 1024 * 1024
"""The cap for events that hold whole images or sounds, where the configured one is lower."""

_EVENTS = b"text/event-stream"
_BOM = b"\xef\xbb\xbf"
_WHITE = b" \t\r\n"  # of JSON (RFC 8259 §2)
_EVENT = re.compile(rb"(?:data|event|id|retry)(?::|[\r\n])|:")  # how a stream of events begins (WHATWG HTML §9.2)
_BEGINS = (b"data", b"event", b"id", b"retry", b"\xef\xbb\xbf")  # what may go on to be one, in a read that was cut
_MARKUP = re.compile(rb"<(?:!doctype|html|head|body|\?xml)", re.IGNORECASE)
_NAME = re.compile(r"[\w.-]{1,64}", re.ASCII)

_OPERATORS = "This is for the relay's operator to mend; callers cannot."


@dataclass(frozen=True, slots=True)
class Waits:
    """How long an answer may take, in seconds from the sending of its request.

    Its head, the first sign of life, may take ``life`` seconds, and the first of a body that can be passed on
    ``output``. ``told`` is what ``life`` is called in words, where it is what is left of a longer time.
    """

    life: float
    output: float
    told: float

    def after(self, seconds: float) -> "Waits":
        """Return what is left of them."""
        return replace(self, life=max(self.life - seconds, 0.0), output=max(self.output - seconds, 0.0))


@dataclass(slots=True)
class Opened:
    """An answer that has begun well. ``stream`` is None for one that is no stream; ``first`` is what can leave now.

    ``whole`` says that ``first`` is all there is.
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
    answered: Callable[[Headers], None],
) -> Opened:
    """Send the request and wait until the answer shows that it is one.

    For a stream that is the first event with output in it; ``cap`` bounds an event in bytes. Cancelling closes the
    connection. ``sent`` and ``answered`` hear how far it came: they are called when the request is on its way and when
    headers have arrived.

    Raises:
        UpstreamError: in whatever way the upstream failed; the connection is closed or back in its pool.
    """
    begun = asyncio.get_running_loop().time()
    alive = False
    try:
        async with asyncio.timeout_at(begun + waits.life) as limit:
            answer = await upstream.post(request.endpoint, request.target, request.headers, request.body, sent)
            answered(answer.headers)
            alive = True
            limit.reschedule(begun + max(waits.life, waits.output))
            try:
                return await _Beginning(answer, request, operation, wants_stream=wants_stream, cap=cap).opened()
            except BaseException:
                answer.abort()
                raise
    except TimeoutError:
        if alive and waits.output > waits.life:
            message = f"The upstream began to answer, but sent no output within {waits.output:g} s."
            raise _failure("thinking_timeout", message, code="upstream_timeout") from None
        raise _failure("upstream_timeout", f"The upstream sent no output within {waits.told:g} s.") from None


class _Beginning:
    """The beginning of one answer."""

    __slots__ = ("_answer", "_blotter", "_cap", "_ended", "_operation", "_request", "_wants_stream")

    def __init__(
        self, answer: Answer, request: UpstreamRequest, operation: Operation, *, wants_stream: bool, cap: int
    ) -> None:
        self._answer = answer
        self._request = request
        self._operation = operation
        self._wants_stream = wants_stream
        self._cap = max(cap, LARGE_EVENT_BYTES) if operation.large_events else cap
        self._blotter = Blotter(request.headers)
        self._ended = False

    async def opened(self) -> Opened:
        """Return the answer, once it shows what it is.

        Raises:
            UpstreamError: it is none.
        """
        answer = self._answer
        content_type = media_type(answer.headers)
        if answer.status != 200:
            raise await self._refusal(content_type)
        if _is_encoded(answer.headers):
            message = "The upstream compressed its answer although it was asked not to."
            raise _failure("unexpected_encoding", f"{message} {_OPERATORS}")
        body = await self._look()
        seen = _unpadded(body)
        if content_type == _EVENTS and seen[:1] != b"{":
            return await self._opened_stream(body)
        if _EVENT.match(seen) and (self._wants_stream or not content_type):
            self._rename(EVENT_STREAM)
            return await self._opened_stream(body)
        return await self._opened_whole(body, seen, content_type)

    async def _read(self) -> bytes:
        """Return what has arrived; nothing at the end."""
        while (data := await self._answer.read()) is None:
            pass
        self._ended = data == b""
        return data

    async def _look(self) -> bytes:
        """Read so much of a body as shows of what kind it is."""
        body = b""
        while not self._ended and len(body) <= HOLD_BYTES:
            body += await self._read()
            seen = _unpadded(body)
            if seen and (_EVENT.match(seen) or not any(begin.startswith(seen) for begin in _BEGINS)):
                break
        return body

    # Streams.

    async def _opened_stream(self, first: bytes) -> Opened:
        strip = self._request.strip_usage
        stream = Stream(self._operation.dialect, strip_usage=strip, cap=self._cap, blotter=self._blotter)
        return Opened(self._answer, stream, await self._first_output(stream, first))

    async def _first_output(self, stream: Stream, data: bytes) -> bytes:
        """Read until something may leave. An error event in its place becomes an error status."""
        while True:
            if not data and not self._ended:
                data = await self._read()
            first = stream.feed(data) if data else stream.finish()
            data = b""
            if stream.failure is not None and stream.failed_first and _is_telling(stream):
                raise error_of_event(stream.failure, self._blotter)
            if first:
                return first
            if stream.overflowed:
                raise _sealed(event_too_large(), ROWS["event_too_large"])
            if self._ended:
                raise _failure("upstream_lost", "The upstream ended its answer before any output.")

    # Answers that are no streams.

    async def _opened_whole(self, body: bytes, seen: bytes, content_type: bytes) -> Opened:
        if b"html" in content_type or _MARKUP.match(seen):
            raise self._unexpected(content_type)
        media = self._operation.media
        known = content_type.startswith(media)
        if _is_json(content_type) or (seen[:1] == b"{" and not known and b"application/json" in media):
            return await self._opened_json(body, content_type)
        # Without a type it may be what has no shape of its own, text or sound; JSON has one.
        if (self._wants_stream and self._operation.generates) or not (known or (not content_type and len(media) > 1)):
            raise self._unexpected(content_type)
        return Opened(self._answer, None, body, whole=self._ended)

    async def _opened_json(self, body: bytes, content_type: bytes) -> Opened:
        """Hold a JSON answer while it may be an error, or break."""
        body = await self._held(body)
        said = _answer_in(body)
        if (error := said.failure) is not None:
            raise error_of_event(error, self._blotter)
        if self._ended and not _is_whole_object(body):
            raise _failure("unexpected_answer", "The upstream's answer is no JSON, or was cut off.")
        if self._wants_stream and self._operation.generates:
            message = "The upstream answered as a whole; this model or operation does not stream. Leave 'stream' out."
            raise _failure("not_a_stream", message, usage=said.counted)
        if b"application/json" not in self._operation.media:
            raise self._unexpected(content_type)
        if not _is_json(content_type):
            self._rename((b"content-type", b"application/json"))  # stock clients decode nothing else
        return Opened(self._answer, None, body, whole=self._ended)

    def _rename(self, content_type: tuple[bytes, bytes]) -> None:
        """Give the answer the type that it has."""
        fields = [field for field in self._answer.headers if field[0] != b"content-type"]
        self._answer.headers = [*fields, content_type]

    async def _held(self, body: bytes) -> bytes:
        parts, size = [body], len(body)
        try:
            async with asyncio.timeout(HOLD_SECONDS):
                while not self._ended and size <= HOLD_BYTES:
                    parts.append(await self._read())
                    size += len(parts[-1])
        except TimeoutError:
            pass
        return b"".join(parts)

    def _unexpected(self, content_type: bytes) -> UpstreamError:
        message = f"The upstream answered {_shown(content_type)}, not what was asked for."
        return _failure("unexpected_content_type", f"{message} {_OPERATORS}")

    # Error statuses.

    async def _refusal(self, content_type: bytes) -> UpstreamError:
        """Return the error that a status other than 200 is, with the upstream's own words where they help."""
        answer, status = self._answer, self._answer.status
        if 300 <= status < 400:
            message = f"The upstream redirects (status {status}), which is not followed. {_OPERATORS}"
            return _failure("unexpected_redirect", message)
        if status < 300:
            message = f"The upstream answered with status {status}, where only 200 is known. {_OPERATORS}"
            return _failure("unexpected_status", message)
        asked = retry_after(answer.headers)
        raw = await self._error_body()
        body, text = explanation(b"" if _is_encoded(answer.headers) else raw, content_type)
        answer.finish()
        body = self._blotter.json(body) if body is not None else None
        row = row_of_status(status, said_in(body or b""))
        headers = [field for field in headers_down(answer.headers) if not field[0].startswith(b"content-")]
        headers = self._blotter.fields(headers)
        if row.words is Words.OURS:
            code = "upstream_unauthorized" if status == 401 else "upstream_forbidden"
            headers = [*(field for field in headers if field[0] != b"x-should-retry"), _NO_RETRY]
            message = f"The deployment refused the relay's own credentials (status {status}). {_OPERATORS}"
            return _failure(row.kind, message, code=code, headers=headers)
        if body is not None:
            given = next((value for name, value in headers_down(answer.headers) if name == b"content-type"), b"")
            headers.insert(0, (b"content-type", given if _is_json(content_type) else b"application/json"))
        message = self._blotter.text(text) or f"The upstream answered with status {status} and no explanation."
        error = _failure(row.kind, message, code=f"upstream_{status}", status=status, headers=headers, body=body)
        error.retry_after = asked
        return error

    async def _error_body(self) -> bytes:
        parts: list[bytes] = []
        try:
            async with asyncio.timeout(ERROR_SECONDS):
                while not self._ended and sum(map(len, parts)) <= MAX_ERROR_BYTES:
                    parts.append(await self._read())
        except (UpstreamError, TimeoutError):
            pass  # the status has arrived and says more than the break
        return b"".join(parts)[:MAX_ERROR_BYTES]


_NO_RETRY = (b"x-should-retry", b"false")


def _failure(
    kind: str,
    message: str,
    *,
    code: str | None = None,
    status: int | None = None,
    headers: Headers | None = None,
    body: bytes | None = None,
    usage: Usage | None = None,
) -> UpstreamError:
    """Return the error of a row of the table; ``status`` is the upstream's own, where that row passes it on."""
    row = ROWS[kind]
    error = UpstreamError(
        code or kind,
        message,
        end=row.end,
        status=row.status or status or 502,
        type="invalid_request_error" if row.fault is Fault.CALLER and row.status == OWN_STATUS else "upstream_error",
        headers=headers or [],
        body=body,
        kind=kind,
        usage=usage,
    )
    return _sealed(error, row)


def _sealed(error: UpstreamError, row: Row) -> UpstreamError:
    """Tell OpenAI's clients not to repeat what another deployment is not asked either, unless the upstream says to."""
    if not row.moves and header(error.headers, b"x-should-retry") is None:
        error.headers.append(_NO_RETRY)
    return error


def _is_telling(stream: Stream) -> bool:
    """Whether an error event can become an error status without losing what the client would read in the event."""
    return stream.dialect is Dialect.CHAT or (stream.failure or b"").startswith(b"{")


def _is_encoded(headers: Headers) -> bool:
    coding = header(headers, b"content-encoding")
    transfer = header(headers, b"transfer-encoding")
    return coding not in (None, b"identity") or (transfer is not None and transfer.lower() != b"chunked")


# Bodies.


class _Answer(msgspec.Struct):
    error: msgspec.Raw = msgspec.Raw()  # `Raw | None` would take null alone
    usage: msgspec.Raw = msgspec.Raw()
    object: msgspec.Raw = msgspec.Raw()
    choices: msgspec.Raw = msgspec.Raw()
    data: msgspec.Raw = msgspec.Raw()
    output: msgspec.Raw = msgspec.Raw()
    text: msgspec.Raw = msgspec.Raw()

    @property
    def failure(self) -> bytes | None:
        """The error that it is: an object or a text, where nothing is beside it that an answer has."""
        error = bytes(self.error)
        answers = (self.object, self.choices, self.data, self.output, self.text)
        if any(bytes(part) not in (b"", b"null") for part in answers):
            return None  # a response that failed has its error in itself
        return error if error[:1] == b"{" or (error[:1] == b'"' and error != b'""') else None

    @property
    def counted(self) -> Usage | None:
        """The usage that it reports."""
        try:
            return msgspec.json.decode(bytes(self.usage), type=WireUsage).counted()
        except DECODE_ERRORS:
            return None


def _answer_in(body: bytes) -> _Answer:
    try:
        return msgspec.json.decode(_unpadded(body), type=_Answer)
    except DECODE_ERRORS:
        return _Answer()


def _unpadded(body: bytes) -> bytes:
    """Return a body without what may stand before JSON, or before the first event."""
    return body.removeprefix(_BOM).lstrip(_WHITE)


def _is_whole_object(body: bytes) -> bool:
    """Whether an object begins and ends here. A body that only the connection's end delimits may lack its own."""
    return _unpadded(body)[:1] == b"{" and body.rstrip(_WHITE)[-1:] == b"}"


def error_of_event(error: bytes, blotter: Blotter | None = None) -> UpstreamError:
    """Return the HTTP error that the ``error`` of an event before any output, or of a JSON answer, stands for."""
    blotter = blotter or Blotter([])
    error = blotter.json(error)
    body, message = None, ""
    try:
        if error.startswith(b"{"):
            body = b'{"error":' + error.decode("utf-8", "replace").encode() + b"}"
        elif error.startswith(b'"'):
            message = plain(msgspec.json.decode(error, type=str))
    except DECODE_ERRORS:
        pass
    said = said_in(body or b"")
    code = str(said.code) if _NAME.fullmatch(said.name) else "upstream_error"
    status = _status_of(said)
    kind = row_of_status(status, said).kind
    failure = UpstreamError(
        code,
        message or "The upstream reported an error before any output.",
        end=End.UPSTREAM_ERROR,
        status=ROWS[kind].status or status,
        body=body,
        kind=kind,
    )
    return _sealed(failure, row_of(failure))


def _status_of(said: Said) -> int:
    """Return the status that an error inside a 200 stands for."""
    code, kind = said.name, said.type if isinstance(said.type, str) else ""
    if code == "429" or "rate_limit" in code + kind or kind == "too_many_requests":
        return 429
    for number in (code, str(said.status)):
        if number.isascii() and number.isdigit() and len(number) == 3 and 400 <= int(number) < 600:
            return int(number)
    if code in _OF_REQUEST or kind == "invalid_request_error" or code.startswith("invalid_"):
        return 400
    return 502


_OF_REQUEST = frozenset({"content_filter", "context_length_exceeded", "content_policy_violation"})


# Types.


def media_type(headers: Headers) -> bytes:
    """Return the type of an answer in small letters, without parameters; of several the first."""
    return re.split(rb"[;,]", header(headers, b"content-type") or b"", maxsplit=1)[0].strip().lower()


def _is_json(content_type: bytes) -> bool:
    return content_type in (b"application/json", b"text/json") or content_type.endswith(b"+json")


def _shown(content_type: bytes) -> str:
    known = content_type in (b"text/html", b"application/json", b"text/plain", b"application/octet-stream")
    return content_type.decode() if known else "another content type"

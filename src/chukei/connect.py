"""From a request to the first event: nothing has been promised to the client yet, so every failure is a plain error."""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from chukei.call import UpstreamRequest
from chukei.errors import UpstreamError, event_too_large
from chukei.model import Dialect, End, Headers, Operation, header
from chukei.pool import retry_after
from chukei.ports import Answer, Upstream
from chukei.relay import Stream
from chukei.wire import headers_down

MAX_ERROR_BYTES = 64 * 1024
"""An error body is a few hundred bytes; more is not worth waiting for."""

MAX_WHOLE_BYTES = 4 * 1024 * 1024
"""Up to here an answer that is no stream is read whole, so that a break in it is a proper error for the client."""

LARGE_EVENT_BYTES = 16 * 1024 * 1024
"""The cap for events that hold whole images or sounds, where the configured one is lower."""

_ERROR_FIRST = re.compile(rb'\s*\{\s*"error"')

_OPERATORS = "This is for the relay's operator to mend; callers cannot."


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
    seconds: float,
    cap: int,
    sent: Callable[[], None],
    answered: Callable[[Headers], None],
) -> Opened:
    """Send the request and wait until the answer shows that it is one.

    For a stream that is the first event with output in it, which may take ``seconds``; ``cap`` bounds an event in
    bytes. Cancelling closes the connection. ``sent`` and ``answered`` hear how far it came: they are called when the
    request is on its way and when headers have arrived.

    Raises:
        UpstreamError: in whatever way the upstream failed; the connection is closed or back in its pool.
    """
    try:
        async with asyncio.timeout(seconds):
            answer = await upstream.post(request.endpoint, request.target, request.headers, request.body, sent)
            answered(answer.headers)
            try:
                return await _begin(answer, request, operation, wants_stream, cap)
            except BaseException:
                answer.abort()
                raise
    except TimeoutError:
        message = f"The upstream sent no output within {seconds:g} seconds."
        raise UpstreamError("upstream_timeout", message, end=End.TIMEOUT, status=504) from None


async def _begin(
    answer: Answer, request: UpstreamRequest, operation: Operation, wants_stream: bool, cap: int
) -> Opened:
    _refuse_encoding(answer.headers)
    content_type = _content_type(answer.headers)
    if answer.status != 200:
        await _refuse_status(answer, content_type)
    if content_type == b"text/event-stream":
        if operation.large_events:
            cap = max(cap, LARGE_EVENT_BYTES)
        skip = request.skip_empty_choices
        stream = Stream(operation.dialect, strip_usage=request.strip_usage, skip_empty=skip, cap=cap)
        return Opened(answer, stream, await _first_output(answer, stream))
    if wants_stream and content_type == b"application/json":
        raise await _not_a_stream(answer)
    if wants_stream or content_type in (b"text/html", b"application/xhtml+xml"):
        raise _unexpected(
            "unexpected_content_type", f"The upstream answered {_shown(content_type)}, not what was asked for."
        )
    opened = await _whole(answer)
    if opened.whole and content_type == b"application/json" and not _is_whole_json(opened.first):
        message = "The upstream's answer is no JSON, or was cut off."
        raise UpstreamError("unexpected_answer", message, end=End.UNEXPECTED_ANSWER)
    return opened


async def _not_a_stream(answer: Answer) -> UpstreamError:
    """Return what a plain JSON answer to a call for a stream means: an error in a 200, or that there is no stream."""
    opened = await _whole(answer)
    opened.answer.abort()
    message = "The upstream answered as a whole; this model or operation does not stream."
    return UpstreamError("not_a_stream", message, end=End.UNEXPECTED_ANSWER)


async def _first_output(answer: Answer, stream: Stream) -> bytes:
    """Read until something may leave. An error event in its place becomes an error status."""
    while True:
        data = await answer.read()
        if data is None:
            continue
        first = stream.feed(data) if data else stream.finish(proper=not answer.until_close)
        if stream.failure is not None and stream.failed_first and _is_telling(stream):
            raise error_of_event(stream.failure)
        if first:
            return first
        if stream.overflowed:
            raise event_too_large()
        if not data:
            message = "The upstream ended its answer before any output."
            raise UpstreamError("upstream_lost", message, end=End.UPSTREAM_LOST)


def _is_telling(stream: Stream) -> bool:
    """Whether an error event can become an error status without losing what the client would read in the event."""
    return stream.dialect is Dialect.CHAT or (stream.failure or b"").startswith(b"{")


async def _whole(answer: Answer) -> Opened:
    """Read an answer that is no stream, up to a size beyond which it flows through instead."""
    parts: list[bytes] = []
    size = 0
    ended = False
    while not ended and size <= MAX_WHOLE_BYTES:
        data = await answer.read()
        ended = data == b""
        parts.append(data or b"")
        size += len(data or b"")
    body = b"".join(parts)
    if _ERROR_FIRST.match(body):
        error = _error_of(body)
        if error is not None:
            raise error_of_event(error)
    return Opened(answer, None, body, whole=ended)


def _is_whole_json(body: bytes) -> bool:
    """Whether an object begins and ends here. A body that only the connection's end delimits may lack its own."""
    return body[:64].lstrip()[:1] == b"{" and body[-64:].rstrip()[-1:] == b"}"


def _refuse_encoding(headers: Headers) -> None:
    coding = header(headers, b"content-encoding")
    transfer = header(headers, b"transfer-encoding")
    if coding not in (None, b"identity") or (transfer is not None and transfer.lower() != b"chunked"):
        raise _unexpected("unexpected_encoding", "The upstream compressed its answer although it was asked not to.")


async def _refuse_status(answer: Answer, content_type: bytes) -> None:
    """Turn an answer with a status other than 200 into an error, with the upstream's own words where they help."""
    status = answer.status
    if 300 <= status < 400:
        raise _unexpected("unexpected_redirect", f"The upstream redirects (status {status}), which is not followed.")
    if status < 300:
        raise _unexpected("unexpected_status", f"The upstream answered with status {status}, where only 200 is known.")
    asked = retry_after(answer.headers)
    keep = [(name, value) for name, value in headers_down(answer.headers) if not name.startswith(b"content-")]
    body = await _error_body(answer)
    answer.finish()
    if status in (401, 403):
        raise UpstreamError(
            "upstream_unauthorized" if status == 401 else "upstream_forbidden",
            f"The deployment refused the relay's own credentials (status {status}). {_OPERATORS}",
            end=End.UPSTREAM_STATUS,
            headers=[*(field for field in keep if field[0] != b"x-should-retry"), (b"x-should-retry", b"false")],
        )
    error = _error_of(body) if content_type != b"text/html" else None
    if error is not None and status < 600:
        raise UpstreamError(
            f"upstream_{status}",
            "",
            end=End.UPSTREAM_STATUS,
            status=status,
            headers=keep,
            body=body,
            retry_after=asked,
        )
    passed = status if status in (404, 408, 429, 500, 503) or 400 <= status < 404 else 502
    message = f"The upstream answered with status {status} and no explanation."
    raise UpstreamError(
        f"upstream_{status}", message, end=End.UPSTREAM_STATUS, status=passed, headers=keep, retry_after=asked
    )


async def _error_body(answer: Answer) -> bytes:
    parts: list[bytes] = []
    size = 0
    while size <= MAX_ERROR_BYTES:
        try:
            data = await answer.read()
        except UpstreamError:
            return b""  # the status has arrived and says more than the break
        if data == b"":
            return b"".join(parts)
        parts.append(data or b"")
        size += len(data or b"")
    return b""


class _ErrorBody(msgspec.Struct):
    error: msgspec.Raw = msgspec.Raw()  # `Raw | None` would take null alone


class _Error(msgspec.Struct):
    code: str | int | None = None
    type: str | None = None


def _error_of(body: bytes) -> bytes | None:
    """Return the ``error`` object of a body in OpenAI's shape, or None."""
    try:
        error = msgspec.json.decode(body, type=_ErrorBody).error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    raw = bytes(error)
    return raw if raw.startswith(b"{") else None


def error_of_event(error: bytes) -> UpstreamError:
    """Return the HTTP error that the ``error`` object of an error event before any output stands for."""
    try:
        known = msgspec.json.decode(error, type=_Error)
    except msgspec.DecodeError:
        known = _Error()
    code, kind = str(known.code or ""), known.type or ""
    if code == "429" or "rate_limit" in code + kind or kind == "too_many_requests":
        status = 429
    elif code == "content_filter" or kind == "invalid_request_error" or code.startswith("invalid_"):
        status = 400
    else:
        status = 502
    body = b'{"error":' + error + b"}" if error.startswith(b"{") else None
    message = "The upstream reported an error before any output."
    return UpstreamError(code or "upstream_error", message, end=End.UPSTREAM_ERROR, status=status, body=body)


def _content_type(headers: Headers) -> bytes:
    return (header(headers, b"content-type") or b"").partition(b";")[0].strip().lower()


def _shown(content_type: bytes) -> str:
    known = content_type in (b"text/html", b"application/json", b"text/plain", b"application/octet-stream")
    return content_type.decode() if known else "another content type"


def _unexpected(code: str, message: str) -> UpstreamError:
    return UpstreamError(code, f"{message} {_OPERATORS}", end=End.UNEXPECTED_ANSWER)

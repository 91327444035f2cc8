"""The client's error for an upstream failure: its row of the table, its message, its header fields. Pure."""

import codecs
import re
import zlib

import msgspec

from chukei.azure import headers_down
from chukei.errors import UpstreamError
from chukei.model import End, Headers, header
from chukei.pool import retry_after
from chukei.pool.verdicts import (
    OWN_STATUS,
    ROWS,
    ErrorDetails,
    Fault,
    Row,
    Speaker,
    error_details,
    row_of,
    row_of_status,
)
from chukei.stream.redaction import Redactor
from chukei.upstream.explanation import explanation, plain
from chukei.usage import DECODE_ERRORS, Usage, reported

OPERATORS = "This is for the relay's operator to mend; callers cannot."

_NAME = re.compile(r"[\w.-]{1,64}", re.ASCII)
_NO_RETRY = (b"x-should-retry", b"false")
MAX_ERROR_BYTES = 64 * 1024
"""Bytes of an error body that are read or decompressed; most are a few hundred bytes long."""


def failure(
    kind: str,
    message: str,
    *,
    code: str | None = None,
    status: int | None = None,
    headers: Headers | None = None,
    body: bytes | None = None,
    usage: Usage | None = None,
) -> UpstreamError:
    """Return the error of a row of the table. ``status`` is the upstream's own, if the row passes it on."""
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
    return without_retry(error, row)


def unexpected_type(content_type: bytes) -> UpstreamError:
    """Return the error for an answer of another content type than the operation's."""
    known = content_type in (b"text/html", b"application/json", b"text/plain", b"application/octet-stream")
    shown = content_type.decode() if known else "another content type"
    return failure("unexpected_content_type", f"The upstream answered {shown}, not what was asked for. {OPERATORS}")


def without_retry(error: UpstreamError, row: Row) -> UpstreamError:
    """Tell OpenAI's clients not to retry if the row does not fail over, unless the upstream asks for a retry."""
    if not row.moves and header(error.headers, b"x-should-retry") is None:
        error.headers.append(_NO_RETRY)
    return error


_REFUSALS = frozenset(
    {
        "connect_error",
        "connect_timeout",
        "tls_error",
        "tls_unverified",
        "upstream_identity_unavailable",
        "upstream_unauthorized",
        "upstream_forbidden",
        "operation_denied",
        "content_refused",
        "prompt_refused",
        "state_elsewhere",
        "deployment_not_found",
        "too_early",
        "rate_limited",
        "request_refused",
    }
)
"""The failures after which a deployment has certainly not begun to make a response: nothing was sent, or it refused.
Besides these there is 503. A 408 is none of them: the service gave up, whatever it had begun."""


def is_refusal(error: UpstreamError) -> bool:
    """Whether a background response was certainly not begun, so that another deployment may be asked."""
    if error.end is End.UPSTREAM_ERROR:  # inside a 200, so something has begun
        return False
    return error.kind in _REFUSALS or (error.kind == "server_failed" and error.status == 503)


def without_repeat(error: UpstreamError) -> UpstreamError:
    """Tell OpenAI's clients not to send the request again."""
    error.headers[:] = [field for field in error.headers if field[0] != b"x-should-retry"]
    error.headers.append((b"x-should-retry", b"false"))
    return error


def refusal(status: int, fields: Headers, raw: bytes, redactor: Redactor) -> UpstreamError:
    """Return the error for a status other than 200, with the upstream's own message if that is useful.

    ``raw`` is the body, as far as it arrived.
    """
    content_type = media_type(fields)
    if 300 <= status < 400:
        message = f"The upstream redirects (status {status}), which is not followed. {OPERATORS}"
        return failure("unexpected_redirect", message)
    if status < 300:
        message = f"The upstream answered with status {status}, where only 200 is known. {OPERATORS}"
        return failure("unexpected_status", message)
    # Redact before shortening, which could leave half a credential, and after it, since markup may have split one.
    body, text = explanation(redactor.json(_readable(fields, raw)), content_type)
    body = redactor.json(body) if body is not None else None
    row = row_of_status(status, error_details(body or b""))
    headers = [field for field in headers_down(fields) if not field[0].startswith(b"content-")]
    headers = redactor.fields(headers)
    if row.words is Speaker.OURS:
        headers = [*(field for field in headers if field[0] != b"x-should-retry"), _NO_RETRY]
        message = f"The deployment refused the relay's own credentials (status {status}). {OPERATORS}"
        return failure(
            row.kind,
            message,
            code="upstream_unauthorized" if status == 401 else "upstream_forbidden",
            headers=headers,
        )
    if body is not None:
        given = next((value for name, value in headers_down(fields) if name == b"content-type"), b"")
        headers.insert(0, (b"content-type", given if is_json(content_type) else b"application/json"))
    message = redactor.text(text)
    if body is None and not message:
        message = f"The upstream answered with status {status} and no explanation."
    error = failure(row.kind, message, code=f"upstream_{status}", status=status, headers=headers, body=body)
    error.retry_after = retry_after(fields)
    return error


def _readable(fields: Headers, raw: bytes) -> bytes:
    """Return an error's body, decompressed and in UTF-8; empty if it cannot be decoded.

    The relay does not accept compressed answers, but gateways on the way may still compress their own errors.
    """
    if is_encoded(fields):
        try:  # 32 detects gzip's or zlib's format, whatever the header says; a truncated body yields what arrived
            raw = zlib.decompressobj(32 + zlib.MAX_WBITS).decompress(raw, MAX_ERROR_BYTES)
        except zlib.error:
            return b""
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raw = raw.decode("utf-16", "replace").encode()
    return raw


def error_of_event(error: bytes, redactor: Redactor | None = None) -> UpstreamError:
    """Return the HTTP error for the ``error`` member of a JSON answer, or of an event before any output."""
    redactor = redactor or Redactor([])
    error = redactor.json(error)
    body, message = None, ""
    try:
        if error.startswith(b"{"):
            body = b'{"error":' + error.decode("utf-8", "replace").encode() + b"}"
        elif error.startswith(b'"'):
            message = plain(msgspec.json.decode(error, type=str))
    except DECODE_ERRORS:
        pass
    said = error_details(body or b"")
    status = _status_of(said)
    kind = row_of_status(status, said).kind
    failure = UpstreamError(
        str(said.code) if _NAME.fullmatch(said.name) else "upstream_error",
        message or "The upstream reported an error before any output.",
        end=End.UPSTREAM_ERROR,
        status=ROWS[kind].status or status,
        body=body,
        kind=kind,
    )
    return without_retry(failure, row_of(failure))


def _status_of(said: ErrorDetails) -> int:
    """Return the status for an error inside a 200: by a number in it, else by its code or type."""
    for number in (said.name, str(said.status)):
        if number.isascii() and number.isdigit() and len(number) == 3 and 400 <= int(number) < 600:
            return int(number)
    names = [_PUNCTUATION.sub("", str(name).lower()[:_LONGEST_NAME]) for name in (said.code, said.type)]
    return next((status for status, known in _STATUS_OF_NAME if any(map(known.fullmatch, names))), 502)


_PUNCTUATION = re.compile(r"[\W_]+")
_LONGEST_NAME = 64
# Code or type, in lower case without punctuation: OpenAI's `rate_limit_exceeded` is `RateLimitReached` on Azure. Names
# of rate limits come first, because the type in such errors is less specific. OpenAI's names are from "Error codes" in
# its guide and from `ResponseError.code`, each with the status that it has outside a stream.
_STATUS_OF_NAME = tuple(
    (status, re.compile(names))
    for status, names in (
        (429, r".*ratelimit.*|toomanyrequests|insufficientquota|quotaexceeded|throttled"),
        (400, r"invalid.*|contentfilter|.*contentpolicyviolation|responsibleaipolicyviolation|badrequest"),
        (400, r"contextlengthexceeded|stringabovemaxlength|unsupported(parameter|value|imagemediatype)"),
        (400, r"image(toolarge|toosmall|parseerror|filetoolarge|filenotfound)|emptyimagefile|failedtodownloadimage"),
        (503, r"serviceunavailable|slowdown|.*overloaded(error)?"),
        (500, r"(internal)?servererror"),
    )
)


# Bodies and types.

_BOM = b"\xef\xbb\xbf"
_WHITE = b" \t\r\n"  # of JSON (RFC 8259 §2)


def unpadded(body: bytes) -> bytes:
    """Return a body without a byte order mark and leading white space."""
    return body if body[:1] == b"{" else body.removeprefix(_BOM).lstrip(_WHITE)


def is_whole_object(body: bytes) -> bool:
    """Whether a body is a complete JSON object. One that is delimited by the connection's end may be truncated."""
    return unpadded(body)[:1] == b"{" and (body[-1:] == b"}" or body.rstrip(_WHITE)[-1:] == b"}")


def is_whole_text(body: bytes) -> bool:
    """Whether a body is one JSON string."""
    text = unpadded(body).rstrip(_WHITE)
    return len(text) > 1 and text[:1] == b'"' == text[-1:]


class WholeAnswer(msgspec.Struct):
    """The members of a JSON answer that tell an error from a proper answer."""

    error: msgspec.Raw = msgspec.Raw()  # `Raw | None` would accept only null
    usage: msgspec.Raw = msgspec.Raw()
    object: msgspec.Raw = msgspec.Raw()
    choices: msgspec.Raw = msgspec.Raw()
    data: msgspec.Raw = msgspec.Raw()
    output: msgspec.Raw = msgspec.Raw()
    text: msgspec.Raw = msgspec.Raw()

    @property
    def failure(self) -> bytes | None:
        """The error, an object or a string, if no member of a proper answer is beside it."""
        error = bytes(self.error)
        answers = (self.object, self.choices, self.data, self.output, self.text)
        if any(bytes(part) not in (b"", b"null") for part in answers):
            return None  # a failed response contains its error
        return error if error[:1] == b"{" or (error[:1] == b'"' and error != b'""') else None

    @property
    def reported_usage(self) -> Usage | None:
        """The reported usage."""
        return reported(self.usage)


def read_whole(body: bytes) -> WholeAnswer:
    """Decode a JSON answer; all members are empty if it cannot be decoded."""
    try:
        return msgspec.json.decode(unpadded(body), type=WholeAnswer)
    except DECODE_ERRORS:
        return WholeAnswer()


def media_type(headers: Headers) -> bytes:
    """Return the content type of an answer in lower case, without parameters; the first if there are several."""
    first = (header(headers, b"content-type") or b"").partition(b";")[0]
    return first.partition(b",")[0].strip().lower()


def is_json(content_type: bytes) -> bool:
    """Whether a content type means JSON."""
    return content_type in (b"application/json", b"text/json") or content_type.endswith(b"+json")


def is_encoded(headers: Headers) -> bool:
    """Whether an answer is compressed, although the relay does not accept that."""
    coding = header(headers, b"content-encoding")
    transfer = header(headers, b"transfer-encoding")
    return coding not in (None, b"identity") or (transfer is not None and transfer.lower() != b"chunked")

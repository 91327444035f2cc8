"""Checks of a request's head before anything acts on it. Pure.

A request that two parsers could read differently is refused, even if the server in front accepted it: no relay can
know how the next parser reads it (RFC 9112 §11.2, request smuggling).
"""

import re

from chukei.errors import CallerError
from chukei.ids import new_id
from chukei.model import Headers

MAX_FIELDS = 128
"""nginx and Apache stop at about a hundred; browsers and SDKs send fewer than thirty."""

# Fields that must not be repeated: it would be ambiguous which value counts.
_SINGLE = frozenset(
    {
        b"host",
        b"content-length",
        b"transfer-encoding",
        b"content-type",
        b"authorization",
        b"api-key",
        b"x-api-key",
        b"origin",
        b"x-request-id",
    }
)
_NAME = rb"[!#$%&'*+.^_`|~0-9a-z-]+"
_NAMES = re.compile(b"(?:%b(?::%b)*)?" % (_NAME, _NAME))
_BAD_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_HOST = re.compile(rb"(?:[a-z0-9._~-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?", re.IGNORECASE)
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}")


def check_head(http_version: str, headers: Headers, *, max_bytes: int, allowed_hosts: tuple[str, ...]) -> None:
    """Refuse an ambiguous or oversized head.

    Raises:
        CallerError: 400 for an ambiguous or malformed head, 421 for a Host that is not served, 431 for a large head.
    """
    # Join all names and all values first: starting a regular expression costs more than matching a longer text.
    names, values = b":".join([name for name, _ in headers]), b"".join([value for _, value in headers])
    if len(headers) > MAX_FIELDS or len(names) + len(values) - len(headers) + 1 > max_bytes:
        raise CallerError(
            431, "headers_too_large", f"The request's headers exceed {MAX_FIELDS} fields or {max_bytes} bytes."
        )
    seen = dict(headers)
    if not _NAMES.fullmatch(names) or names.count(b":") != max(len(headers) - 1, 0) or _BAD_VALUE.search(values):
        raise _bad("A header has characters that HTTP does not allow.")
    if len(seen) < len(headers):
        _check_single([name for name, _ in headers])
    _check_length(http_version, seen)
    _check_host(http_version, seen, allowed_hosts)


def _check_single(names: list[bytes]) -> None:
    for name in _SINGLE:
        if names.count(name) > 1:
            raise _bad(f"The header '{name.decode()}' appears more than once.")


def _check_length(http_version: str, seen: dict[bytes, bytes]) -> None:
    length, coding = seen.get(b"content-length"), seen.get(b"transfer-encoding")
    if length is not None and not (length.isdigit() and len(length) < 16):
        raise _bad("'Content-Length' must be a number of bytes.")
    if coding is None:
        return
    if length is not None:
        raise _bad("'Content-Length' and 'Transfer-Encoding' must not both be present.")
    if coding.lower() != b"chunked" or http_version == "1.0":
        raise _bad("'Transfer-Encoding' may only be 'chunked', and only in HTTP/1.1.")


def _check_host(http_version: str, seen: dict[bytes, bytes], allowed_hosts: tuple[str, ...]) -> None:
    host = seen.get(b"host")
    if host is None:
        if http_version == "1.1":
            raise _bad("The header 'Host' is missing.")
        return
    if not _HOST.fullmatch(host):
        raise _bad("The header 'Host' is not a host name.")
    if allowed_hosts:
        name = host.decode().lower()
        bare = name if name.endswith("]") else name.rpartition(":")[0] or name
        if name not in allowed_hosts and bare not in allowed_hosts:
            raise CallerError(421, "unknown_host", "This relay does not serve the host name that was asked for.")


def request_id(headers: Headers) -> str:
    """Return the client's request id if it sent a valid one, else a new one."""
    for name, value in headers:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            return value.decode()
    return "req_" + new_id()


def _bad(message: str) -> CallerError:
    # The bytes after an ambiguous request may belong to it, so the connection is closed (RFC 9112 §6.3).
    return CallerError(400, "ambiguous_request", message, headers=[(b"connection", b"close")])

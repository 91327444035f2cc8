"""Parses requests with llhttp (through httptools), and refuses requests that no HTTP/1.1 client sends."""

from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from chukei.errors import CallerError
from chukei.model import Headers

FREE_PARTS = 4096
"""Number of a body's parts that may have any size."""

SMALLEST_PART = 64
"""Average bytes that further parts must have: parsing a part takes as long as a thousand bytes."""


_FRAMING = (b"content-length", b"transfer-encoding")


class Head(NamedTuple):
    """A request's head. ``expects`` says that the client waits for ``100 Continue``, ``upgrades`` that it asks for a
    WebSocket."""

    method: str
    path: str
    query: str
    version: str
    headers: Headers
    keep_alive: bool
    expects: bool
    upgrades: bool


class Receiver(Protocol):
    """The receiver of parsed requests."""

    def begin(self, head: Head) -> None:
        """Begin a request with its head."""
        ...

    def take(self, data: bytes) -> None:
        """Add a part of the request's body."""
        ...

    def end(self) -> None:
        """End the request: it is complete."""
        ...

    def hold(self, data: bytes) -> None:
        """Keep the data after a WebSocket's handshake, whose answer decides on the protocol."""
        ...

    def refuse(self, error: CallerError) -> None:
        """Refuse a malformed request. Data after it is not parsed."""
        ...


class RequestParser:
    """Parses one connection. ``in_head`` says that a head is expected or arriving, ``head_bytes`` its size so far."""

    def __init__(self, receiver: Receiver, max_header_bytes: int) -> None:
        self._receiver = receiver
        self._max_header_bytes = max_header_bytes
        self._parser = _parser_for(self)
        self._url = b""
        self._headers: Headers = []
        self._refused = False
        self._resuming = False
        self._handshake = False
        self._part_count = self._part_bytes = 0  # of this body
        self.in_head = True
        self.head_bytes = 0  # since the head, or the last part of a body, began: chunk framing counts as well

    @property
    def amid_head(self) -> bool:
        """Whether a head has begun and is not complete."""
        return self.in_head and self.head_bytes > 0

    def feed(self, data: bytes) -> None:
        """Parse one read."""
        if self._refused:
            return
        self.head_bytes += len(data)
        self._parse(data)
        if self.head_bytes > self._max_header_bytes and not self._refused:
            self._refuse_size()

    def close(self) -> None:
        """Release the parser and the receiver, to break reference cycles."""
        self._refused = True
        self._parser = None
        del self._receiver

    def _refuse_size(self) -> None:
        limit = self._max_header_bytes
        self._refuse(CallerError(431, "headers_too_large", f"The request's headers exceed {limit} bytes."))

    def _refuse(self, error: CallerError) -> None:
        self._refused = True
        self._receiver.refuse(error)

    def _parse(self, data: bytes) -> None:
        rest: bytes | memoryview = data
        while rest and not self._refused:
            try:
                self._parser.feed_data(rest)
                return
            except HttpParserUpgrade as upgrade:
                rest = memoryview(rest)[upgrade.args[0] :]
                if not self._refused:
                    self._ignore_upgrade()
                    if self._handshake:
                        self._receiver.hold(bytes(rest))
                        rest = b""
            except HttpParserError:
                if not self._refused:
                    self._refuse(CallerError(400, "invalid_http", "The request is not valid HTTP/1.1."))

    def _ignore_upgrade(self) -> None:
        """Ignore an Upgrade field and continue with HTTP/1.1, as a server may (RFC 9110 §7.8).

        A WebSocket's handshake is a whole request as well, and may be refused. Java's HttpClient sends the field with
        every first request, and the parser stops before the body. A new parser is brought to the same state.
        """
        self._parser = _parser_for(self)
        fields = [name + b": " + value + b"\r\n" for name, value in self._headers if name in _FRAMING]
        self._resuming = True
        self._parser.feed_data(b"POST / HTTP/1.1\r\n" + b"".join(fields) + b"\r\n")
        self._resuming = False

    # What llhttp calls.

    def on_message_begin(self) -> None:
        """Reset the state of the last request."""
        if not self._resuming:
            self._url = b""
            self._headers = []
            self._part_count = self._part_bytes = 0
            self.head_bytes = self.head_bytes or 1  # it may begin in the read that the last request ended in

    def on_url(self, url: bytes) -> None:
        """Add a part of the target."""
        if not self._resuming:
            self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Store a field without the white space around it. Trailers are not added to the head."""
        if self._resuming or self._refused:
            return
        if self.in_head:
            self._headers.append((name.lower(), value.strip(b" \t")))
        else:
            self._refuse(CallerError(400, "ambiguous_request", "Fields behind a chunked body are not accepted."))

    def on_headers_complete(self) -> None:
        """Check the head, then begin the request."""
        if self._resuming:
            return
        self.in_head = False
        if self._refused:
            return
        if len(self._url) > self._max_header_bytes:  # which one read may bring with its request's end
            self._refuse_size()
            return
        version = self._parser.get_http_version()
        codings, expects = [], False
        for name, value in self._headers:
            if name == b"transfer-encoding":
                codings.append(value.lower())
            elif name == b"expect":
                expects = expects or b"100-continue" in value.lower()
        if codings not in ([], [b"chunked"]):  # RFC 9112 §6.1; behind an upgrade it would go unnoticed
            message = "The relay knows no transfer coding but 'chunked', once."
            self._refuse(CallerError(400, "invalid_http", message))
            return
        fault = self._fault_of_the_request_line(version)
        if fault is not None:
            self._refuse(CallerError(400, "ambiguous_request", fault))
            return
        path, query = self._target()
        method = self._parser.get_method().decode("ascii")
        recent = version != "1.0"
        keep_alive = recent and self._parser.should_keep_alive()
        self._handshake = (
            method == "GET" and version == "1.1" and self._parser.should_upgrade() and self._asks_for_socket()
        )
        head = Head(method, path, query, version, self._headers, keep_alive, expects and recent, self._handshake)
        self._receiver.begin(head)

    def on_body(self, body: bytes) -> None:
        """Pass on a part of the body. Data after a refused head is dropped."""
        self.head_bytes = 0
        if self._refused:
            return
        self._part_count += 1
        self._part_bytes += len(body)
        if self._part_count > FREE_PARTS and self._part_count * SMALLEST_PART > self._part_bytes:
            message = f"The body's chunks are smaller than {SMALLEST_PART} bytes on average; send larger ones."
            self._refuse(CallerError(400, "invalid_http", message))
            return
        self._receiver.take(body)

    def on_message_complete(self) -> None:
        """End the request and expect the next head, except after an Upgrade, where the parser stops early."""
        if self._parser.should_upgrade():
            return
        self.in_head = True
        self.head_bytes = 0
        if not self._refused:
            self._receiver.end()

    def _asks_for_socket(self) -> bool:
        """Whether the fields ask for a WebSocket and announce no body."""
        body = any(name in _FRAMING and value != b"0" for name, value in self._headers)
        upgrades = [value.lower() for name, value in self._headers if name == b"upgrade"]
        return upgrades == [b"websocket"] and not body

    # The request line.

    def _target(self) -> tuple[str, str]:
        """Return path and query, without the scheme and authority of an absolute target (RFC 9112 §3.2.2)."""
        target = self._url.decode("latin-1")
        if not target.startswith("/"):
            whole = urlsplit(target)
            return whole.path or "/", whole.query
        path, _, query = target.partition("?")
        return path, query

    def _fault_of_the_request_line(self, version: str) -> str | None:
        """Return the mistake in the version or the target: RFC 9112 §2.3, §3.2 and, for two hosts, §3.2.2."""
        if version not in ("1.0", "1.1"):
            return "The version of HTTP must be 1.1 or 1.0."
        if b"#" in self._url:
            return "The request's target must not hold a fragment."
        if not self._url.startswith(b"/") and not self._same_host():
            return "The request's target and its Host header differ."
        return None

    def _same_host(self) -> bool:
        if self._url == b"*":
            return True
        try:
            target = urlsplit(self._url.decode("ascii"))
        except ValueError:
            return False
        hosts = [value for name, value in self._headers if name == b"host"]
        return target.scheme in ("http", "https") and hosts == [target.netloc.encode()]


_SMALL_READ = 4096
"""Size in bytes of a read that is too small for many requests."""

_HEAD_END = b"\r\n\r\n"


def end_of_heads(data: bytes, most: int) -> int:
    """Return an upper bound for the end of the first ``most`` heads, counted by empty lines; or the end of the data."""
    end = 0
    if len(data) > _SMALL_READ:
        for _ in range(most):
            found = data.find(_HEAD_END, end)
            if found < 0:
                return len(data)
            end = found + len(_HEAD_END)
        return end
    return len(data)


def _parser_for(listener: RequestParser) -> Any:
    """Return a parser that also reads data after a request with ``connection: close``, so that it can be refused."""
    parser = HttpRequestParser(listener)
    parser.set_dangerous_leniencies(lenient_data_after_close=True)
    return parser

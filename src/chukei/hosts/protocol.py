"""The server's HTTP side, made strict: bounded heads, bounded waiting, errors that OpenAI's clients can read.

uvicorn with httptools accepts megabytes of headers, waits for ever for the rest of them, and answers what it cannot
parse in plain text. This protocol keeps its speed and adds what it lacks.
"""

import asyncio
import logging
import socket
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from chukei.errors import CallerError
from chukei.hosts.asgi import ABORT, SEND_NOW, Application
from chukei.intake import request_id as request_id_of

logger = logging.getLogger(__name__)


UNSENT_BYTES = 64 * 1024
"""How much the kernel may take for a client before it is sent; left alone it takes 4 MB for one that does not read."""

_NOTSENT_LOWAT: int | None = getattr(socket, "TCP_NOTSENT_LOWAT", None)  # Linux and macOS have it


LINGER_SECONDS = 2.0
"""How long the rest of a request that was answered early is read. Closing at once would send a reset, which can destroy
the answer on its way (RFC 9112 §9.6)."""


class CloseDelimitedCycle(RequestResponseCycle):
    """An answer in HTTP/1.0, which knows no chunks: one without a length ends with its connection (RFC 9112 §6.3)."""

    _measured = False

    async def send(self, message: Any) -> None:
        """Send without chunks, and promise uvicorn as many bytes as there are."""
        if message["type"] == "http.response.start":
            self._measured = any(name == b"content-length" for name, _ in message["headers"])
            self.chunked_encoding = None if self._measured else False
        elif not self._measured:
            self.expected_content_length = len(message.get("body", b""))
        await super().send(message)


def _send_now(cycle: RequestResponseCycle, data: bytes) -> bool:
    """Write one chunk of an answer that has begun, if its client keeps up; the same as uvicorn's ``send`` would."""
    if not cycle.chunked_encoding or cycle.flow.write_paused or cycle.disconnected or cycle.response_complete:
        return False
    cycle.transport.write(b"%x\r\n%b\r\n" % (len(data), data))
    return True


class StrictProtocol(HttpToolsProtocol):
    """One client connection."""

    _head_timer: asyncio.TimerHandle | None = None
    _head_bytes = 0  # since the head, or the last part of a body, began: chunk framing counts as well
    _in_head = True
    _refused = False
    _resuming = False

    @property
    def _application(self) -> Application:
        application = self.app
        assert isinstance(application, Application)
        return application

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Give the first request's head its time, and every later write to the client its own packet.

        asyncio leaves Nagle's algorithm on for sockets that were accepted from uvicorn's listener (it was made without
        naming TCP), which holds tokens back for the 40 ms of the client's delayed acknowledgement.
        """
        super().connection_made(transport)
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if _NOTSENT_LOWAT is not None:
            connection.setsockopt(socket.IPPROTO_TCP, _NOTSENT_LOWAT, UNSENT_BYTES)
        self.settings = self._application.settings.server
        self.timeout_keep_alive: float = self.settings.keepalive_seconds  # type: ignore[assignment]
        self._await_head()

    def eof_received(self) -> None:
        """Take a half-close for leaving, at once: a mere close would first wait for a client that may not read."""
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and not cycle.response_complete:
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timer."""
        self._head_done()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what is not body, and give a later request's head its time too."""
        if self._refused:
            return
        self._unset_keepalive_if_required()
        self._head_bytes += len(data)
        if self._in_head and self._head_timer is None:
            self._await_head()
        self._parse(data)
        if self._head_bytes > self.settings.max_header_bytes and not self._refused:
            limit = self.settings.max_header_bytes
            self._refuse(CallerError(431, "headers_too_large", f"The request's headers exceed {limit} bytes."))

    def _parse(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except HttpParserUpgrade as upgrade:
            self._ignore_upgrade(data[upgrade.args[0] :])
        except HttpParserError:
            self.send_400_response("")

    def _ignore_upgrade(self, rest: bytes) -> None:
        """Read on in HTTP/1.1 after an offer to upgrade, as a server may (RFC 9110 §7.8).

        Java's HttpClient makes the offer with every first request, and the parser stops there, in front of the body.
        A new one is led to the same place.
        """
        self.parser = HttpRequestParser(self)
        framing = (b"content-length", b"transfer-encoding")
        fields = [name + b": " + value + b"\r\n" for name, value in self.headers if name in framing]
        self._resuming = True
        self._parse(b"POST / HTTP/1.1\r\n" + b"".join(fields) + b"\r\n")
        self._resuming = False
        if rest and not self._refused:
            self._parse(rest)

    def on_message_begin(self) -> None:
        """Let the application cut the connection."""
        if self._resuming:
            return
        super().on_message_begin()
        self.scope["extensions"] = {ABORT: {"abort": self._abort}}

    def on_url(self, url: bytes) -> None:
        """Take the target."""
        if not self._resuming:
            super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a field without the white space around it. One behind the body must not pass for one of the head."""
        if self._resuming or self._refused:
            return
        if self._in_head:
            super().on_header(name, value.strip(b" \t"))
        else:
            self._refuse(CallerError(400, "ambiguous_request", "Fields behind a chunked body are not accepted."))

    def on_headers_complete(self) -> None:
        """Refuse what no HTTP/1.1 client sends, then start the request."""
        if self._resuming:
            return
        self._head_done()
        if self._refused:
            return
        fault = self._fault_of_the_request_line()
        if fault is not None:
            self._refuse(CallerError(400, "ambiguous_request", fault))
            return
        super().on_headers_complete()
        if self.parser.get_http_version() == "1.0":
            self.cycle.__class__ = CloseDelimitedCycle
        self.scope["extensions"][SEND_NOW] = {"send": partial(_send_now, self.cycle)}
        if self._application.draining:
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """Drop what follows a refused head."""
        self._head_bytes = 0
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Expect the next head, unless the parser only believes that the rest is another protocol."""
        if self.parser.should_upgrade():
            return
        self._head_done()
        self._in_head = True
        self._head_bytes = 0
        if not self._refused:
            super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what cannot be parsed; in the middle of another answer only cutting is left."""
        self._refuse(CallerError(400, "invalid_http", "The request is not valid HTTP/1.1."))

    def on_response_complete(self) -> None:
        """Give a client as long to read the rest of its last answer as it has for its next request.

        Where the answer came before the end of the request's body, there is a moment for the rest of that.
        """
        super().on_response_complete()
        if self.transport.is_closing():
            if self.transport.get_write_buffer_size():
                self.loop.call_later(self.timeout_keep_alive, self.transport.abort)
        elif not self._in_head and self.cycle.response_complete:
            self._head_done()
            self._head_timer = self.loop.call_later(LINGER_SECONDS, self.transport.close)

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection, without waiting for a client that has not read its answer."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            super().timeout_keep_alive_handler()

    def shutdown(self) -> None:
        """Let the application drain: uvicorn calls this on each connection when it has been told to stop.

        While answers are running elsewhere an idle connection stays open, so that a request which is on its way is
        told to go elsewhere and does not meet a closed door.
        """
        self._application.drain()
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is None or cycle.response_complete:
            self._application.when_drained(super().shutdown)
        else:
            super().shutdown()

    def _fault_of_the_request_line(self) -> str | None:
        """Say what is wrong with the version or the target: RFC 9112 §2.3, §3.2 and, for two hosts, §3.2.2."""
        if self.parser.get_http_version() not in ("1.0", "1.1"):
            return "The version of HTTP must be 1.1 or 1.0."
        if b"#" in self.url:
            return "The request's target must not hold a fragment."
        if not self.url.startswith(b"/") and not self._same_host():
            return "The request's target and its Host header differ."
        return None

    def _same_host(self) -> bool:
        if self.url == b"*":
            return True
        try:
            target = urlsplit(self.url.decode("ascii"))
        except ValueError:
            return False
        hosts = [value for name, value in self.headers if name == b"host"]
        return target.scheme in ("http", "https") and hosts == [target.netloc.encode()]

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(self.settings.header_seconds, self._head_overdue)

    def _head_done(self) -> None:
        self._in_head = False
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_overdue(self) -> None:
        self._head_timer = None
        seconds = self.settings.header_seconds
        if self._head_bytes:
            text = f"The request's headers did not arrive within {seconds:g} seconds."
            self._refuse(CallerError(408, "request_timeout", text))
        else:
            self.transport.close()

    def _refuse(self, error: CallerError) -> None:
        """Answer and close. Where an earlier request's answer is still due, this one would be taken for it: cut."""
        self._refused = True
        if self._head_timer is not None:  # else the rest of this head would be found missing later
            self._head_timer.cancel()
        request_id = request_id_of([])
        logger.info("refused", extra={"fields": {"request_id": request_id, "status": error.status, "code": error.code}})
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and not cycle.response_complete and (cycle.response_started or not cycle.more_body):
            self.transport.abort()
            return
        body = error.body
        lines = [
            b"content-type: application/json",
            b"content-length: %d" % len(body),
            b"connection: close",
            b"x-request-id: " + request_id.encode(),
            b"",
            body,
        ]
        self.transport.write(STATUS_LINE[error.status] + b"\r\n".join(lines))
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._head_timer = self.loop.call_later(LINGER_SECONDS, self.transport.close)

    def _abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()

"""A small HTTP/1.1 server that controls every byte it sends.

One ``Connection`` per client, on asyncio's protocols and httptools' parser. A general server would tidy up what the
simulator is for: cut bodies, resets, broken framing, one write per byte.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import deque
from typing import Protocol, cast
from urllib.parse import parse_qsl, unquote_plus

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser, parse_url

from chukei.simulator.errors import ApiError, model_error
from chukei.simulator.exchanges import Exchange
from chukei.simulator.heads import Head
from chukei.simulator.sender import Sender, phrase
from chukei.simulator.settings import SimulatorSettings
from chukei.simulator.steps import Reply

MAX_HEAD_BYTES = 64 * 1024  # as much as nginx's large_client_header_buffers take, twice over
MAX_PIPELINED = 16
HIGH_WATER_BYTES = 32 * 1024  # small, so that a slow client is felt early

_log = logging.getLogger(__name__)


class Answering(Protocol):
    """Who answers the requests that come on connections; see ``Simulator``."""

    settings: SimulatorSettings

    def connected(self, connection: Connection) -> None:
        """Note a new connection."""

    def disconnected(self, connection: Connection) -> None:
        """Note the end of a connection."""

    def answer(self, head: Head, body: bytes) -> tuple[Exchange, Reply]:
        """Answer one request; ``finished`` is called when the reply has been sent, or not."""
        ...

    def finished(self) -> None:
        """Note the end of an answer."""


class Connection(asyncio.Protocol):
    """One client's connection: reads requests, sends their answers one after another."""

    def __init__(self, simulator: Answering) -> None:
        self._simulator = simulator
        self._parser = HttpRequestParser(self)
        self._requests: deque[tuple[Head, bytes] | ApiError] = deque()
        self._task: asyncio.Task[None] | None = None
        self._stopped = False
        self._lost = False
        self._writable = asyncio.Event()
        self._writable.set()
        self._refused = False
        self._begin()

    def _begin(self) -> None:
        self._in_body = False
        self._head_bytes = 0
        self._target = b""
        self._headers: dict[str, str] = {}
        self._body = bytearray()

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take over a new connection."""
        # A cast, for uvloop's transports are no subclasses of asyncio's.
        transport = cast(asyncio.Transport, transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=HIGH_WATER_BYTES)
        sock: socket.socket | None = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            size = self._simulator.settings.send_buffer_bytes
            if size is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)
        self._simulator.connected(self)

    def data_received(self, data: bytes) -> None:
        """Parse what came; answer 400 and close where that is not possible."""
        if self._refused:
            return
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            self._refused = True  # the request is answered; what follows in another protocol is not read
        except HttpParserError as error:
            cause = error.__context__
            self._refuse(cause if isinstance(cause, ApiError) else model_error(400, "This is no HTTP/1.1 request."))
        if not self._in_body:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES and not self._refused:
                self._refuse(_too_much_head())

    def eof_received(self) -> bool:
        """Take a half-close for a departure: nobody who wants an answer does that to an HTTP server."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop answering at once: the client has gone."""
        self._lost = True
        self._writable.set()
        if self._task is not None:
            self._task.cancel()
        self._simulator.disconnected(self)

    def pause_writing(self) -> None:
        """Wait: the client reads too slowly."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Go on: the client has caught up."""
        self._writable.set()

    def abort(self) -> None:
        """End the connection because the simulator stops."""
        self._stopped = True
        self._transport.abort()

    # What the parser calls.

    def on_url(self, url: bytes) -> None:
        """Collect the request's target."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect a header."""
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        self._headers[key] = f"{self._headers[key]}, {text}" if key in self._headers else text

    def on_headers_complete(self) -> None:
        """Let the client send its body, if it waits to be told."""
        self._in_body = True
        if sum(len(name) + len(value) for name, value in self._headers.items()) > MAX_HEAD_BYTES:
            raise _too_much_head()
        if self._headers.get("expect", "").lower() == "100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, data: bytes) -> None:
        """Collect a piece of the body."""
        self._body += data
        if len(self._body) > self._simulator.settings.max_body_bytes:
            raise model_error(413, "The request's body is too large.")

    def on_message_complete(self) -> None:
        """Queue the request."""
        url = parse_url(self._target)
        query = (url.query or b"").decode("latin-1")
        head = Head(
            method=self._parser.get_method().decode("ascii"),
            path=(url.path or b"/").decode("latin-1"),
            query={name: unquote_plus(value) for name, value in parse_qsl(query, keep_blank_values=True)},
            http_1_1=self._parser.get_http_version() == "1.1",
            keep_alive=self._parser.should_keep_alive(),
            headers=self._headers,
        )
        self._queue((head, bytes(self._body)))
        self._begin()
        if len(self._requests) > MAX_PIPELINED:
            self._refused = True
            self._transport.abort()

    def _refuse(self, error: ApiError) -> None:
        self._refused = True
        self._queue(error)

    def _queue(self, request: tuple[Head, bytes] | ApiError) -> None:
        self._requests.append(request)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._serve())

    # Answering.

    async def _serve(self) -> None:
        try:
            while self._requests:
                request = self._requests.popleft()
                if isinstance(request, ApiError):
                    await self._send_refusal(request)
                    return
                head, body = request
                if not await self._answer(head, body):
                    return
        except asyncio.CancelledError:
            if not self._lost:
                raise
        finally:
            self._task = None

    async def _send_refusal(self, error: ApiError) -> None:
        self._transport.write(
            b"HTTP/1.1 %d %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n"
            b"x-chukei-simulator: true\r\n\r\n%s" % (error.status, phrase(error.status), len(error.body), error.body)
        )
        self._transport.close()

    async def _answer(self, head: Head, body: bytes) -> bool:
        """Send the answer to one request; return whether the connection can take another."""
        exchange, reply = self._simulator.answer(head, body)
        sender = Sender(self._transport, self._writable, exchange, self._simulator.settings.record_sent)
        whole = False
        try:
            whole = await sender.send(reply, head)
            exchange.settle(reply.ending if whole else "fault")
        except asyncio.CancelledError:
            exchange.settle("stopped" if self._stopped else "client_left")
            raise
        except Exception:  # noqa: BLE001 - whatever it is, one answer's failure must not end the server
            _log.exception("the simulator failed in the middle of an answer")
            self._transport.abort()
            exchange.settle("fault")
        finally:
            self._simulator.finished()
        if whole and not head.keep_alive:
            self._transport.close()
        return whole and head.keep_alive


def _too_much_head() -> ApiError:
    return model_error(431, "The request's headers are too large.")

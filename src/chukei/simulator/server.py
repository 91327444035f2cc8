"""A small HTTP/1.1 server that controls every byte it sends.

Each client has a ``Connection``, based on asyncio's protocols and httptools' parser. Each reply has a ``Sender``. A
general server would prevent its faults: cut bodies, resets, broken framing, one write for each byte.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import deque
from typing import Protocol, cast
from urllib.parse import parse_qsl, unquote_plus

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser, parse_url

from chukei.simulator.azure import ApiError, model_error
from chukei.simulator.exchanges import Exchange, Head, Reply, Socket, Talk, reason_phrase
from chukei.simulator.sending import Sender
from chukei.simulator.settings import SimulatorSettings

MAX_HEAD_BYTES = 64 * 1024  # as much as nginx's large_client_header_buffers take, twice over
MAX_PIPELINED = 16
HIGH_WATER_BYTES = 32 * 1024  # small, so that a slow client is felt early

_log = logging.getLogger(__name__)


class _Answering(Protocol):
    """Answers the requests of connections, and is notified of their ends; see ``Simulator``."""

    settings: SimulatorSettings

    def connected(self, connection: Connection) -> None: ...
    def disconnected(self, connection: Connection) -> None: ...
    def answer(self, head: Head, body: bytes) -> tuple[Exchange, Reply]: ...
    def finished(self) -> None: ...


class Connection(asyncio.Protocol):
    """A client's connection. It reads requests and sends their answers in order."""

    def __init__(self, simulator: _Answering) -> None:
        self._simulator = simulator
        self._parser = HttpRequestParser(self)
        self._requests: deque[tuple[Head, bytes] | ApiError] = deque()
        self._task: asyncio.Task[None] | None = None
        self._stopped = False
        self._lost = False
        self._writable = asyncio.Event()
        self._writable.set()
        self._refused = False
        self._socket: Socket | None = None
        self._early = b""  # what the client sent on its WebSocket before the handshake was answered
        self._fed = 0
        self._begin()

    def _begin(self) -> None:
        self._in_body = False
        self._head_bytes = -self._fed  # what ends a body is no part of the next head
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
        """Parse received bytes; if they are not HTTP, answer 400 and close."""
        if self._socket is not None:
            self._socket.feed(data)
            return
        if self._refused:
            self._early += data[: max(MAX_HEAD_BYTES - len(self._early), 0)]
            return
        self._fed = len(data)
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade as upgrade:
            self._refused = True  # the request is answered; what follows is another protocol
            self._early = data[upgrade.args[0] :]
        except HttpParserError as error:
            cause = error.__context__
            self._refuse(cause if isinstance(cause, ApiError) else model_error(400, "This is no HTTP/1.1 request."))
        if not self._in_body:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES and not self._refused:
                self._refuse(_too_much_head())

    def eof_received(self) -> bool:
        """Treat a half-close as a disconnect: HTTP clients that want an answer do not half-close."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop answering: the client has disconnected."""
        self._lost = True
        self._writable.set()
        if self._socket is not None:
            self._socket.lost("stopped" if self._stopped else "client_left")
        if self._task is not None:
            self._task.cancel()
        self._simulator.disconnected(self)

    def pause_writing(self) -> None:
        """Pause: the client reads too slowly."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Continue: the client has caught up."""
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
        """Check the size of the headers, and send 100 Continue if the client expects it."""
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
        head.keep_alive = head.keep_alive and not head.wants_socket  # the parser reads no request after an upgrade
        self._queue((head, bytes(self._body)))
        self._begin()
        if len(self._requests) > MAX_PIPELINED:
            self._refused = True
            self._transport.abort()

    def _refuse(self, error: ApiError) -> None:
        self._refused = True
        self._queue(error)

    # Answering.

    def _queue(self, request: tuple[Head, bytes] | ApiError) -> None:
        self._requests.append(request)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._serve())

    async def _serve(self) -> None:
        try:
            going_on = True
            while self._requests and going_on:
                request = self._requests.popleft()
                going_on = (
                    self._send_refusal(request) if isinstance(request, ApiError) else await self._answer(*request)
                )
        except asyncio.CancelledError:
            if not self._lost:
                raise
        finally:
            self._task = None

    def _send_refusal(self, error: ApiError) -> bool:
        self._transport.write(
            b"HTTP/1.1 %d %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n"
            b"x-chukei-simulator: true\r\n\r\n%s"
            % (error.status, reason_phrase(error.status), len(error.body), error.body)
        )
        self._transport.close()
        return False

    async def _answer(self, head: Head, body: bytes) -> bool:
        """Send the answer to one request; return whether the connection can be reused."""
        exchange, reply = self._simulator.answer(head, body)
        if reply.talk is not None:
            self._simulator.finished()
            await self._talk(head, reply.talk(self._transport, self._writable, exchange), reply)
            return False
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

    async def _talk(self, head: Head, talk: Talk, reply: Reply) -> None:
        """Open a WebSocket and speak its protocol until it closes."""
        self._socket = talk.socket
        if not self._socket.accept(head, reply):
            return
        self._socket.feed(self._early)
        try:
            await talk.hold()
        except Exception:  # noqa: BLE001 - as for an answer
            _log.exception("the simulator failed on a WebSocket")
            self._transport.abort()


def _too_much_head() -> ApiError:
    return model_error(431, "The request's headers are too large.")
